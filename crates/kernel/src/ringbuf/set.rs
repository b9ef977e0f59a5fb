//! Several ring buffers that are waited for together.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::{Consumed, RingBuffer};
use crate::errno::Errno;
use crate::error::Error;

/// Ring buffers with one epoll descriptor.
#[derive(Debug)]
pub struct RingSet {
    epoll: OwnedFd,
    rings: Vec<RingBuffer>,
}

impl RingSet {
    /// Takes ring buffers; their place in `rings` is their index.
    pub fn new(rings: Vec<RingBuffer>) -> Result<Self, Error> {
        // SAFETY: takes and returns integers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(Error::call("make an epoll descriptor", Errno::last()));
        }
        // SAFETY: a new descriptor that nobody else has.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        for (index, ring) in rings.iter().enumerate() {
            let (operation, ring) = (libc::EPOLL_CTL_ADD, ring.as_fd().as_raw_fd());
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: index as u64 };
            // SAFETY: the event is a local that the kernel reads.
            let result =
                unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, ring, &raw mut event) };
            if result < 0 {
                return Err(Error::call("wait for a ring buffer", Errno::last()));
            }
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
        // Rounded up: a wait of less than a millisecond is not a busy loop.
        let milliseconds = timeout.map_or(-1, |timeout| {
            i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: room for one event, as is said.
        match unsafe { libc::epoll_wait(epoll, &raw mut event, 1, milliseconds) } {
            -1 => match Errno::last() {
                Errno::EINTR => Ok(false),
                errno => Err(Error::call("wait for ring buffers", errno)),
            },
            count => Ok(count > 0),
        }
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
