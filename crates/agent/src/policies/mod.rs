//! Tracing policies: which there are, where they come from, what became of them.
//!
//! - [`Store`]: all policies, with their states
//! - [`Loader`]: what puts them in force
//! - [`files`]: those that are read at start
//! - [`Records`]: those of clients, stored
//! - [`effects`]: what of a policy has no effect yet
//! - [`losses`]: events of policies that were lost

mod actions;
pub mod effects;
pub mod files;
mod hooks;
mod loader;
pub mod losses;
mod records;
mod status;
mod store;
#[cfg(test)]
pub(crate) mod store_tests;

pub use actions::BySelector;
pub use loader::{Added, LoadError, Loader, Measures, Named};
pub use records::{Listed, Record, RecordError, Records, StoredMode};
pub use store::{AddError, DeleteError, Store, Text};

/// Where policy files are looked for unless `--tracing-policy-dir` says otherwise. It need not exist.
pub const DEFAULT_DIR: &str = "/etc/tetragon/tetragon.tp.d";

/// Domain of policies from files.
pub const STATIC: &str = "static";

/// Domain of policies that clients bring, unless they name another one.
pub const GRPC: &str = "grpc";
