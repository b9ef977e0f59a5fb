//! Descriptors of processes.

use std::os::fd::OwnedFd;

use crate::errno::Errno;
use crate::error::Error;
use crate::sys;

/// `PIDFD_THREAD`: O_EXCL.
const THREAD: u32 = libc::O_EXCL as u32;

/// Opens a process by its id (Linux 5.3). `None`: there is none. An id of a thread that does not lead
/// its process is an error (EINVAL; since Linux 6.9 ENOENT, which here is `None`).
pub fn open(pid: u32) -> Result<Option<OwnedFd>, Error> {
    opened(sys::pidfd_open(pid, 0), "process", pid)
}

/// Opens a thread by its id (Linux 6.9). `None`: there is none.
pub fn open_thread(tid: u32) -> Result<Option<OwnedFd>, Error> {
    opened(sys::pidfd_open(tid, THREAD), "thread", tid)
}

fn opened(result: Result<OwnedFd, Errno>, what: &str, id: u32) -> Result<Option<OwnedFd>, Error> {
    match result {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ESRCH | Errno::ENOENT) => Ok(None),
        Err(errno) => Err(Error::call(format!("open {what} {id}"), errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Call, fake};

    #[test]
    fn an_ended_process_is_no_error() {
        let _kernel = fake::install(|call| match call {
            Call::PidfdOpen { pid: 5, flags: 0 } => Err(Errno::ESRCH),
            Call::PidfdOpen { pid: 6, .. } => Err(Errno::EINVAL),
            Call::PidfdOpen { .. } => Ok(fake::descriptor()),
            _ => panic!(),
        });
        assert!(open(5).unwrap().is_none());
        assert_eq!(open(6).unwrap_err().errno(), Some(Errno::EINVAL));
        assert!(open_thread(5).unwrap().is_some());
    }
}
