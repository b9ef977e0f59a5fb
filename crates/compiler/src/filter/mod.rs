//! Filters by the process in which a hook fires. Each goes on when it holds, else to `otherwise`.
//!
//! - [`mod@pids`]: process ids
//! - [`mod@namespaces`], [`mod@capabilities`]: matchNamespaces, matchCapabilities
//! - [`changes`]: matchNamespaceChanges, matchCapabilityChanges
//! - [`mod@binaries`], [`mod@parent_binaries`]: matchBinaries, matchParentBinaries
//! - [`mod@workloads`]: the scope of a policy, matchWorkloads
//! - [`ancestry`]: followForks, followChildren
//! - [`paths`]: paths of executables
//! - [`privileges`]: namespaces and capabilities as the kernel keeps them
//! - [`set`]: whether a number is one of several

mod ancestry;
mod binaries;
mod capabilities;
mod changes;
mod namespaces;
mod parent_binaries;
pub(crate) mod paths;
mod pids;
pub(crate) mod privileges;
pub(crate) mod set;
mod workloads;

pub(crate) use binaries::binaries;
pub(crate) use capabilities::capabilities;
pub(crate) use changes::{capability_changes, namespace_changes, recorded};
pub(crate) use namespaces::namespaces;
pub(crate) use parent_binaries::parent_binaries;
pub(crate) use pids::pids;
pub(crate) use workloads::workloads;
