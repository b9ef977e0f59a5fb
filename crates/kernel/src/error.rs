//! What can go wrong when programs, maps and links are made and used.
//!
//! Each error says what was attempted on what, the kernel's number, and where that number is known to
//! have few causes in that place, what those are.

use std::ffi::NulError;
use std::path::PathBuf;

use crate::errno::Errno;
use crate::program::VerifierError;

/// Why something with a program, map, link or other kernel object failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A map could not be created.
    #[error("cannot create map `{map}` ({map_type}): {errno}{}", hint::create_map(*errno))]
    CreateMap {
        /// Its name.
        map: String,
        /// Its type, as the kernel names it.
        map_type: String,
        /// Why.
        errno: Errno,
    },
    /// Something else with a map failed.
    #[error("cannot {action} map `{map}`: {errno}{}", hint::use_map(*errno))]
    Map {
        /// What was attempted, to stand before "map": "look up a key in".
        action: &'static str,
        /// The map's name.
        map: String,
        /// Why.
        errno: Errno,
    },
    /// Keys or values of a wrong size.
    #[error("map `{map}`: {what} of {given} bytes where {expected} are needed")]
    Size {
        /// The map's name.
        map: String,
        /// "key", "value", "keys", "values".
        what: &'static str,
        /// Bytes passed.
        given: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// Elements came and went faster than they could be listed.
    #[error("map `{map}` changes too fast to be listed: its keys started over again and again")]
    Restless {
        /// The map's name.
        map: String,
    },
    /// A map that is not of the type an operation needs.
    #[error("map `{map}` is a {found} map, not {needed}")]
    MapType {
        /// The map's name.
        map: String,
        /// Its type.
        found: String,
        /// The type needed.
        needed: &'static str,
    },
    /// What was opened is another kind of object.
    #[error("what was opened is not a {needed}")]
    WrongKind {
        /// The kind needed: "map", "program", "link".
        needed: &'static str,
    },
    /// A program could not be loaded, and the verifier had nothing to say about it.
    #[error(
        "cannot load program `{program}` ({program_type}): {errno}{}",
        hint::load_program(*errno, program_type)
    )]
    Load {
        /// Its name.
        program: String,
        /// Its type, as the kernel names it.
        program_type: String,
        /// Why.
        errno: Errno,
    },
    /// The verifier rejected a program.
    #[error(transparent)]
    Rejected(Box<VerifierError>),
    /// What should be loaded is not well-formed, and was not shown to the kernel.
    #[error("program `{program}`: {what}")]
    Malformed {
        /// The program's name.
        program: String,
        /// What is wrong.
        what: &'static str,
    },
    /// BTF for programs and maps could not be loaded.
    #[error("cannot load BTF: {errno}{}", last_line(log))]
    LoadBtf {
        /// Why.
        errno: Errno,
        /// What the kernel said.
        log: String,
    },
    /// A program could not be attached.
    #[error("cannot attach program `{program}` to {target}: {errno}{}", hint::attach(*errno, target))]
    Attach {
        /// The program's name.
        program: String,
        /// Where to, as text: "fentry vfs_read".
        target: String,
        /// Why.
        errno: Errno,
    },
    /// This kernel lacks what an operation needs.
    #[error("{what} needs {needs}")]
    Lacks {
        /// What was attempted.
        what: String,
        /// What the kernel lacks.
        needs: &'static str,
    },
    /// Something with any other object failed.
    #[error("cannot {action}: {errno}{}", hint::other(*errno))]
    Call {
        /// What was attempted.
        action: String,
        /// Why.
        errno: Errno,
    },
    /// A file could not be used.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the kernel's does not read as it should.
    #[error("{path} does not hold {expected}: `{found}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
    /// A string with a NUL in it, where the kernel ends strings at NUL.
    #[error("{what} holds a NUL byte at {}", source.nul_position())]
    Nul {
        /// What the string is.
        what: &'static str,
        /// Where.
        source: NulError,
    },
}

impl Error {
    /// The kernel's number, where a system call failed.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::CreateMap { errno, .. }
            | Self::Map { errno, .. }
            | Self::Load { errno, .. }
            | Self::LoadBtf { errno, .. }
            | Self::Attach { errno, .. }
            | Self::Call { errno, .. } => Some(*errno),
            Self::Rejected(rejected) => Some(rejected.errno()),
            Self::File { source, .. } => source.raw_os_error().map(Errno),
            Self::Size { .. }
            | Self::Restless { .. }
            | Self::MapType { .. }
            | Self::WrongKind { .. }
            | Self::Malformed { .. }
            | Self::Lacks { .. }
            | Self::Unreadable { .. }
            | Self::Nul { .. } => None,
        }
    }

    /// `what` could not be done.
    pub(crate) fn call(action: impl Into<String>, errno: Errno) -> Self {
        Self::Call { action: action.into(), errno }
    }
}

fn last_line(log: &str) -> String {
    match log.lines().rfind(|line| !line.trim().is_empty()) {
        Some(line) => format!(": {}", line.trim()),
        None => String::new(),
    }
}

/// What an error number means in a place, to stand behind it.
mod hint {
    use crate::errno::Errno;

