//! The memory of a ring buffer, and the rules for reading it while CPUs write.
//!
//! Positions count bytes since the ring was made, and wrap around at 2^64. The consumer's is written
//! by this side only, the producer's by the kernel only. A record is a header of 8 bytes and data,
//! rounded up to 8: the header's first word is the data's length, with a bit while the record is being
//! written and one when it was given up.
//!
//! What is read from the ring is not believed: lengths are held against what the producer has
//! reserved, so that whatever stands there, no byte outside the ring is read, and each step ends.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// `BPF_RINGBUF_BUSY_BIT`.
pub(super) const BUSY: u32 = 1 << 31;
/// `BPF_RINGBUF_DISCARD_BIT`.
pub(super) const DISCARD: u32 = 1 << 30;
/// `BPF_RINGBUF_HDR_SZ`.
pub(super) const HEADER: usize = 8;

// `unsigned long` in the kernel: the same as u64 on the machines that are supported.
const _: () = assert!(size_of::<usize>() == 8, "64-bit machines only");

/// A ring's memory.
#[derive(Debug)]
pub(super) struct Ring {
    consumer: NonNull<AtomicU64>,
    producer: NonNull<AtomicU64>,
    data: NonNull<u8>,
    size: usize,
}

// SAFETY: the memory belongs to the process; shared writers are the kernel's, as with one thread.
unsafe impl Send for Ring {}
// SAFETY: through `&Ring` there are only atomic loads.
unsafe impl Sync for Ring {}

/// What is at the reader's position.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A complete record.
    Record {
        /// Its data.
        data: &'a [u8],
        /// How far the next is.
        advance: usize,
    },
    /// A record that was given up.
    Discarded {
        /// How far the next is.
        advance: usize,
    },
    /// Nothing yet, or a record that is being written.
    Wait,
    /// Something that no kernel writes.
    Corrupt,
}

impl Ring {
    /// # Safety
    ///
    /// `consumer` is a page that can be written; `rest` is the producer's page of `page` bytes
    /// followed by `2 * size` bytes of data, whose second half shows the same memory as the first.
    /// Both stay mapped as long as this lives. `size` is a power of two, 8 or more.
    pub(super) unsafe fn new(
        consumer: NonNull<u8>,
        rest: NonNull<u8>,
        page: usize,
        size: usize,
    ) -> Self {
        // SAFETY: within the mapping, by this function's contract.
        let data = unsafe { rest.add(page) };
        Self { consumer: consumer.cast(), producer: rest.cast(), data, size }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    fn consumer(&self) -> &AtomicU64 {
        // SAFETY: mapped as long as `self`, aligned to a page.
        unsafe { self.consumer.as_ref() }
    }

    fn producer(&self) -> &AtomicU64 {
        // SAFETY: as above.
        unsafe { self.producer.as_ref() }
    }

    /// Bytes between the two positions, at most the ring's size.
    pub(super) fn available(&self) -> usize {
        // Relaxed: a number to look at; nothing is read on its strength.
        let (consumer, producer) =
            (self.consumer().load(Ordering::Relaxed), self.producer().load(Ordering::Relaxed));
        usize::try_from(producer.wrapping_sub(consumer)).unwrap_or(usize::MAX).min(self.size)
    }

    /// What is at the reader's position. The reader calls it with `&mut`: what it gives may be read
    /// until [`Self::advance`] lets the kernel write there again.
    pub(super) fn next(&mut self) -> Next<'_> {
        // Relaxed: this thread wrote it last, or got `&mut self` from the one that did.
        let consumer = self.consumer().load(Ordering::Relaxed);
        // Acquire: pairs with smp_store_release() in __bpf_ringbuf_reserve(), behind which the
        // header's busy bit is written: whoever sees the position sees at least that.
        let producer = self.producer().load(Ordering::Acquire);
        let reserved = producer.wrapping_sub(consumer);
        if reserved == 0 {
            return Next::Wait;
        }
        let offset = (consumer & (self.size as u64 - 1)) as usize;
        if reserved > self.size as u64 || reserved < HEADER as u64 || !offset.is_multiple_of(HEADER)
        {
            return Next::Corrupt;
        }
        let reserved = reserved as usize;
        // SAFETY: `offset` is below `size` and aligned to 8, so the header is in the data.
        let header = unsafe { self.data.add(offset) }.cast::<AtomicU32>();
        // SAFETY: mapped as long as `self`; the kernel writes it with xchg(), as atomics are.
        let header = unsafe { header.as_ref() };
        // Acquire: pairs with xchg() in bpf_ringbuf_commit(), before which the data was written.
        let word = header.load(Ordering::Acquire);
        if word & BUSY != 0 {
            return Next::Wait;
        }
        // 30 bits: the sums below do not overflow.
        let length = (word & !(BUSY | DISCARD)) as usize;
        let advance = (HEADER + length).next_multiple_of(8);
        if advance > reserved {
            return Next::Corrupt;
        }
        if word & DISCARD != 0 {
            return Next::Discarded { advance };
        }
        // SAFETY: `offset + HEADER` is at most `size`.
        let start = unsafe { self.data.add(offset + HEADER) };
        // SAFETY: `offset` is below `size` and `advance` at most `size`, so it ends within the two
        // halves. The kernel does not write there before the consumer's position has moved past,
        // which takes `&mut self`, nor do programs once the record is committed.
        let data = unsafe { std::slice::from_raw_parts(start.as_ptr(), length) };
        Next::Record { data, advance }
    }

    /// Frees the record at the reader's position.
    pub(super) fn advance(&mut self, bytes: usize) {
        // Relaxed: as in `next`.
        let position = self.consumer().load(Ordering::Relaxed).wrapping_add(bytes as u64);
        // Release: pairs with smp_load_acquire() in __bpf_ringbuf_reserve(): what was read here was
        // read before the kernel writes over it.
        self.consumer().store(position, Ordering::Release);
    }

    /// Frees everything that is reserved.
    pub(super) fn skip_all(&mut self) {
        // Acquire: as in `next`.
        let producer = self.producer().load(Ordering::Acquire);
        // Release: as in `advance`.
        self.consumer().store(producer, Ordering::Release);
    }

    /// To be called after the position moved and before the look at the ring that decides to sleep.
    ///
    /// bpf_ringbuf_commit() writes the header (xchg(): a full barrier) and then reads the consumer's
    /// position, and wakes the reader only if it stands at that record. This side writes the position
    /// and then reads the header. Without a full barrier between, each could see the other's old
    /// value: the reader would sleep on a complete record and nobody would wake it.
    pub(super) fn fence(&self) {
        fence(Ordering::SeqCst);
    }
}
