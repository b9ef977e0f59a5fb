//! Gates of system calls on processes, credentials, sockets, messages and the kernel itself.

use super::Way::First;
use super::{Answer, Gates, gates};

/// `EPERM`, the same on all machines, as are the following.
const EPERM: i32 = 1;
const EACCES: i32 = 13;
const ENOSYS: i32 = 38;

pub(super) const GATES: &[Gates] = &[
    gates(
        &["execve", "execveat"],
        &[First(&["bprm_creds_for_exec"])],
        "bprm_execve asks before exec_binprm looks for a loader",
    ),
    gates(
        &["fork", "vfork", "clone", "clone3"],
        &[First(&["task_alloc"])],
        "copy_process asks before the new task can be seen",
    ),
    gates(
        &["kill"],
        &[First(&["task_kill"])],
        "check_kill_permission asks for each receiver before the signal is queued. With pid -1 the \
         kernel does not count EPERM as a failure: nothing is sent, and the call gives 0",
    ),
    gates(
        &["tkill", "tgkill"],
        &[First(&["task_kill"])],
        "check_kill_permission asks before the signal is queued",
    ),
    gates(
        &["rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"],
        &[First(&["task_kill"])],
        "check_kill_permission asks before the signal is queued",
    )
    .harmless("a process's signal to itself with si_code above 0, as if from the kernel"),
    gates(
        &["ptrace"],
        &[First(&["ptrace_access_check"]), First(&["ptrace_traceme"])],
        "ptrace_attach and ptrace_traceme ask before they link the two",
    )
    .except("requests about a process that is traced already", "deny the attaching, by an `lsmhooks` entry on `ptrace_access_check`, and restart what is traced"),
    gates(
        &["process_vm_readv", "process_vm_writev"],
        &[First(&["ptrace_access_check"])],
        "mm_access asks (ptrace_may_access) before memory is reached",
    )
    .answer(Answer::Always(EPERM))
    .harmless("the caller's own memory"),
    gates(
        &["pidfd_getfd"],
        &[First(&["file_receive"])],
        "receive_fd asks before the file is installed",
    ),
    gates(
        &["migrate_pages"],
        &[First(&["task_movememory"])],
        "kernel_migrate_pages asks before it moves pages",
    ),
    gates(
        &["setuid", "setreuid", "setresuid"],
        &[First(&["task_fix_setuid"])],
        "each asks before commit_creds",
    ),
    gates(
        &["setgid", "setregid", "setresgid"],
        &[First(&["task_fix_setgid"])],
        "each asks before commit_creds",
    ),
    gates(&["setfsuid"], &[First(&["task_fix_setuid"])], "__sys_setfsuid asks before commit_creds")
        .answer(Answer::Silent("the call gives the user id as it was")),
    gates(&["setfsgid"], &[First(&["task_fix_setgid"])], "__sys_setfsgid asks before commit_creds")
        .answer(Answer::Silent("the call gives the group id as it was")),
    gates(
        &["setgroups"],
        &[First(&["task_fix_setgroups"])],
        "set_current_groups asks before commit_creds",
    ),
    gates(&["capset"], &[First(&["capset"])], "capset asks before commit_creds"),
    gates(&["prctl"], &[First(&["task_prctl"])], "prctl asks before it looks at the option")
        .answer(Answer::PolicyExcept(ENOSYS))
        .except(
            "PR_CAPBSET_DROP, PR_SET_SECUREBITS, PR_SET_KEEPCAPS and PR_CAP_AMBIENT: the module \
             `capability` carries them out in its own hook, before others are asked",
            "an `lsmhooks` entry on `capable` denies the first two with EPERM",
        ),
    gates(
        &["unshare"],
        &[First(&["userns_create"])],
        "create_user_ns asks; what was prepared is dropped",
    )
    .except("all but CLONE_NEWUSER: other namespaces, CLONE_FS, CLONE_FILES", "the others need CAP_SYS_ADMIN, which an `lsmhooks` entry on `capable` denies with EPERM"),
    gates(
        &["setpriority"],
        &[First(&["task_setnice"])],
        "set_one_prio asks before set_user_nice, for each process",
    ),
    gates(
        &["sched_setscheduler", "sched_setparam", "sched_setattr"],
        &[First(&["task_setscheduler"])],
        "__sched_setscheduler asks before it changes anything",
    ),
    gates(
        &["sched_setaffinity"],
        &[First(&["task_setscheduler"])],
        "sched_setaffinity asks before it changes anything",
    ),
    gates(
        &["ioprio_set"],
        &[First(&["task_setioprio"])],
        "set_task_ioprio asks before it sets, for each process",
    ),
    gates(&["setpgid"], &[First(&["task_setpgid"])], "setpgid asks before change_pid"),
    gates(
        &["setrlimit", "prlimit64"],
        &[First(&["task_setrlimit"])],
        "do_prlimit asks before it sets a limit; asking for one has no effect and is not denied",
    ),
    gates(
        &["socket", "socketpair"],
        &[First(&["socket_create"])],
        "__sock_create asks before the socket is made",
    ),
    gates(&["bind"], &[First(&["socket_bind"])], "__sys_bind asks before the protocol's bind"),
    gates(
        &["connect"],
        &[First(&["socket_connect"])],
        "__sys_connect_file asks before the protocol's connect",
    ),
    gates(
        &["listen"],
        &[First(&["socket_listen"])],
        "__sys_listen asks before the protocol's listen",
    ),
    gates(
        &["accept", "accept4"],
        &[First(&["socket_accept"])],
        "do_accept asks before the protocol's accept takes a connection",
    ),
    gates(
        &["sendto", "sendmsg", "sendmmsg"],
        &[First(&["socket_sendmsg"])],
        "sock_sendmsg asks before the protocol's sendmsg; of several messages the first is denied",
    ),
    gates(
        &["recvfrom", "recvmsg", "recvmmsg"],
        &[First(&["socket_recvmsg"])],
        "sock_recvmsg asks before the protocol's recvmsg; of several messages the first is denied",
    ),
    gates(
        &["shutdown"],
        &[First(&["socket_shutdown"])],
        "__sys_shutdown_sock asks before the protocol's shutdown",
    ),
    gates(
        &["setsockopt"],
        &[First(&["socket_setsockopt"])],
        "do_sock_setsockopt (before 6.7 __sys_setsockopt) asks before the option is read",
    ),
    gates(
        &["getsockopt"],
        &[First(&["socket_getsockopt"])],
        "do_sock_getsockopt (before 6.7 __sys_getsockopt) asks before the option is read",
    ),
    gates(&["bpf"], &[First(&["bpf"])], "__sys_bpf asks before it looks at the command"),
    gates(
        &["perf_event_open"],
        &[First(&["perf_event_open"])],
        "perf_event_open asks before it looks at the event",
    ),
    gates(
        &["init_module"],
        &[First(&["kernel_load_data"])],
        "copy_module_from_user asks before the image is copied",
    ),
    gates(
        &["finit_module"],
        &[First(&["kernel_read_file"])],
        "kernel_read_file asks before the image is read",
    )
    .harmless("a load of the same file that another process has under way (since 6.5): its result"),
    gates(
        &["kexec_load"],
        &[First(&["kernel_load_data"])],
        "kexec_load_check asks before anything is loaded or unloaded",
    ),
    gates(
        &["kexec_file_load"],
        &[First(&["kernel_read_file"])],
        "kernel_read_file asks before the image is read",
    )
    .except(
        "KEXEC_FILE_UNLOAD and KEXEC_FILE_ON_CRASH drop the image loaded before, without a hook",
        "an `lsmhooks` entry on `capable` denies them with EPERM",
    ),
    gates(
        &["ioperm", "iopl"],
        &[First(&["locked_down"])],
        "both ask before ports are opened; giving ports up is not denied",
    )
    .answer(Answer::Always(EPERM)),
    gates(&["syslog"], &[First(&["syslog"])], "check_syslog_permissions asks first"),
    gates(
        &["settimeofday"],
        &[First(&["settime"])],
        "do_sys_settimeofday64 asks before the time or the zone is set",
    ),
    gates(
        &["clock_settime"],
        &[First(&["settime"])],
        "do_sys_settimeofday64 asks before the time is set",
    )
    .except("clocks of devices, as /dev/ptp0, and auxiliary clocks", "deny opening the devices"),
    gates(
        &["add_key"],
        &[First(&["key_permission"])],
        "lookup_user_key asks for the ring before the key is made",
    ),
    gates(
        &["msgget"],
        &[First(&["msg_queue_alloc_security"]), First(&["msg_queue_associate"])],
        "newque asks for a new queue, ipc_check_perms for one that exists",
    ),
    gates(
        &["msgsnd"],
        &[First(&["msg_queue_msgsnd"])],
        "do_msgsnd asks before the message is queued",
    ),
    gates(
        &["msgrcv"],
        &[First(&["ipc_permission"])],
        "do_msgrcv asks (ipcperms) before it looks for a message",
    )
    .answer(Answer::Always(EACCES)),
    gates(
        &["msgctl"],
        &[First(&["msg_queue_msgctl"])],
        "each command asks before it reads or changes the queue",
    ),
    gates(
        &["semget"],
        &[First(&["sem_alloc_security"]), First(&["sem_associate"])],
        "newary asks for a new set, ipc_check_perms for one that exists",
    ),
    gates(
        &["semop", "semtimedop"],
        &[First(&["sem_semop"])],
        "do_semtimedop asks before any operation",
    ),
    gates(
        &["semctl"],
        &[First(&["sem_semctl"])],
        "each command asks before it reads or changes the set",
    )
    .answer(Answer::PolicyOr(EACCES, "SETVAL")),
    gates(
        &["shmget"],
        &[First(&["shm_alloc_security"]), First(&["shm_associate"])],
        "newseg asks for a new segment, ipc_check_perms for one that exists",
    ),
    gates(&["shmat"], &[First(&["shm_shmat"])], "do_shmat asks before it maps"),
    gates(
        &["shmctl"],
        &[First(&["shm_shmctl"])],
        "each command asks before it reads or changes the segment",
    ),
];
