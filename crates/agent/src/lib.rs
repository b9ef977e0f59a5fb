//! The tetragon agent.

pub mod cgroups;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod envelope;
pub mod events;
pub mod export;
pub mod health;
pub mod hub;
pub mod lifecycle;
pub mod logging;
pub mod loss;
pub mod metrics;
pub mod observation;
pub mod pipeline;
pub mod policies;
pub mod process;
pub mod procfs;
pub mod redaction;
pub mod requests;
pub mod run;
pub mod sensor;
pub mod server;
pub mod source;
pub mod stacks;
pub mod users;

#[cfg(test)]
mod test_observations;
#[cfg(test)]
mod test_records;

/// Version of the agent, as packages and `GetVersion` have it.
pub const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));
