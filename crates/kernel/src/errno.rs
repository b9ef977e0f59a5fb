//! The number with which a system call says why it failed.

use std::fmt;

/// An error number of the kernel.
///
/// Shown as text and name: `Operation not permitted (EPERM)`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

/// The kernel's own "not supported", which should never reach user space but does where a map type
/// lacks an operation (`include/linux/errno.h`). libc does not know it.
const ENOTSUPP: i32 = 524;

/// Numbers that bpf(2), perf_event_open(2), mount(2) and their kin return.
const NAMES: &[(i32, &str)] = &[
    (libc::EPERM, "EPERM"),
    (libc::ENOENT, "ENOENT"),
    (libc::ESRCH, "ESRCH"),
    (libc::EINTR, "EINTR"),
    (libc::EIO, "EIO"),
    (libc::ENXIO, "ENXIO"),
    (libc::E2BIG, "E2BIG"),
    (libc::EBADF, "EBADF"),
    (libc::EAGAIN, "EAGAIN"),
    (libc::ENOMEM, "ENOMEM"),
    (libc::EACCES, "EACCES"),
    (libc::EFAULT, "EFAULT"),
    (libc::EBUSY, "EBUSY"),
    (libc::EEXIST, "EEXIST"),
    (libc::ENODEV, "ENODEV"),
    (libc::ENOTDIR, "ENOTDIR"),
    (libc::EISDIR, "EISDIR"),
    (libc::EINVAL, "EINVAL"),
    (libc::EMFILE, "EMFILE"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::EROFS, "EROFS"),
    (libc::ERANGE, "ERANGE"),
    (libc::EDEADLK, "EDEADLK"),
    (libc::ENOSYS, "ENOSYS"),
    (libc::ENOLINK, "ENOLINK"),
    (libc::EPROTO, "EPROTO"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP"),
    (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
    (libc::ETIMEDOUT, "ETIMEDOUT"),
    (libc::ESTALE, "ESTALE"),
    (ENOTSUPP, "ENOTSUPP"),
];

impl Errno {
    /// Not permitted.
    pub const EPERM: Self = Self(libc::EPERM);
    /// No such thing.
    pub const ENOENT: Self = Self(libc::ENOENT);
    /// No such process.
    pub const ESRCH: Self = Self(libc::ESRCH);
    /// Interrupted by a signal.
    pub const EINTR: Self = Self(libc::EINTR);
    /// Argument (or program) too large.
    pub const E2BIG: Self = Self(libc::E2BIG);
    /// Not a usable file descriptor.
    pub const EBADF: Self = Self(libc::EBADF);
    /// Try again.
    pub const EAGAIN: Self = Self(libc::EAGAIN);
    /// Out of memory.
    pub const ENOMEM: Self = Self(libc::ENOMEM);
    /// Access denied; from the verifier: an access that is not allowed.
    pub const EACCES: Self = Self(libc::EACCES);
    /// An address that is not mapped.
    pub const EFAULT: Self = Self(libc::EFAULT);
    /// In use.
    pub const EBUSY: Self = Self(libc::EBUSY);
    /// Exists already.
    pub const EEXIST: Self = Self(libc::EEXIST);
    /// No such device (for a PMU: not built into this kernel).
    pub const ENODEV: Self = Self(libc::ENODEV);
    /// Invalid argument; often: the kernel does not know the feature.
    pub const EINVAL: Self = Self(libc::EINVAL);
    /// No space left (in a buffer that was passed, often).
    pub const ENOSPC: Self = Self(libc::ENOSPC);
    /// No such system call.
    pub const ENOSYS: Self = Self(libc::ENOSYS);
    /// An address that cannot be used: for a probe, no function's.
    pub const EADDRNOTAVAIL: Self = Self(libc::EADDRNOTAVAIL);
    /// Operation not supported.
    pub const EOPNOTSUPP: Self = Self(libc::EOPNOTSUPP);
    /// Operation not supported, the number used inside the kernel (524).
    pub const ENOTSUPP: Self = Self(ENOTSUPP);

    /// The number that the last failed call of this thread left.
    pub(crate) fn last() -> Self {
        Self(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    /// Its name, where it is one that the calls of this crate return.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(number, _)| *number == self.0).map(|(_, name)| *name)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::ENOTSUPP => "Operation not supported by the kernel".to_owned(),
            Self(number) => std::io::Error::from_raw_os_error(number).to_string(),
        };
        let text = text.split(" (os error").next().unwrap_or_default();
        match self.name() {
            Some(name) => write!(f, "{text} ({name})"),
            None => write!(f, "{text} (errno {})", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

impl std::error::Error for Errno {}

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Errno;

    #[test]
    fn shows_text_and_name() {
        assert_eq!(Errno::EPERM.to_string(), "Operation not permitted (EPERM)");
        assert_eq!(Errno::ENOTSUPP.to_string(), "Operation not supported by the kernel (ENOTSUPP)");
        assert!(Errno(4000).to_string().ends_with("(errno 4000)"));
    }
}
