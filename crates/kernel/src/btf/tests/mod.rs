//! Tests of the BTF reader: on small blobs made here, on broken ones, and on the running kernel's.

mod blob;
mod broken;
mod fuzz;
mod real;
mod synthetic;
