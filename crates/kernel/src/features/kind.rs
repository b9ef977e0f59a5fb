//! Kinds of programs, as far as the verifier tells them apart.

use std::fmt;
use std::str::FromStr;

use crate::btf::{Btf, BtfError, Kind, TypeId};
use crate::program::{AttachType, ProgramFlags, ProgramType};
use crate::syscalls::Abi;

/// A kind of program: its type, how it attaches, and whether it may sleep. Which helpers and kernel
/// functions it may call depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProgramKind {
    /// Entry or return of one kernel function.
    Kprobe,
    /// Of many.
    KprobeMulti,
    /// Entry and return of many, in one program.
    KprobeSession,
    /// An instruction of a program in user space. To the verifier the same as [`Self::Kprobe`].
    Uprobe,
    /// The same, allowed to sleep.
    UprobeSleepable,
    /// Many instructions of programs in user space.
    UprobeMulti,
    /// The same, allowed to sleep.
    UprobeMultiSleepable,
    /// A tracepoint, with the record that perf would write.
    Tracepoint,
    /// A tracepoint, with the arguments that the kernel passes.
    RawTracepoint,
    /// The same, typed.
    TpBtf,
    /// Entry of a kernel function, by trampoline.
    Fentry,
    /// The same, allowed to sleep.
    FentrySleepable,
    /// Return of a kernel function, by trampoline.
    Fexit,
    /// The same, allowed to sleep.
    FexitSleepable,
    /// Before a kernel function, which it can replace.
    FmodRet,
    /// A hook of the Linux security modules.
    Lsm,
    /// The same, allowed to sleep.
    LsmSleepable,
    /// Each task, when user space reads.
    IterTask,
    /// A timer or counter of perf's.
    PerfEvent,
}

impl ProgramKind {
    /// All kinds.
    pub const ALL: [Self; 19] = [
        Self::Kprobe,
        Self::KprobeMulti,
        Self::KprobeSession,
        Self::Uprobe,
        Self::UprobeSleepable,
        Self::UprobeMulti,
        Self::UprobeMultiSleepable,
        Self::Tracepoint,
        Self::RawTracepoint,
        Self::TpBtf,
        Self::Fentry,
        Self::FentrySleepable,
        Self::Fexit,
        Self::FexitSleepable,
        Self::FmodRet,
        Self::Lsm,
        Self::LsmSleepable,
        Self::IterTask,
        Self::PerfEvent,
    ];

    /// The kernel's program type.
    pub fn program_type(self) -> ProgramType {
        match self {
            Self::Kprobe
            | Self::KprobeMulti
            | Self::KprobeSession
            | Self::Uprobe
            | Self::UprobeSleepable
            | Self::UprobeMulti
            | Self::UprobeMultiSleepable => ProgramType::KPROBE,
            Self::Tracepoint => ProgramType::TRACEPOINT,
            Self::RawTracepoint => ProgramType::RAW_TRACEPOINT,
            Self::TpBtf
            | Self::Fentry
            | Self::FentrySleepable
            | Self::Fexit
            | Self::FexitSleepable
            | Self::FmodRet
            | Self::IterTask => ProgramType::TRACING,
            Self::Lsm | Self::LsmSleepable => ProgramType::LSM,
            Self::PerfEvent => ProgramType::PERF_EVENT,
        }
    }

    /// The kernel's attach type; 0 where the program type says it all.
    pub fn attach_type(self) -> AttachType {
        match self {
            Self::KprobeMulti => AttachType::TRACE_KPROBE_MULTI,
            Self::KprobeSession => AttachType::TRACE_KPROBE_SESSION,
            Self::UprobeMulti | Self::UprobeMultiSleepable => AttachType::TRACE_UPROBE_MULTI,
            Self::TpBtf => AttachType::TRACE_RAW_TP,
            Self::Fentry | Self::FentrySleepable => AttachType::TRACE_FENTRY,
            Self::Fexit | Self::FexitSleepable => AttachType::TRACE_FEXIT,
            Self::FmodRet => AttachType::MODIFY_RETURN,
            Self::Lsm | Self::LsmSleepable => AttachType::LSM_MAC,
            Self::IterTask => AttachType::TRACE_ITER,
            Self::Kprobe
            | Self::Uprobe
            | Self::UprobeSleepable
            | Self::Tracepoint
            | Self::RawTracepoint
            | Self::PerfEvent => AttachType::default(),
        }
    }

