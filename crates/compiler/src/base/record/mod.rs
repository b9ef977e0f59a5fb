//! The records that the base programs write, and how to read them.
//!
//! A record is a fixed part, whose offsets are the constants in [`at`], and for some kinds a tail of
//! byte strings whose lengths stand in the fixed part. The programs write with the same constants
//! that the decoder reads with, so the two cannot drift apart. Integers are in host byte order.
//!
//! Every record starts with a header: kind, CPU, a sequence number per CPU and ring that also counts
//! records that were lost, and the time (`bpf_ktime_get_ns`: CLOCK_MONOTONIC, ns).

pub mod at;
mod decode;

pub use decode::DecodeError;

use bitflags::bitflags;

/// Kind numbers, the first word of every record.
pub mod kind {
    /// An exec that succeeded.
    pub const EXEC: u32 = 1;
    /// A part of arguments or environment, sent before its exec.
    pub const PART: u32 = 2;
    /// A new process.
    pub const FORK: u32 = 3;
    /// A process whose last thread ended.
    pub const EXIT: u32 = 4;
    /// A cgroup that came, went or moved.
    pub const CGROUP: u32 = 5;
    /// One more than the largest, for arrays of counters by kind.
    pub const COUNT: u32 = 6;
}

bitflags! {
    /// What the kernel side says of a process or of how it was read.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Flags: u32 {
        /// The current image came by exec.
        const EXECVE = 1 << 0;
        /// No exec since the fork; on an exec record: this is the first exec since the fork.
        const CLONE = 1 << 1;
        /// The process ran before the agent did; its identity is made from its start time.
        const PROCFS = 1 << 2;
        /// Pid 1 of a pid namespace below the host's, or its descendant.
        const IN_INIT_TREE = 1 << 3;
        /// A kernel thread.
        const KTHREAD = 1 << 4;
        /// The file name could not be read.
        const ERROR_FILENAME = 1 << 5;
        /// The arguments could not be read, or a part of them was lost.
        const ERROR_ARGS = 1 << 6;
        /// The environment could not be read, or a part of it was lost.
        const ERROR_ENVS = 1 << 7;
        /// The working directory could not be read.
        const ERROR_CWD = 1 << 8;
        /// The cgroup's name could not be read.
        const ERROR_CGROUP_NAME = 1 << 9;
        /// The cgroup id could not be read.
        const ERROR_CGROUP_ID = 1 << 10;
        /// Arguments were longer than the configured bound and were cut.
        const TRUNC_ARGS = 1 << 11;
        /// The environment was longer than the configured bound and was cut.
        const TRUNC_ENVS = 1 << 12;
        /// The working directory has more components than are walked, or is longer than 4096 bytes.
        const TRUNC_CWD = 1 << 13;
        /// The executable's path has more components than are walked, or is longer than 4096 bytes.
        const TRUNC_EXE = 1 << 14;
        /// No state was kept for this process: it could not be allocated. Identity is from its start time.
        const NO_STATE = 1 << 15;
    }
}

/// What makes one process image unique on a machine since boot: who it is and since when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Nanoseconds of CLOCK_MONOTONIC when the exec or fork was seen; for a process that ran before
    /// the agent ([`Flags::PROCFS`]), its start since boot (CLOCK_BOOTTIME) in ns, cut to 10 ms as in
    /// `/proc/PID/stat`. 1 for the kernel itself (pid 0).
    pub ktime: u64,
    /// Process id (tgid) in the host's pid namespace.
    pub pid: u32,
}

/// What every record starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// CPU that wrote the record.
    pub cpu: u32,
    /// Counts the records of this CPU in this ring, lost ones too: a gap is a loss.
    pub seq: u64,
    /// Nanoseconds of CLOCK_MONOTONIC.
    pub time: u64,
}

/// One record from the base ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// An exec that succeeded.
    Exec(Box<Exec<'a>>),
    /// A part of an exec's arguments or environment; comes before its exec.
    Part(Part<'a>),
    /// A new process.
    Fork(Fork),
    /// A process whose last thread ended.
    Exit(Exit),
    /// A cgroup that came, went or moved.
    Cgroup(Cgroup<'a>),
}

/// Credentials after an exec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the fields of the kernel's struct cred
pub struct Creds {
    pub uid: u32,
    pub gid: u32,
    pub suid: u32,
    pub sgid: u32,
    pub euid: u32,
    pub egid: u32,
    pub fsuid: u32,
    pub fsgid: u32,
    pub securebits: u32,
    pub cap_inheritable: u64,
    pub cap_permitted: u64,
    pub cap_effective: u64,
    pub cap_bounding: u64,
    pub cap_ambient: u64,
    pub user_ns: UserNs,
}

/// A user namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserNs {
    /// Depth; 0 is the host's.
    pub level: i32,
    /// Host uid of its owner.
    pub owner: u32,
    /// Host gid of its owner.
    pub group: u32,
    /// Inode number.
    pub inum: u32,
}

/// Namespace inode numbers; 0 where this kernel has no such namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Namespaces {
    pub uts: u32,
    pub ipc: u32,
    pub mnt: u32,
    pub pid: u32,
    pub pid_for_children: u32,
    pub net: u32,
    pub time: u32,
    pub time_for_children: u32,
    pub cgroup: u32,
}

