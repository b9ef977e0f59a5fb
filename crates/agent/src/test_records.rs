//! Records as the kernel side writes them, for tests.

use compiler::base::record::{Creds, Flags, Identity, Namespaces, at, kind};

/// Writes fields at the offsets of the record format.
struct Writer(Vec<u8>);

impl Writer {
    fn new(size: i16, kind: u32, header: (u32, u64, u64)) -> Self {
        let mut writer = Self(vec![0; size as usize]);
        writer.u32(at::KIND, kind);
        writer.u32(at::CPU, header.0);
        writer.u64(at::SEQ, header.1);
        writer.u64(at::TIME, header.2);
        writer
    }

    fn put(&mut self, at: i16, bytes: &[u8]) {
        self.0[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }

    fn u32(&mut self, at: i16, value: u32) {
        self.put(at, &value.to_ne_bytes());
    }

    fn u64(&mut self, at: i16, value: u64) {
        self.put(at, &value.to_ne_bytes());
    }

    fn identity(&mut self, at: i16, identity: Identity) {
        self.u64(at + at::IDENTITY_KTIME, identity.ktime);
        self.u32(at + at::IDENTITY_PID, identity.pid);
    }
}

/// Header fields: CPU, sequence number, time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stamp {
    pub(crate) cpu: u32,
    pub(crate) seq: u64,
    pub(crate) time: u64,
}

impl Stamp {
    fn fields(self) -> (u32, u64, u64) {
        (self.cpu, self.seq, self.time)
    }
}

/// An exec record.
#[derive(Clone, Debug)]
pub(crate) struct ExecRecord {
    pub(crate) stamp: Stamp,
    pub(crate) process: Identity,
    pub(crate) previous: Identity,
    pub(crate) parent: Identity,
    pub(crate) flags: Flags,
    pub(crate) nspid: u32,
    pub(crate) auid: u32,
    pub(crate) creds: Creds,
    pub(crate) secureexec: bool,
    pub(crate) ns: Namespaces,
    pub(crate) inode: u64,
    pub(crate) links: u32,
    pub(crate) cgroup_id: u64,
    pub(crate) cgroup_name: Vec<u8>,
    pub(crate) comm: [u8; 16],
    pub(crate) filename: Vec<u8>,
    pub(crate) cwd: Vec<u8>,
    pub(crate) exe: Vec<u8>,
    pub(crate) args: Vec<u8>,
    pub(crate) env: Vec<u8>,
    pub(crate) args_parts: u32,
    pub(crate) env_parts: u32,
}

impl Default for ExecRecord {
    fn default() -> Self {
        let none = Identity::default();
        Self {
            stamp: Stamp::default(),
            process: none,
            previous: none,
            parent: none,
            flags: Flags::EXECVE,
            nspid: 0,
            auid: u32::MAX,
            creds: Creds::default(),
            secureexec: false,
            ns: Namespaces::default(),
            inode: 1,
            links: 1,
            cgroup_id: 1,
            cgroup_name: Vec::new(),
            comm: [0; 16],
            filename: b"/bin/true".to_vec(),
            cwd: b"/tmp".to_vec(),
            exe: b"/bin/true".to_vec(),
            args: b"true\0".to_vec(),
            env: Vec::new(),
            args_parts: 0,
            env_parts: 0,
        }
    }
}

impl ExecRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        use at::exec as f;
        let mut w = Writer::new(f::SIZE, kind::EXEC, self.stamp.fields());
        w.identity(at::PROCESS, self.process);
        w.identity(f::PREVIOUS, self.previous);
        w.identity(f::PARENT, self.parent);
        w.u32(f::FLAGS, self.flags.bits());
        w.u32(f::NSPID, self.nspid);
        w.u32(f::AUID, self.auid);
        w.u32(f::TID, self.process.pid);
        let c = &self.creds;
        let ids = [c.uid, c.gid, c.suid, c.sgid, c.euid, c.egid, c.fsuid, c.fsgid];
        for (at, id) in (f::IDS..).step_by(4).zip(ids) {
            w.u32(at, id);
        }
        w.u32(f::SECUREBITS, c.securebits);
        w.u32(f::SECUREEXEC, self.secureexec.into());
        let caps =
            [c.cap_inheritable, c.cap_permitted, c.cap_effective, c.cap_bounding, c.cap_ambient];
        for (at, set) in (f::CAPS..).step_by(8).zip(caps) {
            w.u64(at, set);
        }
        let user = &c.user_ns;
        w.u32(f::USER_NS, user.level as u32);
        w.u32(f::USER_NS + 4, user.owner);
        w.u32(f::USER_NS + 8, user.group);
        w.u32(f::USER_NS + 12, user.inum);
        let n = &self.ns;
        let ns = [
            n.uts,
            n.ipc,
            n.mnt,
            n.pid,
            n.pid_for_children,
            n.net,
            n.time,
            n.time_for_children,
            n.cgroup,
        ];
        for (at, inum) in (f::NS..).step_by(4).zip(ns) {
            w.u32(at, inum);
        }
        w.u64(f::INODE, self.inode);
        w.u32(f::LINKS, self.links);
        w.u64(f::CGROUP, self.cgroup_id);
        w.u32(f::ARGS_PARTS, self.args_parts);
        w.u32(f::ENV_PARTS, self.env_parts);
        w.put(f::COMM, &self.comm);
        let tails =
            [&self.filename, &self.cwd, &self.exe, &self.cgroup_name, &self.args, &self.env];
        for (at, tail) in (f::LENGTHS..).step_by(4).zip(tails) {
            w.u32(at, tail.len() as u32);
            w.0.extend_from_slice(tail);
        }
        w.0
    }
}

/// A part record; `what` is 0 for arguments, 1 for the environment.
pub(crate) fn part(
    stamp: Stamp,
    process: Identity,
    what: u32,
    offset: u32,
    data: &[u8],
) -> Vec<u8> {
    use at::part as f;
    let mut w = Writer::new(f::SIZE, kind::PART, stamp.fields());
    w.identity(at::PROCESS, process);
    w.u32(f::WHAT, what);
    w.u32(f::OFFSET, offset);
    w.u32(f::LENGTH, data.len() as u32);
    w.0.extend_from_slice(data);
    w.0
}

/// A fork record.
pub(crate) fn fork(
    stamp: Stamp,
    process: Identity,
    parent: Identity,
    flags: Flags,
    cgroup_id: u64,
) -> Vec<u8> {
    use at::fork as f;
    let mut w = Writer::new(f::SIZE, kind::FORK, stamp.fields());
    w.identity(at::PROCESS, process);
    w.identity(f::PARENT, parent);
    w.u32(f::FLAGS, flags.bits());
    w.u64(f::CGROUP, cgroup_id);
    w.0
}

/// An exit record.
pub(crate) fn exit(stamp: Stamp, process: Identity, parent: Identity, code: u32) -> Vec<u8> {
    use at::exit as f;
    let mut w = Writer::new(f::SIZE, kind::EXIT, stamp.fields());
    w.identity(at::PROCESS, process);
    w.identity(f::PARENT, parent);
    w.u32(f::CODE, code);
    w.0
}

/// A cgroup record; `op` as in `CgroupOp`.
pub(crate) fn cgroup(stamp: Stamp, op: u32, id: u64, path: &str) -> Vec<u8> {
    use at::cgroup as f;
    let mut w = Writer::new(f::SIZE, kind::CGROUP, stamp.fields());
    w.u32(f::OP, op);
    w.u64(f::ID, id);
    w.u32(f::LENGTH, path.len() as u32);
    w.0.extend_from_slice(path.as_bytes());
    w.0
}
