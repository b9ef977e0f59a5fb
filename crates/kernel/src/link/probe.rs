//! kprobes and uprobes through their PMUs (Linux 4.17).

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Link;
use super::perf::on_event;
use crate::error::Error;
use crate::program::Program;
use crate::sys::address_of;
use crate::sys::perf::{EventAttr, PmuError, ProbePmu};

/// Where a kprobe is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KprobePlace<'a> {
    /// A function of the kernel by name, and bytes into it.
    Symbol(&'a str, u64),
    /// An address in the kernel's text; for functions whose name is not unique.
    Address(u64),
}

/// A kprobe.
#[derive(Clone, Copy, Debug)]
pub struct Kprobe<'a> {
    /// Where.
    pub place: KprobePlace<'a>,
    /// When the function returns, instead of when it is entered.
    pub on_return: bool,
    /// What the program can ask for (`bpf_get_attach_cookie`); other than 0 needs Linux 5.15.
    pub cookie: u64,
}

/// A uprobe.
#[derive(Clone, Copy, Debug)]
pub struct Uprobe<'a> {
    /// Executable or library.
    pub file: &'a Path,
    /// Where in the file: bytes from its start, not an address.
    pub offset: u64,
    /// Where in the file a counter is that the kernel raises while the probe is attached (of a USDT
    /// probe: its semaphore); 0 for none. At most 32 bits.
    pub ref_counter: u32,
    /// Only in this process; `None` for all.
    pub pid: Option<u32>,
    /// When the function returns, instead of when it is entered.
    pub on_return: bool,
    /// What the program can ask for; other than 0 needs Linux 5.15.
    pub cookie: u64,
}

impl Link {
    /// Attaches a `kprobe` program to a function or instruction of the kernel.
    pub fn kprobe(program: &Program, probe: &Kprobe<'_>) -> Result<Self, Error> {
        let kind = if probe.on_return { "kretprobe" } else { "kprobe" };
        let (symbol, config2, target) = match probe.place {
            KprobePlace::Symbol(name, 0) => (name, 0, format!("{kind} {name}")),
            KprobePlace::Symbol(name, offset) => {
                (name, offset, format!("{kind} {name}+{offset:#x}"))
            }
            KprobePlace::Address(address) => ("", address, format!("{kind} {address:#x}")),
        };
        let pmu = find_pmu("kprobe", &target, "kprobes (CONFIG_KPROBE_EVENTS)")?;
        let symbol = CString::new(symbol)
            .map_err(|source| Error::Nul { what: "the function's name", source })?;
        let config1 = if symbol.is_empty() { 0 } else { address_of(symbol.as_bytes_with_nul()) };
        let event = EventAttr {
            event_type: pmu.event_type,
            config: u64::from(probe.on_return) << pmu.return_bit,
            config1,
            config2,
            ..EventAttr::default()
        };
        // SAFETY: the symbol lives until the end of this function, and ends with NUL.
        unsafe { on_event(program, event, None, Some(0), target, probe.cookie) }
    }

    /// Attaches a `kprobe` program to an instruction of executables and libraries in user space.
    pub fn uprobe(program: &Program, probe: &Uprobe<'_>) -> Result<Self, Error> {
        let kind = if probe.on_return { "uretprobe" } else { "uprobe" };
        let target = format!("{kind} {}+{:#x}", probe.file.display(), probe.offset);
        let pmu = find_pmu("uprobe", &target, "uprobes (CONFIG_UPROBE_EVENTS)")?;
        let file = file_name(probe.file)?;
        let event = EventAttr {
            event_type: pmu.event_type,
            // PERF_UPROBE_REF_CTR_OFFSET_SHIFT is 32.
            config: u64::from(probe.on_return) << pmu.return_bit
                | u64::from(probe.ref_counter) << 32,
            config1: address_of(file.as_bytes_with_nul()),
            config2: probe.offset,
            ..EventAttr::default()
        };
        // perf_event_open() wants a process or a CPU; a uprobe of CPU 0 without process is one of
        // all processes on all CPUs.
        let cpu = if probe.pid.is_some() { None } else { Some(0) };
        // SAFETY: the file's name lives until the end of this function, and ends with NUL.
        unsafe { on_event(program, event, probe.pid, cpu, target, probe.cookie) }
    }
}

/// A path as the kernel takes it.
pub(super) fn file_name(path: &Path) -> Result<CString, Error> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|source| Error::Nul { what: "the file's name", source })
}

fn find_pmu(name: &str, target: &str, needs: &'static str) -> Result<ProbePmu, Error> {
    ProbePmu::find(name).map_err(|error| match error {
        PmuError::Missing => Error::Lacks { what: target.to_owned(), needs },
        PmuError::Unreadable(path, source) => Error::File { action: "read", path, source },
    })
}
