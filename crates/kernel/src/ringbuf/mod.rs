//! Reading BPF ring buffers (`BPF_MAP_TYPE_RINGBUF`, Linux 5.8).
//!
//! Programs on any CPU reserve room in one ring and fill it in any order; this side reads records in
//! the order in which they were reserved, in place, without system calls. What the memory looks like
//! is in `ring.rs`; `Documentation/bpf/ringbuf.rst` and `kernel/bpf/ringbuf.c` describe it.
//!
//! A ring has one reader: where it stands is in the ring itself, so a second one would take records
//! away from the first, and let the kernel write over what that one is looking at.

mod ring;
mod set;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};

use crate::errno::Errno;
use crate::error::Error;
use crate::map::{Map, MapType};
use crate::sys::mapping::{Mapping, page_size};

use ring::{Next, Ring};

pub use set::RingSet;

/// The reader of a ring buffer.
#[derive(Debug)]
pub struct RingBuffer {
    map: Map,
    ring: Ring,
    // Where `ring` points; dropped with it.
    _positions: Mapping,
    _data: Mapping,
    corrupt: u64,
}

/// How far a read came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consumed {
    /// Records given to the reader.
    pub records: u64,
    /// Records that programs had reserved and given up again.
    pub discarded: u64,
    /// Bytes of the ring that were freed.
    pub bytes: u64,
}

impl RingBuffer {
    /// Maps a ring buffer for reading. Reading goes on where the reader before stopped.
    pub fn new(map: Map) -> Result<Self, Error> {
        map.need(map.map_type() == MapType::RINGBUF, "a ring buffer")?;
        let failed = |errno| Error::Map { action: "map", map: map.name().to_owned(), errno };
        let (page, size) = (page_size(), map.max_entries() as usize);
        if !size.is_power_of_two() {
            return Err(failed(Errno::EINVAL));
        }
        // Three parts: the consumer's page, the only one that may be written; the producer's page;
        // the data, twice in a row, so that records that wrap around are in one piece.
        let positions = Mapping::new(map.as_fd(), 0, page, true).map_err(failed)?;
        let data = Mapping::new(map.as_fd(), page, page + 2 * size, false).map_err(failed)?;
        // SAFETY: both mappings are laid out as said, and live as long as the ring in this struct.
        let ring = unsafe { Ring::new(positions.start(), data.start(), page, size) };
        Ok(Self { map, ring, _positions: positions, _data: data, corrupt: 0 })
    }

    /// The map.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// Bytes that records, with 8 for each and rounded up to 8, can take.
    pub fn size(&self) -> usize {
        self.ring.size()
    }

    /// Bytes not read yet, those being written included.
    pub fn available(&self) -> usize {
        self.ring.available()
    }

    /// Times that the ring held what no kernel writes; everything unread was skipped each time.
    pub fn corrupt(&self) -> u64 {
        self.corrupt
    }

    /// Gives all records that are complete to `read`, in order, and frees them. Ends when the ring is
    /// empty or the next record is still being written: the kernel then wakes who waits for the ring
    /// when it is complete.
    pub fn consume(&mut self, mut read: impl FnMut(&[u8])) -> Consumed {
        self.consume_while(|record| {
            read(record);
            ControlFlow::Continue(())
        })
    }

    /// As [`Self::consume`], until `read` breaks. The record it broke at is freed too. No wake-up is
    /// promised for what it left.
    pub fn consume_while(&mut self, mut read: impl FnMut(&[u8]) -> ControlFlow<()>) -> Consumed {
        let mut consumed = Consumed::default();
        // The kernel wakes the reader only when it stands at the record that is being completed.
        // After the position moved, the look at the ring before giving up must come behind a full
        // barrier, or both sides could miss each other (see `Ring::fence`).
        let mut moved = false;
        loop {
            match self.ring.next() {
                Next::Record { data, advance } => {
                    let flow = read(data);
                    self.ring.advance(advance);
                    consumed.records += 1;
                    consumed.bytes += advance as u64;
                    moved = true;
                    if flow.is_break() {
                        return consumed;
                    }
                }
                Next::Discarded { advance } => {
                    self.ring.advance(advance);
                    consumed.discarded += 1;
                    consumed.bytes += advance as u64;
                    moved = true;
                }
                Next::Wait if moved => {
                    self.ring.fence();
                    moved = false;
                }
                Next::Wait => return consumed,
                Next::Corrupt => {
                    self.corrupt += 1;
                    self.ring.skip_all();
                    moved = true;
                }
            }
        }
    }
}

impl AsFd for RingBuffer {
    /// To be waited for with poll or epoll: readable while [`RingBuffer::available`] is not 0, also
    /// when the next record is still being written.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}
