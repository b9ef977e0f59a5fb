//! Policies in files: what the agent was told of at its start, and what becomes of it since.
//!
//! A directory's files are read in the order of their names, those of its subdirectories too. At the start
//! a bad policy is told with everything that is wrong with it, and the others are loaded: one mistake does
//! not leave a machine unwatched. Later a file whose text has changed is loaded in the place of what it
//! said before, without a gap; if it cannot be, that stays in force. What a file said goes with the file,
//! unless another one says it now: files may be renamed.
//!
//! Whether a file has changed its metadata say: any writing sets the time of change of the inode (`ctime`),
//! and a file that is moved into its place is another inode. A change within the clock's tick that follows
//! the reading would not show, so what has just changed is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use policy::{CheckedPolicy, PolicyKey};

use super::outcome::told;
use super::{AddError, ChangeError, DEFAULT_DIR, Origin, Outcome, STATIC, Store, Text};
use crate::config::PolicyFiles;

/// Largest file that is read, in bytes; the largest policies there are have a tenth of it.
const MAX_SIZE: u64 = 16 << 20;

/// Deepest directory below the one that is named.
const MAX_DEPTH: usize = 16;

/// How long after a change another one might not show: longer than a tick of the kernel's clock, which
/// is 10 ms at most.
const FRESH: Duration = Duration::from_millis(50);

/// A directory of policies that was asked for cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read --tracing-policy-dir {path}: {error}")]
pub struct DirError {
    path: PathBuf,
    error: std::io::Error,
}

/// The files of policies, and what became of each.
pub struct Files {
    dir: Option<PathBuf>,
    file: Option<PathBuf>,
    seen: BTreeMap<PathBuf, Seen>,
    /// Policies of files that are gone, which somebody was just changing.
    leaving: BTreeSet<PolicyKey>,
}

/// What became of a file.
struct Seen {
    /// Its metadata when it was read; `None` when it has to be read again.
    stamp: Option<Stamp>,
    /// Its text; what could not be read is like none.
    text: Option<String>,
    /// The policy that the list shows of it.
    key: Option<PolicyKey>,
    /// Whether its text is not what is in force.
    failed: bool,
}

/// Device, inode, size, times of change of content and inode in s and ns.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

/// What a look at the files came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// All is as the files have it, as far as it can be.
    Done,
    /// Something has to be looked at again soon.
    Again,
}

impl Files {
    /// Those of these settings; none is read yet.
    pub fn new(files: &PolicyFiles) -> Self {
        let PolicyFiles { dir, file, .. } = files;
        Self {
            dir: dir.clone(),
            file: file.clone(),
            seen: BTreeMap::new(),
            leaving: BTreeSet::new(),
        }
    }

    /// What has to be watched: trees of directories, and single files.
    pub(super) fn places(&self) -> (Option<&Path>, Option<&Path>) {
        (self.dir.as_deref(), self.file.as_deref())
    }

    /// Loads the policies of the directory and that of the file, at the agent's start.
    ///
    /// # Errors
    /// The directory cannot be read; the default one may be missing.
    pub fn load(&mut self, store: &Store) -> Result<Outcome, DirError> {
        if let Some(dir) = &self.dir
            && dir != Path::new(DEFAULT_DIR)
        {
            fs::metadata(dir).map_err(|error| DirError { path: dir.clone(), error })?;
        }
        let mut outcome = Outcome::default();
        let mut texts = Vec::new();
        let named = |path: &PathBuf| self.file.as_ref() == Some(path);
        let mut paths: Vec<_> = self.paths()?.into_iter().filter(|path| !named(path)).collect();
        // One that was named has to be there.
        paths.extend(self.file.clone());
        for path in paths {
            let stamp = stamp(&path).filter(|stamp| !is_fresh(*stamp));
            let file = path.display().to_string();
            let read = read(&path);
            let text = read.as_ref().ok().cloned();
            match read {
                Ok(text) => texts.push((path.clone(), Text::new(Origin::File, file, text))),
                Err(error) => outcome.fail(&file, &error),
            }
            self.seen.insert(path, Seen { stamp, text, key: None, failed: true });
        }
        let (paths, texts): (Vec<_>, Vec<_>) = texts.into_iter().unzip();
        // Together: where they hook the same places, that is much faster than one by one.
        for ((path, text), added) in paths.iter().zip(&texts).zip(store.add_all(STATIC, &texts)) {
            let key = match added {
                Ok(key) => {
                    outcome.loaded += 1;
                    Ok(key)
                }
                Err(error) => {
                    outcome.fail(&text.file, &error.to_string());
                    Err(key_of(text, &error))
                }
            };
            if let Some(seen) = self.seen.get_mut(path) {
                seen.failed = key.is_err();
                seen.key = key.map_or_else(|listed| listed, Some);
            }
        }
        Ok(outcome)
    }