/// An exec that succeeded, seen after credentials were committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec<'a> {
    /// Header.
    pub header: Header,
    /// The new image.
    pub process: Identity,
    /// The image that the same pid had before (a fork's, when [`Flags::CLONE`] is set).
    pub previous: Identity,
    /// The process that forked this one; for an exec without a fork before it, the previous image.
    pub parent: Identity,
    /// Flags.
    pub flags: Flags,
    /// Pid in the innermost pid namespace; 0 in the host's.
    pub nspid: u32,
    /// Audit uid; `u32::MAX` when unset or the kernel has no audit.
    pub auid: u32,
    /// Thread that called exec, by the id it had before it became the leader.
    pub tid: u32,
    /// Credentials.
    pub creds: Creds,
    /// The kernel saw privileges rise (`bprm->secureexec`): set-id or file capabilities.
    pub secureexec: bool,
    /// Namespaces.
    pub ns: Namespaces,
    /// Inode number of the executed file.
    pub inode: u64,
    /// Link count of the executed file; 0 for memfd and deleted files.
    pub links: u32,
    /// `st_mode` of the executed file.
    pub mode: u32,
    /// Cgroup id.
    pub cgroup_id: u64,
    /// Last element of the cgroup's path, at most 127 bytes.
    pub cgroup_name: &'a [u8],
    /// `task->comm`, up to its NUL.
    pub comm: &'a [u8],
    /// File name as it was passed to exec (`bprm->filename`).
    pub filename: &'a [u8],
    /// Working directory, absolute, relative to the process's root.
    pub cwd: &'a [u8],
    /// Path of the executable file (of the interpreter, for scripts), resolved by the kernel,
    /// relative to the process's root.
    pub exe: &'a [u8],
    /// NUL-separated arguments, argv\[0\] first; empty when they came in parts.
    pub args: &'a [u8],
    /// NUL-separated environment; empty when it came in parts or was not asked for.
    pub env: &'a [u8],
    /// Bytes of arguments in the process, before any cut.
    pub args_total: u64,
    /// Bytes of environment in the process, before any cut.
    pub env_total: u64,
    /// Bytes of arguments that came before this record, in parts.
    pub args_parts: u32,
    /// Bytes of environment that came before this record, in parts.
    pub env_parts: u32,
}

/// What a part belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartOf {
    /// Arguments.
    Args,
    /// Environment.
    Env,
}

/// A part of arguments or environment too long for one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Header.
    pub header: Header,
    /// The image whose exec record follows.
    pub process: Identity,
    /// What it is a part of.
    pub what: PartOf,
    /// Where in the whole it stands.
    pub offset: u32,
    /// The bytes.
    pub data: &'a [u8],
}

/// A new process (not: a new thread).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// Header.
    pub header: Header,
    /// The child.
    pub process: Identity,
    /// The process that forked.
    pub parent: Identity,
    /// Flags.
    pub flags: Flags,
    /// Child's pid in its innermost pid namespace; 0 in the host's.
    pub nspid: u32,
    /// Child's cgroup id.
    pub cgroup_id: u64,
}

/// A process whose last thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Header.
    pub header: Header,
    /// The process.
    pub process: Identity,
    /// Its parent.
    pub parent: Identity,
    /// Flags.
    pub flags: Flags,
    /// As `wait(2)` reports it: status in bits 8-15, signal in bits 0-6, core dumped in bit 7.
    pub code: u32,
    /// Thread that ended last.
    pub tid: u32,
    /// `task->comm`, NUL-padded.
    pub comm: [u8; 16],
}

/// What happened to a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CgroupOp {
    /// Created.
    Mkdir = 1,
    /// Removed; tasks may still refer to its id for a moment.
    Rmdir = 2,
    /// Freed.
    Release = 3,
    /// Renamed.
    Rename = 4,
}

/// A cgroup that came, went or moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup<'a> {
    /// Header.
    pub header: Header,
    /// What happened.
    pub op: CgroupOp,
    /// Hierarchy id (`cgroup->root->hierarchy_id`).
    pub hierarchy: u32,
    /// Cgroup id.
    pub id: u64,
    /// Path from the hierarchy's root; starts with `/`.
    pub path: &'a [u8],
}

/// One process that the task iterator found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Identity of its current image. [`Flags::PROCFS`] says that no record announced it.
    pub process: Identity,
    /// Identity of its parent.
    pub parent: Identity,
    /// Flags.
    pub flags: Flags,
    /// Pid in the innermost pid namespace; 0 in the host's.
    pub nspid: u32,
    /// Cgroup id.
    pub cgroup_id: u64,
    /// `task->comm`, NUL-padded.
    pub comm: [u8; 16],
}
