//! Attaching the programs of probes, and what of that needs more than attaching.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Running;
use super::instruction::{
    R0, R1, R2, call_helper, copy, exit, return_zero, set, skip_unless_equal,
};
use super::kind::{OBSERVED, ProgramKind, rare_system_call};
use super::probe::Probe;
use super::program::{self, Loaded, load};
use crate::btf::{Kind, TypeId};
use crate::error::Error;
use crate::link::{Kprobe, KprobeMulti, KprobePlace, Link, Over, Uprobe, UprobeMulti, UprobePlace};
use crate::mount::FileSystem;
use crate::pin;
use crate::program::{Program, ProgramSpec, Target};
use crate::sys::perf::{self, EventAttr};
use crate::sys::perf_event_open;
use crate::tracefs::Tracefs;

const TRACEPOINT: &str = "sched_process_exec";
/// `BPF_FUNC_override_return`
const OVERRIDE_RETURN: i32 = 58;
/// `BPF_FUNC_get_current_pid_tgid`
const PID_TGID: i32 = 14;

/// Loads a program of a kind and attaches it, for as long as this takes.
fn attached(
    kernel: &Running<'_>,
    kind: ProgramKind,
    attach: impl FnOnce(&Loaded) -> Result<Link, Error>,
) -> Probe {
    match load(kernel, kind, &return_zero()) {
        Ok(loaded) => Probe::tried(attach(&loaded)),
        Err(refused) => refused.probe(),
    }
}

fn observed(kernel: &Running<'_>) -> &'static str {
    let known = |name: &&str| kernel.btf.find(Kind::Func, name).is_some();
    // Where BTF knows none, trying says so.
    OBSERVED.into_iter().find(known).unwrap_or(OBSERVED[0])
}

fn kprobe_on(kernel: &Running<'_>, on_return: bool) -> Probe {
    let place = KprobePlace::Symbol(observed(kernel), 0);
    attached(kernel, ProgramKind::Kprobe, |loaded| {
        Link::kprobe(&loaded.program, &Kprobe { place, on_return, cookie: 0 })
    })
}

pub(super) fn kprobe(kernel: &Running<'_>) -> Probe {
    kprobe_on(kernel, false)
}

pub(super) fn kretprobe(kernel: &Running<'_>) -> Probe {
    kprobe_on(kernel, true)
}

fn kprobe_multi_of(kernel: &Running<'_>, kind: ProgramKind) -> Probe {
    let functions = [(observed(kernel), 0)];
    attached(kernel, kind, |loaded| {
        Link::kprobe_multi(&loaded.program, KprobeMulti::Symbols(&functions), false)
    })
}

pub(super) fn kprobe_multi(kernel: &Running<'_>) -> Probe {
    kprobe_multi_of(kernel, ProgramKind::KprobeMulti)
}

pub(super) fn kprobe_session(kernel: &Running<'_>) -> Probe {
    kprobe_multi_of(kernel, ProgramKind::KprobeSession)
}

fn traced(kernel: &Running<'_>, kind: ProgramKind) -> Probe {
    attached(kernel, kind, |loaded| {
        let place = loaded.place.map_or("", |place| kernel.btf.name(place));
        Link::tracing(&loaded.program, place.trim_start_matches("btf_trace_"), 0)
    })
}

pub(super) fn fentry(kernel: &Running<'_>) -> Probe {
    traced(kernel, ProgramKind::Fentry)
}

pub(super) fn fexit(kernel: &Running<'_>) -> Probe {
    traced(kernel, ProgramKind::Fexit)
}

pub(super) fn fmod_ret(kernel: &Running<'_>) -> Probe {
    traced(kernel, ProgramKind::FmodRet)
}

pub(super) fn sleepable_tracing(kernel: &Running<'_>) -> Probe {
    traced(kernel, ProgramKind::FentrySleepable)
}

pub(super) fn tp_btf(kernel: &Running<'_>) -> Probe {
    traced(kernel, ProgramKind::TpBtf)
}

/// Whether fmod_ret programs attach to system calls: needs error injection in the kernel.
pub(super) fn fmod_ret_syscall(kernel: &Running<'_>) -> Probe {
    fmod_ret(kernel).and(|| {
        let names = rare_system_call();
        let Some(place) = names.iter().find_map(|name| kernel.btf.find(Kind::Func, name)) else {
            let why = "the probe's system call has no function in this kernel's BTF";
            return Probe::unknown(why);
        };
        let load = load_for(ProgramKind::FmodRet, place, return_zero().as_flattened());
        let name = kernel.btf.name(place);
        Probe::tried(load.and_then(|program| Link::tracing(&program, name, 0)))
    })
}

fn load_for(kind: ProgramKind, place: TypeId, instructions: &[u8]) -> Result<Program, Error> {
    Program::load(&ProgramSpec {
        name: program::NAME,
        program_type: kind.program_type(),
        attach_type: kind.attach_type(),
        target: Target::Kernel(place),
        instructions,
        flags: kind.flags(),
        ..ProgramSpec::default()
    })
}

/// Whether LSM programs attach and are run. A kernel whose list of security modules lacks `bpf` lets
/// them attach and never runs them.
pub(super) fn lsm(kernel: &Running<'_>) -> Probe {
    let hook = match kernel.btf.find_func("bpf_lsm_file_open") {
        Ok(hook) => hook,
        Err(error) => return Probe::no(format!("{error}: it is built without CONFIG_BPF_LSM")),
    };
    let run = || -> Result<bool, Error> {
        let counter = program::counter()?;
        let instructions = program::counting(&counter);
        let program = load_for(ProgramKind::Lsm, hook, instructions.as_flattened())?;
        let link = Link::tracing(&program, "file_open", 0)?;
        let path = Path::new("/proc/self/status");
        File::open(path).map_err(|source| Error::File {
            action: "open",
            path: path.into(),
            source,
        })?;
        drop(link);
        let counted = counter.lookup(&0_u32.to_ne_bytes())?;
        Ok(counted.is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0)))
    };
    match run() {
        Ok(true) => Probe::Yes,
        Ok(false) => Probe::no(
            "programs on LSM hooks attach but are not run: the active security modules \
             (/sys/kernel/security/lsm) lack `bpf`; boot with `lsm=...,bpf`",
        ),
        Err(error) => Probe::failed(&error),
    }
}

