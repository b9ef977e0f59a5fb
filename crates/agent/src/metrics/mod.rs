//! What the agent counts, for Prometheus: `GET /metrics` at `--metrics-server`.
//!
//! - [`EventCounters`]: events by kind, process and policy, counted as they are published
//! - `families`: everything else, asked for when it is scraped
//! - [`MetricsServer`]: the server
//!
//! Names, labels and types are those that users' dashboards have; what only this agent counts stands at
//! the end of `families`.

mod events;
mod families;
mod server;

pub use events::{EventCounters, LabelFilter};
pub use server::{MetricsServer, Sources};
