//! Self-protection: a policy that would stop everybody, the agent and the first process included.
//!
//! Such is a rule without any filter on what every process does all the time. One without filters on what
//! few do (`swapon`) is none: it is meant so. A filter narrows, whatever it says.

use policy::checked::{Scope, Selector};
use policy::{Problem, Problems};

use crate::plan::{Attachment, EventKind, HookPlan, Plan, stem};

/// System calls that every process, the agent and pid 1 among them, makes all the time or needs to end.
const SYSCALLS: &[&str] = &[
    "accept4",
    "access",
    "bpf",
    "brk",
    "clock_gettime",
    "clock_nanosleep",
    "clone",
    "clone3",
    "close",
    "connect",
    "dup",
    "dup2",
    "dup3",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_wait",
    "execve",
    "exit",
    "exit_group",
    "faccessat2",
    "fcntl",
    "fork",
    "fstat",
    "newfstat",
    "futex",
    "getdents64",
    "getpid",
    "getrandom",
    "gettid",
    "ioctl",
    "kill",
    "lseek",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "pipe2",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "pwrite64",
    "read",
    "readlink",
    "readlinkat",
    "readv",
    "recvfrom",
    "recvmsg",
    "rename",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "sendmsg",
    "sendto",
    "set_robust_list",
    "setsockopt",
    "sigaltstack",
    "socket",
    "stat",
    "statx",
    "tgkill",
    "unlink",
    "unlinkat",
    "vfork",
    "wait4",
    "waitid",
    "write",
    "writev",
];

/// LSM hooks that are called for what every process does all the time.
const HOOKS: &[&str] = &[
    "bpf",
    "bprm_check_security",
    "bprm_creds_for_exec",
    "bprm_creds_from_file",
    "capable",
    "cred_prepare",
    "file_alloc_security",
    "file_fcntl",
    "file_ioctl",
    "file_mprotect",
    "file_open",
    "file_permission",
    "file_receive",
    "inode_alloc_security",
    "inode_create",
    "inode_getattr",
    "inode_permission",
    "inode_readlink",
    "inode_unlink",
    "mmap_addr",
    "mmap_file",
    "socket_accept",
    "socket_connect",
    "socket_create",
    "socket_recvmsg",
    "socket_sendmsg",
    "task_alloc",
    "task_kill",
    "task_prctl",
    "unix_stream_connect",
    "vm_enough_memory_mm",
];

/// Tracepoints that every process passes all the time.
const TRACEPOINTS: &[&str] = &[
    "raw_syscalls/sys_enter",
    "raw_syscalls/sys_exit",
    "sched/sched_process_exec",
    "sched/sched_process_exit",
    "sched/sched_process_fork",
    "sched/sched_switch",
];

/// Refuses a plan that would stop everybody.
pub(crate) fn check(plan: &Plan) -> Result<(), Problems> {
    let policy = &plan.policy;
    if policy.settings.allow_unrestricted_enforcement || is_narrow(&policy.scope) {
        return Ok(());
    }
    let mut list: Vec<Problem> = Vec::new();
    for hook in &plan.hooks {
        let Some(what) = everyday(hook) else { continue };
        for selector in hook.selectors.iter().filter(|selector| stops_all(selector)) {
            let (mark, path) = (selector.place.mark, selector.place.path.clone());
            let message = format!(
                "this stops every process at {what}, this agent and pid 1 too: add a filter, such as \
                 matchBinaries, or set the policy's option `allow-unrestricted-enforcement` to true"
            );
            if !list.iter().any(|known| known.path == path) {
                list.push(Problem { mark, path, message });
            }
        }
    }
    Problems::of(&policy.file, list).map_or(Ok(()), Err)
}

/// What the hook is on, if everybody passes there.
fn everyday(hook: &HookPlan) -> Option<String> {
    let syscall = match &hook.attachment {
        Attachment::Trampoline { syscall, .. } | Attachment::Kprobe { syscall, .. } => *syscall,
        Attachment::Syscall { .. } => true,
        _ => false,
    };
    match &hook.event {
        EventKind::Kprobe { function } if syscall => stem(function)
            .filter(|name| SYSCALLS.contains(name))
            .map(|name| format!("the system call {name}")),
        EventKind::Kprobe { function } => function
            .strip_prefix("security_")
            .filter(|name| HOOKS.contains(name))
            .map(|_| function.clone()),
        EventKind::Lsm { hook } => {
            HOOKS.contains(&hook.as_str()).then(|| format!("the LSM hook {hook}"))
        }
        EventKind::Tracepoint { subsystem, event } => {
            let name = format!("{subsystem}/{event}");
            TRACEPOINTS.contains(&name.as_str()).then(|| format!("the tracepoint {name}"))
        }
        _ => None,
    }
}

/// Whether it acts on whoever comes.
fn stops_all(selector: &Selector) -> bool {
    let Selector {
        place: _,
        label: _,
        workloads,
        pids,
        binaries,
        parent_binaries,
        namespaces,
        namespace_changes,
        capabilities,
        capability_changes,
        filters,
        return_filters,
        actions,
        return_actions,
    } = selector;
    let at_entry = actions.iter().any(|action| action.value.is_enforcing());
    let at_return = return_actions.iter().any(|action| action.value.is_enforcing());
    (at_entry || at_return && return_filters.is_empty())
        && !workloads.as_ref().is_some_and(is_narrow)
        && pids.is_empty()
        && binaries.is_empty()
        && parent_binaries.is_empty()
        && namespaces.is_empty()
        && namespace_changes.is_empty()
        && capabilities.is_empty()
        && capability_changes.is_empty()
        && filters.is_empty()
}

/// Whether only containers are meant.
fn is_narrow(scope: &Scope) -> bool {
    !scope.host && (scope.pods.is_some() || scope.containers.is_some())
}