    /// Whether it may sleep.
    pub fn is_sleepable(self) -> bool {
        matches!(
            self,
            Self::UprobeSleepable
                | Self::UprobeMultiSleepable
                | Self::FentrySleepable
                | Self::FexitSleepable
                | Self::LsmSleepable
        )
    }

    /// The flags that programs of this kind are loaded with.
    pub fn flags(self) -> ProgramFlags {
        match self.is_sleepable() {
            true => ProgramFlags::SLEEPABLE,
            false => ProgramFlags::empty(),
        }
    }

    /// Places that a probe of this kind can be loaded for and, shortly, attached to: rarely passed, and
    /// a program that returns 0 changes nothing there. Empty for kinds that are loaded for no place.
    fn places(self) -> Vec<String> {
        match self {
            Self::TpBtf => vec!["btf_trace_sched_process_exec".to_owned()],
            Self::Fentry | Self::Fexit => OBSERVED.map(str::to_owned).into(),
            Self::FmodRet => vec!["security_sb_umount".to_owned()],
            // Functions in which errors can be injected may sleep, as most system calls; on kernels
            // without error injection the kernel's own test function may, from Linux 6.2 or so on.
            Self::FentrySleepable | Self::FexitSleepable => {
                let mut places = rare_system_call();
                places.push("bpf_fentry_test1".to_owned());
                places
            }
            // All of these may sleep.
            Self::Lsm | Self::LsmSleepable => vec!["bpf_lsm_sb_umount".to_owned()],
            Self::IterTask => vec!["bpf_iter_task".to_owned()],
            _ => Vec::new(),
        }
    }

    /// The types of [`Self::places`] that this kernel has; `None` for kinds that need none.
    pub(super) fn targets(self, btf: &Btf) -> Option<Result<Vec<TypeId>, BtfError>> {
        let places = self.places();
        let first = places.first()?.clone();
        let kind = if self == Self::TpBtf { Kind::Typedef } else { Kind::Func };
        let found: Vec<_> = places.iter().filter_map(|place| btf.find(kind, place)).collect();
        Some(match found.is_empty() {
            true => Err(BtfError::NotFound { kind, name: first }),
            false => Ok(found),
        })
    }
}

/// Functions that probes of entry and return are tried on, the first that there is: about unmounting,
/// which is rare.
pub(super) const OBSERVED: [&str; 3] = ["security_sb_umount", "path_umount", "do_exit"];

/// A system call that hardly anyone makes, that takes an argument, so that BTF has its function, and
/// that no option leaves out: errors cannot be injected in the stub of one that is (`COND_SYSCALL`).
pub(super) fn rare_system_call() -> Vec<String> {
    Abi::native().map(|abi| abi.functions("sethostname")).unwrap_or_default()
}

/// As sections of object files are named for them.
impl fmt::Display for ProgramKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kprobe => "kprobe",
            Self::KprobeMulti => "kprobe.multi",
            Self::KprobeSession => "kprobe.session",
            Self::Uprobe => "uprobe",
            Self::UprobeSleepable => "uprobe.s",
            Self::UprobeMulti => "uprobe.multi",
            Self::UprobeMultiSleepable => "uprobe.multi.s",
            Self::Tracepoint => "tracepoint",
            Self::RawTracepoint => "raw_tp",
            Self::TpBtf => "tp_btf",
            Self::Fentry => "fentry",
            Self::FentrySleepable => "fentry.s",
            Self::Fexit => "fexit",
            Self::FexitSleepable => "fexit.s",
            Self::FmodRet => "fmod_ret",
            Self::Lsm => "lsm",
            Self::LsmSleepable => "lsm.s",
            Self::IterTask => "iter/task",
            Self::PerfEvent => "perf_event",
        })
    }
}

/// A name that is no kind's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kind of program")]
pub struct UnknownKind(String);

impl FromStr for ProgramKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let found = Self::ALL.into_iter().find(|kind| kind.to_string() == text);
        found.ok_or_else(|| UnknownKind(text.to_owned()))
    }
}
