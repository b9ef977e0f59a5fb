//! The `exec_id`: an image's identity as one string that is unique in a cluster.
//!
//! It is the base64 of `node:ktime:pid`, so that equal identities give equal strings in every event
//! and whoever knows node, start and pid can compose it.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compiler::base::record::Identity;

/// The kernel itself: the parent of whatever has no parent.
pub const KERNEL: Identity = Identity { ktime: 1, pid: 0 };

/// Nanoseconds in a tick of `/proc/PID/stat`. USER_HZ is 100 on every architecture this runs on.
pub const TICK: u64 = 10_000_000;

/// Whether the identity is made of a start time, as for processes that ran before the agent.
///
/// Such times are whole ticks; one in ten million of the others is one too, and then only the start
/// time shown differs, by how long the machine slept.
pub fn is_start_time(process: Identity) -> bool {
    process.ktime.is_multiple_of(TICK)
}

/// Composes exec_ids of one node.
#[derive(Clone, Debug)]
pub struct ExecIds {
    node: String,
}

impl ExecIds {
    /// For the node of this name.
    pub fn new(node: impl Into<String>) -> Self {
        Self { node: node.into() }
    }

    /// The exec_id.
    pub fn of(&self, process: Identity) -> String {
        let mut text = String::with_capacity(self.node.len() + 32);
        text.push_str(&self.node);
        // Writing to a string does not fail.
        let _ = write!(text, ":{}:{}", process.ktime, process.pid);
        STANDARD.encode(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exec_id_is_base64_of_node_time_and_pid() {
        let ids = ExecIds::new("minikube");
        let id = ids.of(Identity { ktime: 1_234_567_890, pid: 42 });
        assert_eq!(STANDARD.decode(&id).unwrap(), b"minikube:1234567890:42");
        assert!(id.ends_with('='), "padded");
        assert_eq!(STANDARD.decode(ids.of(KERNEL)).unwrap(), b"minikube:1:0");
    }
}