/// Whether a kprobe can replace a system call by a return value: needs
/// CONFIG_BPF_KPROBE_OVERRIDE, and the system call among those in which errors can be injected.
pub(super) fn override_return(kernel: &Running<'_>) -> Probe {
    kprobe(kernel).and(|| {
        let Some(symbol) = rare_system_call().into_iter().next() else {
            return Probe::unknown("the probe knows no system call of this architecture");
        };
        // The call has to be in the program for the kernel to check the place, and must never be
        // made: no thread has this id.
        let instructions = [
            copy(6, R1),
            call_helper(PID_TGID),
            skip_unless_equal(R0, -1, 3),
            copy(R1, 6),
            set(R2, 0),
            call_helper(OVERRIDE_RETURN),
            set(R0, 0),
            exit(),
        ];
        match load(kernel, ProgramKind::Kprobe, &instructions) {
            Err(refused) => refused.probe(),
            Ok(loaded) => {
                let place = KprobePlace::Symbol(&symbol, 0);
                let probe = Kprobe { place, on_return: false, cookie: 0 };
                Probe::tried(Link::kprobe(&loaded.program, &probe))
            }
        }
    })
}

pub(super) fn raw_tracepoint(kernel: &Running<'_>) -> Probe {
    attached(kernel, ProgramKind::RawTracepoint, |loaded| {
        Link::raw_tracepoint(&loaded.program, TRACEPOINT, 0)
    })
}

pub(super) fn tracepoint(kernel: &Running<'_>) -> Probe {
    let id = match Tracefs::find().and_then(|tracefs| tracefs.event_id("sched", TRACEPOINT)) {
        Ok(id) => id,
        Err(error) => return Probe::unknown(error.to_string()),
    };
    attached(kernel, ProgramKind::Tracepoint, |loaded| {
        Link::tracepoint(&loaded.program, id.into(), TRACEPOINT, 0)
    })
}

pub(super) fn iter_task(kernel: &Running<'_>) -> Probe {
    attached(kernel, ProgramKind::IterTask, |loaded| {
        Link::iterator(&loaded.program, "task", Over::All)
    })
}

/// This program's own file, by a name that outlives its replacement.
const OWN_FILE: &str = "/proc/self/exe";

pub(super) fn uprobe(kernel: &Running<'_>) -> Probe {
    let offset = match entry_offset(Path::new(OWN_FILE)) {
        Ok(offset) => offset,
        Err(why) => return Probe::unknown(why),
    };
    attached(kernel, ProgramKind::Uprobe, |loaded| {
        Link::uprobe(
            &loaded.program,
            &Uprobe {
                file: Path::new(OWN_FILE),
                offset,
                ref_counter: 0,
                pid: None,
                on_return: false,
                cookie: 0,
            },
        )
    })
}