    /// Has the policies be as the files say now. With `retry` also what failed before is tried again.
    ///
    /// # Errors
    /// A directory cannot be read; nothing was changed.
    pub(super) fn follow(&mut self, store: &Store, retry: bool) -> Result<Look, DirError> {
        let paths = self.paths()?;
        let mut look = Look::Done;
        let gone: Vec<PathBuf> =
            self.seen.keys().filter(|path| !paths.contains(*path)).cloned().collect();
        let mut left = std::mem::take(&mut self.leaving);
        left.extend(gone.into_iter().filter_map(|path| self.seen.remove(&path)?.key));
        for path in &paths {
            if let Look::Again = self.follow_one(path, store, &mut left, retry) {
                look = Look::Again;
            }
        }
        let mut freed = false;
        for key in left {
            match store.delete(&key) {
                Err(ChangeError::Busy(key)) => {
                    self.leaving.insert(key);
                    look = Look::Again;
                }
                // Clients may have deleted it.
                Ok(()) | Err(ChangeError::Missing { .. }) => freed = true,
                Err(error) => tracing::error!(%error, "the policy of a file that is gone stays"),
            }
        }
        // A name that was taken is free now, perhaps.
        if freed && !retry && self.seen.values().any(|seen| seen.failed && seen.key.is_none()) {
            return self.follow(store, true);
        }
        Ok(look)
    }

    fn follow_one(
        &mut self,
        path: &Path,
        store: &Store,
        left: &mut BTreeSet<PolicyKey>,
        retry: bool,
    ) -> Look {
        let now = stamp(path);
        let before = self.seen.get(path);
        let failed = before.is_some_and(|seen| seen.failed);
        if before.is_some_and(|seen| seen.stamp.is_some() && seen.stamp == now)
            && !(retry && failed)
        {
            return Look::Done;
        }
        let key = before.and_then(|seen| seen.key.clone());
        let read = read(path);
        let same = before.is_some_and(|seen| seen.text.as_ref() == read.as_ref().ok());
        let fresh = now.is_none_or(is_fresh);
        let mut seen = Seen {
            stamp: now.filter(|_| !fresh),
            text: read.as_ref().ok().cloned(),
            key: key.clone(),
            failed,
        };
        let mut look = if fresh { Look::Again } else { Look::Done };
        if !same || (retry && failed) {
            let file = path.display().to_string();
            let text = read.map(|text| Text::new(Origin::File, file.clone(), text));
            let taken = match &text {
                Ok(text) => self.take(path, text, store, key.as_ref()),
                Err(error) => Err(Failure { text: error.clone(), key: None, busy: false }),
            };
            seen.failed = taken.is_err();
            match taken {
                Ok(new) => seen.key = Some(new),
                Err(Failure { busy: true, .. }) => {
                    (seen.stamp, seen.text, look) = (None, None, Look::Again);
                }
                Err(Failure { text, key: listed, .. }) => {
                    let stays = if key.is_some() { "; what it said before stays" } else { "" };
                    tracing::error!(file, "the policy is not loaded{stays}");
                    told(&text);
                    match &key {
                        Some(key) => store.note_trouble(key, &file, &text),
                        None => seen.key = listed,
                    }
                }
            }
            if let Some(old) = key.filter(|old| seen.key.as_ref() != Some(old)) {
                left.insert(old);
            }
        }
        if let Some(key) = &seen.key {
            left.remove(key);
        }
        self.seen.insert(path.to_owned(), seen);
        look
    }

