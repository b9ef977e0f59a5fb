//! Names of programs' functions: by what the process has mapped where an address is, and the symbols of
//! that file.
//!
//! The process may be gone when its stack is looked at, or run another program: the kernel side's identity
//! tells. What it had mapped is known then if a stack of it was seen before. Else the kernel's word for where
//! in which file a frame is has to do: files are told by their build ids, and known if a stack of another
//! process led through them, or if it is the process's own executable.

use std::collections::HashMap;
use std::hash::Hash;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::tetragon::StackTraceEntry;
use compiler::base::record::Identity;
use compiler::observed::{FilePlace, Stacks};
use elf::{ProgramFile, Symbols};

use super::demangle::demangle;
use super::maps::{self, Mapping};
use super::trace::unnamed;
use crate::pipeline::Lookup;
use crate::procfs::Procfs;

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

/// A build id, with zeros behind shorter ones.
type BuildId = [u8; 20];

/// A file that is known by its build id.
#[derive(Clone, Debug)]
struct Known {
    name: String,
    key: FileKey,
}

/// Whose stack it is.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    /// The process.
    pub(super) process: Identity,
    /// Its executable as the host sees it, if that is known; that of a container may not be there.
    pub(super) binary: Option<String>,
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
    /// The host's root directory.
    root: PathBuf,
    lookup: Option<Lookup>,
    processes: Kept<Identity, Process>,
    files: Kept<FileKey, Arc<Symbols>>,
    bytes: usize,
    by_build_id: Kept<BuildId, Known>,
}

impl UserNames {
    /// `lookup`: tells whether a pid still belongs to who is asked about.
    pub(super) fn new(procfs: PathBuf, lookup: Option<Lookup>) -> Self {
        let root = Procfs::new(&procfs).host_root();
        Self {
            procfs,
            root,
            lookup,
            processes: Kept::new(),
            files: Kept::new(),
            bytes: 0,
            by_build_id: Kept::new(),
        }
    }

    /// Forgets all.
    pub(super) fn forget(&mut self) {
        (self.processes, self.files, self.bytes) = (Kept::new(), Kept::new(), 0);
        self.by_build_id = Kept::new();
    }

    /// The frames of a stack. A function that keeps no frame pointer leaves something else where its
    /// caller's is looked for: frames from the first one on that is in no code are left out.
    pub(super) fn frames(&mut self, owner: &Owner, stacks: &Stacks) -> Vec<StackTraceEntry> {
        let (process, addresses) = (owner.process, &stacks.user);
        if addresses.is_empty() {
            return Vec::new();
        }
        self.refresh(process, addresses);
        let Some(known) = self.processes.get(&process) else {
            return self.frames_of_files(owner, stacks);
        };
        let places: Vec<Option<Mapping>> = addresses
            .iter()
            .map(|address| maps::find(&known.maps, *address).map(|index| known.maps[index].clone()))
            .collect();
        let frames = addresses.iter().zip(places).enumerate();
        frames
            .map_while(|(index, (address, mapping))| {
                let file = stacks.files.get(index).copied().flatten();
                Some(self.frame(process, *address, &mapping?, file, index > 0))
            })
            .collect()
    }

    /// The frames of a process of which it is not known what it has mapped.
    fn frames_of_files(&mut self, owner: &Owner, stacks: &Stacks) -> Vec<StackTraceEntry> {
        let places = stacks.files.iter().flatten();
        let strangers = places.filter(|place| self.by_build_id.get(&place.build_id).is_none());
        if strangers.count() > 0
            && let Some(binary) = &owner.binary
        {
            self.learn_binary(binary);
        }
        let files = stacks.files.iter().copied().chain(std::iter::repeat(None));
        let frames = stacks.user.iter().zip(files).enumerate();
        let frame = |(index, (address, place)): (usize, (&u64, Option<FilePlace>))| match place {
            Some(place) => self.frame_of_file(*address, place, index > 0),
            None => unnamed(*address),
        };
        frames.map(frame).collect()
    }

