//! The seam between this crate and the kernel: every system call that unit tests may want to fake
//! passes [`call`].
//!
//! Outside tests `call` is the system call and nothing else. In unit tests a thread may put a
//! fake kernel in its place; threads that do not, talk to the real one.
//!
//! Attributes that the kernel does not know are legal as long as they are zero: bpf(2) checks that
//! what lies behind its own `union bpf_attr` is zero (`bpf_check_uarg_tail_zero`), and each command
//! that what lies behind its last known field is (`CHECK_ATTR`). So the structs in [`attr`] may be
//! newer than the running kernel, and a field it does not know gives E2BIG or EINVAL only when used.

pub(crate) mod attr;
pub(crate) mod epoll;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod info;
pub(crate) mod mapping;
pub(crate) mod perf;

use std::ffi::{c_int, c_long, c_ulong, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::errno::Errno;

pub(crate) use attr::Command;

/// Memory that is nothing but integers: what the kernel is given and gives back.
///
/// # Safety
///
/// The type is `repr(C)` (or a primitive), has no padding, and is valid whatever its bytes are.
pub(crate) unsafe trait Plain: Sized {
    /// All zero.
    fn zeroed() -> Self {
        // SAFETY: any bytes are a valid value, by this trait's contract.
        unsafe { std::mem::zeroed() }
    }

    /// Its bytes.
    #[cfg(test)]
    fn as_bytes(&self) -> &[u8] {
        let start = std::ptr::from_ref(self).cast::<u8>();
        // SAFETY: without padding every byte of the value is initialised, and the borrow holds it.
        unsafe { std::slice::from_raw_parts(start, size_of::<Self>()) }
    }

    /// Its bytes, to be written.
    fn as_bytes_mut(&mut self) -> &mut [u8] {
        let start = std::ptr::from_mut(self).cast::<u8>();
        // SAFETY: as for `as_bytes`; whatever is written is a valid value by this trait's contract.
        unsafe { std::slice::from_raw_parts_mut(start, size_of::<Self>()) }
    }
}

// SAFETY: nothing has no padding.
unsafe impl Plain for () {}

/// A system call with its arguments.
pub(crate) enum Call<'a> {
    /// bpf(2).
    Bpf {
        /// What to do.
        command: Command,
        /// One of the structs in [`attr`], as bytes.
        attr: &'a mut [u8],
    },
    /// perf_event_open(2), without a group.
    PerfEventOpen {
        /// The event.
        attr: &'a perf::EventAttr,
        /// Process, or -1 for all.
        pid: libc::pid_t,
        /// CPU, or -1 for all.
        cpu: c_int,
    },
    /// ioctl(2).
    Ioctl {
        /// On what.
        fd: BorrowedFd<'a>,
        /// `PERF_EVENT_IOC_*`.
        request: c_ulong,
        /// Its argument.
        argument: c_ulong,
    },
    /// mmap(2), MAP_SHARED, at an address of the kernel's choice.
    Mmap {
        /// Bytes.
        length: usize,
        /// `PROT_*`.
        protection: c_int,
        /// What to map.
        fd: BorrowedFd<'a>,
        /// From where on, in bytes.
        offset: libc::off_t,
    },
    /// munmap(2).
    Munmap {
        /// What mmap returned.
        address: *mut c_void,
        /// Bytes.
        length: usize,
    },
    /// pidfd_open(2).
    PidfdOpen {
        /// Process (or thread, with `PIDFD_THREAD`).
        pid: libc::pid_t,
        /// Flags.
        flags: u32,
    },
    /// setrlimit(2) of RLIMIT_MEMLOCK to infinity.
    RaiseMemlock,
}

/// Does the system call, or asks the test's fake kernel.
///
/// # Safety
///
/// Addresses in the arguments (in bpf(2)'s attributes and perf_event_open(2)'s configuration too) are
/// 0 or valid for as many bytes as the kernel reads or writes there. What is unmapped is not used
/// any more.
#[inline]
pub(crate) unsafe fn call(call: Call<'_>) -> Result<c_long, Errno> {
    #[cfg(test)]
    let mut call = call;
    #[cfg(test)]
    if let Some(result) = fake::intercept(&mut call) {
        return result;
    }
    // SAFETY: this function's contract is the same.
    unsafe { real(call) }
}

/// # Safety
///
/// As for [`call`].
#[inline]
unsafe fn real(call: Call<'_>) -> Result<c_long, Errno> {
    let result = match call {
        Call::Bpf { command, attr } => {
            let (command, size) = (command as c_int, attr.len());
            // SAFETY: `attr` is valid for its length; addresses in it by this function's contract.
            unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size) }
        }
        Call::PerfEventOpen { attr, pid, cpu } => {
            let (no_group, flags) = (-1, perf::FLAG_FD_CLOEXEC);
            let attr = std::ptr::from_ref(attr);
            // SAFETY: `attr` is a whole perf_event_attr that names its own size; addresses in it by
            // this function's contract.
            unsafe { libc::syscall(libc::SYS_perf_event_open, attr, pid, cpu, no_group, flags) }
        }
        Call::Ioctl { fd, request, argument } => {
            // SAFETY: the requests of this crate take integers, not addresses.
            unsafe { libc::syscall(libc::SYS_ioctl, fd.as_raw_fd(), request, argument) }
        }
        Call::Mmap { length, protection, fd, offset } => {
            let (anywhere, flags) = (std::ptr::null_mut(), libc::MAP_SHARED);
            // SAFETY: a mapping at an address of the kernel's choice touches no existing memory.
            let at =
                unsafe { libc::mmap(anywhere, length, protection, flags, fd.as_raw_fd(), offset) };
            // MAP_FAILED is -1, as other calls return on failure.
            at as c_long
        }
        Call::Munmap { address, length } => {
            // SAFETY: unused from here on, by this function's contract.
            c_long::from(unsafe { libc::munmap(address, length) })
        }
        Call::PidfdOpen { pid, flags } => {
            // SAFETY: takes and returns integers.
            unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) }
        }
        Call::RaiseMemlock => {
            let unlimited =
                libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
            // SAFETY: the limit is read from a local.
            c_long::from(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const unlimited) })
        }
    };
    if result == -1 { Err(Errno::last()) } else { Ok(result) }
}

