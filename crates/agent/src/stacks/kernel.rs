//! Names of the kernel's functions.

use std::time::{Duration, Instant};

use api::tetragon::StackTraceEntry;
use kernel::kallsyms::Kallsyms;

use super::trace::unnamed;

/// The kernel's symbols are read again no sooner, for addresses that are not among them: a module may have
/// been loaded since.
const READ_AGAIN: Duration = Duration::from_secs(10);
/// Module that kallsyms has programs of BPF in, and what leads to them.
const BPF: &str = "bpf";
/// The functions by which the kernel runs programs: what is on a stack above the function that was hooked.
const MACHINERY: [&str; 14] = [
    "bpf_get_stack",
    "bpf_trace_run",
    "bpf_trampoline_",
    "bpf_dispatcher_",
    "__bpf_trace_",
    "__bpf_prog_",
    "__traceiter_",
    "perf_trace_",
    "perf_call_bpf_",
    "perf_syscall_",
    "trace_call_bpf",
    "ftrace_trampoline",
    "ftrace_regs_caller",
    "ftrace_caller",
];

/// The kernel's symbols, while they are needed.
#[derive(Default)]
pub(super) struct KernelNames {
    symbols: Option<Kallsyms>,
    read: Option<Instant>,
    failed: bool,
}

impl KernelNames {
    /// Forgets all.
    pub(super) fn forget(&mut self) {
        *self = Self { failed: self.failed, ..Self::default() };
    }

    /// The frames of a stack, without those by which the kernel came to run the program that took it.
    pub(super) fn frames(&mut self, addresses: &[u64]) -> Vec<StackTraceEntry> {
        let frames = self.resolve(addresses);
        let unknown = frames.iter().skip_while(|frame| is_machinery(frame));
        let unknown = unknown.filter(|frame| frame.symbol.is_empty()).count();
        let old = self.read.is_some_and(|read| read.elapsed() > READ_AGAIN);
        let frames = if unknown > 0 && old {
            self.forget();
            self.resolve(addresses)
        } else {
            frames
        };
        let machinery = frames.iter().take_while(|frame| is_machinery(frame)).count();
        match machinery == frames.len() {
            // Symbols are hidden.
            true => frames,
            false => frames.into_iter().skip(machinery).collect(),
        }
    }

    fn resolve(&mut self, addresses: &[u64]) -> Vec<StackTraceEntry> {
        self.load();
        let Some(symbols) = &self.symbols else {
            return addresses.iter().map(|address| unnamed(*address)).collect();
        };
        let frames = addresses.iter().enumerate();
        frames.map(|(index, address)| frame(symbols, *address, index > 0)).collect()
    }

    fn load(&mut self) {
        if self.symbols.is_some() || self.read.is_some_and(|read| read.elapsed() < READ_AGAIN) {
            return;
        }
        self.read = Some(Instant::now());
        let why = match Kallsyms::read() {
            Ok(symbols) if symbols.addresses_hidden() => {
                "the kernel hides them (sysctl kernel.kptr_restrict)".to_owned()
            }
            Ok(symbols) => return self.symbols = Some(symbols),
            Err(error) => error.to_string(),
        };
        if !self.failed {
            tracing::warn!(why, "kernel stacks have no names: addresses of symbols are missing");
        }
        self.failed = true;
    }
}

/// `returns`: the address is where a call returns to, and the call before it is what matters.
fn frame(symbols: &Kallsyms, address: u64, returns: bool) -> StackTraceEntry {
    let back = u64::from(returns);
    match symbols.resolve(address.wrapping_sub(back)) {
        Some((symbol, offset)) => StackTraceEntry {
            address,
            offset: offset + back,
            symbol: symbol.name.to_owned(),
            module: symbol.module.unwrap_or_default().to_owned(),
        },
        None => unnamed(address),
    }
}

/// Programs and trampolines that were made since symbols were read have no names.
fn is_machinery(frame: &StackTraceEntry) -> bool {
    frame.symbol.is_empty()
        || frame.module == BPF
        || MACHINERY.iter().any(|name| frame.symbol.starts_with(name))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn names() -> KernelNames {
        let text = "\
ffffffff81000000 T _stext
ffffffff81001000 T do_syscall_64
ffffffff81002000 t vfs_read
ffffffff81003000 T bpf_trace_run2
ffffffff81004000 t __traceiter_sys_enter
ffffffff81005000 T _etext
ffffffffc0000000 t nft_do_chain\t[nf_tables]
ffffffffc0100000 t bpf_prog_abc\t[bpf]
";
        let symbols = Kallsyms::parse(text.as_bytes(), Path::new("kallsyms")).unwrap();
        KernelNames { symbols: Some(symbols), read: Some(Instant::now()), failed: false }
    }

    fn shown(frames: &[StackTraceEntry]) -> Vec<String> {
        let one = |frame: &StackTraceEntry| {
            format!("{}+{:#x} {}", frame.symbol, frame.offset, frame.module)
        };
        frames.iter().map(one).collect()
    }

    #[test]
    fn functions_have_names_and_offsets() {
        let stack = [0xffff_ffff_8100_2005, 0xffff_ffff_c000_0010, 0xffff_ffff_8100_2000];
        let frames = names().frames(&stack);
        // What returns to the first instruction of a function was called by the last one before it.
        assert_eq!(
            shown(&frames),
            ["vfs_read+0x5 ", "nft_do_chain+0x10 nf_tables", "do_syscall_64+0x1000 "]
        );
        assert_eq!(frames[1].address, stack[1]);
    }

    #[test]
    fn what_runs_programs_is_left_out() {
        let program = [0xffff_ffff_c080_0000, 0xffff_ffff_c010_0008];
        let way = [0xffff_ffff_8100_3004, 0xffff_ffff_8100_4004];
        let hooked = [0xffff_ffff_8100_2004, 0xffff_ffff_8100_3004, 0xffff_ffff_8100_1004];
        let stack = [&program[..], &way, &hooked].concat();
        let expected = ["vfs_read+0x4 ", "bpf_trace_run2+0x4 ", "do_syscall_64+0x4 "];
        assert_eq!(shown(&names().frames(&stack)), expected);
        // Nothing else is known: better all than nothing.
        assert_eq!(names().frames(&program).len(), 2);
    }

    #[test]
    fn the_running_kernel() {
        let mut names = KernelNames::default();
        names.load();
        let Some(symbols) = &names.symbols else { return };
        let function = symbols.by_name("vfs_read").next().unwrap();
        let frames = names.frames(&[function.address + 8, function.address + 8]);
        assert_eq!(shown(&frames), ["vfs_read+0x8 ", "vfs_read+0x8 "]);
        names.forget();
        assert!(names.symbols.is_none());
    }
}
