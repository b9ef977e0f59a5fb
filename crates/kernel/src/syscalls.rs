//! System calls: names, numbers and the kernel functions that serve them.
//!
//! A call has a number per ABI (`openat` is 257 for x86-64 programs and 295 for i386 ones). On x86-64
//! and arm64 the kernel serves it in a wrapper that takes `struct pt_regs *`, named after the ABI:
//! `__x64_sys_openat`, `__ia32_compat_sys_openat`, `__arm64_sys_openat`. What stands behind the prefix
//! is mostly, but not always, the call's name: `stat` is served by `__x64_sys_newstat`. The kernel's BTF
//! describes these functions, but not those of calls without arguments (`getuid`): they are declared
//! in a way that pahole skips (`SYSCALL_DEFINE0`), so they have symbols only.

use std::fmt;
use std::str::FromStr;

use ::syscalls::{aarch64, arm, x86, x86_64};

/// An ABI of system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Abi {
    /// 64-bit programs on x86-64.
    X64,
    /// 32-bit programs on x86-64.
    I386,
    /// 64-bit programs on arm64.
    Arm64,
    /// 32-bit programs on arm64.
    Arm32,
}

/// Calls whose kernel functions are not named like them, on all ABIs.
const RENAMED: &[(&str, &[&str])] = &[
    ("fstat", &["newfstat"]),
    ("lstat", &["newlstat"]),
    ("stat", &["newstat"]),
    ("umount2", &["umount"]),
    ("uname", &["newuname"]),
];

/// The same on the 64-bit ABIs.
const RENAMED_64: &[(&str, &[&str])] = &[("sendfile", &["sendfile64"])];

/// The same on the 32-bit ABIs as 64-bit kernels serve them. Old calls take 16-bit ids or 32-bit times;
/// where kernels differ, the newer name stands first.
const RENAMED_32: &[(&str, &[&str])] = &[
    ("_llseek", &["llseek"]),
    ("_newselect", &["select"]),
    ("_sysctl", &["sysctl"]),
    ("adjtimex", &["adjtimex_time32"]),
    ("chown", &["chown16"]),
    ("chown32", &["chown"]),
    ("clock_adjtime", &["clock_adjtime32"]),
    ("clock_adjtime64", &["clock_adjtime"]),
    ("clock_getres", &["clock_getres_time32"]),
    ("clock_getres_time64", &["clock_getres"]),
    ("clock_gettime", &["clock_gettime32"]),
    ("clock_gettime64", &["clock_gettime"]),
    ("clock_nanosleep", &["clock_nanosleep_time32"]),
    ("clock_nanosleep_time64", &["clock_nanosleep"]),
    ("clock_settime", &["clock_settime32"]),
    ("clock_settime64", &["clock_settime"]),
    ("fchown", &["fchown16"]),
    ("fchown32", &["fchown"]),
    ("futex", &["futex_time32"]),
    ("futex_time64", &["futex"]),
    ("getegid", &["getegid16"]),
    ("getegid32", &["getegid"]),
    ("geteuid", &["geteuid16"]),
    ("geteuid32", &["geteuid"]),
    ("getgid", &["getgid16"]),
    ("getgid32", &["getgid"]),
    ("getgroups", &["getgroups16"]),
    ("getgroups32", &["getgroups"]),
    ("getresgid", &["getresgid16"]),
    ("getresgid32", &["getresgid"]),
    ("getresuid", &["getresuid16"]),
    ("getresuid32", &["getresuid"]),
    ("getuid", &["getuid16"]),
    ("getuid32", &["getuid"]),
    ("io_getevents", &["io_getevents_time32"]),
    ("io_pgetevents_time64", &["io_pgetevents_time64", "io_pgetevents"]),
    ("lchown", &["lchown16"]),
    ("lchown32", &["lchown"]),
    ("mq_timedreceive", &["mq_timedreceive_time32"]),
    ("mq_timedreceive_time64", &["mq_timedreceive"]),
    ("mq_timedsend", &["mq_timedsend_time32"]),
    ("mq_timedsend_time64", &["mq_timedsend"]),
    ("nanosleep", &["nanosleep_time32"]),
    ("ppoll", &["ppoll_time32"]),
    ("pselect6", &["pselect6_time32"]),
    ("quotactl", &["quotactl32", "quotactl"]),
    ("recvmmsg", &["recvmmsg_time32"]),
    ("rt_sigtimedwait", &["rt_sigtimedwait_time32"]),
    ("sched_rr_get_interval", &["sched_rr_get_interval_time32"]),
    ("sched_rr_get_interval_time64", &["sched_rr_get_interval"]),
    ("semtimedop_time64", &["semtimedop"]),
    ("setfsgid", &["setfsgid16"]),
    ("setfsgid32", &["setfsgid"]),
    ("setfsuid", &["setfsuid16"]),
    ("setfsuid32", &["setfsuid"]),
    ("setgid", &["setgid16"]),
    ("setgid32", &["setgid"]),
    ("setgroups", &["setgroups16"]),
    ("setgroups32", &["setgroups"]),
    ("setregid", &["setregid16"]),
    ("setregid32", &["setregid"]),
    ("setresgid", &["setresgid16"]),
    ("setresgid32", &["setresgid"]),
    ("setresuid", &["setresuid16"]),
    ("setresuid32", &["setresuid"]),
    ("setreuid", &["setreuid16"]),
    ("setreuid32", &["setreuid"]),
    ("setuid", &["setuid16"]),
    ("setuid32", &["setuid"]),
    ("timer_gettime", &["timer_gettime32"]),
    ("timer_gettime64", &["timer_gettime"]),
    ("timer_settime", &["timer_settime32"]),
    ("timer_settime64", &["timer_settime"]),
    ("timerfd_gettime", &["timerfd_gettime32"]),
    ("timerfd_gettime64", &["timerfd_gettime"]),
    ("timerfd_settime", &["timerfd_settime32"]),
    ("timerfd_settime64", &["timerfd_settime"]),
    ("ugetrlimit", &["getrlimit"]),
    ("utimensat", &["utimensat_time32"]),
    ("utimensat_time64", &["utimensat"]),
];

