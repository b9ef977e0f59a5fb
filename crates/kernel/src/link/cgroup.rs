//! Programs on cgroups (links since Linux 5.7).

use std::os::fd::BorrowedFd;

use super::{Link, create, made};
use crate::error::Error;
use crate::program::Program;
use crate::sys::fd_number;

impl Link {
    /// Attaches a program to a directory of cgroup v2 and all below it, beside those that others have
    /// attached. `name` names the cgroup, for errors.
    pub fn cgroup(program: &Program, cgroup: BorrowedFd<'_>, name: &str) -> Result<Self, Error> {
        // SAFETY: no addresses.
        let fd = unsafe { create(program, fd_number(cgroup), program.attach_type(), 0, ()) };
        let target = format!("{} of cgroup {name}", program.attach_type());
        made(fd, program, target)
    }
}
