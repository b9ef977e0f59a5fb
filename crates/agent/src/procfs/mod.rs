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

/// The host's process 1 cannot be read.
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

    /// Namespaces of process 1.
    pub fn host(&self) -> Result<HostNamespaces, HostError> {
        let path = self.root.join("1/ns/mnt");
        fs::metadata(&path).map_err(|source| HostError { path, source })?;
        let (others, user) = self.namespaces(1);
        Ok(HostNamespaces { others, user })
    }

    /// Namespaces of a process, and its user namespace; 0 for what cannot be read.
    pub fn namespaces(&self, pid: u32) -> (Namespaces, u32) {
        let inum = |name: &str| {
            // The inode numbers of nsfs have 32 bits.
            fs::metadata(self.path(pid, "ns").join(name)).map_or(0, |found| found.ino() as u32)
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
        fs::File::open(self.path(pid, name))?.take(max + 1).read_to_end(&mut bytes)?;
        let cut = bytes.len() as u64 > max;
        bytes.truncate(max as usize);
        Ok((bytes, cut))
    }
}
