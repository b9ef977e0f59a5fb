//! Several ring buffers that are waited for together.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::{Consumed, RingBuffer};
use crate::error::Error;
use crate::sys::epoll::Epoll;

/// Ring buffers with one epoll descriptor.
#[derive(Debug)]
pub struct RingSet {
    epoll: Epoll,
    rings: Vec<RingBuffer>,
}

impl RingSet {
    /// Takes ring buffers; their place in `rings` is their index.
    pub fn new(rings: Vec<RingBuffer>) -> Result<Self, Error> {
        let failed = |errno| Error::call("wait for a ring buffer", errno);
        let epoll = Epoll::new().map_err(failed)?;
        for ring in &rings {
            epoll.add(ring.as_fd()).map_err(failed)?;
        }
        Ok(Self { epoll, rings })
    }

    /// The ring buffers.
    pub fn rings(&self) -> &[RingBuffer] {
        &self.rings
    }

    /// The ring buffers, to be read one by one.
    pub fn rings_mut(&mut self) -> &mut [RingBuffer] {
        &mut self.rings
    }

    /// Waits until a ring has something to read, at most `timeout` (`None`: for ever), and says
    /// whether one has. False also when a signal came.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, Error> {
        self.epoll.wait(timeout).map_err(|errno| Error::call("wait for ring buffers", errno))
    }

    /// Reads all rings, in order of their index: `read` gets the index and the record.
    pub fn consume(&mut self, mut read: impl FnMut(usize, &[u8])) -> Consumed {
        let mut total = Consumed::default();
        for (index, ring) in self.rings.iter_mut().enumerate() {
            let consumed = ring.consume(|record| read(index, record));
            total.records += consumed.records;
            total.discarded += consumed.discarded;
            total.bytes += consumed.bytes;
        }
        total
    }
}

impl AsFd for RingSet {
    /// The epoll descriptor: readable while a ring is.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
