//! Tests that look into the crate: random programs, golden files, limits.

mod far;
mod generate;
mod interpret;
mod machine;
mod random;
mod template;
