//! Tracing policies: which there are, where they come from, what became of them.
//!
//! - [`Store`]: all policies, with their states
//! - [`Loader`]: what puts them in force
//! - [`Files`]: those of files
//! - [`Records`]: those of clients, stored
//! - [`Rules`]: which are admitted, and those that rules make
//! - [`Watcher`]: follows files and rules as they change
//! - [`effects`]: what of a policy has no effect yet
//! - [`losses`]: events of policies that were lost

mod actions;
mod changes;
pub mod effects;
mod entries;
mod errors;
mod files;
mod hooks;
mod loader;
pub mod losses;
mod outcome;
mod records;
mod rego;
mod restore;
mod status;
mod store;
#[cfg(test)]
pub(crate) mod store_tests;
mod text;
mod watch;

pub use actions::BySelector;
pub use errors::{AddError, ChangeError};
pub use files::{DirError, Files};
pub use loader::{Added, LoadError, Loader, Measures, Named};
pub use outcome::Outcome;
pub use records::{Listed, Record, RecordError, Records, StoredMode};
pub use rego::{Made, RegoError, Rules};
pub use restore::restore;
pub use store::Store;
pub use text::{Origin, Text};
pub use watch::Watcher;

/// Where policy files are looked for unless `--tracing-policy-dir` says otherwise. It need not exist.
pub const DEFAULT_DIR: &str = "/etc/tetragon/tetragon.tp.d";

/// Domain of policies from files.
pub const STATIC: &str = "static";

/// Domain of policies that clients bring by gRPC, unless they name another one.
pub const GRPC: &str = "grpc";

/// Domain of policies that clients bring by HTTP, unless they name another one.
pub const HTTP: &str = "http";

/// Domain of policies of the cluster.
pub const K8S: &str = "k8s";

/// Domain of policies that rules make.
pub const REGO: &str = "rego";
