//! Programs on perf events: tracepoints, software events, and the probes of [`super::probe`].

use std::ffi::c_ulong;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::{Kind, Link, attach_error, create};
use crate::errno::Errno;
use crate::error::Error;
use crate::program::{AttachType, Program};
use crate::sys::attr::PerfEventExtra;
use crate::sys::perf::{self, EventAttr};
use crate::sys::{fd_number, ioctl, perf_event_open};

/// How often a software event comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Every so many events (for clocks: nanoseconds).
    Period(u64),
    /// So many times a second.
    Frequency(u64),
}

impl Link {
    /// Attaches a `tracepoint` program to a tracepoint by its number (`events/SUBSYSTEM/NAME/id` in
    /// tracefs). `name` names it, for errors. A cookie other than 0 needs Linux 5.15.
    pub fn tracepoint(program: &Program, id: u64, name: &str, cookie: u64) -> Result<Self, Error> {
        let event = EventAttr {
            event_type: perf::TYPE_TRACEPOINT,
            config: id,
            sample_period: 1,
            ..EventAttr::default()
        };
        // SAFETY: no addresses.
        unsafe { on_event(program, event, None, Some(0), format!("tracepoint {name}"), cookie) }
    }

    /// Runs a `perf_event` program on a software event of one CPU: `config` is `PERF_COUNT_SW_*`
    /// (0: CPU clock, 1: task clock).
    pub fn software_event(
        program: &Program,
        config: u64,
        sampling: Sampling,
        cpu: u32,
    ) -> Result<Self, Error> {
        let (sample_period, bits) = match sampling {
            Sampling::Period(period) => (period, 0),
            Sampling::Frequency(hertz) => (hertz, perf::BIT_FREQ),
        };
        let event = EventAttr {
            event_type: perf::TYPE_SOFTWARE,
            config,
            sample_period,
            bits,
            ..EventAttr::default()
        };
        let target = format!("software event {config} of CPU {cpu}");
        // SAFETY: no addresses.
        unsafe { on_event(program, event, None, Some(cpu), target, 0) }
    }
}

/// Opens a perf event and attaches a program to it.
///
/// # Safety
///
/// Addresses in `event` are 0 or valid, NUL-terminated strings.
pub(super) unsafe fn on_event(
    program: &Program,
    event: EventAttr,
    pid: Option<u32>,
    cpu: Option<u32>,
    target: String,
    cookie: u64,
) -> Result<Link, Error> {
    let event = EventAttr { size: size_of::<EventAttr>() as u32, ..event };
    // SAFETY: this function's contract is the same.
    let opened = unsafe { perf_event_open(&event, pid, cpu) };
    let opened = opened.map_err(Failure::Errno);
    match opened.and_then(|event| attach(program, event, &target, cookie)) {
        Ok(link) => Ok(link),
        Err(Failure::Errno(errno)) => Err(attach_error(program, target, errno)),
        Err(Failure::NoCookies) => Err(Error::Lacks {
            what: format!("a cookie on {target}"),
            needs: "links for perf events (Linux 5.15)",
        }),
    }
}

/// Why attaching to a perf event failed.
enum Failure {
    Errno(Errno),
    NoCookies,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

fn attach(program: &Program, event: OwnedFd, target: &str, cookie: u64) -> Result<Link, Failure> {
    let (extra, target) = (PerfEventExtra { cookie }, target.to_owned());
    let event_fd = fd_number(event.as_fd());
    // SAFETY: no addresses.
    match unsafe { create(program, event_fd, AttachType::PERF_EVENT, 0, extra) } {
        Ok(link) => {
            ioctl(event.as_fd(), perf::IOC_ENABLE, 0)?;
            // The link holds the event.
            Ok(Link { fd: link, kind: Kind::Link, target })
        }
        // Before Linux 5.15 there are no links to perf events.
        Err(Errno::EINVAL) if cookie == 0 => {
            let program_fd = program.as_fd().as_raw_fd() as c_ulong;
            ioctl(event.as_fd(), perf::IOC_SET_BPF, program_fd)?;
            ioctl(event.as_fd(), perf::IOC_ENABLE, 0)?;
            Ok(Link { fd: event, kind: Kind::PerfEvent, target })
        }
        Err(Errno::EINVAL) => Err(Failure::NoCookies),
        Err(errno) => Err(Failure::Errno(errno)),
    }
}
