//! The records that the base programs write, and how to read them.
//!
//! A record is a fixed part, whose offsets are the constants in [`at`], and for some kinds a tail of
//! byte strings whose lengths stand in the fixed part. The programs write with the same constants
//! that the decoder reads with, so the two cannot drift apart. Integers are in host byte order.
//!
//! Every record starts with a header: kind, CPU, a sequence number per CPU and ring that also counts
//! records that were lost, and the time (`bpf_ktime_get_ns`: CLOCK_MONOTONIC, ns).

use bitflags::bitflags;

/// Byte offsets in records; see the structs of the same names for what stands there.
pub mod at {
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
        /// Hierarchy id, 0 or 1 for the unified one (u32).
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
}

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

/// A record that does not read as one: a bug, or a foreign writer in the ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends before what it announces.
    #[error("record of kind {kind} has {have} bytes where {need} are needed")]
    Short {
        /// Kind, 0 when not even that could be read.
        kind: u32,
        /// Bytes needed.
        need: usize,
        /// Bytes there.
        have: usize,
    },
    /// Its kind is none of [`kind`].
    #[error("record of unknown kind {0}")]
    UnknownKind(u32),
    /// A field has a value outside its set.
    #[error("record of kind {kind} has {value} in {field}")]
    BadValue {
        /// Kind of the record.
        kind: u32,
        /// Which field.
        field: &'static str,
        /// Value found.
        value: u32,
    },
}

/// Bounds-checked reads at the constants of [`at`].
struct Reader<'a> {
    kind: u32,
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Fails unless the fixed part of `size` bytes is there; reads below `size` then succeed.
    fn new(kind: u32, bytes: &'a [u8], size: i16) -> Result<Self, DecodeError> {
        let need = size as usize;
        if bytes.len() < need {
            return Err(DecodeError::Short { kind, need, have: bytes.len() });
        }
        Ok(Self { kind, bytes })
    }

    fn array<const N: usize>(&self, at: i16) -> [u8; N] {
        let mut out = [0; N];
        let at = at as usize;
        out.copy_from_slice(&self.bytes[at..at + N]);
        out
    }

    fn u32(&self, at: i16) -> u32 {
        u32::from_ne_bytes(self.array(at))
    }

    fn u64(&self, at: i16) -> u64 {
        u64::from_ne_bytes(self.array(at))
    }

    fn identity(&self, at: i16) -> Identity {
        Identity { ktime: self.u64(at + at::IDENTITY_KTIME), pid: self.u32(at + at::IDENTITY_PID) }
    }

    fn header(&self) -> Header {
        Header { cpu: self.u32(at::CPU), seq: self.u64(at::SEQ), time: self.u64(at::TIME) }
    }

    fn flags(&self, at: i16) -> Flags {
        Flags::from_bits_retain(self.u32(at))
    }

    /// `len` bytes at `from`, which moves behind them.
    fn tail(&self, from: &mut usize, len: u32) -> Result<&'a [u8], DecodeError> {
        let need = from.saturating_add(len as usize);
        let slice = self.bytes.get(*from..need).ok_or(DecodeError::Short {
            kind: self.kind,
            need,
            have: self.bytes.len(),
        })?;
        *from = need;
        Ok(slice)
    }
}

impl<'a> Record<'a> {
    /// Reads one record as the ring holds it. Bytes behind the record are ignored.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let kind = match bytes.first_chunk::<4>() {
            Some(kind) => u32::from_ne_bytes(*kind),
            None => return Err(DecodeError::Short { kind: 0, need: 4, have: bytes.len() }),
        };
        match kind {
            kind::EXEC => decode_exec(bytes).map(|exec| Self::Exec(Box::new(exec))),
            kind::PART => decode_part(bytes).map(Self::Part),
            kind::FORK => decode_fork(bytes).map(Self::Fork),
            kind::EXIT => decode_exit(bytes).map(Self::Exit),
            kind::CGROUP => decode_cgroup(bytes).map(Self::Cgroup),
            other => Err(DecodeError::UnknownKind(other)),
        }
    }

    /// The header.
    pub fn header(&self) -> Header {
        match self {
            Self::Exec(record) => record.header,
            Self::Part(record) => record.header,
            Self::Fork(record) => record.header,
            Self::Exit(record) => record.header,
            Self::Cgroup(record) => record.header,
        }
    }
}