/// Further ones on i386 only.
const RENAMED_I386: &[(&str, &[&str])] = &[
    ("clone", &["ia32_clone", "x86_clone"]),
    ("fadvise64", &["ia32_fadvise64", "x86_fadvise64"]),
    ("fadvise64_64", &["ia32_fadvise64_64", "x86_fadvise64_64"]),
    ("fallocate", &["ia32_fallocate", "x86_fallocate"]),
    ("fcntl", &["fcntl64"]),
    ("fstat64", &["ia32_fstat64", "x86_fstat64"]),
    ("fstatat64", &["ia32_fstatat64", "x86_fstatat"]),
    ("ftruncate64", &["ia32_ftruncate64", "x86_ftruncate64"]),
    ("futimesat", &["futimesat_time32"]),
    ("getrlimit", &["old_getrlimit"]),
    ("lstat64", &["ia32_lstat64", "x86_lstat64"]),
    ("mmap", &["ia32_mmap", "x86_mmap"]),
    ("mmap2", &["mmap_pgoff"]),
    ("oldfstat", &["fstat"]),
    ("oldlstat", &["lstat"]),
    ("oldolduname", &["olduname"]),
    ("oldstat", &["stat"]),
    ("olduname", &["uname"]),
    ("pread64", &["ia32_pread64", "x86_pread"]),
    ("pwrite64", &["ia32_pwrite64", "x86_pwrite"]),
    ("readahead", &["ia32_readahead", "x86_readahead"]),
    ("readdir", &["old_readdir"]),
    ("select", &["old_select"]),
    ("stat64", &["ia32_stat64", "x86_stat64"]),
    ("stime", &["stime32"]),
    ("sync_file_range", &["ia32_sync_file_range", "x86_sync_file_range"]),
    ("time", &["time32"]),
    ("truncate64", &["ia32_truncate64", "x86_truncate64"]),
    ("umount", &["oldumount"]),
    ("utime", &["utime32"]),
    ("utimes", &["utimes_time32"]),
];

/// The tables have calls named like Rust's keywords (`break`) with this in front.
const RAW: &str = "r#";