    const PRIVILEGE: &str = ": needs CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN) in the initial user \
        namespace, and a system call filter that lets bpf(2) pass";

    pub(super) fn create_map(errno: Errno) -> &'static str {
        match errno {
            Errno::EPERM => PRIVILEGE,
            Errno::EINVAL => {
                ": this kernel does not know the map type or one of its flags, or the sizes are not \
                 legal for it (a ring buffer's is a power of two and a multiple of the page size)"
            }
            Errno::E2BIG => ": key, value or the whole map are larger than the kernel allows",
            Errno::ENOMEM => ": the kernel has no memory for a map of this size",
            Errno::ENOTSUPP => ": this kernel has no BTF, or not for this type of key or value",
            _ => "",
        }
    }

    pub(super) fn use_map(errno: Errno) -> &'static str {
        match errno {
            Errno::EPERM => ": the map is frozen, or was opened without the right to do this",
            Errno::E2BIG => ": the map is full, or the index is beyond its end",
            Errno::ENOMEM => ": the kernel had no memory for the element just then",
            Errno::EBUSY => ": the element is being updated by another CPU",
            Errno::ENOTSUPP | Errno::EOPNOTSUPP => ": maps of this type cannot do that",
            Errno::ESRCH => ": the process has ended",
            _ => "",
        }
    }

    const TRAMPOLINE: &str = ": this kernel does not let trampolines change its functions (or the \
        process lacks CAP_BPF and CAP_PERFMON); kprobes, tracepoints or raw tracepoints may work";

    pub(super) fn load_program(errno: Errno, program_type: &str) -> &'static str {
        let trampoline = ["trace_fentry", "trace_fexit", "modify_return", "lsm_mac"]
            .iter()
            .any(|attach_type| program_type.ends_with(attach_type));
        match errno {
            Errno::EPERM if trampoline => TRAMPOLINE,
            Errno::EPERM => PRIVILEGE,
            Errno::EINVAL => {
                ": this kernel does not know the program type, the attach type or a flag, or cannot \
                 attach to the target"
            }
            Errno::E2BIG => ": the program has more instructions than the kernel takes",
            Errno::ENOENT => ": the target has no BTF on this kernel",
            Errno::ENOTSUPP | Errno::EOPNOTSUPP => {
                ": this kernel was built without what the program needs (its JIT, for one)"
            }
            _ => "",
        }
    }

    pub(super) fn attach(errno: Errno, target: &str) -> &'static str {
        let trampoline =
            ["fentry", "fexit", "fmod_ret", "lsm"].iter().any(|kind| target.starts_with(kind));
        match errno {
            Errno::EPERM if trampoline => TRAMPOLINE,
            Errno::EPERM | Errno::EACCES => {
                ": needs CAP_PERFMON and CAP_BPF (or CAP_SYS_ADMIN), and for probes a \
                 kernel.perf_event_paranoid that lets them pass"
            }
            Errno::E2BIG if trampoline => {
                ": this function has as many programs as its trampoline holds (38 on x86-64)"
            }
            Errno::EBUSY if trampoline => {
                ": something else changes the same function (live patching, an ftrace user, or a \
                 program that replaces its return value)"
            }
            Errno::EBUSY => ": something else is attached there and does not share the place",
            Errno::ENOTSUPP | Errno::EOPNOTSUPP => {
                ": this kernel or machine cannot attach this way (trampolines on arm64 need Linux \
                 6.0, kprobe.multi needs CONFIG_FPROBE)"
            }
            Errno::ENOENT => ": no such place in this kernel",
            Errno::EADDRNOTAVAIL => ": the function is not one that may be probed",
            // `within_notrace_func` in kernel/trace/trace_kprobe.c.
            Errno::EINVAL if target.starts_with("kprobe ") => {
                ": the kernel was built so that this function cannot be traced (notrace: copies of \
                 functions of headers are), or does not know this way to attach"
            }
            Errno::EINVAL => {
                ": this kernel does not know this way to attach, or the program was loaded for \
                 another"
            }
            _ => "",
        }
    }

    pub(super) fn other(errno: Errno) -> &'static str {
        match errno {
            Errno::EPERM => ": needs more privilege (CAP_SYS_ADMIN, or CAP_BPF and CAP_PERFMON)",
            Errno::EINVAL => ": this kernel does not know it, or an argument is not legal",
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_get_a_meaning_in_their_place() {
        let attach = |target: &str, errno| {
            let (program, target) = ("p".to_owned(), target.to_owned());
            Error::Attach { program, target, errno }.to_string()
        };
        assert!(attach("fentry vfs_read", Errno::EPERM).contains("trampolines"));
        assert!(!attach("kprobe vfs_read", Errno::EPERM).contains("trampolines"));
        assert!(attach("fexit vfs_read", Errno::E2BIG).contains("38"));
        let create =
            Error::CreateMap { map: "m".into(), map_type: "hash".into(), errno: Errno::EPERM };
        assert!(create.to_string().starts_with(
            "cannot create map `m` (hash): Operation not permitted (EPERM): needs CAP_BPF"
        ));
        assert_eq!(create.errno(), Some(Errno::EPERM));
    }
}