pub(super) fn uprobe_multi(kernel: &Running<'_>) -> Probe {
    let offset = match entry_offset(Path::new(OWN_FILE)) {
        Ok(offset) => offset,
        Err(why) => return Probe::unknown(why),
    };
    let places = [UprobePlace { offset, ref_counter: 0, cookie: 0 }];
    let file = Path::new(OWN_FILE);
    attached(kernel, ProgramKind::UprobeMulti, |loaded| {
        let probes = UprobeMulti { file, places: &places, pid: None, on_return: false };
        Link::uprobe_multi(&loaded.program, &probes)
    })
}

/// Whether the kernel keeps the counter of a USDT probe (Linux 4.20). Trying it would take a program
/// with such a counter; the PMU's own description says as much.
pub(super) fn uprobe_ref_counter(_: &Running<'_>) -> Probe {
    let path = "/sys/bus/event_source/devices/uprobe/format/ref_ctr_offset";
    match Path::new(path).try_exists() {
        Ok(true) => Probe::Yes,
        Ok(false) => Probe::no(format!("the uprobe PMU does not describe it: no {path}")),
        Err(error) => Probe::unknown(format!("{path}: {error}")),
    }
}

/// Where in an ELF file its first instruction is. It is run once per process, at its start, so a probe
/// there disturbs no one.
fn entry_offset(path: &Path) -> Result<u64, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let file = File::open(path).map_err(failed)?;
    let mut header = [0; 64];
    (&file).read_exact(&mut header).map_err(failed)?;
    let not_elf = || format!("{} is not a 64-bit ELF file of this machine", path.display());
    let class_and_data = if cfg!(target_endian = "big") { [2, 2] } else { [2, 1] };
    if header[..4] != *b"\x7fELF" || header[4..6] != class_and_data {
        return Err(not_elf());
    }
    let entry = u64_at(&header, 24);
    let table = u64_at(&header, 32);
    let (size, count) = (u16_at(&header, 54), u16_at(&header, 56));
    for index in 0..u64::from(count) {
        let mut segment = [0; 56];
        let at = table.checked_add(index * u64::from(size)).ok_or_else(not_elf)?;
        file.read_exact_at(&mut segment, at).map_err(failed)?;
        let loaded = segment[..4] == 1_u32.to_ne_bytes();
        let (offset, address, in_file) =
            (u64_at(&segment, 8), u64_at(&segment, 16), u64_at(&segment, 32));
        if let Some(inside) = entry.checked_sub(address)
            && loaded
            && inside < in_file
        {
            return offset.checked_add(inside).ok_or_else(not_elf);
        }
    }
    Err(format!("{} has no segment with its entry point", path.display()))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_ne_bytes(*word))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u16::from_ne_bytes(*word))
}

/// Whether perf reports the build id of mapped files (Linux 5.12).
pub(super) fn build_id(_: &Running<'_>) -> Probe {
    let attr = EventAttr {
        event_type: perf::TYPE_SOFTWARE,
        size: size_of::<EventAttr>() as u32,
        config: perf::SOFTWARE_DUMMY,
        bits: perf::BIT_MMAP | perf::BIT_BUILD_ID,
        ..EventAttr::default()
    };
    // SAFETY: no addresses.
    let opened = unsafe { perf_event_open(&attr, Some(0), None) };
    Probe::tried(opened.map_err(|errno| Error::call("have perf report build ids", errno)))
}

/// Whether links can be pinned: a raw tracepoint's is, in a BPF file system, and unlinked.
pub(super) fn link_pinning(kernel: &Running<'_>) -> Probe {
    let mounted = match FileSystem::Bpf.find() {
        Ok(Some(mounted)) => mounted,
        Ok(None) => {
            let why = "no BPF file system is mounted to pin in: `mount -t bpf bpf /sys/fs/bpf`";
            return Probe::unknown(why);
        }
        Err(error) => return Probe::unknown(error.to_string()),
    };
    attached(kernel, ProgramKind::RawTracepoint, |loaded| {
        let link = Link::raw_tracepoint(&loaded.program, TRACEPOINT, 0)?;
        let path = mounted.join(format!("probe_link_{}", std::process::id()));
        link.pin(&path)?;
        pin::unpin(&path)?;
        Ok(link)
    })
}
