//! Other ways to the effect of a system call: its siblings, io_uring, and the table of 32-bit callers.

use kernel::btf::Kind;

use super::{At, Rule, at, joined};
use crate::plan::gates;

/// System calls with the same effect.
const SIBLINGS: &[&[&str]] = &[
    &["open", "openat", "openat2", "creat", "open_by_handle_at"],
    &[
        "read",
        "pread64",
        "readv",
        "preadv",
        "preadv2",
        "sendfile",
        "splice",
        "copy_file_range",
        "mmap",
    ],
    &[
        "write",
        "pwrite64",
        "writev",
        "pwritev",
        "pwritev2",
        "sendfile",
        "splice",
        "copy_file_range",
        "mmap",
    ],
    &["truncate", "ftruncate"],
    &["link", "linkat"],
    &["symlink", "symlinkat"],
    &["unlink", "unlinkat"],
    &["rmdir", "unlinkat"],
    &["rename", "renameat", "renameat2"],
    &["mkdir", "mkdirat"],
    &["mknod", "mknodat"],
    &["chmod", "fchmod", "fchmodat", "fchmodat2"],
    &["chown", "fchown", "lchown", "fchownat"],
    &["utime", "utimes", "futimesat", "utimensat"],
    &["setxattr", "lsetxattr", "fsetxattr", "setxattrat"],
    &["removexattr", "lremovexattr", "fremovexattr", "removexattrat"],
    &["mount", "move_mount"],
    &["execve", "execveat"],
    &["fork", "vfork", "clone", "clone3"],
    &["kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"],
    &["setuid", "setreuid", "setresuid", "setfsuid"],
    &["setgid", "setregid", "setresgid", "setfsgid"],
    &["setrlimit", "prlimit64"],
    &["sched_setscheduler", "sched_setparam", "sched_setattr"],
    &["accept", "accept4"],
    &["sendto", "sendmsg", "sendmmsg", "write", "writev"],
    &["recvfrom", "recvmsg", "recvmmsg", "read", "readv"],
    &["socket", "socketpair"],
    &["pipe", "pipe2"],
    &["dup", "dup2", "dup3", "fcntl"],
    &["init_module", "finit_module"],
    &["kexec_load", "kexec_file_load"],
    &["settimeofday", "clock_settime"],
    &["ptrace", "process_vm_writev"],
    &["unshare", "setns", "clone", "clone3"],
];

/// System calls whose effect io_uring has too (`io_uring/opdef.c`).
const IN_RINGS: &[&str] = &[
    "open",
    "openat",
    "openat2",
    "read",
    "pread64",
    "readv",
    "preadv",
    "preadv2",
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev2",
    "splice",
    "tee",
    "fallocate",
    "ftruncate",
    "unlink",
    "unlinkat",
    "rmdir",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "mkdirat",
    "symlink",
    "symlinkat",
    "link",
    "linkat",
    "setxattr",
    "fsetxattr",
    "getxattr",
    "fgetxattr",
    "connect",
    "accept",
    "accept4",
    "sendto",
    "sendmsg",
    "recvfrom",
    "recvmsg",
    "shutdown",
    "socket",
    "bind",
    "listen",
    "madvise",
    "epoll_ctl",
    "pipe2",
];

pub(super) fn judge(rule: &Rule<'_>) -> Option<String> {
    let At::Syscall(name) = rule.at else { return None };
    let hooked =
        |call: &str| rule.plan.hooks.iter().any(|hook| at(hook) == Some(At::Syscall(call)));
    let exists = |call: &str| {
        let function = format!("__{}_sys_{call}", architecture());
        rule.btf.find(Kind::Func, &function).is_some()
    };
    let mut ways: Vec<String> = Vec::new();
    let groups = SIBLINGS.iter().filter(|group| group.contains(&name));
    for sibling in groups.flat_map(|group| group.iter()) {
        if !hooked(sibling) && exists(sibling) && !ways.iter().any(|way| way == sibling) {
            ways.push((*sibling).to_owned());
        }
    }
    if IN_RINGS.contains(&name) && !hooked("io_uring_setup") && exists("io_uring_setup") {
        ways.push("io_uring_setup (for rings)".to_owned());
    }
    let others = ["__ia32_compat_sys_", "__ia32_sys_", "__arm64_compat_sys_"];
    let mut wrappers = others.iter().map(|prefix| format!("{prefix}{name}"));
    let other = wrappers.find(|wrapper| rule.btf.find(Kind::Func, wrapper).is_some());
    if let Some(wrapper) = other.filter(|_| !has_compat(rule, name)) {
        ways.push(format!("{wrapper} (for 32-bit programs)"));
    }
    if ways.is_empty() {
        return None;
    }
    let instead = match gates::of(name).ok().and_then(|gates| gates.hooks(rule.btf).ok()) {
        Some(hooks) if !hooks.is_empty() => {
            format!("; `lsmhooks` on {} hold for all of them", hooks.join(" and "))
        }
        _ => String::new(),
    };
    Some(format!("{name} is not the only way to its effect: hook {} too{instead}", joined(&ways)))
}

/// Whether the policy hooks the system call of 32-bit programs too.
fn has_compat(rule: &Rule<'_>, name: &str) -> bool {
    let same = |hook| at(hook) == Some(At::Syscall(name));
    rule.plan.hooks.iter().any(|hook| hook.attachment.is_compat() && same(hook))
}

/// As in the names of the wrappers of this architecture's system calls.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "x64",
    }
}
