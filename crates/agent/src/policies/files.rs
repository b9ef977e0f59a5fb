//! Policies in files, read when the agent starts; also those that clients had added, if they are stored.
//!
//! A directory's files are read in the order of their names. A bad policy is told with everything that is
//! wrong with it, and the others are loaded: one mistake does not leave a machine unwatched.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{DEFAULT_DIR, RecordError, Records, STATIC, Store, Text};
use crate::config::PolicyFiles;

/// Largest file that is read, in bytes; the largest policies there are have a tenth of it.
const MAX_SIZE: u64 = 16 << 20;

/// A directory of policies that was asked for cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read --tracing-policy-dir {path}: {error}")]
pub struct DirError {
    path: PathBuf,
    error: std::io::Error,
}

/// What became of the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Policies in force.
    pub loaded: usize,
    /// Files whose policies are not.
    pub failed: usize,
}

impl Outcome {
    fn fail(&mut self, file: &str, error: &str) {
        self.failed += 1;
        tracing::error!(file, "the policy is not loaded");
        // One line for each problem, as they were made.
        error.lines().for_each(|line| tracing::error!("{line}"));
    }
}

/// Loads the policies of the directory, then that of the file.
///
/// # Errors
/// The directory cannot be read; the default one may be missing.
pub fn load(store: &Store, files: &PolicyFiles) -> Result<Outcome, DirError> {
    let mut outcome = Outcome::default();
    let dir = files.dir.as_deref().map(listed).transpose()?.unwrap_or_default();
    let mut texts = Vec::new();
    for path in dir.iter().chain(&files.file) {
        let file = path.display().to_string();
        match read(path) {
            Ok(text) => texts.push(Text { file, text, mode: None }),
            Err(error) => outcome.fail(&file, &error),
        }
    }
    // Together: where they hook the same places, that is much faster than one by one.
    for (Text { file, .. }, added) in texts.iter().zip(store.add_all(STATIC, &texts)) {
        match added {
            Ok(_) => outcome.loaded += 1,
            Err(error) => outcome.fail(file, &error.to_string()),
        }
    }
    Ok(outcome)
}

/// Loads the policies that clients had added. What cannot be read or loaded is told, and stays stored.
///
/// # Errors
/// The directory cannot be read.
pub fn restore(store: &Store, records: &Records) -> Result<Outcome, RecordError> {
    let mut outcome = Outcome::default();
    let mut domains: BTreeMap<String, Vec<Text>> = BTreeMap::new();
    for record in records.list()? {
        match record {
            Ok((key, record)) if record.enabled => {
                let file = records.path(&key).display().to_string();
                let mode = record.mode.map(Into::into);
                let text = Text { file, text: record.yaml, mode };
                domains.entry(key.domain).or_default().push(text);
            }
            Ok((key, _)) => tracing::info!(policy = key.name, "a stored policy is disabled"),
            Err(error) => {
                outcome.failed += 1;
                tracing::error!("{error}");
            }
        }
    }
    for (domain, texts) in domains {
        for (Text { file, .. }, added) in texts.iter().zip(store.add_all(&domain, &texts)) {
            match added {
                Ok(_) => outcome.loaded += 1,
                Err(error) => outcome.fail(file, &error.to_string()),
            }
        }
    }
    Ok(outcome)
}

/// The regular files of a directory and what links to such, by name. Hidden ones, which editors and
/// mounted ConfigMaps leave there, are none of them.
fn listed(dir: &Path) -> Result<Vec<PathBuf>, DirError> {
    let failed = |error| DirError { path: dir.to_owned(), error };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound && dir == Path::new(DEFAULT_DIR) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && fs::metadata(entry.path()).is_ok_and(|found| found.is_file()) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| format!("cannot read it: {error}"))?.len();
    if size > MAX_SIZE {
        return Err(format!("it has {size} bytes; a policy has at most {MAX_SIZE}"));
    }
    fs::read_to_string(path).map_err(|error| format!("cannot read it: {error}"))
}
