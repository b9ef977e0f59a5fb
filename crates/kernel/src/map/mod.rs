//! Maps: memory that programs and user space share.
//!
//! Keys and values are byte strings of the sizes that the kernel reports for the map, in the machine's
//! byte order; every operation checks them, since the kernel reads and writes as many bytes as *it*
//! thinks they have. A [`Map`] owns a descriptor; the map lives as long as any descriptor, pin,
//! program or outer map refers to it.

mod batch;
mod kind;
mod memory;
mod nested;
mod per_cpu;
mod storage;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::btf_object::MapBtf;
use crate::errno::Errno;
use crate::error::Error;
use crate::object::{self, ObjectKind};
use crate::sys::attr::{MapCreate, MapElement, name_text, object_name};
use crate::sys::{Command, address_of, address_of_mut, bpf, bpf_fd_memlock, fd_number, info};

pub use batch::Elements;
pub use kind::{MapFlags, MapType, Update};
pub use memory::MapMemory;
pub use per_cpu::PerCpu;

/// `BPF_F_NUMA_NODE`.
const NUMA_NODE: u32 = 1 << 2;

/// A map to be created.
#[derive(Clone, Debug, Default)]
pub struct MapSpec<'a> {
    /// Name, for errors and for whoever lists the kernel's maps. The kernel keeps 15 bytes of it.
    pub name: &'a str,
    /// Type.
    pub map_type: MapType,
    /// Bytes in a key; 0 for ring buffers, bloom filters, queues.
    pub key_size: u32,
    /// Bytes in a value (of one CPU); 0 for ring buffers.
    pub value_size: u32,
    /// Most elements it can hold; bytes, for a ring buffer (power of two, multiple of the page
    /// size); 0 for task, inode and cgroup storage.
    pub max_entries: u32,
    /// Flags.
    pub flags: MapFlags,
    /// `map_extra`: hash functions of a bloom filter.
    pub extra: u64,
    /// NUMA node to allocate it on.
    pub numa_node: Option<u32>,
    /// Types of key and value. Task, inode and cgroup storage need it.
    pub btf: Option<MapBtf<'a>>,
    /// For a map of maps: a map like those it will hold.
    pub inner: Option<&'a Map>,
}

/// What the kernel says of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapInfo {
    /// Name as the kernel keeps it: at most 15 bytes.
    pub name: String,
    /// Number, unique since boot.
    pub id: u32,
    /// Type.
    pub map_type: MapType,
    /// Bytes in a key.
    pub key_size: u32,
    /// Bytes in a value of one CPU.
    pub value_size: u32,
    /// Most elements; bytes for a ring buffer.
    pub max_entries: u32,
    /// Flags; those not known here are kept.
    pub flags: MapFlags,
    /// Number of the BTF with its types, 0 without.
    pub btf_id: u32,
}

/// A map.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    name: String,
    map_type: MapType,
    key_size: usize,
    value_size: usize,
    max_entries: u32,
}

impl Map {
    /// Creates a map.
    pub fn create(spec: &MapSpec<'_>) -> Result<Self, Error> {
        let btf = spec.btf.as_ref();
        let numa_flag = if spec.numa_node.is_some() { NUMA_NODE } else { 0 };
        let mut attr = MapCreate {
            map_type: spec.map_type.0,
            key_size: spec.key_size,
            value_size: spec.value_size,
            max_entries: spec.max_entries,
            map_flags: spec.flags.bits() | numa_flag,
            inner_map_fd: spec.inner.map_or(0, |inner| fd_number(inner.as_fd())),
            numa_node: spec.numa_node.unwrap_or(0),
            map_name: object_name(spec.name),
            btf_fd: btf.map_or(0, |btf| fd_number(btf.object.as_fd())),
            btf_key_type_id: btf.map_or(0, |btf| btf.key.0),
            btf_value_type_id: btf.map_or(0, |btf| btf.value.0),
            map_extra: spec.extra,
            ..MapCreate::default()
        };
        // SAFETY: the attributes hold no addresses.
        let fd = unsafe { bpf_fd_memlock(Command::MapCreate, &mut attr) }.map_err(|errno| {
            let map_type = spec.map_type.to_string();
            Error::CreateMap { map: spec.name.to_owned(), map_type, errno }
        })?;
        Ok(Self {
            fd,
            name: spec.name.to_owned(),
            map_type: spec.map_type,
            key_size: spec.key_size as usize,
            value_size: spec.value_size as usize,
            max_entries: spec.max_entries,
        })
    }