fn decode_exec(bytes: &[u8]) -> Result<Exec<'_>, DecodeError> {
    use at::exec as f;
    let r = Reader::new(kind::EXEC, bytes, f::SIZE)?;
    let id = |i: i16| r.u32(f::IDS + 4 * i);
    let cap = |i: i16| r.u64(f::CAPS + 8 * i);
    let ns = |i: i16| r.u32(f::NS + 4 * i);
    let length = |i: i16| r.u32(f::LENGTHS + 4 * i);
    let mut tail = f::SIZE as usize;
    let comm = &bytes[f::COMM as usize..f::COMM as usize + 16];
    Ok(Exec {
        header: r.header(),
        process: r.identity(at::PROCESS),
        previous: r.identity(f::PREVIOUS),
        parent: r.identity(f::PARENT),
        flags: r.flags(f::FLAGS),
        nspid: r.u32(f::NSPID),
        auid: r.u32(f::AUID),
        tid: r.u32(f::TID),
        creds: Creds {
            uid: id(0),
            gid: id(1),
            suid: id(2),
            sgid: id(3),
            euid: id(4),
            egid: id(5),
            fsuid: id(6),
            fsgid: id(7),
            securebits: r.u32(f::SECUREBITS),
            cap_inheritable: cap(0),
            cap_permitted: cap(1),
            cap_effective: cap(2),
            cap_bounding: cap(3),
            cap_ambient: cap(4),
            user_ns: UserNs {
                level: r.u32(f::USER_NS) as i32,
                owner: r.u32(f::USER_NS + 4),
                group: r.u32(f::USER_NS + 8),
                inum: r.u32(f::USER_NS + 12),
            },
        },
        secureexec: r.u32(f::SECUREEXEC) != 0,
        ns: Namespaces {
            uts: ns(0),
            ipc: ns(1),
            mnt: ns(2),
            pid: ns(3),
            pid_for_children: ns(4),
            net: ns(5),
            time: ns(6),
            time_for_children: ns(7),
            cgroup: ns(8),
        },
        inode: r.u64(f::INODE),
        links: r.u32(f::LINKS),
        mode: r.u32(f::MODE),
        cgroup_id: r.u64(f::CGROUP),
        comm: &comm[..comm.iter().position(|&b| b == 0).unwrap_or(16)],
        filename: r.tail(&mut tail, length(0))?,
        cwd: r.tail(&mut tail, length(1))?,
        exe: r.tail(&mut tail, length(2))?,
        cgroup_name: r.tail(&mut tail, length(3))?,
        args: r.tail(&mut tail, length(4))?,
        env: r.tail(&mut tail, length(5))?,
        args_total: r.u64(f::ARGS_TOTAL),
        env_total: r.u64(f::ENV_TOTAL),
        args_parts: r.u32(f::ARGS_PARTS),
        env_parts: r.u32(f::ENV_PARTS),
    })
}

fn decode_part(bytes: &[u8]) -> Result<Part<'_>, DecodeError> {
    use at::part as f;
    let r = Reader::new(kind::PART, bytes, f::SIZE)?;
    let what = match r.u32(f::WHAT) {
        0 => PartOf::Args,
        1 => PartOf::Env,
        value => return Err(DecodeError::BadValue { kind: kind::PART, field: "what", value }),
    };
    let mut tail = f::SIZE as usize;
    Ok(Part {
        header: r.header(),
        process: r.identity(at::PROCESS),
        what,
        offset: r.u32(f::OFFSET),
        data: r.tail(&mut tail, r.u32(f::LENGTH))?,
    })
}

fn decode_fork(bytes: &[u8]) -> Result<Fork, DecodeError> {
    use at::fork as f;
    let r = Reader::new(kind::FORK, bytes, f::SIZE)?;
    Ok(Fork {
        header: r.header(),
        process: r.identity(at::PROCESS),
        parent: r.identity(f::PARENT),
        flags: r.flags(f::FLAGS),
        nspid: r.u32(f::NSPID),
        cgroup_id: r.u64(f::CGROUP),
    })
}

fn decode_exit(bytes: &[u8]) -> Result<Exit, DecodeError> {
    use at::exit as f;
    let r = Reader::new(kind::EXIT, bytes, f::SIZE)?;
    Ok(Exit {
        header: r.header(),
        process: r.identity(at::PROCESS),
        parent: r.identity(f::PARENT),
        flags: r.flags(f::FLAGS),
        code: r.u32(f::CODE),
        tid: r.u32(f::TID),
        comm: r.array(f::COMM),
    })
}

fn decode_cgroup(bytes: &[u8]) -> Result<Cgroup<'_>, DecodeError> {
    use at::cgroup as f;
    let r = Reader::new(kind::CGROUP, bytes, f::SIZE)?;
    let op = match r.u32(f::OP) {
        1 => CgroupOp::Mkdir,
        2 => CgroupOp::Rmdir,
        3 => CgroupOp::Release,
        4 => CgroupOp::Rename,
        value => return Err(DecodeError::BadValue { kind: kind::CGROUP, field: "op", value }),
    };
    let mut tail = f::SIZE as usize;
    Ok(Cgroup {
        header: r.header(),
        op,
        hierarchy: r.u32(f::HIERARCHY),
        id: r.u64(f::ID),
        path: r.tail(&mut tail, r.u32(f::LENGTH))?,
    })
}

impl Task {
    /// Reads what the task iterator wrote: a run of entries.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<Self>, DecodeError> {
        bytes.chunks(at::task::SIZE as usize).map(Self::decode).collect()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        use at::task as f;
        let r = Reader::new(0, bytes, f::SIZE)?;
        Ok(Self {
            process: r.identity(f::PROCESS),
            parent: r.identity(f::PARENT),
            flags: r.flags(f::FLAGS),
            nspid: r.u32(f::NSPID),
            cgroup_id: r.u64(f::CGROUP),
            comm: r.array(f::COMM),
        })
    }
}
