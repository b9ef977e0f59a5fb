//! Names of programs' functions: by what the process has mapped where an address is, and the symbols of
//! that file.
//!
//! The process may be gone when its stack is looked at. What it had mapped is known then if a stack of it
//! was seen before; else its frames have no names. A pid that belongs to another image by now is told by the
//! kernel side's identity.

use std::collections::HashMap;
use std::hash::Hash;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::tetragon::StackTraceEntry;
use compiler::base::record::Identity;
use elf::{ProgramFile, Symbols};

use super::demangle::demangle;
use super::maps::{self, Mapping};
use super::trace::unnamed;
use crate::pipeline::Lookup;

/// Processes whose mappings are kept.
const PROCESSES_MAX: usize = 512;
/// Files whose symbols are kept, also those without any.
const FILES_MAX: usize = 512;
/// Bytes of symbols that are kept; of one file there may be more while it is the only one.
const SYMBOLS_MAX: usize = 48 << 20;
/// After this time mappings may have changed.
const STALE: Duration = Duration::from_secs(2);

/// A file, as it was when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FileKey {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// Mappings of a process, each with its file once that was open.
struct Process {
    read: Instant,
    maps: Vec<Mapping>,
    files: HashMap<String, FileKey>,
}

/// What is kept, each with when it was last used.
struct Kept<K, V> {
    values: HashMap<K, (u64, V)>,
    uses: u64,
}

impl<K: Hash + Eq + Copy, V> Kept<K, V> {
    fn new() -> Self {
        Self { values: HashMap::new(), uses: 0 }
    }

    fn get(&mut self, key: &K) -> Option<&mut V> {
        self.uses += 1;
        let (used, value) = self.values.get_mut(key)?;
        *used = self.uses;
        Some(value)
    }

    fn insert(&mut self, key: K, value: V) {
        self.uses += 1;
        self.values.insert(key, (self.uses, value));
    }

    /// Removes what was not used for longest; gives it.
    fn drop_oldest(&mut self) -> Option<V> {
        let oldest = self.values.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| *key)?;
        self.values.remove(&oldest).map(|(_, value)| value)
    }
}

/// Names of programs' functions.
pub(super) struct UserNames {
    procfs: PathBuf,
    lookup: Option<Lookup>,
    processes: Kept<Identity, Process>,
    files: Kept<FileKey, Arc<Symbols>>,
    bytes: usize,
}

impl UserNames {
    /// `lookup`: tells whether a pid still belongs to who is asked about.
    pub(super) fn new(procfs: PathBuf, lookup: Option<Lookup>) -> Self {
        Self { procfs, lookup, processes: Kept::new(), files: Kept::new(), bytes: 0 }
    }

    /// Forgets all.
    pub(super) fn forget(&mut self) {
        (self.processes, self.files, self.bytes) = (Kept::new(), Kept::new(), 0);
    }

    /// The frames of a stack. A function that keeps no frame pointer leaves something else where its
    /// caller's is looked for: frames from the first one on that is in no code are left out.
    pub(super) fn frames(&mut self, process: Identity, addresses: &[u64]) -> Vec<StackTraceEntry> {
        if addresses.is_empty() {
            return Vec::new();
        }
        self.refresh(process, addresses);
        let Some(known) = self.processes.get(&process) else {
            return addresses.iter().map(|address| unnamed(*address)).collect();
        };
        let places: Vec<Option<Mapping>> = addresses
            .iter()
            .map(|address| maps::find(&known.maps, *address).map(|index| known.maps[index].clone()))
            .collect();
        let frames = addresses.iter().zip(places).enumerate();
        frames
            .map_while(|(index, (address, mapping))| {
                Some(self.frame(process, *address, &mapping?, index > 0))
            })
            .collect()
    }

    fn frame(
        &mut self,
        process: Identity,
        address: u64,
        mapping: &Mapping,
        returns: bool,
    ) -> StackTraceEntry {
        let offset = address - mapping.start + mapping.offset;
        // Where a call returns to may be another function; the call before it is what matters.
        let place = offset - u64::from(returns && offset > 0);
        let symbols = mapping.has_file.then(|| self.symbols(process, mapping)).flatten();
        let symbol = symbols.as_deref().and_then(|symbols| symbols.find(place));
        StackTraceEntry {
            address,
            offset,
            symbol: symbol.map(|(name, _)| demangle(name)).unwrap_or_default(),
            module: mapping.name.clone(),
        }
    }

    /// Reads the mappings of a process again if they may not be those any more.
    fn refresh(&mut self, process: Identity, addresses: &[u64]) {
        if let Some(known) = self.processes.get(&process) {
            let all = addresses.iter().all(|address| maps::find(&known.maps, *address).is_some());
            let age = known.read.elapsed();
            if age < STALE && (all || age < STALE / 20) {
                return;
            }
        }
        let Ok(maps) = maps::read(&self.procfs, process.pid) else { return };
        // A kernel thread has none, nor has who is about to end.
        if maps.is_empty() || !self.is_still(process) {
            return;
        }
        let files = match self.processes.get(&process) {
            // The same places with the same names are taken for the same files.
            Some(known) if known.maps == maps => std::mem::take(&mut known.files),
            _ => HashMap::new(),
        };
        self.processes.insert(process, Process { read: Instant::now(), maps, files });
        while self.processes.values.len() > PROCESSES_MAX {
            self.processes.drop_oldest();
        }
    }

