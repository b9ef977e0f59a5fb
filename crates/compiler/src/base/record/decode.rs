//! Reading records, with every length checked.

use super::{
    Cgroup, CgroupOp, Creds, Exec, Exit, Flags, Fork, Header, Identity, Namespaces, Part, PartOf,
    Record, Task, UserNs, at, kind,
};

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
