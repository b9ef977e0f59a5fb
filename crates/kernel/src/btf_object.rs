//! BTF in the kernel: what programs and maps are loaded with, and what describes modules.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::btf::TypeId;
use crate::errno::Errno;
use crate::error::Error;
use crate::object::{self, ObjectKind};
use crate::sys::attr::{BtfLoad, name_text};
use crate::sys::{Command, address_of, address_of_mut, bpf_fd_memlock, info};

/// Room for what the kernel says about BTF that it refuses: it stops at the first fault, after a line
/// for each type.
const LOG_SIZE: usize = 1 << 22;

/// BTF that the kernel holds.
#[derive(Debug)]
pub struct BtfObject {
    fd: OwnedFd,
}

/// Types of a map's keys and values.
#[derive(Clone, Copy, Debug)]
pub struct MapBtf<'a> {
    /// Where the types are.
    pub object: &'a BtfObject,
    /// Type of keys.
    pub key: TypeId,
    /// Type of values.
    pub value: TypeId,
}

/// What the kernel says of BTF it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BtfInfo {
    /// Number, unique since boot.
    pub id: u32,
    /// Bytes.
    pub size: u32,
    /// `vmlinux` or the name of a module; empty for what user space loaded.
    pub name: String,
    /// It describes the kernel or a module.
    pub is_kernel: bool,
}

impl BtfObject {
    /// Loads BTF (Linux 4.18).
    pub fn load(blob: &[u8]) -> Result<Self, Error> {
        let mut attr = BtfLoad {
            btf: address_of(blob),
            btf_size: u32::try_from(blob.len()).unwrap_or(u32::MAX),
            ..BtfLoad::default()
        };
        // SAFETY: the blob is borrowed, and its size says how long it is: the kernel refuses sizes
        // beyond 16 MB (BTF_MAX_SIZE), so the saturated one is not read.
        match unsafe { bpf_fd_memlock(Command::BtfLoad, &mut attr) } {
            Ok(fd) => return Ok(Self { fd }),
            Err(Errno::EPERM) => {
                return Err(Error::LoadBtf { errno: Errno::EPERM, log: String::new() });
            }
            Err(_) => {}
        }
        let mut log = vec![0; LOG_SIZE];
        attr.btf_log_buf = address_of_mut(&mut log);
        attr.btf_log_size = LOG_SIZE as u32;
        attr.btf_log_level = 1;
        // SAFETY: as above, and the log has as many bytes as is said.
        let result = unsafe { bpf_fd_memlock(Command::BtfLoad, &mut attr) };
        let fd = result.map_err(|errno| Error::LoadBtf { errno, log: name_text(&log) })?;
        Ok(Self { fd })
    }

    /// Opens BTF by its number.
    pub fn from_id(id: u32) -> Result<Self, Error> {
        Ok(Self { fd: object::open(ObjectKind::Btf, id)? })
    }

    /// Opens the BTF of a loaded module (Linux 5.11), which attaching to its functions and calling
    /// its kfuncs needs. `None`: there is no such module, or it has no BTF.
    pub fn of_module(name: &str) -> Result<Option<Self>, Error> {
        for id in object::ids(ObjectKind::Btf)? {
            // Programs come and go meanwhile, with their BTF.
            let object = match Self::from_id(id) {
                Err(error) if error.errno() == Some(Errno::ENOENT) => continue,
                object => object?,
            };
            let info = object.info()?;
            if info.is_kernel && info.name == name {
                return Ok(Some(object));
            }
        }
        Ok(None)
    }

    /// What the kernel says of it.
    pub fn info(&self) -> Result<BtfInfo, Error> {
        // MODULE_NAME_LEN is less.
        let mut name = [0; 64];
        let mut raw = info::BtfInfo {
            name: address_of_mut(&mut name),
            name_len: name.len() as u32,
            ..info::BtfInfo::default()
        };
        // SAFETY: the name's address is of a local of the length said.
        unsafe { info::object_info(self.as_fd(), &mut raw) }
            .map_err(|errno| Error::call("ask about BTF", errno))?;
        Ok(BtfInfo {
            id: raw.id,
            size: raw.btf_size,
            name: name_text(&name),
            is_kernel: raw.kernel_btf != 0,
        })
    }
}

impl AsFd for BtfObject {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