impl Abi {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::X64, Self::I386, Self::Arm64, Self::Arm32];

    /// The 64-bit ABI of the machine this runs on; `None` on other architectures.
    pub const fn native() -> Option<Self> {
        if cfg!(target_arch = "x86_64") {
            Some(Self::X64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Arm64)
        } else {
            None
        }
    }

    /// The 32-bit ABI of the same kernel.
    pub const fn compat(self) -> Self {
        match self {
            Self::X64 | Self::I386 => Self::I386,
            Self::Arm64 | Self::Arm32 => Self::Arm32,
        }
    }

    /// Whether its programs are 32-bit ones.
    pub const fn is_32bit(self) -> bool {
        matches!(self, Self::I386 | Self::Arm32)
    }

    /// Number of a call, by its name as in `unistd.h`.
    pub fn number(self, name: &str) -> Option<u32> {
        let number = |name: &str| match self {
            Self::X64 => x86_64::Sysno::from_str(name).ok().map(|call| call as u32),
            Self::I386 => x86::Sysno::from_str(name).ok().map(|call| call as u32),
            Self::Arm64 => aarch64::Sysno::from_str(name).ok().map(|call| call as u32),
            Self::Arm32 => arm::Sysno::from_str(name).ok().map(|call| call as u32),
        };
        number(name).or_else(|| number(&format!("{RAW}{name}")))
    }

    /// Name of a call, by its number.
    pub fn name(self, number: u32) -> Option<&'static str> {
        let number = number as usize;
        let name = match self {
            Self::X64 => x86_64::Sysno::new(number)?.name(),
            Self::I386 => x86::Sysno::new(number)?.name(),
            Self::Arm64 => aarch64::Sysno::new(number)?.name(),
            Self::Arm32 => arm::Sysno::new(number)?.name(),
        };
        Some(name.strip_prefix(RAW).unwrap_or(name))
    }

    /// All calls, in order of number.
    pub fn iter(self) -> impl Iterator<Item = (u32, &'static str)> {
        // Beyond every table; arm's private calls (0xf0000 and up) are no system calls of the kernel's.
        (0..1024).filter_map(move |number| Some((number, self.name(number)?)))
    }

    /// What kernel functions that serve this ABI start with; for 32-bit ones, those that convert
    /// arguments first.
    pub fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::X64 => &["__x64_sys_"],
            Self::I386 => &["__ia32_compat_sys_", "__ia32_sys_"],
            Self::Arm64 => &["__arm64_sys_"],
            Self::Arm32 => &["__arm64_compat_sys_", "__arm64_sys_"],
        }
    }

    /// Names that the kernel function serving a call can have, likeliest first: the first of them that
    /// the kernel has is it. Empty for a call that this ABI does not have.
    pub fn functions(self, name: &str) -> Vec<String> {
        if self.number(name).is_none() {
            return Vec::new();
        }
        let own: &[&str] = &[name];
        let stems = self.renamed().find(|(call, _)| *call == name).map_or(own, |(_, to)| *to);
        let names = stems
            .iter()
            .flat_map(|stem| self.prefixes().iter().map(move |prefix| format!("{prefix}{stem}")));
        names.collect()
    }

    /// The calls that a kernel function serves: `__x64_sys_newstat` serves 4, `stat`, of x86-64. Empty
    /// if it is no such function. `__arm64_sys_` serves both arm ABIs.
    pub fn served_by(function: &str) -> Vec<(Self, u32)> {
        let mut served = Vec::new();
        for abi in Self::ALL {
            let Some(stem) = abi.prefixes().iter().find_map(|prefix| function.strip_prefix(prefix))
            else {
                continue;
            };
            let renamed = abi.renamed().filter(|(_, stems)| stems.contains(&stem));
            let own = (!abi.renamed().any(|(call, _)| *call == stem)).then_some(stem);
            let names = renamed.map(|(call, _)| *call).chain(own);
            served.extend(names.filter_map(|name| Some((abi, abi.number(name)?))));
        }
        served
    }

    fn renamed(self) -> impl Iterator<Item = &'static (&'static str, &'static [&'static str])> {
        let width = if self.is_32bit() { RENAMED_32 } else { RENAMED_64 };
        let own = if self == Self::I386 { RENAMED_I386 } else { &[] };
        RENAMED.iter().chain(width).chain(own)
    }
}

/// As policies and events write it.
impl fmt::Display for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X64 => "x64",
            Self::I386 => "i386",
            Self::Arm64 => "arm64",
            Self::Arm32 => "arm32",
        })
    }
}

/// A name that is no ABI's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an ABI of system calls: expected x64, i386, arm64 or arm32")]
pub struct UnknownAbi(String);

impl FromStr for Abi {
    type Err = UnknownAbi;

