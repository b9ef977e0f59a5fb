//! What a policy saw: a match with its captured values, as the kernel side told it.

use crate::base::record::{Creds, Identity, UserNs};
use crate::plan::HookPlan;
use policy::CheckedPolicy;
use std::net::IpAddr;
use std::sync::Arc;

/// One match of a policy. Where the return value was asked for, entry and return are one.
#[derive(Debug, Clone)]
pub struct Observation {
    /// The policy.
    pub policy: Arc<CheckedPolicy>,
    /// Its hook.
    pub hook: Arc<HookPlan>,
    /// CPU that it was seen on.
    pub cpu: u32,
    /// When, in nanoseconds of CLOCK_MONOTONIC: at entry.
    pub time: u64,
    /// The process in which it happened.
    pub process: Identity,
    /// The thread, in the host's pid namespace.
    pub tid: u32,
    /// Which of the hook's selectors matched; `None` when it has none.
    pub selector: Option<usize>,
    /// Values of `args`, in order; `None` for what is not reported (`nop`).
    pub args: Vec<Option<Observed>>,
    /// Values of `data`, in order.
    pub data: Vec<Option<Observed>>,
    /// The return value, when the hook asks for it and it was seen.
    pub returned: Option<Observed>,
    /// Stacks, where the selector asks for them.
    pub stacks: Stacks,
    /// Whom the event is about, where the policy tracked its socket for somebody.
    pub owner: Option<Owner>,
    /// Digest of the file that the hook is about, where the selector asks for it and there is one.
    pub measured: Option<FileDigest>,
}

/// Whom a socket was tracked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The process.
    pub process: Identity,
    /// The thread.
    pub tid: u32,
}

/// A digest of a file, by IMA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDigest {
    /// Name of the algorithm, as the kernel has it: `sha256`.
    pub algorithm: &'static str,
    /// The digest.
    pub digest: Vec<u8>,
}

/// How the thread came there: addresses of instructions, of the innermost function first; in all others
/// those to which calls return. Empty where the policy did not ask, or there was none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stacks {
    /// In the kernel. It begins with what the kernel runs programs by, where they are not called by
    /// breakpoint.
    pub kernel: Vec<u64>,
    /// In the program, as far as its functions keep frame pointers.
    pub user: Vec<u64>,
    /// The same, by files: one for each of `user`, or none at all.
    pub files: Vec<Option<FilePlace>>,
}

/// A place in the code of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FilePlace {
    /// Which file, by its build id; zeros follow one that is shorter.
    pub build_id: [u8; 20],
    /// Where in it, in bytes.
    pub offset: u64,
}

impl Stacks {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kernel.is_empty() && self.user.is_empty()
    }
}

/// A captured value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// Signed, up to 32 bits.
    Int(i32),
    /// Unsigned, up to 32 bits.
    Uint(u32),
    /// Signed, 64 bits.
    Long(i64),
    /// Unsigned, 64 bits.
    Size(u64),
    /// Text, as bytes; nothing says that it is UTF-8.
    Text(Vec<u8>),
    /// A buffer.
    Bytes {
        /// What was captured.
        bytes: Vec<u8>,
        /// How long the buffer was, when that is more than was captured.
        original: Option<u64>,
    },
    /// Elements of an array.
    Values(Vec<Observed>),
    /// A file, by `struct file` or descriptor.
    File(FilePath),
    /// A path.
    Path(FilePath),
    /// The file of a `struct linux_binprm`.
    Binprm(FilePath),
    /// A socket.
    Socket(Box<Socket>),
    /// A socket buffer.
    Buffer(Box<SocketBuffer>),
    /// An internet socket address.
    Address(SocketAddress),
    /// A Unix socket address. An abstract name begins with NUL.
    UnixAddress {
        /// Address family.
        family: u16,
        /// Path.
        path: Vec<u8>,
    },
    /// Credentials.
    Credentials(Box<Creds>),
    /// A user namespace.
    UserNamespace(UserNs),
    /// What bpf(2) was given to load a program.
    BpfAttributes(BpfProgram),
    /// A BPF program.
    BpfProgram(BpfProgram),
    /// A BPF map.
    BpfMap(BpfMap),
    /// An event of perf_event_open(2).
    PerfEvent(PerfEvent),
    /// A module of the kernel.
    Module(Module),
    /// A system call.
    Syscall {
        /// Its number.
        number: u32,
        /// Whether the caller is 32-bit.
        compat: bool,
    },
    /// It could not be read.
    Fault(Fault),
}

/// Why a value could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The value's own address is bad.
    Address,
    /// A pointer on the way along `resolve` is bad; which one, from 0.
    Resolve(u32),
    /// The record had no room left for it.
    Room,
}

/// A path with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilePath {
    /// From the root of the process; empty for what has no path.
    pub path: Vec<u8>,
    /// Whether it could be followed to the root.
    pub complete: bool,
    /// The file's mode (`S_IFMT` and permission bits).
    pub mode: u16,
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Address; `None` when the family is not an internet one.
    pub address: Option<IpAddr>,
    /// Port, in host order.
    pub port: u16,
}

/// A socket (`struct sock`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Address family, AF_*.
    pub family: u16,
    /// Type, SOCK_*.
    pub kind: u16,
    /// Protocol, IPPROTO_*.
    pub protocol: u16,
    /// State, TCP_*.
    pub state: u8,
    /// Mark.
    pub mark: u32,
    /// Priority.
    pub priority: u32,
    /// Local end.
    pub source: End,
    /// Remote end.
    pub destination: End,
    /// Address of the `struct sock`.
    pub cookie: u64,
}

/// A socket buffer (`struct sk_buff`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketBuffer {
    /// Address family, AF_*.
    pub family: u16,
    /// Protocol, IPPROTO_*.
    pub protocol: u16,
    /// Hash.
    pub hash: u32,
    /// Length in bytes.
    pub length: u32,
    /// Priority.
    pub priority: u32,
    /// Mark.
    pub mark: u32,
    /// Source.
    pub source: End,
    /// Destination.
    pub destination: End,
    /// Length of the security path.
    pub security_path_length: u32,
    /// Offset of the last policy in it.
    pub security_path_offset: u32,
}

/// An internet socket address (`struct sockaddr`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketAddress {
    /// Address family, AF_*.
    pub family: u16,
    /// Address and port.
    pub end: End,
}

/// A BPF program, or what is to become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BpfProgram {
    /// Type: `enum bpf_prog_type`.
    pub kind: u32,
    /// Number of instructions.
    pub instructions: u32,
    /// Name.
    pub name: Vec<u8>,
}

/// A BPF map (`struct bpf_map`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BpfMap {
    /// Type: `enum bpf_map_type`.
    pub kind: u32,
    /// Size of a key, in bytes.
    pub key_size: u32,
    /// Size of a value, in bytes.
    pub value_size: u32,
    /// Most entries that it takes.
    pub entries: u32,
    /// Name.
    pub name: Vec<u8>,
}

/// An event of perf (`struct perf_event`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerfEvent {
    /// Type: `enum perf_type_id`, or a number that the kernel gave to one of its own.
    pub kind: u32,
    /// Configuration.
    pub config: u64,
    /// Offset of a probe.
    pub offset: u64,
    /// What a probe is of: the name of a function, or the path of a file. Empty for what is no probe.
    pub function: Vec<u8>,
}

/// A module of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Name.
    pub name: Vec<u8>,
    /// How it taints the kernel: bit n for `TAINT_*` n.
    pub taints: u64,
    /// Whether its signature is good; known of those being loaded.
    pub signature_ok: Option<bool>,
}
