//! The tetragon agent.

pub mod config;
pub mod envelope;
pub mod export;
pub mod hub;
pub mod logging;

/// Version of the agent, as packages and `GetVersion` have it.
pub const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));
