//! The running kernel.

pub mod btf;
