//! Programs made for one machine: the base programs that see every process, and, above them, the
//! programs that a policy compiles to.

pub mod base;
mod error;
mod flow;
mod helper;
mod load;
mod read;

pub use error::Error;
