//! What happened: the process in which a hook fired, and what was captured.

use super::value::Value;
use crate::document::{CapabilitySet, NamespaceKind};
use std::collections::{BTreeMap, HashMap};

/// One call of a hook.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The process.
    pub process: Process,
    /// Namespaces of the machine's process 1.
    pub host: Namespaces,
    /// Values of the hook's `args`, in order. One that is read at return only is [`Value::Fault`] here.
    pub args: Vec<Value>,
    /// Values of the hook's `data`, in order.
    pub data: Vec<Value>,
    /// The return value, if the call returned.
    pub returned: Option<Value>,
}

/// Namespaces by inode number; absent where the kernel has none of that kind, or it is not known.
pub type Namespaces = HashMap<NamespaceKind, u32>;

/// A process as it is when the hook fires.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Process {
    /// The process itself.
    pub image: Image,
    /// What it descends from, the parent first. Parents are those who forked; after an exec without a
    /// fork the parent is the image that was replaced. It ends where nothing more is known.
    pub ancestors: Vec<Image>,
    /// Its namespaces.
    pub namespaces: Namespaces,
    /// Its capabilities.
    pub capabilities: Capabilities,
    /// The namespaces recorded for it: those it began with, or had when a change was last seen. `None`
    /// when nothing is recorded.
    pub recorded_namespaces: Option<Namespaces>,
    /// The capabilities recorded for it, likewise.
    pub recorded_capabilities: Option<Capabilities>,
    /// The workload it belongs to.
    pub workload: Workload,
}

/// What a process runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    /// Process id (of the thread group) in the host's pid namespace.
    pub pid: u32,
    /// Process id in its own pid namespace; 0 when that is the host's.
    pub pid_in_namespace: u32,
    /// Inode number of its pid namespace.
    pub pid_namespace: u32,
    /// Path of the executable, symbolic links resolved; for a script that of its interpreter. `None`
    /// when it is not known, or there is none (kernel threads).
    pub binary: Option<Vec<u8>>,
}

/// Sets of capabilities; capability n is bit n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// What is in force.
    pub effective: u64,
    /// What may be put in force.
    pub permitted: u64,
    /// What execve(2) keeps.
    pub inheritable: u64,
}

impl Capabilities {
    /// One of the sets.
    #[must_use]
    pub fn set(&self, which: CapabilitySet) -> u64 {
        match which {
            CapabilitySet::Effective => self.effective,
            CapabilitySet::Permitted => self.permitted,
            CapabilitySet::Inheritable => self.inheritable,
        }
    }
}

/// The workload that a process belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Workload {
    /// The host itself.
    #[default]
    Host,
    /// A container of a pod.
    Container(Container),
    /// A container of which nothing is known: no restriction includes it.
    Unknown,
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Container {
    /// Namespace of the pod.
    pub namespace: String,
    /// Labels of the pod.
    pub labels: BTreeMap<String, String>,
    /// Name of the container.
    pub name: String,
    /// Repository of the container's image: its name without tag and digest.
    pub repository: String,
}