    fn frame_of_file(&mut self, address: u64, place: FilePlace, returns: bool) -> StackTraceEntry {
        let FilePlace { build_id, offset } = place;
        let known = self.by_build_id.get(&build_id).cloned();
        let symbols = known.as_ref().and_then(|known| self.files.get(&known.key)).cloned();
        let inside = offset - u64::from(returns && offset > 0);
        let symbol = symbols.as_deref().and_then(|symbols| symbols.find(inside));
        StackTraceEntry {
            address,
            offset,
            symbol: symbol.map(|(name, _)| demangle(name)).unwrap_or_default(),
            module: known.map_or_else(|| stranger(&build_id), |known| known.name),
        }
    }

    /// Reads the executable of a process that is gone.
    fn learn_binary(&mut self, binary: &str) {
        let path = self.root.join(binary.trim_start_matches('/'));
        if let Ok(file) = ProgramFile::open(&path)
            && let Some(key) = key_of(&file)
        {
            self.read(&file, key, binary);
        }
    }

    fn frame(
        &mut self,
        process: Identity,
        address: u64,
        mapping: &Mapping,
        file: Option<FilePlace>,
        returns: bool,
    ) -> StackTraceEntry {
        let offset = address - mapping.start + mapping.offset;
        // Where a call returns to may be another function; the call before it is what matters.
        let place = offset - u64::from(returns && offset > 0);
        let mut symbols = mapping.has_file.then(|| self.symbols(process, mapping)).flatten();
        if symbols.is_none() {
            // It has ended since. Another process may have shown the file.
            let known = file.and_then(|file| self.by_build_id.get(&file.build_id)).cloned();
            symbols = known.and_then(|known| self.files.get(&known.key)).cloned();
        }
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
        Some(self.read(&file, key, &mapping.name))
    }

    /// The symbols of a file.
    fn read(&mut self, file: &ProgramFile, key: FileKey, name: &str) -> Arc<Symbols> {
        if let Some(symbols) = self.files.get(&key) {
            return symbols.clone();
        }
        // One that has none is kept too.
        let symbols = Arc::new(Symbols::read(file).unwrap_or_else(|error| {
            tracing::debug!(%error, file = name, "no symbols for stacks");
            Symbols::default()
        }));
        if let Some(id) = symbols.build_id.as_deref().and_then(padded) {
            self.by_build_id.insert(id, Known { name: name.to_owned(), key });
            while self.by_build_id.values.len() > FILES_MAX {
                self.by_build_id.drop_oldest();
            }
        }
        self.bytes += symbols.bytes();
        self.files.insert(key, symbols.clone());
        while self.files.values.len() > FILES_MAX
            || (self.bytes > SYMBOLS_MAX && self.files.values.len() > 1)
        {
            let Some(dropped) = self.files.drop_oldest() else { break };
            self.bytes -= dropped.bytes();
        }
        symbols
    }

    /// Opens the file of a mapping, if the process still has it.
    fn open(&self, process: Identity, mapping: &Mapping) -> Option<(ProgramFile, FileKey)> {
        let file = ProgramFile::open(&mapping.path(&self.procfs, process.pid)).ok()?;
        let key = key_of(&file)?;
        self.is_still(process).then_some((file, key))
    }
}

fn key_of(file: &ProgramFile) -> Option<FileKey> {
    let about = std::fs::metadata(file.by_descriptor()).ok()?;
    Some(FileKey {
        device: about.dev(),
        inode: about.ino(),
        size: about.size(),
        modified: (about.mtime(), about.mtime_nsec()),
    })
}

/// A build id as the kernel gives it; `None` for one that it would not take.
fn padded(id: &[u8]) -> Option<BuildId> {
    let mut padded = BuildId::default();
    padded.get_mut(..id.len()).filter(|_| !id.is_empty())?.copy_from_slice(id);
    Some(padded)
}

