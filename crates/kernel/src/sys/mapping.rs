//! Shared memory between the kernel and this process.

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use super::{Call, call};
use crate::errno::Errno;

/// Bytes in a page of memory.
pub(crate) fn page_size() -> usize {
    // SAFETY: reads a constant of the system.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // Linux always knows it; 4096 is the smallest there is.
    usize::try_from(size).unwrap_or(4096)
}

/// Memory mapped from a descriptor, until this is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread; who uses the memory synchronises.
unsafe impl Send for Mapping {}
// SAFETY: as above; the methods only give addresses.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `length` bytes from `offset` on, shared with the kernel.
    pub(crate) fn new(
        fd: BorrowedFd<'_>,
        offset: usize,
        length: usize,
        writable: bool,
    ) -> Result<Self, Errno> {
        let protection =
            if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EINVAL)?;
        // SAFETY: a new mapping; no existing memory is touched.
        let start = unsafe { call(Call::Mmap { length, protection, fd, offset }) }?;
        let start = std::ptr::with_exposed_provenance_mut(start as usize);
        let start = NonNull::new(start).ok_or(Errno::ENOMEM)?;
        Ok(Self { start, length })
    }

    /// Where it starts; on a page's boundary.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Bytes.
    pub(crate) fn len(&self) -> usize {
        self.length
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let address = self.start.as_ptr().cast::<c_void>();
        // SAFETY: what mmap returned, and its users borrow `self`, so none is left. It cannot fail:
        // the range is one whole mapping.
        let _ = unsafe { call(Call::Munmap { address, length: self.length }) };
    }
}
