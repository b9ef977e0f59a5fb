//! The memory of a perf event's ring, and the rules for reading it while the kernel writes.
//!
//! The first page says where the kernel writes and where this side reads, in bytes since the ring was
//! made; the rest holds records. A record is a header of 8 bytes (kind, flags, and its own size) and what
//! follows it; at the end of the memory it goes on at the start. What is not read yet is never written
//! over: the ring is mapped writable (`perf_mmap()`, kernel/events/core.c).
//!
//! What is read is not believed: sizes are held against what the kernel says that it has written.

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::errno::Errno;
use crate::sys::mapping::{Mapping, page_size};

/// Offset of `data_head` in `struct perf_event_mmap_page`.
const HEAD: usize = 1024;
/// Offset of `data_tail`.
const TAIL: usize = 1032;
/// Bytes of a record's header.
const HEADER: usize = 8;

/// A ring's memory.
#[derive(Debug)]
pub(super) struct Ring {
    mapping: Mapping,
    page: usize,
    /// Bytes of data; a power of two.
    size: usize,
}

impl Ring {
    /// Maps the ring of an event, with so many bytes for records: a power of two of pages.
    pub(super) fn map(event: BorrowedFd<'_>, size: usize) -> Result<Self, Errno> {
        let page = page_size();
        let size = size.max(page).next_power_of_two();
        let mapping = Mapping::new(event, 0, page + size, true)?;
        Ok(Self { mapping, page, size })
    }

    fn position(&self, offset: usize) -> &AtomicU64 {
        let at = self.mapping.start().as_ptr().wrapping_add(offset).cast::<AtomicU64>();
        // SAFETY: both positions are in the first page, aligned to 8, mapped as long as `self`, and
        // accessed by atomic operations only, here and in the kernel.
        unsafe { &*at }
    }

    /// Gives all records to `read`, in the order in which they were written, and frees them. `record` is
    /// memory for one. False: the ring holds what no kernel writes; everything was skipped.
    pub(super) fn read(&mut self, record: &mut Vec<u8>, mut read: impl FnMut(&[u8])) -> bool {
        // Relaxed: this thread wrote it last, or got `&mut self` from the one that did.
        let mut tail = self.position(TAIL).load(Ordering::Relaxed);
        // Acquire: pairs with the barrier before the kernel writes it (perf_output_put_handle()): the
        // records before it are complete.
        let head = self.position(HEAD).load(Ordering::Acquire);
        let mut sound = head.wrapping_sub(tail) <= self.size as u64;
        while sound && tail != head {
            let written = head.wrapping_sub(tail) as usize;
            let mut header = [0; HEADER];
            sound = written >= HEADER;
            if sound {
                self.copy(tail, &mut header);
                let length = usize::from(u16::from_ne_bytes([header[6], header[7]]));
                sound = (HEADER..=written).contains(&length);
                if sound {
                    record.resize(length, 0);
                    self.copy(tail, record);
                    read(record);
                    tail = tail.wrapping_add(length as u64);
                }
            }
        }
        // Release: what was read here was read before the kernel writes over it.
        self.position(TAIL).store(head, Ordering::Release);
        sound
    }

    /// Copies from a position on; `to` is not longer than what was written there.
    fn copy(&self, position: u64, to: &mut [u8]) {
        let offset = (position & (self.size as u64 - 1)) as usize;
        let first = to.len().min(self.size - offset);
        let data = self.mapping.start().as_ptr().wrapping_add(self.page);
        for (at, part) in [(offset, 0..first), (0, first..to.len().min(self.size))] {
            let part = &mut to[part];
            let (Some(from), Some(into)) =
                (NonNull::new(data.wrapping_add(at)), NonNull::new(part.as_mut_ptr()))
            else {
                continue;
            };
            // SAFETY: `at` and what follows it end within the data, which is mapped as long as `self`; the
            // kernel does not write there before the tail has moved past, which takes `&mut self`. `part`
            // is this process's own.
            unsafe { into.copy_from_nonoverlapping(from, part.len()) };
        }
    }
}
