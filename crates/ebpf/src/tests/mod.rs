//! Tests that look into the crate: random programs, golden files, limits.

mod generate;
mod interpret;
mod machine;
mod random;
