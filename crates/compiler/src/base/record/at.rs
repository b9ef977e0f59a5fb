//! Byte offsets in records; what stands there is said at the structs of the same names.

/// Header: kind (u32).
pub const KIND: i16 = 0;
/// Header: CPU (u32).
pub const CPU: i16 = 4;
/// Header: sequence number (u64).
pub const SEQ: i16 = 8;
/// Header: time (u64).
pub const TIME: i16 = 16;
/// Identity of the process the record is about.
pub const PROCESS: i16 = 24;
/// Identity's start time (u64), relative to the identity.
pub const IDENTITY_KTIME: i16 = 0;
/// Identity's pid (u32), relative to the identity.
pub const IDENTITY_PID: i16 = 8;

/// Offsets in an exec record.
pub mod exec {
    /// Identity of the image that this exec replaced.
    pub const PREVIOUS: i16 = 40;
    /// Identity of the parent.
    pub const PARENT: i16 = 56;
    /// [`super::super::Flags`] (u32).
    pub const FLAGS: i16 = 72;
    /// Pid in the innermost pid namespace, 0 in the host's (u32).
    pub const NSPID: i16 = 76;
    /// Audit (login) uid (u32).
    pub const AUID: i16 = 80;
    /// Thread that called exec, by the pid it had before (u32).
    pub const TID: i16 = 84;
    /// Eight ids in the order of the kernel's `struct cred`, uid to fsgid (u32 each).
    pub const IDS: i16 = 88;
    /// Securebits (u32).
    pub const SECUREBITS: i16 = 120;
    /// `bprm->secureexec` (u32, 0 or 1).
    pub const SECUREEXEC: i16 = 124;
    /// Five capability sets in the order of `struct cred`: inheritable, permitted, effective,
    /// bounding, ambient (u64 each).
    pub const CAPS: i16 = 128;
    /// User namespace: level (i32), owner (u32), group (u32), inum (u32).
    pub const USER_NS: i16 = 168;
    /// Nine namespace inode numbers (u32 each): uts, ipc, mnt, pid, pid_for_children, net, time,
    /// time_for_children, cgroup.
    pub const NS: i16 = 184;
    /// Inode number of the executed file (u64).
    pub const INODE: i16 = 224;
    /// Its link count (u32).
    pub const LINKS: i16 = 232;
    /// Its mode (u32).
    pub const MODE: i16 = 236;
    /// Cgroup id (u64).
    pub const CGROUP: i16 = 240;
    /// Six lengths (u32 each): filename, cwd, exe, cgroup name, inline arguments, inline
    /// environment. The strings follow the fixed part in this order.
    pub const LENGTHS: i16 = 248;
    /// Bytes of arguments in the process's memory (u64).
    pub const ARGS_TOTAL: i16 = 272;
    /// Bytes of environment in the process's memory (u64).
    pub const ENV_TOTAL: i16 = 280;
    /// Bytes of arguments sent before in parts (u32).
    pub const ARGS_PARTS: i16 = 288;
    /// Bytes of environment sent before in parts (u32).
    pub const ENV_PARTS: i16 = 292;
    /// `task->comm` (16 bytes).
    pub const COMM: i16 = 296;
    /// Size of the fixed part.
    pub const SIZE: i16 = 312;
}

/// Offsets in a part record.
pub mod part {
    /// 0 arguments, 1 environment (u32).
    pub const WHAT: i16 = 40;
    /// Offset of this part in the whole (u32).
    pub const OFFSET: i16 = 44;
    /// Length of this part (u32).
    pub const LENGTH: i16 = 48;
    /// Size of the fixed part.
    pub const SIZE: i16 = 56;
}

/// Offsets in a fork record.
pub mod fork {
    /// Identity of the process that forked.
    pub const PARENT: i16 = 40;
    /// [`super::super::Flags`] (u32).
    pub const FLAGS: i16 = 56;
    /// Pid in the innermost pid namespace, 0 in the host's (u32).
    pub const NSPID: i16 = 60;
    /// Cgroup id (u64).
    pub const CGROUP: i16 = 64;
    /// Size of the record.
    pub const SIZE: i16 = 72;
}

/// Offsets in an exit record.
pub mod exit {
    /// Identity of the parent, as for the process's exec or fork.
    pub const PARENT: i16 = 40;
    /// [`super::super::Flags`] (u32).
    pub const FLAGS: i16 = 56;
    /// The kernel's exit code, as `wait(2)` would report it (u32).
    pub const CODE: i16 = 60;
    /// Thread that ended last (u32).
    pub const TID: i16 = 64;
    /// `task->comm` (16 bytes).
    pub const COMM: i16 = 72;
    /// Size of the record.
    pub const SIZE: i16 = 88;
}

/// Offsets in a cgroup record.
pub mod cgroup {
    /// [`super::super::CgroupOp`] (u32).
    pub const OP: i16 = 24;
    /// Hierarchy id, 0 for the unified one (u32).
    pub const HIERARCHY: i16 = 28;
    /// Cgroup id (u64).
    pub const ID: i16 = 32;
    /// Length of the path (u32).
    pub const LENGTH: i16 = 40;
    /// Size of the fixed part; the path follows.
    pub const SIZE: i16 = 48;
}

/// Offsets in what the task iterator writes for one process. No header: it does not pass a ring.
pub mod task {
    /// Identity.
    pub const PROCESS: i16 = 0;
    /// Identity of the parent.
    pub const PARENT: i16 = 16;
    /// [`super::super::Flags`] (u32).
    pub const FLAGS: i16 = 32;
    /// Pid in the innermost pid namespace, 0 in the host's (u32).
    pub const NSPID: i16 = 36;
    /// Cgroup id (u64).
    pub const CGROUP: i16 = 40;
    /// `task->comm` (16 bytes).
    pub const COMM: i16 = 48;
    /// Size of one entry.
    pub const SIZE: i16 = 64;
}
