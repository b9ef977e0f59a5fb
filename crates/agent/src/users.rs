//! Account names of user ids, from the host's `/etc/passwd`.
//!
//! The file is read again when it changed, which is looked at once a second at most. Accounts that only
//! a directory service knows have no name here.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Longest file read.
const FILE_MAX: u64 = 16 << 20;
/// How long what was read counts without a look.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// The accounts of one file.
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    names: HashMap<u32, Arc<str>>,
    state: Option<(SystemTime, u64)>,
    checked: Option<Instant>,
}

impl Users {
    /// Those of this file, which is read when a name is first asked for.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), names: HashMap::new(), state: None, checked: None }
    }

    /// Name of a user id.
    pub fn name(&mut self, uid: u32, now: Instant) -> Option<Arc<str>> {
        if self.checked.is_none_or(|checked| now.duration_since(checked) >= TRUSTED_FOR) {
            self.checked = Some(now);
            self.refresh();
        }
        self.names.get(&uid).cloned()
    }

    fn refresh(&mut self) {
        let state =
            fs::metadata(&self.path).and_then(|found| Ok((found.modified()?, found.len()))).ok();
        if state == self.state {
            return;
        }
        let mut bytes = Vec::new();
        let read =
            fs::File::open(&self.path).and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes));
        match read {
            Ok(_) => self.names = parse(&String::from_utf8_lossy(&bytes)),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot read account names");
            }
        }
        self.state = state;
    }
}

/// Lines `name:password:uid:...`; the first line of a user id counts, as for getpwuid(3).
fn parse(text: &str) -> HashMap<u32, Arc<str>> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.splitn(4, ':');
        let (Some(name), Some(_), Some(uid)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if let Ok(uid) = uid.parse()
            && !name.is_empty()
            && !name.starts_with(['#', '+', '-'])
        {
            names.entry(uid).or_insert_with(|| Arc::from(name));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let text = "root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:\n# no:x:5\n+nis:x:6:\n\
                    bad:x:many:1\nshort:x\n:x:7:\nlast:x:1000";
        let names = parse(text);
        assert_eq!(names[&0].as_ref(), "root");
        assert_eq!(names[&1000].as_ref(), "last");
        assert_eq!(names.len(), 2);
    }

    #[test]
    fn file_that_changes() {
        let path = std::env::temp_dir().join(format!("passwd-{}", std::process::id()));
        fs::write(&path, "one:x:1:").unwrap();
        let mut users = Users::new(&path);
        let now = Instant::now();
        assert_eq!(users.name(1, now).as_deref(), Some("one"));
        fs::write(&path, "other:x:1:").unwrap();
        assert_eq!(users.name(1, now).as_deref(), Some("one"), "trusted for a second");
        assert_eq!(users.name(1, now + TRUSTED_FOR).as_deref(), Some("other"));
        fs::remove_file(&path).unwrap();
        assert_eq!(users.name(1, now + 2 * TRUSTED_FOR).as_deref(), Some("other"), "kept");
        assert_eq!(users.name(2, now), None);
    }
}
