//! Arrays mapped into this process (`BPF_F_MMAPABLE`, Linux 5.5).
//!
//! Programs and user space see the same memory, without system calls between. Both may write at any
//! time, so user space sees it as atomics only.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::{Map, MapType, per_cpu};
use crate::error::Error;
use crate::sys::mapping::{Mapping, page_size};

/// The values of a mapped array, one behind the other, each rounded up to 8 bytes.
#[derive(Debug)]
pub struct MapMemory {
    mapping: Mapping,
    stride: usize,
    entries: usize,
}

impl Map {
    /// Maps an array that was created with [`super::MapFlags::MMAPABLE`], to read and write. Not once
    /// it is frozen (EPERM).
    pub fn map_memory(&self) -> Result<MapMemory, Error> {
        self.need(self.map_type == MapType::ARRAY, "an array")?;
        let stride = per_cpu::stride(self.value_size);
        let entries = self.max_entries as usize;
        // As bpf_map_mmap_sz() has it; array_map_mmap() refuses more than there is.
        let length = stride.saturating_mul(entries).next_multiple_of(page_size());
        let mapping = Mapping::new(self.as_fd(), 0, length, true)
            .map_err(|errno| self.error("map the memory of", errno))?;
        Ok(MapMemory { mapping, stride, entries })
    }
}

impl MapMemory {
    /// Bytes from one value to the next; a multiple of 8.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// All values as 64-bit words.
    pub fn u64s(&self) -> &[AtomicU64] {
        let start = self.mapping.start().cast::<AtomicU64>();
        // SAFETY: mapped as long as `self`, page-aligned, the length is within the mapping (checked
        // by the kernel when mapping); shared writers are what atomics are for.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.len() / 8) }
    }

    /// All values as 32-bit words.
    pub fn u32s(&self) -> &[AtomicU32] {
        let start = self.mapping.start().cast::<AtomicU32>();
        // SAFETY: as for `u64s`.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.len() / 4) }
    }

    /// All values as bytes.
    pub fn bytes(&self) -> &[AtomicU8] {
        let start = self.mapping.start().cast::<AtomicU8>();
        // SAFETY: as for `u64s`.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.len()) }
    }

    /// Copies from byte `offset` on, byte by byte: a value that a program is writing may be torn.
    /// False: there are not as many bytes.
    pub fn read(&self, offset: usize, out: &mut [u8]) -> bool {
        let Some(from) = self.bytes().get(offset..).and_then(|rest| rest.get(..out.len())) else {
            return false;
        };
        for (to, from) in out.iter_mut().zip(from) {
            *to = from.load(Ordering::Relaxed);
        }
        true
    }

    /// Bytes of all values.
    fn len(&self) -> usize {
        (self.stride * self.entries).min(self.mapping.len())
    }
}