    fn from_str(text: &str) -> Result<Self, UnknownAbi> {
        let found = Self::ALL.into_iter().find(|abi| abi.to_string() == text);
        found.ok_or_else(|| UnknownAbi(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kallsyms::Kallsyms;

    #[test]
    fn knows_numbers_of_all_abis() {
        for (abi, name, number) in [
            (Abi::X64, "read", 0),
            (Abi::X64, "openat", 257),
            (Abi::X64, "file_setattr", 469),
            (Abi::I386, "openat", 295),
            (Abi::I386, "file_setattr", 469),
            (Abi::I386, "break", 17),
            (Abi::Arm64, "openat", 56),
            (Abi::Arm64, "execve", 221),
            (Abi::Arm32, "openat", 322),
            (Abi::Arm32, "execve", 11),
        ] {
            assert_eq!(abi.number(name), Some(number), "{abi} {name}");
            assert_eq!(abi.name(number), Some(name), "{abi} {number}");
        }
        assert_eq!(Abi::Arm64.number("open"), None);
        assert_eq!(Abi::X64.name(400), None);
        for abi in Abi::ALL {
            assert!(abi.iter().count() > 300);
            assert!(abi.iter().all(|(number, name)| abi.number(name) == Some(number)));
            assert_eq!(abi.to_string().parse(), Ok(abi));
        }
        assert!("x86".parse::<Abi>().unwrap_err().to_string().contains("x64, i386"));
    }

    #[test]
    fn tables_of_renamed_calls_are_about_calls_that_exist() {
        for abi in Abi::ALL {
            let absent = |name: &&str| abi.number(name).is_none();
            let calls: Vec<_> = abi.renamed().map(|(call, _)| *call).collect();
            let missing: Vec<_> = calls.iter().copied().filter(absent).collect();
            // Tables are shared between ABIs that do not have all the same calls.
            assert!(missing.len() < 12, "{abi}: {missing:?}");
            for (at, call) in calls.iter().enumerate() {
                assert!(!calls[..at].contains(call), "{abi}: {call} twice");
            }
        }
        let never = |call: &str| Abi::ALL.iter().all(|abi| abi.number(call).is_none());
        let all = RENAMED.iter().chain(RENAMED_64).chain(RENAMED_32).chain(RENAMED_I386);
        for (call, _) in all {
            assert!(!never(call), "{call} is a call of no ABI");
        }
    }

    #[test]
    fn leads_from_calls_to_functions_and_back() {
        assert_eq!(Abi::X64.functions("openat"), ["__x64_sys_openat"]);
        assert_eq!(Abi::X64.functions("stat"), ["__x64_sys_newstat"]);
        assert_eq!(Abi::X64.functions("teleport"), [""; 0]);
        assert_eq!(
            Abi::I386.functions("openat"),
            ["__ia32_compat_sys_openat", "__ia32_sys_openat"]
        );
        assert_eq!(Abi::I386.functions("getuid")[1], "__ia32_sys_getuid16");

        assert_eq!(Abi::served_by("__x64_sys_newstat"), [(Abi::X64, 4)]);
        // The function of that name serves an i386 call, through another wrapper.
        assert_eq!(Abi::served_by("__x64_sys_stat"), []);
        assert_eq!(Abi::served_by("__ia32_sys_getuid"), [(Abi::I386, 199)]);
        assert_eq!(Abi::served_by("__ia32_compat_sys_execve"), [(Abi::I386, 11)]);
        let both = [(Abi::Arm64, 221), (Abi::Arm32, 11)];
        assert_eq!(Abi::served_by("__arm64_sys_execve"), both);
        assert_eq!(Abi::served_by("vfs_read"), []);
        for abi in Abi::ALL {
            for (number, name) in abi.iter() {
                for function in abi.functions(name) {
                    assert!(Abi::served_by(&function).contains(&(abi, number)), "{function}");
                }
            }
        }
    }

    #[test]
    fn the_running_kernel_has_the_functions() {
        let (Some(abi), Ok(symbols)) = (Abi::native(), Kallsyms::read()) else {
            return eprintln!("skipped: no kernel symbols, or neither x86-64 nor arm64");
        };
        for abi in [abi, abi.compat()] {
            let prefix = abi.prefixes()[0];
            if abi.is_32bit() && !symbols.iter().any(|symbol| symbol.name.starts_with(prefix)) {
                eprintln!("skipped {abi}: this kernel does not serve it");
                continue;
            }
            let absent: Vec<_> = abi
                .iter()
                .filter(|(_, name)| {
                    !abi.functions(name)
                        .iter()
                        .any(|function| symbols.by_name(function).next().is_some())
                })
                .map(|(_, name)| name)
                .collect();
            eprintln!("{abi}: without a function in this kernel: {absent:?}");
            // Removed calls, calls that options leave out, and calls newer than the kernel.
            assert!(absent.len() < 60, "{abi}: {absent:?}");
            for name in ["openat", "execve", "read", "uname", "getuid", "clone", "mmap"] {
                assert!(!absent.contains(&name) || abi.number(name).is_none(), "{abi} {name}");
            }
        }
    }
}
