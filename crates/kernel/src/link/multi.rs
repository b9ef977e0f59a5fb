//! One link for many functions: kprobe.multi (Linux 5.18, CONFIG_FPROBE) and uprobe.multi (6.6).

use std::ffi::CString;
use std::path::Path;

use super::probe::file_name;
use super::{Link, create, made};
use crate::error::Error;
use crate::program::{AttachType, Program};
use crate::sys::address_of;
use crate::sys::attr::{KprobeMultiExtra, UprobeMultiExtra};

/// `BPF_F_KPROBE_MULTI_RETURN`, `BPF_F_UPROBE_MULTI_RETURN`.
const RETURN: u32 = 1;

/// Functions of the kernel, each with its cookie.
#[derive(Clone, Copy, Debug)]
pub enum KprobeMulti<'a> {
    /// By name. One that cannot be probed fails them all.
    Symbols(&'a [(&'a str, u64)]),
    /// By address.
    Addresses(&'a [(u64, u64)]),
}

/// An instruction of a file, for uprobe.multi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UprobePlace {
    /// Where in the file: bytes from its start.
    pub offset: u64,
    /// Where in the file the counter is that the kernel raises while attached; 0 for none.
    pub ref_counter: u64,
    /// What the program can ask for.
    pub cookie: u64,
}

/// Instructions of one file.
#[derive(Clone, Copy, Debug)]
pub struct UprobeMulti<'a> {
    /// Executable or library.
    pub file: &'a Path,
    /// Where.
    pub places: &'a [UprobePlace],
    /// Only in this process; `None` for all.
    pub pid: Option<u32>,
    /// When the functions return, instead of when they are entered.
    pub on_return: bool,
}

impl Link {
    /// Attaches a `kprobe` program that was loaded for [`AttachType::TRACE_KPROBE_MULTI`] (or
    /// `SESSION`: then both at entry and return) to many functions of the kernel.
    pub fn kprobe_multi(
        program: &Program,
        functions: KprobeMulti<'_>,
        on_return: bool,
    ) -> Result<Self, Error> {
        let nul = |source| Error::Nul { what: "a function's name", source };
        let (mut names, mut addresses) = (Vec::new(), Vec::new());
        let cookies: Vec<u64> = match functions {
            KprobeMulti::Symbols(symbols) => {
                for (name, _) in symbols {
                    names.push(CString::new(*name).map_err(nul)?);
                }
                symbols.iter().map(|(_, cookie)| *cookie).collect()
            }
            KprobeMulti::Addresses(places) => {
                addresses.extend(places.iter().map(|(address, _)| *address));
                places.iter().map(|(_, cookie)| *cookie).collect()
            }
        };
        let symbols: Vec<u64> =
            names.iter().map(|name| address_of(name.as_bytes_with_nul())).collect();
        let extra = KprobeMultiExtra {
            flags: if on_return { RETURN } else { 0 },
            cnt: count(cookies.len()),
            syms: address_of(&symbols),
            addrs: address_of(&addresses),
            cookies: address_of(&cookies),
        };
        // SAFETY: arrays of `cnt` elements that live until the end of this function, and so do the
        // names, which end with NUL.
        let created = unsafe { create(program, 0, program.attach_type(), 0, extra) };
        let kind = match program.attach_type() {
            AttachType::TRACE_KPROBE_SESSION => "kprobe.session",
            _ if on_return => "kretprobe.multi",
            _ => "kprobe.multi",
        };
        let target = format!("{kind} on {} functions", cookies.len());
        made(created, program, target)
    }

    /// Attaches a `kprobe` program that was loaded for [`AttachType::TRACE_UPROBE_MULTI`] (or
    /// `SESSION`) to many instructions of a file.
    pub fn uprobe_multi(program: &Program, probes: &UprobeMulti<'_>) -> Result<Self, Error> {
        let file = file_name(probes.file)?;
        let of = |field: fn(&UprobePlace) -> u64| -> Vec<u64> {
            probes.places.iter().map(field).collect()
        };
        let offsets = of(|place| place.offset);
        let counters = of(|place| place.ref_counter);
        let cookies = of(|place| place.cookie);
        let extra = UprobeMultiExtra {
            path: address_of(file.as_bytes_with_nul()),
            offsets: address_of(&offsets),
            ref_ctr_offsets: address_of(&counters),
            cookies: address_of(&cookies),
            cnt: count(offsets.len()),
            flags: if probes.on_return { RETURN } else { 0 },
            pid: probes.pid.unwrap_or(0),
            padding: 0,
        };
        // SAFETY: arrays of `cnt` elements and a name with NUL, which live until the end of this
        // function.
        let created = unsafe { create(program, 0, program.attach_type(), 0, extra) };
        let target =
            format!("uprobe.multi on {} places in {}", offsets.len(), probes.file.display());
        made(created, program, target)
    }
}

/// The kernel refuses more than MAX_KPROBE_MULTI_CNT (2^20).
fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
