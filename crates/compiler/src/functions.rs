//! The functions of a kernel, beyond what its BTF says of them: which symbols there are, and which of
//! them the kernel lets be hooked.
//!
//! Functions that trampolines cannot take (`notrace`, CFLAGS_REMOVE_*) are not in tracefs's
//! `available_filter_functions`; those that no kprobe can take are in debugfs's `kprobes/blacklist`.
//! Any of these files may be missing or forbidden: then attaching tells.

use kernel::kallsyms::{KALLSYMS, Kallsyms};
use kernel::tracefs::Tracefs;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::OnceLock;

/// Where the kernel lists functions that no kprobe can take.
const BLACKLIST: &str = "/sys/kernel/debug/kprobes/blacklist";

/// The functions of a kernel.
#[derive(Debug, Default)]
pub struct Functions {
    symbols: Option<PathBuf>,
    blacklist: Option<PathBuf>,
    tracefs: Option<Tracefs>,
    wrappers: OnceLock<HashSet<String>>,
    shared: OnceLock<HashSet<String>>,
    traceable: OnceLock<Option<Traceable>>,
    refused: OnceLock<HashSet<String>>,
}

/// Hashes of names: a name that is not in there is taken for one that is once in 10^14 questions, and
/// the names themselves would take ten times the memory.
#[derive(Debug)]
struct Traceable {
    state: RandomState,
    hashes: HashSet<u64>,
}

impl Functions {
    /// Those of the running kernel; `tracefs` is its tracing file system. Each list is read when it is
    /// first needed.
    pub fn running(tracefs: Option<Tracefs>) -> Self {
        Self::listed(KALLSYMS.into(), BLACKLIST.into(), tracefs)
    }

    /// Those of another kernel, of which nothing is known.
    pub fn unknown() -> Self {
        Self::default()
    }

    pub(crate) fn listed(symbols: PathBuf, blacklist: PathBuf, tracefs: Option<Tracefs>) -> Self {
        let (symbols, blacklist) = (Some(symbols), Some(blacklist));
        Self { symbols, blacklist, tracefs, ..Self::default() }
    }

    /// The kernel's symbols; `None` where they are not known. Read anew each time: they are large and
    /// rarely needed.
    pub(crate) fn symbols(&self) -> Option<Kallsyms> {
        Kallsyms::from_file(self.symbols.as_ref()?).ok()
    }

    /// Whether the kernel is known to have a wrapper of a system call; its symbols are read once for that.
    pub(crate) fn has_wrapper(&self, name: &str) -> bool {
        let names = self.wrappers.get_or_init(|| {
            let Some(symbols) = self.symbols() else { return HashSet::new() };
            let wrappers = symbols.iter().filter(|symbol| symbol.name.contains("_sys_"));
            wrappers.map(|symbol| symbol.name.to_owned()).collect()
        });
        names.contains(name)
    }

    /// Whether the kernel is known to have several functions of a name: static ones of different files.
    pub(crate) fn share_name(&self, name: &str) -> bool {
        let shared = self.shared.get_or_init(|| {
            let Some(symbols) = self.symbols() else { return HashSet::new() };
            let own =
                symbols.iter().filter(|symbol| symbol.module.is_none() && symbol.is_function());
            let mut seen = HashSet::new();
            let twice = own.map(|symbol| symbol.name).filter(|name| !seen.insert(*name));
            twice.map(ToOwned::to_owned).collect()
        });
        shared.contains(name)
    }

    /// Whether trampolines can take a function; `None`: not known.
    pub(crate) fn is_traceable(&self, name: &str) -> Option<bool> {
        let traceable = self.traceable.get_or_init(|| {
            let list = self.tracefs.as_ref()?.filter_functions().ok()?;
            let state = RandomState::new();
            let hashes = list.iter().map(|(name, _)| state.hash_one(name.as_str())).collect();
            // A list without any says that ftrace is off, not that nothing can be traced.
            (!list.is_empty()).then_some(Traceable { state, hashes })
        });
        let Traceable { state, hashes } = traceable.as_ref()?;
        Some(hashes.contains(&state.hash_one(name)))
    }

    /// Whether the kernel lists a function among those that no kprobe can take.
    pub(crate) fn refuses_kprobes(&self, name: &str) -> bool {
        let refused = self.refused.get_or_init(|| {
            let text = self.blacklist.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
            // `0xffffffff81000000-0xffffffff81000040\tname`
            let lines = text.as_deref().unwrap_or_default().lines();
            lines.filter_map(|line| Some(line.split_whitespace().nth(1)?.to_owned())).collect()
        });
        refused.contains(name)
    }
}