/// What a file is called of which only the build id is known: by that, debuginfod and the like find it.
fn stranger(id: &BuildId) -> String {
    let length = id.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let digits: String = id[..length].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("[build-id {digits}]")
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

    fn frames(names: &mut UserNames, process: Identity, user: &[u64]) -> Vec<StackTraceEntry> {
        let stacks = Stacks { user: user.to_vec(), ..Stacks::default() };
        names.frames(&Owner { process, binary: None }, &stacks)
    }

    #[test]
    fn own_functions_have_names() {
        let mut names = names(None);
        let address = SELF as usize as u64;
        // Data is no code, and ends the stack.
        let data = std::ptr::from_ref(&names) as u64;
        let seen = frames(&mut names, this(), &[address + 1, address + 1, data, address]);
        assert_eq!(seen.len(), 2, "{seen:?}");
        let exe = std::env::current_exe().unwrap();
        for frame in &seen {
            assert!(frame.symbol.ends_with("own_functions_have_names"), "{frame:?}");
            assert_eq!(Path::new(&frame.module), exe);
            assert_eq!(frame.address, address + 1);
            let symbols = Symbols::read(&ProgramFile::open(&exe).unwrap()).unwrap();
            assert_eq!(symbols.find(frame.offset).unwrap().1, 1);
        }
        // What is called last in a function returns behind it.
        let seen = frames(&mut names, this(), &[address, address]);
        assert!(!seen[1].symbol.ends_with("own_functions_have_names"), "{seen:?}");
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
        let seen = frames(&mut names, process, &[mapping.start + 64]);
        assert_eq!((seen.len(), &seen[0].module), (1, &mapping.name));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(
            frames(&mut names, process, &[mapping.start + 64]),
            seen,
            "what it had is known"
        );
        let other = Identity { ktime: 8, ..process };
        assert_eq!(frames(&mut names, other, &[5, 6]), [unnamed(5), unnamed(6)]);
        names.forget();
        assert_eq!(frames(&mut names, process, &[5]), [unnamed(5)]);
    }

    #[test]
    fn a_pid_that_belongs_to_another() {
        let own = this();
        let mut names = names(Some(Arc::new(move |_| Some(own))));
        let address = SELF as usize as u64;
        let before = Identity { ktime: 6, ..own };
        assert_eq!(frames(&mut names, before, &[address]), [unnamed(address)]);
        assert_ne!(frames(&mut names, own, &[address]), [unnamed(address)]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut names = names(None);
        let address = SELF as usize as u64;
        for ktime in 0..PROCESSES_MAX as u64 + 5 {
            frames(&mut names, Identity { ktime, ..this() }, &[address]);
        }
        assert_eq!(names.processes.values.len(), PROCESSES_MAX);
        assert_eq!(names.files.values.len(), 1, "one file, whoever runs it");
        assert!(names.processes.get(&Identity { ktime: 0, ..this() }).is_none(), "the oldest went");
    }

    #[test]
    fn files_of_processes_that_were_never_seen() {
        let exe = std::env::current_exe().unwrap();
        let symbols = Symbols::read(&ProgramFile::open(&exe).unwrap()).unwrap();
        let build_id = symbols.build_id.as_deref().and_then(padded);
        let Some(build_id) = build_id else { return };
        let address = SELF as usize as u64;
        let offset = frames(&mut names(None), this(), &[address])[0].offset + 1;
        // Nobody has this pid.
        let process = Identity { pid: u32::MAX, ktime: 1 };
        let other =
            FilePlace { build_id: *b"\xab\xcd\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", offset: 5 };
        let files = vec![Some(FilePlace { build_id, offset }), None, Some(other)];
        let stacks = Stacks { kernel: Vec::new(), user: vec![1, 2, 3], files };
        let exe = exe.to_str().unwrap();
        let named = |names: &mut UserNames, binary: Option<&str>| {
            let owner = Owner { process, binary: binary.map(str::to_owned) };
            let frames = names.frames(&owner, &stacks);
            assert_eq!(frames.len(), 3);
            assert_eq!((frames[1].clone(), frames[2].offset), (unnamed(2), 5));
            assert_eq!(
                (frames[2].symbol.as_str(), frames[2].module.as_str()),
                ("", "[build-id abcd0001]")
            );
            assert_eq!(frames[0].offset, offset);
            (frames[0].symbol.ends_with("own_functions_have_names"), frames[0].module == exe)
        };
        let mut empty = names(None);
        assert_eq!(named(&mut empty, None), (false, false));
        assert_eq!(named(&mut empty, Some("/bin/sh")), (false, false), "another program");
        assert_eq!(named(&mut empty, Some("/no/such/file")), (false, false));
        assert_eq!(named(&mut empty, Some(exe)), (true, true));
        let mut others = names(None);
        frames(&mut others, this(), &[address]);
        assert_eq!(named(&mut others, None), (true, true), "seen in another process");
    }
}
