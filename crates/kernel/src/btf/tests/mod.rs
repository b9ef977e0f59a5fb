//! Tests of the BTF reader.

mod real;
