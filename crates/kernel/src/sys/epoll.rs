//! Waiting for several descriptors, epoll(7).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::errno::Errno;

/// Descriptors that are waited for together. One that is closed leaves by itself.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    /// None yet.
    pub(crate) fn new() -> Result<Self, Errno> {
        // SAFETY: takes and returns integers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: a new descriptor that nobody else has.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// From now on waits until this one can be read too.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let (operation, fd) = (libc::EPOLL_CTL_ADD, fd.as_raw_fd());
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        // SAFETY: the event is a local that the kernel reads.
        match unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd, &raw mut event) } {
            -1 => Err(Errno::last()),
            _ => Ok(()),
        }
    }

    /// Waits until one can be read, at most `timeout` (`None`: for ever), and says whether one can. False
    /// also when a signal came.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Result<bool, Errno> {
        // Rounded up: a wait of less than a millisecond is not a busy loop.
        let milliseconds = timeout.map_or(-1, |timeout| {
            i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let epoll = self.0.as_raw_fd();
        // SAFETY: room for one event, as is said.
        match unsafe { libc::epoll_wait(epoll, &raw mut event, 1, milliseconds) } {
            -1 => match Errno::last() {
                Errno::EINTR => Ok(false),
                errno => Err(errno),
            },
            count => Ok(count > 0),
        }
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
