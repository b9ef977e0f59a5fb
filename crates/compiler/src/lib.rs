//! Programs made for one machine: the base programs that see every process, and the programs that
//! policies compile to.
//!
//! - [`base`]: the base programs
//! - [`Machine`]: what programs are made for
//! - [`plan`]: a policy on one machine: where its hooks attach, what they read
//! - [`admission`]: whether a policy may be put in force
//! - [`policies`]: the policies in force
//! - [`keep`]: what stays in force without an agent
//! - [`lint`]: what slips past a policy
//! - [`counters`]: what their programs count
//! - [`mod@explain`]: what a policy compiles to, as text
//! - [`observed`]: what policies saw
//! - [`trial`]: a policy's hook on made-up calls

mod act;
pub mod admission;
pub mod base;
mod climb;
pub mod counters;
mod decode;
mod emit;
mod error;
pub mod explain;
mod filter;
mod flow;
mod follow;
mod functions;
mod helper;
mod host;
#[cfg(test)]
mod invented;
pub mod keep;
mod link;
pub mod lint;
mod load;
mod machine;
mod modes;
pub mod observed;
pub mod plan;
pub mod policies;
mod protect;
mod read;
mod test;
pub mod trial;
mod value;
mod walk;

pub use decode::{DecodeError, Decoder};
pub use error::Error;
pub use functions::Functions;
pub use machine::Machine;
