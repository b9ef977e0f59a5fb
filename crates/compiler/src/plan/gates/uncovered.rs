//! System calls that pass no hook, or none whose answer counts.

use super::Uncovered;

const BY_CAPABILITY: &str =
    "it asks only for a capability, and whatever a hook answers becomes EPERM";
const HOOK_CAPABLE: &str =
    "an `lsmhooks` entry on `capable`, with a filter for the capability, denies it with EPERM";
const NO_HOOK: &str = "no LSM hook is called on its way";

pub(super) const UNCOVERED: &[Uncovered] = &[
    Uncovered {
        calls: &[
            "reboot",
            "sethostname",
            "setdomainname",
            "delete_module",
            "setns",
            "mount_setattr",
            "acct",
            "adjtimex",
            "clock_adjtime",
            "vhangup",
        ],
        why: BY_CAPABILITY,
        instead: HOOK_CAPABLE,
        own: false,
    },
    Uncovered {
        calls: &["dup", "dup2", "dup3"],
        why: NO_HOOK,
        instead: "it changes only its caller, which `Sigkill` ends; or deny the call that gives the \
                  file descriptor",
        own: true,
    },
    Uncovered {
        calls: &["close", "close_range", "lseek"],
        why: NO_HOOK,
        instead: "deny the call that gives the file descriptor",
        own: false,
    },
    Uncovered {
        calls: &["tee", "vmsplice"],
        why: NO_HOOK,
        instead: "deny `pipe` and `pipe2`, without which there is nothing to move",
        own: false,
    },
    Uncovered {
        calls: &["sync", "fsync", "fdatasync", "syncfs", "sync_file_range", "msync"],
        why: NO_HOOK,
        instead: "deny the writes themselves: what they save has been written",
        own: false,
    },
    Uncovered {
        calls: &["io_uring_enter", "io_uring_register"],
        why: "no LSM hook is called on its way, only those of the operations, each its own",
        instead: "deny `io_uring_setup`, without which there is no ring",
        own: false,
    },
    Uncovered {
        calls: &["io_submit"],
        why: "no LSM hook is called on its way, only those of the operations, each its own",
        instead: "an `lsmhooks` entry on `file_permission` denies its reads and writes",
        own: false,
    },
    Uncovered {
        calls: &["munmap", "mremap", "madvise", "brk", "remap_file_pages", "shmdt"],
        why: NO_HOOK,
        instead: "an `lsmhooks` entry on `mmap_file` or `file_mprotect` decides about memory that \
                  is mapped or made executable; `Sigkill` ends the caller",
        own: false,
    },
    Uncovered {
        calls: &["seccomp", "arch_prctl", "personality", "setsid", "umask", "set_tid_address"],
        why: NO_HOOK,
        instead: "it changes only its caller, which `Sigkill` ends",
        own: true,
    },
    Uncovered {
        calls: &["landlock_restrict_self", "landlock_add_rule"],
        why: "the error of the only hook, `cred_prepare`, becomes ENOMEM, or none is called",
        instead: "deny `landlock_create_ruleset`, without which there is nothing to add to; the call \
                  takes rights only from its caller",
        own: true,
    },
    Uncovered {
        calls: &["request_key", "keyctl"],
        why: "some of its operations look no key up, and errors of `key_permission` are replaced \
              while rings are searched",
        instead: "an `lsmhooks` entry on `key_permission` denies the use of keys",
        own: false,
    },
    Uncovered {
        calls: &["mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr"],
        why: NO_HOOK,
        instead: "deny `mq_open`",
        own: false,
    },
    Uncovered {
        calls: &["process_madvise", "move_pages", "kcmp"],
        why: "the caller's own memory passes no hook, and errors of `ptrace_access_check` are \
              replaced",
        instead: "an `lsmhooks` entry on `ptrace_access_check` denies it on other processes",
        own: false,
    },
    Uncovered {
        calls: &["exit", "exit_group", "rt_sigreturn"],
        why: "it cannot fail",
        instead: "nothing stops it",
        own: false,
    },
];
