//! What the agent has to be allowed, and whether it is.

use std::io;

use rustix::thread::{CapabilitySet, capabilities};

/// Capabilities that are needed, the one that the kernel takes instead (`bpf_capable` and
/// `perfmon_capable` in include/linux/capability.h), and what for.
const NEEDED: [(&str, CapabilitySet, CapabilitySet, &str); 3] = [
    ("CAP_BPF", CapabilitySet::BPF, CapabilitySet::SYS_ADMIN, "load BPF programs"),
    ("CAP_PERFMON", CapabilitySet::PERFMON, CapabilitySet::SYS_ADMIN, "attach them for tracing"),
    (
        "CAP_SYS_PTRACE",
        CapabilitySet::SYS_PTRACE,
        CapabilitySet::SYS_PTRACE,
        "read executables, directories and namespaces of others' processes",
    ),
];

/// The agent is not allowed what it needs.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// These capabilities are missing.
    #[error(
        "tetragon lacks {}; run it as root, or with these capabilities \
         (systemd: AmbientCapabilities=, containers: securityContext.capabilities.add)",
        .0.iter().map(|(name, why)| format!("{name} (to {why})")).collect::<Vec<_>>().join(", ")
    )]
    Missing(Vec<(&'static str, &'static str)>),
    /// They cannot be asked for.
    #[error("cannot read the capabilities of this process: {0}")]
    Unknown(io::Error),
}

/// Checks the effective capabilities of the calling thread.
pub fn check() -> Result<(), PrivilegeError> {
    let sets = capabilities(None).map_err(|error| PrivilegeError::Unknown(error.into()))?;
    check_set(sets.effective)
}

fn check_set(have: CapabilitySet) -> Result<(), PrivilegeError> {
    let missing: Vec<_> = NEEDED
        .iter()
        .filter(|(_, needed, instead, _)| !have.intersects(*needed | *instead))
        .map(|(name, _, _, why)| (*name, *why))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(PrivilegeError::Missing(missing)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_exactly_what_is_missing() {
        let (bpf, admin) = (CapabilitySet::BPF, CapabilitySet::SYS_ADMIN);
        let ptrace = CapabilitySet::SYS_PTRACE;
        assert!(check_set(bpf | CapabilitySet::PERFMON | ptrace).is_ok());
        assert!(check_set(admin | ptrace).is_ok());
        let error = check_set(bpf).unwrap_err().to_string();
        assert!(!error.contains("CAP_BPF"), "{error}");
        assert!(error.contains("CAP_PERFMON (to attach") && error.contains("CAP_SYS_PTRACE (to"));
        let error = check_set(CapabilitySet::empty()).unwrap_err().to_string();
        assert!(error.starts_with("tetragon lacks CAP_BPF (to load BPF programs), CAP_PERFMON"));
    }
}
