//! The `tetra` command line.
fn main() {}
