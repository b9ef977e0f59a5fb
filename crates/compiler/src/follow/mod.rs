//! What is kept of processes for the filters of policies, and only while a policy needs it.
//!
//! Each kind of it is task storage that follows processes by programs of its own: at fork a child gets
//! its copy before it runs, at exec it is renewed, and for processes that ran before there is one pass
//! of the task iterator once the programs are attached. A process that forks meanwhile gets its own
//! record first, so from then on every process has one. Programs of policies only read.
//!
//! - [`needs`]: what the filters of sections need
//! - [`followers`]: the maps and programs in place
//! - [`program`]: the programs' common parts
//! - [`maps`]: the maps
//! - [`image`]: the executables of a process and of its parent
//! - [`ancestry`]: whether a process descends from one of some kind
//! - [`privileges`]: namespaces and capabilities that threads began with
//! - [`enforcers`]: what enforcers are told
//! - [`sockets`]: whom sockets belong to
//! - [`scopes`]: restrictions to workloads, by number
//! - [`workloads`]: what workload a cgroup belongs to

pub(crate) mod ancestry;
pub(crate) mod enforcers;
pub(crate) mod followers;
pub(crate) mod image;
pub(crate) mod maps;
pub(crate) mod needs;
pub(crate) mod privileges;
mod program;
pub(crate) mod scopes;
pub(crate) mod sockets;
pub(crate) mod workloads;

pub(crate) use followers::Followers;
pub(crate) use needs::Needs;

use policy::PolicyKey;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What stands for a policy in the names of what is kept for it alone.
pub(crate) fn digest(key: &PolicyKey) -> String {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
