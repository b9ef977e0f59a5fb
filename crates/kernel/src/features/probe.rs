//! The answer to a question about the kernel.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::capability::{self, Capabilities};
use crate::errno::Errno;
use crate::error::Error;

/// Whether the kernel has something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// It has.
    Yes,
    /// It has not.
    No {
        /// Why: what was tried, and what the kernel said.
        why: String,
    },
    /// It could not be found out.
    Unknown {
        /// Why: what the probe lacked.
        why: String,
    },
}

impl Probe {
    /// Whether the kernel certainly has it.
    pub fn is_yes(&self) -> bool {
        matches!(self, Self::Yes)
    }

    /// Why not, or why it is not known.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Yes => None,
            Self::No { why } | Self::Unknown { why } => Some(why),
        }
    }

    /// The kernel has not.
    pub fn no(why: impl Into<String>) -> Self {
        Self::No { why: why.into() }
    }

    /// It could not be found out.
    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into() }
    }

    /// The answer to the next question, if this one is yes.
    pub(super) fn and(self, next: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Yes => next(),
            answer => answer,
        }
    }

    /// What something that was tried, and that only a kernel with the feature does, has shown.
    pub(super) fn tried<T>(result: Result<T, Error>) -> Self {
        match result {
            Ok(_) => Self::Yes,
            Err(error) => Self::failed(&error),
        }
    }

    /// What a failure has shown.
    pub(super) fn failed(error: &Error) -> Self {
        Self::failed_as(error, is_privileged())
    }

    /// The same, for a process with or without the privileges that bpf(2) asks for.
    pub(super) fn failed_as(error: &Error, privileged: bool) -> Self {
        let errno = error.errno();
        let permission = matches!(errno, Some(Errno::EPERM | Errno::EACCES));
        let momentary = matches!(
            errno.map(|errno| errno.0),
            Some(libc::ENOMEM | libc::EAGAIN | libc::EINTR | libc::EMFILE | libc::ENFILE)
        );
        // A command that the kernel does not know; all other failures of files are the files'.
        let of_a_file = matches!(error, Error::File { .. } | Error::Unreadable { .. })
            && errno != Some(Errno::EINVAL);
        match error {
            // The verifier is stricter with those who may do little.
            Error::Rejected(_) if privileged => Self::no(error.to_string()),
            Error::Rejected(_) => Self::unknown(error.to_string()),
            _ if momentary || of_a_file || (permission && !privileged) => {
                Self::unknown(error.to_string())
            }
            Error::Load { program_type, errno, .. } if permission => Self::no(format!(
                "loading a program ({program_type}) gives {errno} although this process has the \
                 capabilities: this kernel, or a sandbox around this process, forbids it"
            )),
            _ => Self::no(error.to_string()),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("yes"),
            Self::No { why } => write!(f, "no: {why}"),
            Self::Unknown { why } => write!(f, "unknown: {why}"),
        }
    }
}

/// Whether this process has what bpf(2) asks for: CAP_SYS_ADMIN, or CAP_BPF and CAP_PERFMON, in the
/// initial user namespace. With these, EPERM is the kernel's word on the feature and not on the asker.
fn is_privileged() -> bool {
    // PROC_USER_INIT_INO
    let initial = std::fs::read_link("/proc/self/ns/user")
        .is_ok_and(|namespace| namespace == Path::new("user:[4026531837]"));
    let effective = capability::effective().unwrap_or_default();
    let both = Capabilities::BPF | Capabilities::PERFMON;
    initial && (effective.contains(Capabilities::SYS_ADMIN) || effective.contains(both))
}
