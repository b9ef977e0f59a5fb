//! Links: programs at their places.
//!
//! A [`Link`] owns a descriptor; when it is dropped the program is detached, unless the link is pinned.
//! Attaching takes effect at once: programs that must start together look at a common word first.
//!
//! | place | constructor | since |
//! |---|---|---|
//! | raw tracepoint | [`Link::raw_tracepoint`] | 4.17 |
//! | tp_btf, fentry, fexit, fmod_ret, LSM | [`Link::tracing`] | 5.5, LSM and fmod_ret 5.7 |
//! | iterator | [`Link::iterator`] | 5.8 |
//! | kprobe, kretprobe, uprobe, uretprobe | [`Link::kprobe`], [`Link::uprobe`] | 4.17; cookie 5.15 |
//! | tracepoint, software event | [`Link::tracepoint`], [`Link::software_event`] | 4.7, 4.9; cookie 5.15 |
//! | many functions | [`Link::kprobe_multi`], [`Link::uprobe_multi`] | 5.18, 6.6 |
//! | cgroup | [`Link::cgroup`] | 5.7 |

mod cgroup;
mod info;
mod iterator;
mod multi;
mod perf;
mod probe;
#[cfg(test)]
mod tests;
mod tracing;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::errno::Errno;
use crate::error::Error;
use crate::object::{self, ObjectKind};
use crate::program::{AttachType, Program};
use crate::sys::attr::{self, LinkCreate};
use crate::sys::{Command, Plain, bpf, bpf_fd, fd_number};

pub use info::{LinkInfo, LinkType, exists, link_ids};
pub use iterator::Over;
pub use multi::{KprobeMulti, UprobeMulti, UprobePlace};
pub use perf::Sampling;
pub use probe::{Kprobe, KprobePlace, Uprobe};

/// A program at its place.
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
    kind: Kind,
    target: String,
}

/// What the descriptor is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A link of the kernel's.
    Link,
    /// A perf event with a program, before Linux 5.15.
    PerfEvent,
}

impl Link {
    /// Takes a descriptor of a link.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Error> {
        object::expect(ObjectKind::Link, fd.as_fd())?;
        let info = info::query(fd.as_fd())?;
        let target = format!("{} (link {})", info.link_type, info.id);
        Ok(Self { fd, kind: Kind::Link, target })
    }

    /// Opens a link by its number (needs CAP_SYS_ADMIN).
    pub fn from_id(id: u32) -> Result<Self, Error> {
        Self::from_fd(object::open(ObjectKind::Link, id)?)
    }

    /// Where the program is attached, as text: "fentry vfs_read".
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Puts another program of the same kind in the place of this one, at one instant. Cgroups and
    /// iterators only: other links do not allow it (EINVAL).
    pub fn update(&self, program: &Program) -> Result<(), Error> {
        let mut attr = attr::LinkUpdate {
            link_fd: fd_number(self.link_fd("replacing the program of")?),
            new_prog_fd: fd_number(program.as_fd()),
            ..attr::LinkUpdate::default()
        };
        // SAFETY: no addresses.
        let result = unsafe { bpf(Command::LinkUpdate, &mut attr) };
        result.map(drop).map_err(|errno| attach_error(program, self.target.clone(), errno))
    }

    /// Detaches the program now, even if the link is pinned or open elsewhere (Linux 5.9). Not all
    /// kinds of link can do so (EOPNOTSUPP): those go when their last descriptor and pin go.
    pub fn detach(&self) -> Result<(), Error> {
        let link_fd = fd_number(self.link_fd("detaching")?);
        let mut attr = attr::LinkDetach { link_fd };
        // SAFETY: no addresses.
        let result = unsafe { bpf(Command::LinkDetach, &mut attr) };
        result.map(drop).map_err(|errno| Error::call(format!("detach from {}", self.target), errno))
    }

    /// The kernel's link. Perf events before Linux 5.15 have none: they cannot be pinned, updated,
    /// or asked about.
    pub fn link_fd(&self, what: &str) -> Result<BorrowedFd<'_>, Error> {
        match self.kind {
            Kind::Link => Ok(self.fd.as_fd()),
            Kind::PerfEvent => Err(Error::Lacks {
                what: format!("{what} {}", self.target),
                needs: "links for perf events (Linux 5.15)",
            }),
        }
    }
}

/// The link that a call made, or why it did not.
fn made(result: Result<OwnedFd, Errno>, program: &Program, target: String) -> Result<Link, Error> {
    match result {
        Ok(fd) => Ok(Link { fd, kind: Kind::Link, target }),
        Err(errno) => Err(attach_error(program, target, errno)),
    }
}

fn attach_error(program: &Program, target: String, errno: Errno) -> Error {
    Error::Attach { program: program.name().to_owned(), target, errno }
}

/// LINK_CREATE.
///
/// # Safety
///
/// Addresses in `extra` are 0 or valid for as many bytes as the kernel reads there.
unsafe fn create<Extra: Plain>(
    program: &Program,
    target_fd: u32,
    attach_type: AttachType,
    flags: u32,
    extra: Extra,
) -> Result<OwnedFd, Errno> {
    let mut attr = LinkCreate {
        prog_fd: fd_number(program.as_fd()),
        target_fd,
        attach_type: attach_type.0,
        flags,
        extra,
    };
    // SAFETY: this function's contract is the same.
    unsafe { bpf_fd(Command::LinkCreate, &mut attr) }
}