/// bpf(2).
///
/// # Safety
///
/// Addresses in `attr` are 0 or valid for as many bytes as the command reads or writes there.
#[inline]
pub(crate) unsafe fn bpf<A: Plain>(command: Command, attr: &mut A) -> Result<c_long, Errno> {
    // SAFETY: this function's contract is the same.
    unsafe { call(Call::Bpf { command, attr: attr.as_bytes_mut() }) }
}

/// bpf(2) with a command that returns a file descriptor, always close-on-exec.
///
/// # Safety
///
/// As for [`bpf`].
pub(crate) unsafe fn bpf_fd<A: Plain>(command: Command, attr: &mut A) -> Result<OwnedFd, Errno> {
    // SAFETY: this function's contract is the same.
    let fd = unsafe { bpf(command, attr) }?;
    Ok(own(fd))
}

/// As [`bpf_fd`], for commands whose memory kernels before 5.11 count against RLIMIT_MEMLOCK: there
/// EPERM can mean that the limit is too low, so it is raised, once, and the call done again.
///
/// # Safety
///
/// As for [`bpf`].
pub(crate) unsafe fn bpf_fd_memlock<A: Plain>(
    command: Command,
    attr: &mut A,
) -> Result<OwnedFd, Errno> {
    // SAFETY: this function's contract is the same.
    let first = unsafe { bpf_fd(command, attr) };
    if !matches!(first, Err(Errno::EPERM)) || !memlock::raised() {
        return first;
    }
    // SAFETY: the attributes are the same, so they are still valid.
    unsafe { bpf_fd(command, attr) }
}

/// Takes a file descriptor that a call returned.
fn own(fd: c_long) -> OwnedFd {
    // SAFETY: the call returned a new descriptor; nobody else has it. It fits: descriptors are int.
    unsafe { OwnedFd::from_raw_fd(fd as c_int) }
}

/// perf_event_open(2).
///
/// # Safety
///
/// Addresses in `attr` are 0 or valid, NUL-terminated strings.
pub(crate) unsafe fn perf_event_open(
    attr: &perf::EventAttr,
    pid: Option<u32>,
    cpu: Option<u32>,
) -> Result<OwnedFd, Errno> {
    let [pid, cpu] = [pid, cpu].map(|which| which.map_or(-1, |number| number as c_int));
    // SAFETY: this function's contract is the same.
    unsafe { call(Call::PerfEventOpen { attr, pid, cpu }) }.map(own)
}

/// ioctl(2) with a request that takes an integer.
pub(crate) fn ioctl(fd: BorrowedFd<'_>, request: c_ulong, argument: c_ulong) -> Result<(), Errno> {
    // SAFETY: no addresses.
    unsafe { call(Call::Ioctl { fd, request, argument }) }.map(drop)
}

/// pidfd_open(2).
pub(crate) fn pidfd_open(pid: u32, flags: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: no addresses.
    unsafe { call(Call::PidfdOpen { pid: pid as libc::pid_t, flags }) }.map(own)
}

/// The address of a slice, as the kernel takes it: 0 when it is empty.
pub(crate) fn address_of<T>(slice: &[T]) -> u64 {
    if slice.is_empty() { 0 } else { slice.as_ptr().expose_provenance() as u64 }
}

/// The address of a slice that the kernel writes to: 0 when it is empty.
pub(crate) fn address_of_mut<T>(slice: &mut [T]) -> u64 {
    if slice.is_empty() { 0 } else { slice.as_mut_ptr().expose_provenance() as u64 }
}

/// A descriptor, as attributes hold it.
pub(crate) fn fd_number(fd: BorrowedFd<'_>) -> u32 {
    // Descriptors are never negative.
    fd.as_raw_fd() as u32
}

/// The limit that kernels before 5.11 hold BPF memory against.
mod memlock {
    use super::{Call, call};

    /// Raises the limit, once in this process. Tells whether that worked: then what failed is worth
    /// another try.
    pub(super) fn raised() -> bool {
        // Fakes of different tests must not see each other's once.
        #[cfg(test)]
        if super::fake::is_active() {
            return raise();
        }
        static RAISED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
        *RAISED.get_or_init(raise)
    }

    fn raise() -> bool {
        // SAFETY: no addresses.
        unsafe { call(Call::RaiseMemlock) }.is_ok()
    }
}