    /// Takes a descriptor of a map, whose shape it asks the kernel for.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Error> {
        object::expect(ObjectKind::Map, fd.as_fd())?;
        let info = query(fd.as_fd())?;
        Ok(Self {
            fd,
            name: info.name,
            map_type: info.map_type,
            key_size: info.key_size as usize,
            value_size: info.value_size as usize,
            max_entries: info.max_entries,
        })
    }

    /// Opens a map by its number.
    pub fn from_id(id: u32) -> Result<Self, Error> {
        Self::from_fd(object::open(ObjectKind::Map, id)?)
    }

    /// Another descriptor of the same map.
    pub fn try_clone(&self) -> Result<Self, Error> {
        let fd = self.fd.try_clone().map_err(|error| {
            let errno = Errno(error.raw_os_error().unwrap_or(0));
            self.error("copy the descriptor of", errno)
        })?;
        Ok(Self { fd, name: self.name.clone(), ..*self })
    }

    /// Name it was created with; at most 15 bytes of it when it was opened by number or path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Type.
    pub fn map_type(&self) -> MapType {
        self.map_type
    }

    /// Bytes in a key.
    pub fn key_size(&self) -> usize {
        self.key_size
    }

    /// Bytes in a value of one CPU.
    pub fn value_size(&self) -> usize {
        self.value_size
    }

    /// Most elements; bytes for a ring buffer.
    pub fn max_entries(&self) -> u32 {
        self.max_entries
    }

    /// Bytes that a lookup gives and an update takes: for per-CPU maps one value for each possible
    /// CPU, each rounded up to 8 bytes; else one value.
    pub fn value_len(&self) -> Result<usize, Error> {
        if self.map_type.is_per_cpu() {
            Ok(per_cpu::stride(self.value_size) * crate::cpu::possible()?.len())
        } else {
            Ok(self.value_size)
        }
    }

    /// What the kernel says of it now.
    pub fn info(&self) -> Result<MapInfo, Error> {
        query(self.as_fd())
    }

    /// Bytes of kernel memory that it takes, by the kernel's own estimate (`memlock` in
    /// /proc/self/fdinfo). Up to Linux 6.3 that is what a full map would take.
    pub fn memory_bytes(&self) -> Result<u64, Error> {
        object::fdinfo_number(self.as_fd(), "memlock")
    }

    /// Reads the value of `key` into `value`, which has [`Self::value_len`] bytes. False: no such key.
    pub fn lookup_into(&self, key: &[u8], value: &mut [u8]) -> Result<bool, Error> {
        self.check("key", key.len(), self.key_size)?;
        self.check("value", value.len(), self.value_len()?)?;
        let value = address_of_mut(value);
        self.found(self.element(Command::MapLookup, address_of(key), value, 0), "look up a key in")
    }

    /// The value of `key`, [`Self::value_len`] bytes; `None`: no such key.
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let mut value = vec![0; self.value_len()?];
        Ok(self.lookup_into(key, &mut value)?.then_some(value))
    }

    /// Sets the value of `key`: [`Self::value_len`] bytes.
    pub fn update(&self, key: &[u8], value: &[u8], update: Update) -> Result<(), Error> {
        self.check("key", key.len(), self.key_size)?;
        self.check("value", value.len(), self.value_len()?)?;
        let (key, value) = (address_of(key), address_of(value));
        let result = self.element(Command::MapUpdate, key, value, update as u64);
        result.map_err(|errno| self.error("set a value in", errno))
    }

    /// Removes an element. False: no such key. Elements of arrays cannot be removed (EINVAL).
    pub fn delete(&self, key: &[u8]) -> Result<bool, Error> {
        self.check("key", key.len(), self.key_size)?;
        self.found(self.element(Command::MapDelete, address_of(key), 0, 0), "delete a key from")
    }

    /// Reads and removes an element at one instant (queues and stacks 4.20, hashes 5.14). For queues
    /// and stacks the key is empty.
    pub fn lookup_and_delete(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.check("key", key.len(), self.key_size)?;
        let mut value = vec![0; self.value_len()?];
        let address = address_of_mut(&mut value);
        let result = self.element(Command::MapLookupAndDelete, address_of(key), address, 0);
        Ok(self.found(result, "take an element from")?.then_some(value))
    }

    /// The key behind `key`, the first one for `None`; no order is promised. When `key` is no longer
    /// there the kernel starts over.
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Error> {
        if let Some(key) = key {
            self.check("key", key.len(), self.key_size)?;
        }
        let mut next = vec![0; self.key_size];
        let key = key.map_or(0, address_of);
        let result = self.element(Command::MapNextKey, key, address_of_mut(&mut next), 0);
        Ok(self.found(result, "list the keys of")?.then_some(next))
    }

    /// All keys, each once. Those that come or go meanwhile may be missing or there.
    pub fn keys(&self) -> Result<Vec<Vec<u8>>, Error> {
        let mut seen = HashSet::new();
        let mut keys = Vec::new();
        // Each time the key last seen is deleted under us, the kernel starts over.
        let mut left = 4 * u64::from(self.max_entries) + 64;
        let mut next = self.next_key(None)?;
        while let Some(key) = next {
            left = left.checked_sub(1).ok_or_else(|| Error::Restless { map: self.name.clone() })?;
            next = self.next_key(Some(&key))?;
            if seen.insert(key.clone()) {
                keys.push(key);
            }
        }
        Ok(keys)
    }

    /// Takes the right to change it from user space, for good (Linux 5.2). Programs whose map is
    /// frozen and read-only to programs are verified with its values as constants.
    pub fn freeze(&self) -> Result<(), Error> {
        let result = self.element(Command::MapFreeze, 0, 0, 0);
        result.map_err(|errno| self.error("freeze", errno))
    }

    /// `key` is 0 or has `key_size` bytes; `value` is 0 or has as many as the command reads or
    /// writes. Private for that reason.
    fn element(&self, command: Command, key: u64, value: u64, flags: u64) -> Result<(), Errno> {
        let map_fd = fd_number(self.as_fd());
        let mut attr = MapElement { map_fd, padding: 0, key, value, flags };
        // SAFETY: the callers in this file pass 0 or the addresses of borrowed buffers whose lengths
        // they checked against the sizes that the kernel has for this map.
        unsafe { bpf(command, &mut attr) }.map(drop)
    }

    fn check(&self, what: &'static str, given: usize, expected: usize) -> Result<(), Error> {
        if given == expected {
            return Ok(());
        }
        Err(Error::Size { map: self.name.clone(), what, given, expected })
    }

    /// ENOENT is an answer, not a failure.
    fn found(&self, result: Result<(), Errno>, action: &'static str) -> Result<bool, Error> {
        match result {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(self.error(action, errno)),
        }
    }

    fn error(&self, action: &'static str, errno: Errno) -> Error {
        Error::Map { action, map: self.name.clone(), errno }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Numbers of all maps in the kernel (needs CAP_SYS_ADMIN).
pub fn map_ids() -> Result<Vec<u32>, Error> {
    object::ids(ObjectKind::Map)
}

fn query(fd: BorrowedFd<'_>) -> Result<MapInfo, Error> {
    let mut raw = info::MapInfo::default();
    // SAFETY: no addresses in it.
    unsafe { info::object_info(fd, &mut raw) }
        .map_err(|errno| Error::call("ask for the shape of a map", errno))?;
    Ok(MapInfo {
        name: name_text(&raw.name),
        id: raw.id,
        map_type: MapType(raw.map_type),
        key_size: raw.key_size,
        value_size: raw.value_size,
        max_entries: raw.max_entries,
        flags: MapFlags::from_bits_retain(raw.map_flags),
        btf_id: raw.btf_id,
    })
}
