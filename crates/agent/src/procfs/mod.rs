//! What `/proc` says of processes that ran before the agent did, and of the host.
//!
//! A process may end, and its pid be given to another one, between any two reads. Whoever calls this
//! compares the identity before and after.

mod parse;
mod snapshot;

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use compiler::base::record::Namespaces;

pub use parse::{Stat, Status};
pub use snapshot::{Snapshot, Text, Wanted};

/// Longest file of `/proc/PID` read whole, other than arguments and environment.
const FILE_MAX: u64 = 1 << 20;

/// Namespaces of the host's process 1, with which those of others are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostNamespaces {
    /// All but the user namespace.
    pub others: Namespaces,
    /// Inode number of the user namespace.
    pub user: u32,
}

/// Neither process 1 nor the agent itself is to be found.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read the namespaces of process 1 in {path}: {source}; run as root in the host's pid \
     namespace, or point --procfs at the host's /proc"
)]
pub struct HostError {
    path: PathBuf,
    source: io::Error,
}

/// A mounted procfs.
#[derive(Clone, Debug)]
pub struct Procfs {
    root: PathBuf,
}

impl Procfs {
    /// The one mounted at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where it is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Namespaces of process 1. Where it has privileges that the agent lacks, it does not show them
    /// (`ptrace_may_access()`); then the agent's own are taken for the host's, which is logged.
    pub fn host(&self) -> Result<HostNamespaces, HostError> {
        let path = self.root.join("1/ns/mnt");
        let (others, user) = match fs::metadata(&path) {
            Ok(_) => self.namespaces_of("1"),
            Err(error) => {
                let own = self.namespaces_of("self");
                if own.1 == 0 || error.kind() != io::ErrorKind::PermissionDenied {
                    return Err(HostError { path, source: error });
                }
                tracing::warn!(
                    path = %path.display(),
                    "the namespaces of process 1 may not be read; is_host compares with the agent's own"
                );
                own
            }
        };
        Ok(HostNamespaces { others, user })
    }

    /// The host's root directory: that of process 1, or, where this may not be used, the agent's.
    pub fn host_root(&self) -> PathBuf {
        let root = self.root.join("1/root");
        match fs::metadata(root.join(".")) {
            Ok(_) => root,
            Err(_) => PathBuf::from("/"),
        }
    }

    /// Namespaces of a process, and its user namespace; 0 for what cannot be read.
    pub fn namespaces(&self, pid: u32) -> (Namespaces, u32) {
        self.namespaces_of(&pid.to_string())
    }

    fn namespaces_of(&self, process: &str) -> (Namespaces, u32) {
        let directory = self.root.join(process).join("ns");
        let inum = |name: &str| {
            // The inode numbers of nsfs have 32 bits.
            fs::metadata(directory.join(name)).map_or(0, |found| found.ino() as u32)
        };
        let others = Namespaces {
            uts: inum("uts"),
            ipc: inum("ipc"),
            mnt: inum("mnt"),
            pid: inum("pid"),
            pid_for_children: inum("pid_for_children"),
            net: inum("net"),
            time: inum("time"),
            time_for_children: inum("time_for_children"),
            cgroup: inum("cgroup"),
        };
        (others, inum("user"))
    }

    /// `/proc/PID/stat`; `None` when there is no such process.
    pub fn stat(&self, pid: u32) -> Option<Stat> {
        Stat::parse(&self.text(pid, "stat")?)
    }

    /// Text of `/proc/PID/cgroup`.
    pub fn cgroups(&self, pid: u32) -> Option<String> {
        self.text(pid, "cgroup")
    }

    fn path(&self, pid: u32, name: &str) -> PathBuf {
        self.root.join(pid.to_string()).join(name)
    }

    fn text(&self, pid: u32, name: &str) -> Option<String> {
        let (bytes, _) = self.bytes(pid, name, FILE_MAX).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Up to `max` bytes of a file, and whether there are more.
    fn bytes(&self, pid: u32, name: &str, max: u64) -> io::Result<(Vec<u8>, bool)> {
        let mut bytes = Vec::new();
        let limit = max.saturating_add(1);
        fs::File::open(self.path(pid, name))?.take(limit).read_to_end(&mut bytes)?;
        let cut = bytes.len() as u64 > max;
        if cut {
            bytes.pop();
        }
        Ok((bytes, cut))
    }
}
