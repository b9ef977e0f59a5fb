//! One process as `/proc/PID` shows it.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt;

use compiler::base::record::{Creds, Flags, UserNs};

use super::{HostNamespaces, Procfs, Stat, Status};
use crate::process::entry::ImageNamespaces;

/// Marks a link to a file that has no name any more; `d_path()` in fs/d_path.c.
const DELETED: &[u8] = b" (deleted)";

/// What to read beyond the usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Namespaces.
    pub namespaces: bool,
    /// Environment.
    pub environment: bool,
    /// Most bytes of arguments and of environment.
    pub max: u64,
}

/// Arguments or environment, NUL-separated.
pub type Text = Vec<u8>;

/// A process. What could not be read is empty and flagged.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Executable, resolved; empty when unreadable (and for kernel threads, which have none).
    pub exe: Vec<u8>,
    /// Working directory.
    pub cwd: Vec<u8>,
    /// Arguments with argv\[0\].
    pub arguments: Text,
    /// Environment, if it was wanted.
    pub environment: Text,
    /// Credentials.
    pub creds: Option<Creds>,
    /// Audit user id.
    pub auid: Option<u32>,
    /// Namespaces, if they were wanted.
    pub namespaces: Option<ImageNamespaces>,
    /// What went wrong: errors and cuts.
    pub flags: Flags,
}

impl Procfs {
    /// Reads a process. The caller makes sure that it was the same one all the while.
    ///
    /// The first thing read is `stat`; `None` when there is no such process.
    pub fn snapshot(
        &self,
        pid: u32,
        wanted: Wanted,
        host: &HostNamespaces,
    ) -> Option<(Stat, Snapshot)> {
        let stat = self.stat(pid)?;
        let mut found = Snapshot::default();
        found.exe = self.link(pid, "exe").unwrap_or_else(|_| {
            found.flags |= Flags::ERROR_FILENAME;
            Vec::new()
        });
        found.cwd = self.link(pid, "cwd").unwrap_or_else(|error| {
            // No directory at all is no error: it then has no file system context any more.
            if error.kind() != ErrorKind::NotFound {
                found.flags |= Flags::ERROR_CWD;
            }
            Vec::new()
        });
        match self.bytes(pid, "cmdline", wanted.max) {
            Ok((bytes, cut)) => {
                found.arguments = bytes;
                found.flags.set(Flags::TRUNC_ARGS, cut);
            }
            Err(_) => found.flags |= Flags::ERROR_ARGS,
        }
        if wanted.environment {
            match self.bytes(pid, "environ", wanted.max) {
                Ok((bytes, cut)) => {
                    found.environment = bytes;
                    found.flags.set(Flags::TRUNC_ENVS, cut);
                }
                Err(_) => found.flags |= Flags::ERROR_ENVS,
            }
        }
        found.creds =
            self.text(pid, "status").and_then(|text| Status::parse(&text)).map(|s| s.creds);
        // No such file without CONFIG_AUDIT.
        found.auid = match self.text(pid, "loginuid") {
            Some(text) => text.trim().parse().ok(),
            None => Some(u32::MAX),
        };
        if wanted.namespaces {
            let (others, user) = self.namespaces(pid);
            found.namespaces = Some(ImageNamespaces { others, user });
            if let Some(creds) = &mut found.creds {
                // Level and owner are not shown; the host's namespace is level 0, owned by root.
                let level = i32::from(user != host.user);
                creds.user_ns = UserNs { level, inum: user, ..UserNs::default() };
            }
        }
        Some((stat, found))
    }

    fn link(&self, pid: u32, name: &str) -> std::io::Result<Vec<u8>> {
        let mut target = OsString::into_vec(fs::read_link(self.path(pid, name))?.into_os_string());
        if target.ends_with(DELETED) {
            target.truncate(target.len() - DELETED.len());
        }
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_process() {
        let procfs = Procfs::new("/proc");
        let host = HostNamespaces::default();
        let wanted = Wanted { namespaces: true, environment: true, max: 1 << 20 };
        let pid = std::process::id();
        let (stat, found) = procfs.snapshot(pid, wanted, &host).unwrap();
        assert_eq!(stat.ppid, std::os::unix::process::parent_id());
        assert!(stat.start > 0);
        let exe = std::env::current_exe().unwrap();
        assert_eq!(found.exe, exe.as_os_str().as_encoded_bytes());
        let cwd = std::env::current_dir().unwrap();
        assert_eq!(found.cwd, cwd.as_os_str().as_encoded_bytes());
        assert!(found.arguments.starts_with(std::env::args().next().unwrap().as_bytes()));
        assert!(found.environment.windows(5).any(|part| part == b"PATH="));
        assert_ne!(found.namespaces.unwrap().others.mnt, 0);
        assert!(found.creds.is_some() && found.auid.is_some());
        assert_eq!(found.flags, Flags::empty());
    }

    #[test]
    fn cuts_are_flagged() {
        let wanted = Wanted { namespaces: false, environment: true, max: 3 };
        let host = HostNamespaces::default();
        let (_, found) = Procfs::new("/proc").snapshot(std::process::id(), wanted, &host).unwrap();
        assert_eq!((found.arguments.len(), found.environment.len()), (3, 3));
        assert_eq!(found.flags, Flags::TRUNC_ARGS | Flags::TRUNC_ENVS);
    }

    #[test]
    fn no_such_process() {
        let host = HostNamespaces::default();
        assert!(Procfs::new("/proc").snapshot(u32::MAX, Wanted::default(), &host).is_none());
        assert!(Procfs::new("/nowhere").host().is_err());
    }
}
