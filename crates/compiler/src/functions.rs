//! The functions of a kernel, beyond what its BTF says of them: which symbols there are, and which of
//! them the kernel lets be hooked.
//!
//! Functions that neither trampolines nor kprobe.multi can take (`notrace`, CFLAGS_REMOVE_*) are not in
//! tracefs's `available_filter_functions`; those that no kprobe can take are in debugfs's
//! `kprobes/blacklist`. Either file may be missing or forbidden: then attaching tells.

use kernel::kallsyms::Kallsyms;
use kernel::tracefs::Tracefs;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

/// Where the kernel lists functions that no kprobe can take.
const BLACKLIST: &str = "/sys/kernel/debug/kprobes/blacklist";

/// The functions of a kernel.
#[derive(Debug)]
pub struct Functions {
    running: bool,
    tracefs: Option<Tracefs>,
    traceable: OnceLock<Option<Traceable>>,
    blacklist: OnceLock<HashSet<String>>,
}

/// Hashes of names: a name that is not in there is taken for one that is once in 10^14 questions, and
/// the names themselves would take ten times the memory.
#[derive(Debug)]
struct Traceable {
    state: RandomState,
    hashes: HashSet<u64>,
}

impl Functions {
    /// Those of the running kernel; `tracefs` is its tracing file system.
    pub fn running(tracefs: Option<Tracefs>) -> Self {
        Self { running: true, tracefs, traceable: OnceLock::new(), blacklist: OnceLock::new() }
    }

    /// Those of another kernel, of which nothing is known.
    pub fn unknown() -> Self {
        Self { running: false, ..Self::running(None) }
    }

    /// The kernel's symbols; `None` where they are not known. Read anew each time: they are large and
    /// rarely needed.
    pub(crate) fn symbols(&self) -> Option<Kallsyms> {
        self.running.then(|| Kallsyms::read().ok()).flatten()
    }

    /// Whether ftrace, and so trampolines and kprobe.multi, can take a function; `None`: not known.
    pub(crate) fn is_traceable(&self, name: &str) -> Option<bool> {
        let traceable = self.traceable.get_or_init(|| {
            let list = self.tracefs.as_ref()?.filter_functions().ok()?;
            let state = RandomState::new();
            let hashes = list.iter().map(|(name, _)| state.hash_one(name.as_str())).collect();
            // A kernel without any has ftrace switched off, not functions that cannot be traced.
            (!list.is_empty()).then_some(Traceable { state, hashes })
        });
        let Traceable { state, hashes } = traceable.as_ref()?;
        Some(hashes.contains(&state.hash_one(name)))
    }

    /// Whether the kernel lists a function among those that no kprobe can take.
    pub(crate) fn refuses_kprobes(&self, name: &str) -> bool {
        let blacklist = self.blacklist.get_or_init(|| {
            let text = match self.running {
                true => std::fs::read_to_string(BLACKLIST).unwrap_or_default(),
                false => String::new(),
            };
            text.lines().filter_map(|line| Some(line.split_whitespace().nth(1)?.into())).collect()
        });
        blacklist.contains(name)
    }
}