    /// Puts a file's policy in force. `before`: the policy that it had.
    fn take(
        &self,
        path: &Path,
        text: &Text,
        store: &Store,
        before: Option<&PolicyKey>,
    ) -> Result<PolicyKey, Failure> {
        let failure = |text, key| Failure { text, key, busy: false };
        let policy = CheckedPolicy::read(&text.file, &text.text)
            .map_err(|problems| failure(problems.to_string(), None))?;
        let key = policy.key(STATIC);
        let mut others = self.seen.iter().filter(|(other, _)| *other != path);
        if let Some((other, _)) = others.find(|(_, seen)| seen.key.as_ref() == Some(&key)) {
            let error = AddError::Exists { key, file: other.display().to_string() };
            return Err(failure(error.to_string(), None));
        }
        match store.put(STATIC, text) {
            Ok(key) => Ok(key),
            Err(AddError::Busy(_)) => Err(Failure { text: String::new(), key: None, busy: true }),
            Err(error) => {
                if before.is_some_and(|before| *before != key) {
                    // The file's policy stays the one that it was.
                    let _ = store.delete(&key);
                }
                Err(failure(error.to_string(), Some(key)))
            }
        }
    }

    /// The files there are, by name. Hidden ones, which editors and mounted ConfigMaps leave there, are
    /// none of them, nor are the copies that editors make.
    fn paths(&self) -> Result<BTreeSet<PathBuf>, DirError> {
        let mut paths = BTreeSet::new();
        if let Some(dir) = &self.dir {
            list(dir, 0, &mut paths)?;
        }
        paths.extend(self.file.clone().filter(|file| file.exists()));
        Ok(paths)
    }
}

/// Why a file's policy is not in force.
struct Failure {
    text: String,
    /// The policy that the list shows of it.
    key: Option<PolicyKey>,
    /// It has to be tried again.
    busy: bool,
}

/// The policy that the list shows of a text that was not loaded.
fn key_of(text: &Text, error: &AddError) -> Option<PolicyKey> {
    match error {
        AddError::Exists { .. } | AddError::Domain(_) => None,
        _ => CheckedPolicy::read(&text.file, &text.text).ok().map(|policy| policy.key(STATIC)),
    }
}

/// Adds the regular files of a directory and of those below it, and what links to files.
fn list(dir: &Path, depth: usize, paths: &mut BTreeSet<PathBuf>) -> Result<(), DirError> {
    let failed = |error| DirError { path: dir.to_owned(), error };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        // It may come yet, or come back.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if is_left_over(name.as_encoded_bytes()) {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            if depth < MAX_DEPTH {
                list(&path, depth + 1, paths)?;
            }
        } else if fs::metadata(&path).is_ok_and(|found| found.is_file()) {
            paths.insert(path);
        }
    }
    Ok(())
}

/// Names of what editors and mounted ConfigMaps have beside the files.
pub(super) fn is_left_over(name: &[u8]) -> bool {
    name.starts_with(b".") || name.starts_with(b"#") || name.ends_with(b"~")
}

pub(super) fn read(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| format!("cannot read it: {error}"))?.len();
    if size > MAX_SIZE {
        return Err(format!("it has {size} bytes; a policy has at most {MAX_SIZE}"));
    }
    fs::read_to_string(path).map_err(|error| format!("cannot read it: {error}"))
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    let times = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    Some((found.dev(), found.ino(), found.size(), times.0, times.1))
}

fn is_fresh((.., (seconds, nanoseconds)): Stamp) -> bool {
    let changed =
        Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanoseconds).unwrap_or(0));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // A time to come is no fresh one: clocks are set.
    now.checked_sub(changed).is_some_and(|age| age < FRESH)
}

#[cfg(test)]
mod tests;
