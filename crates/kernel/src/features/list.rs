//! The features, each declared once: its name, what it is for, and how it is found out.

use std::fmt;

use super::kind::ProgramKind;
use super::probe::Probe;
use super::{Running, attach, maps, program};

macro_rules! features {
    ($($(#[doc = $about:literal])+ $feature:ident = $name:literal, $ask:expr;)*) => {
        /// Something that a kernel has or has not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Feature {
            $($(#[doc = $about])+ $feature,)*
        }

        impl Feature {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$feature,)*];

            /// Name, for files and tables.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$feature => $name,)*
                }
            }

            /// What it is, on one line.
            pub fn about(self) -> &'static str {
                match self {
                    $(Self::$feature => concat!($($about),+).trim_ascii(),)*
                }
            }

            /// Asks the running kernel.
            pub(super) fn ask(self, kernel: &Running<'_>) -> Probe {
                match self {
                    $(Self::$feature => {
                        let ask: fn(&Running<'_>) -> Probe = $ask;
                        ask(kernel)
                    })*
                }
            }
        }
    };
}

features! {
    /// Programs on the entry of kernel functions, by breakpoint.
    Kprobe = "kprobe", attach::kprobe;
    /// Programs on the return of kernel functions, by breakpoint.
    Kretprobe = "kretprobe", attach::kretprobe;
    /// One program on many kernel functions.
    KprobeMulti = "kprobe_multi", attach::kprobe_multi;
    /// One program on entry and return of many kernel functions.
    KprobeSession = "kprobe_session", attach::kprobe_session;
    /// Programs on the entry of kernel functions, by trampoline.
    Fentry = "fentry", attach::fentry;
    /// Programs on the return of kernel functions, by trampoline.
    Fexit = "fexit", attach::fexit;
    /// Programs that replace security functions.
    FmodRet = "fmod_ret", attach::fmod_ret;
    /// Programs that replace system calls.
    FmodRetSyscall = "fmod_ret_syscall", attach::fmod_ret_syscall;
    /// Trampoline programs that may sleep.
    SleepableTracing = "sleepable_tracing", attach::sleepable_tracing;
    /// Programs on LSM hooks, attached and run.
    Lsm = "lsm", attach::lsm;
    /// Kprobes that replace system calls by a return value.
    OverrideReturn = "override_return", attach::override_return;
    /// Programs on tracepoints, with typed arguments.
    TpBtf = "tp_btf", attach::tp_btf;
    /// Programs on tracepoints, with untyped arguments.
    RawTracepoint = "raw_tracepoint", attach::raw_tracepoint;
    /// Programs on tracepoints, with perf's records.
    Tracepoint = "tracepoint", attach::tracepoint;
    /// Programs on instructions in user space.
    Uprobe = "uprobe", attach::uprobe;
    /// Counters of USDT probes kept by the kernel.
    UprobeRefCounter = "uprobe_ref_counter", attach::uprobe_ref_counter;
    /// One program on many instructions in user space.
    UprobeMulti = "uprobe_multi", attach::uprobe_multi;
    /// Uprobe programs that wait for memory of the process.
    SleepableUprobe = "sleepable_uprobe", |kernel| {
        kernel.features.helper(148, ProgramKind::UprobeSleepable)
    };
    /// Uprobe programs that change registers.
    UprobeRegisterChange = "uprobe_register_change", program::uprobe_register_change;
    /// Programs run for each task when user space reads.
    IterTask = "iter_task", attach::iter_task;
    /// State kept with tasks.
    TaskStorage = "task_storage", maps::task_storage;
    /// State kept with cgroups.
    CgroupStorage = "cgroup_storage", maps::cgroup_storage;
    /// Ring buffers.
    RingBuffer = "ring_buffer", maps::ring_buffer;
    /// Many map elements in one call.
    BatchOperations = "batch_operations", maps::batch_operations;
    /// Links that outlive the process.
    LinkPinning = "link_pinning", attach::link_pinning;
    /// Programs of more than 4096 instructions.
    LargePrograms = "large_programs", program::large;
    /// Programs with functions.
    Subprograms = "subprograms", program::subprograms;
    /// Tail calls from functions of programs.
    TailCallsInSubprograms = "tail_calls_in_subprograms", program::tail_calls_in_subprograms;
    /// Loops by callback: bpf_loop.
    Loop = "loop", |kernel| kernel.features.helper(181, ProgramKind::TpBtf);
    /// Signals to the current task: bpf_send_signal.
    SendSignal = "send_signal", |kernel| kernel.features.helper(109, ProgramKind::TpBtf);
    /// Writes to memory of the current process: bpf_probe_write_user.
    ProbeWriteUser = "probe_write_user", |kernel| kernel.features.helper(36, ProgramKind::TpBtf);
    /// The return value in fexit programs: bpf_get_func_ret.
    GetFuncRet = "get_func_ret", |kernel| kernel.features.helper(184, ProgramKind::Fexit);
    /// The address of the probed function: bpf_get_func_ip.
    GetFuncIp = "get_func_ip", |kernel| kernel.features.helper(173, ProgramKind::Kprobe);
    /// Build ids of mapped files, from perf.
    BuildId = "build_id", attach::build_id;
    /// The login uid of tasks.
    AuditLoginuid = "audit_loginuid", |kernel| member(kernel, "task_struct", "loginuid");
    /// Counts of events that kprobes missed.
    MissedStatsKprobe = "missed_stats_kprobe", |kernel| {
        let counted = member(kernel, "bpf_link_info", "perf_event.kprobe.missed");
        counted.and(|| kernel.features.probe(Feature::Kprobe))
    };
    /// Counts of events that kprobe.multi missed.
    MissedStatsKprobeMulti = "missed_stats_kprobe_multi", |kernel| {
        let counted = member(kernel, "bpf_link_info", "kprobe_multi.missed");
        counted.and(|| kernel.features.probe(Feature::KprobeMulti))
    };
    /// Search in strings: bpf_strnstr.
    SubstringKfunc = "substring_kfunc", |kernel| {
        kernel.features.kfunc("bpf_strnstr", ProgramKind::TpBtf)
    };
    /// The same without regard to case: bpf_strncasestr.
    SubstringIgnoreCaseKfunc = "substring_ignore_case_kfunc", |kernel| {
        kernel.features.kfunc("bpf_strncasestr", ProgramKind::TpBtf)
    };
    /// Strings of user space read by programs that may sleep: bpf_copy_from_user_str.
    CopyFromUserStr = "copy_from_user_str", |kernel| {
        kernel.features.kfunc("bpf_copy_from_user_str", ProgramKind::UprobeSleepable)
    };
    /// Paths in LSM programs: bpf_path_d_path.
    PathDPath = "path_d_path", |kernel| {
        kernel.features.kfunc("bpf_path_d_path", ProgramKind::Lsm)
    };
    /// The executable of a task in LSM programs: bpf_get_task_exe_file.
    TaskExeFile = "task_exe_file", |kernel| {
        kernel.features.kfunc("bpf_get_task_exe_file", ProgramKind::Lsm)
    };
    /// Digests of files in LSM programs that may sleep: bpf_ima_file_hash.
    ImaFileHash = "ima_file_hash", |kernel| {
        kernel.features.helper(193, ProgramKind::LsmSleepable)
    };
    /// Any address taken for a typed, read-only object: bpf_rdonly_cast.
    RdonlyCast = "rdonly_cast", |kernel| {
        kernel.features.kfunc("bpf_rdonly_cast", ProgramKind::TpBtf)
    };
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn member(kernel: &Running<'_>, container: &str, path: &str) -> Probe {
    let found = kernel.btf.find_struct(container).and_then(|id| kernel.btf.field(id, path));
    match found {
        Ok(_) => Probe::Yes,
        Err(error) => Probe::no(error.to_string()),
    }
}
