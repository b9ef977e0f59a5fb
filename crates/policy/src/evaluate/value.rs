//! Captured values, as filters see them.

use crate::checked::{FileType, SyscallAbi};
use std::net::IpAddr;

/// A captured value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An integer, in the range of its type.
    Integer(i128),
    /// Text or bytes; texts without their final NUL.
    Text(Vec<u8>),
    /// Something with a path.
    Path {
        /// The path; empty for what has none.
        path: Vec<u8>,
        /// Its type, where that was captured.
        file_type: Option<FileType>,
    },
    /// A socket, socket buffer or internet socket address.
    Socket(Socket),
    /// A Unix socket address.
    UnixAddress {
        /// Address family, AF_*.
        family: u16,
        /// The path as the kernel has it: an abstract name begins with NUL, the path of an unnamed
        /// socket is empty.
        path: Vec<u8>,
    },
    /// Set of capabilities; capability n is bit n.
    CapabilitySet(u64),
    /// Number of a capability.
    Capability(u32),
    /// A system call.
    Syscall {
        /// Its number in the table of its ABI.
        number: u32,
        /// Who calls.
        abi: SyscallAbi,
        /// Its name without prefix (`openat`); `None` when the number stands for none.
        name: Option<String>,
    },
    /// It could not be read: no filter on it holds.
    Fault,
    /// Nothing that filters know.
    Opaque,
}

/// A socket, socket buffer or internet socket address. What it does not have no filter matches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Socket {
    /// Address family, AF_*.
    pub family: u16,
    /// Protocol, IPPROTO_*; not of addresses.
    pub protocol: Option<u16>,
    /// State, TCP_*; of sockets only.
    pub state: Option<u8>,
    /// Local end; the end that a socket address names.
    pub source: End,
    /// Remote end; not of addresses.
    pub destination: End,
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct End {
    /// Address; `None` when the family is not an internet one.
    pub address: Option<IpAddr>,
    /// Port; `None` when the family or protocol has none.
    pub port: Option<u16>,
}

impl Value {
    /// A file of that path whose type was not captured.
    #[must_use]
    pub fn path(path: impl Into<Vec<u8>>) -> Self {
        Self::Path { path: path.into(), file_type: None }
    }
}