    fn is_still(&self, process: Identity) -> bool {
        self.lookup.as_ref().is_none_or(|lookup| lookup(process.pid) == Some(process))
    }

    fn symbols(&mut self, process: Identity, mapping: &Mapping) -> Option<Arc<Symbols>> {
        let known = self.processes.get(&process)?.files.get(&mapping.name).copied();
        if let Some(symbols) = known.and_then(|key| self.files.get(&key)) {
            return Some(symbols.clone());
        }
        let (file, key) = self.open(process, mapping)?;
        self.processes.get(&process)?.files.insert(mapping.name.clone(), key);
        if let Some(symbols) = self.files.get(&key) {
            return Some(symbols.clone());
        }
        // One that has none is kept too.
        let symbols = Arc::new(Symbols::read(&file).unwrap_or_else(|error| {
            tracing::debug!(%error, file = mapping.name, "no symbols for stacks");
            Symbols::default()
        }));
        self.bytes += symbols.bytes();
        self.files.insert(key, symbols.clone());
        while self.files.values.len() > FILES_MAX
            || (self.bytes > SYMBOLS_MAX && self.files.values.len() > 1)
        {
            let Some(dropped) = self.files.drop_oldest() else { break };
            self.bytes -= dropped.bytes();
        }
        Some(symbols)
    }

    /// Opens the file of a mapping, if the process still has it.
    fn open(&self, process: Identity, mapping: &Mapping) -> Option<(ProgramFile, FileKey)> {
        let file = ProgramFile::open(&mapping.path(&self.procfs, process.pid)).ok()?;
        let about = std::fs::metadata(file.by_descriptor()).ok()?;
        let key = FileKey {
            device: about.dev(),
            inode: about.ino(),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
        };
        self.is_still(process).then_some((file, key))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::{Child, Command, Stdio};

    use super::*;

    const SELF: fn() = own_functions_have_names;

    fn names(lookup: Option<Lookup>) -> UserNames {
        UserNames::new(PathBuf::from("/proc"), lookup)
    }

    fn this() -> Identity {
        Identity { pid: std::process::id(), ktime: 7 }
    }

    #[test]
    fn own_functions_have_names() {
        let mut names = names(None);
        let address = SELF as usize as u64;
        // Data is no code, and ends the stack.
        let data = std::ptr::from_ref(&names) as u64;
        let frames = names.frames(this(), &[address + 1, address + 1, data, address]);
        assert_eq!(frames.len(), 2, "{frames:?}");
        let exe = std::env::current_exe().unwrap();
        for frame in &frames {
            assert!(frame.symbol.ends_with("own_functions_have_names"), "{frame:?}");
            assert_eq!(Path::new(&frame.module), exe);
            assert_eq!(frame.address, address + 1);
            let symbols = Symbols::read(&ProgramFile::open(&exe).unwrap()).unwrap();
            assert_eq!(symbols.find(frame.offset).unwrap().1, 1);
        }
        // What is called last in a function returns behind it.
        let frames = names.frames(this(), &[address, address]);
        assert!(!frames[1].symbol.ends_with("own_functions_have_names"), "{frames:?}");
    }

    fn sleeper() -> Child {
        Command::new("/bin/sleep").arg("100").stdin(Stdio::null()).spawn().unwrap()
    }

    fn code_of(pid: u32) -> Mapping {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let maps = maps::read(Path::new("/proc"), pid).unwrap();
            let own =
                maps.into_iter().find(|map| map.name.contains("sleep") || map.name.contains("box"));
            match own {
                Some(own) => return own,
                None => assert!(Instant::now() < end),
            }
        }
    }

    #[test]
    fn a_process_that_is_gone() {
        let mut child = sleeper();
        let process = Identity { pid: child.id(), ktime: 7 };
        let mapping = code_of(child.id());
        let mut names = names(None);
        let seen = names.frames(process, &[mapping.start + 64]);
        assert_eq!((seen.len(), &seen[0].module), (1, &mapping.name));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(names.frames(process, &[mapping.start + 64]), seen, "what it had is known");
        let other = Identity { ktime: 8, ..process };
        assert_eq!(names.frames(other, &[5, 6]), [unnamed(5), unnamed(6)]);
        names.forget();
        assert_eq!(names.frames(process, &[5]), [unnamed(5)]);
    }

    #[test]
    fn a_pid_that_belongs_to_another() {
        let own = this();
        let mut names = names(Some(Arc::new(move |_| Some(own))));
        let address = SELF as usize as u64;
        let before = Identity { ktime: 6, ..own };
        assert_eq!(names.frames(before, &[address]), [unnamed(address)]);
        assert_ne!(names.frames(own, &[address]), [unnamed(address)]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut names = names(None);
        let address = SELF as usize as u64;
        for ktime in 0..PROCESSES_MAX as u64 + 5 {
            names.frames(Identity { ktime, ..this() }, &[address]);
        }
        assert_eq!(names.processes.values.len(), PROCESSES_MAX);
        assert_eq!(names.files.values.len(), 1, "one file, whoever runs it");
        assert!(names.processes.get(&Identity { ktime: 0, ..this() }).is_none(), "the oldest went");
    }
}
