//! Policies of clients, stored so that the next start finds them.
//!
//! One file each, `NAME:NAMESPACE:DOMAIN.json`, which only root reads. It is written when the policy is in
//! force, whole or not at all, and removed when the policy is deleted. A file that does not read keeps
//! nobody from starting: it is told, and left as it is.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use policy::PolicyKey;
use policy::checked::Mode;
use serde::{Deserialize, Serialize};

/// Names of records end so.
const SUFFIX: &str = ".json";
/// Those of unfinished ones.
const UNFINISHED: &str = ".json.tmp";

/// A directory of records.
#[derive(Clone, Debug)]
pub struct Records {
    dir: PathBuf,
}

/// A record cannot be written, read or removed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {action} {}: {error}", path.display())]
pub struct RecordError {
    action: &'static str,
    path: PathBuf,
    error: String,
}

/// What is stored of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its text.
    pub yaml: String,
    /// Whether it is in force. Without a word about it, it is.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The mode that it was given since; else that of its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<StoredMode>,
}

/// A policy that is stored, if it reads.
pub type Listed = Result<(PolicyKey, Record), RecordError>;

/// A mode that a policy can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoredMode {
    /// Actions take effect.
    Enforce,
    /// They are counted only.
    Monitor,
}

impl StoredMode {
    /// The mode as it is stored; `None` for one that nobody can give.
    pub fn of(mode: Mode) -> Option<Self> {
        match mode {
            Mode::Enforce => Some(Self::Enforce),
            Mode::Monitor => Some(Self::Monitor),
            Mode::MonitorOnly => None,
        }
    }
}

impl From<StoredMode> for Mode {
    fn from(mode: StoredMode) -> Self {
        match mode {
            StoredMode::Enforce => Self::Enforce,
            StoredMode::Monitor => Self::Monitor,
        }
    }
}

fn yes() -> bool {
    true
}

impl Records {
    /// Makes the directory, if need be, with mode 0700.
    pub fn open(dir: &Path) -> Result<Self, RecordError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|error| failed("make", dir, &error))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Where the record of a policy is.
    pub fn path(&self, key: &PolicyKey) -> PathBuf {
        let PolicyKey { domain, namespace, name } = key;
        // A domain is any text.
        let domain = domain.replace('%', "%25").replace('/', "%2f");
        self.dir.join(format!("{name}:{namespace}:{domain}{SUFFIX}"))
    }

    /// Stores a policy, in the place of what is stored of one of its key.
    pub fn write(&self, key: &PolicyKey, record: &Record) -> Result<(), RecordError> {
        let path = self.path(key);
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(".tmp");
        let unfinished = PathBuf::from(unfinished);
        let write = || -> io::Result<()> {
            let mut options = File::options();
            let options = options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(&unfinished)?;
            file.write_all(&serde_json::to_vec(record)?)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)
        };
        write().map_err(|error| {
            let _ = fs::remove_file(&unfinished);
            failed("store the policy in", &path, &error)
        })
    }

    /// What is stored of a policy; `None`: nothing.
    pub fn read(&self, key: &PolicyKey) -> Result<Option<Record>, RecordError> {
        let path = self.path(key);
        match read(&path) {
            Ok(record) => Ok(Some(record)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path, &error)),
        }
    }

    /// Forgets a policy, if it is stored.
    pub fn remove(&self, key: &PolicyKey) -> Result<(), RecordError> {
        let path = self.path(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(failed("remove", &path, &error))
            }
            _ => Ok(()),
        }
    }

    /// All that is stored, by name; what does not read is an error in its place. Files that are no
    /// records, by their names, are left alone and logged; unfinished ones are removed.
    pub fn list(&self) -> Result<Vec<Listed>, RecordError> {
        let listed = |error: io::Error| failed("read", &self.dir, &error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(listed)? {
            names.push(entry.map_err(listed)?.file_name());
        }
        names.sort();
        let mut records = Vec::new();
        for name in names {
            let path = self.dir.join(&name);
            if name.to_string_lossy().ends_with(UNFINISHED) {
                let _ = fs::remove_file(&path);
            } else if let Some(key) = key(&name) {
                let read = read(&path).map_err(|error| failed("read", &path, &error));
                records.push(read.map(|record| (key, record)));
            } else {
                tracing::warn!(path = %path.display(), "not the record of a policy: left alone");
            }
        }
        Ok(records)
    }
}

fn read(path: &Path) -> io::Result<Record> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// The policy whose record has this name.
fn key(name: &OsStr) -> Option<PolicyKey> {
    let mut parts = name.to_str()?.strip_suffix(SUFFIX)?.splitn(3, ':');
    let [name, namespace, domain] =
        [parts.next()?, parts.next()?, parts.next()?].map(str::to_owned);
    let domain = domain.replace("%2f", "/").replace("%25", "%");
    (!name.is_empty() && !domain.is_empty()).then_some(PolicyKey { domain, namespace, name })
}

fn failed(action: &'static str, path: &Path, error: &io::Error) -> RecordError {
    RecordError { action, path: path.to_owned(), error: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn key_of(name: &str, namespace: &str) -> PolicyKey {
        let [domain, namespace, name] = ["grpc", namespace, name].map(str::to_owned);
        PolicyKey { domain, namespace, name }
    }

    #[test]
    fn what_is_stored_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(&dir.path().join("a/b")).unwrap();
        let mode = fs::metadata(dir.path().join("a/b")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let one = Record { yaml: "a: 1\n".into(), enabled: true, mode: None };
        let other =
            Record { yaml: "b: \"ü\"\n".into(), enabled: true, mode: Some(StoredMode::Monitor) };
        records.write(&key_of("one.two", ""), &one).unwrap();
        records.write(&key_of("other", "ns"), &other).unwrap();
        let path = records.path(&key_of("other", "ns"));
        assert!(path.ends_with("other:ns:grpc.json"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let listed: Vec<_> = records.list().unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(listed, [(key_of("one.two", ""), one), (key_of("other", "ns"), other)]);
        let odd = PolicyKey { domain: "../a:b/%2f".into(), ..key_of("p", "") };
        assert_eq!(key(records.path(&odd).file_name().unwrap()), Some(odd));
        records.remove(&key_of("one.two", "")).unwrap();
        records.remove(&key_of("one.two", "")).unwrap();
        assert_eq!(records.read(&key_of("one.two", "")).unwrap(), None);
        assert_eq!(records.list().unwrap().len(), 1);
    }

    #[test]
    fn records_of_other_agents_read_and_bad_ones_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path()).unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("p::grpc.json", r#"{"yaml":"x","enabled":false,"more":1}"#);
        write("bad::grpc.json", "{");
        write("notes.txt", "");
        write("half::grpc.json.tmp", "{");
        let listed = records.list().unwrap();
        assert_eq!(listed.len(), 2);
        let error = listed[0].as_ref().unwrap_err().to_string();
        assert!(error.starts_with("cannot read ") && error.contains("bad::grpc.json"), "{error}");
        let (key, record) = listed[1].as_ref().unwrap();
        assert_eq!((key.name.as_str(), record.enabled), ("p", false));
        assert!(!dir.path().join("half::grpc.json.tmp").exists());
        assert!(dir.path().join("notes.txt").exists());
    }
}
