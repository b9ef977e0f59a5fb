//! Rotated export files: `<name>-<time>.<ext>` beside the file, and `.gz` once compressed.
//!
//! A thread of its own removes the oldest and compresses the others, so that the export never waits
//! for it. A backup is compressed into a temporary file that is renamed when it is complete: an
//! agent that is stopped meanwhile leaves the backup as it was.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;

const COMPRESSED: &str = ".gz";
const UNFINISHED: &str = ".gz.tmp";

/// What to do with backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keep {
    /// How many stay; 0 for all.
    pub(super) backups: u64,
    /// Whether they are compressed.
    pub(super) compress: bool,
}

/// The thread that looks after the backups of one file.
pub(super) struct Backups {
    work: mpsc::Sender<Keep>,
}

impl Backups {
    /// Starts the thread.
    pub(super) fn start(path: &Path) -> io::Result<Self> {
        let (work, todo) = mpsc::channel::<Keep>();
        let names = Names::of(path);
        std::thread::Builder::new().name("export-backups".to_owned()).spawn(move || {
            while let Ok(keep) = todo.recv() {
                // Only the latest wish counts.
                let keep = todo.try_iter().last().unwrap_or(keep);
                if let Err(error) = names.tidy(keep) {
                    let directory = names.directory.display();
                    tracing::warn!(%directory, %error, "Cannot tidy up rotated export files");
                }
            }
        })?;
        Ok(Self { work })
    }

    /// Asks for the backups to be looked after. Does not wait.
    pub(super) fn tidy(&self, keep: Keep) {
        if self.work.send(keep).is_err() {
            tracing::warn!("Rotated export files are no longer compressed nor removed");
        }
    }
}

/// How the backups of one file are called.
struct Names {
    directory: PathBuf,
    /// With the hyphen.
    stem: String,
    /// With the dot, or empty.
    extension: String,
}

impl Names {
    fn of(path: &Path) -> Self {
        let part = |part: Option<&std::ffi::OsStr>| {
            part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let extension = part(path.extension());
        Self {
            directory: directory(path),
            stem: part(path.file_stem()) + "-",
            extension: if extension.is_empty() { extension } else { format!(".{extension}") },
        }
    }

    /// The time in a backup's name; `None` when it is the name of something else.
    fn time<'a>(&self, name: &'a str) -> Option<&'a str> {
        let name = name.strip_suffix(COMPRESSED).unwrap_or(name);
        let time = name.strip_prefix(&self.stem)?.strip_suffix(&self.extension)?;
        let shape = |(have, wanted): (u8, u8)| match wanted {
            b'0' => have.is_ascii_digit(),
            _ => have == wanted,
        };
        let wanted = "0000-00-00T00-00-00.000";
        (time.len() == wanted.len() && time.bytes().zip(wanted.bytes()).all(shape)).then_some(time)
    }

    fn tidy(&self, keep: Keep) -> io::Result<()> {
        let mut backups = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if let Some(whole) = name.strip_suffix(UNFINISHED) {
                if self.time(whole).is_some() {
                    fs::remove_file(self.directory.join(&name))?;
                }
            } else if let Some(time) = self.time(&name) {
                backups.push((time.to_owned(), name));
            }
        }
        // Names sort as their times do; newest first.
        backups.sort_by(|a, b| b.cmp(a));
        let keep_count = usize::try_from(keep.backups).unwrap_or(usize::MAX);
        let keep_count = if keep_count == 0 { usize::MAX } else { keep_count };
        for (_, name) in backups.iter().skip(keep_count) {
            fs::remove_file(self.directory.join(name))?;
        }
        if keep.compress {
            let plain = backups.iter().take(keep_count).filter(|(_, n)| !n.ends_with(COMPRESSED));
            for (_, name) in plain {
                compress(&self.directory.join(name))?;
            }
        }
        Ok(())
    }
}

fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn compress(path: &Path) -> io::Result<()> {
    let with = |suffix: &str| {
        let mut name = OsString::from(path);
        name.push(suffix);
        PathBuf::from(name)
    };
    let (unfinished, done) = (with(UNFINISHED), with(COMPRESSED));
    let packed = || -> io::Result<()> {
        let mut from = File::open(path)?;
        let to = File::create(&unfinished)?;
        to.set_permissions(from.metadata()?.permissions())?;
        let mut encoder = GzEncoder::new(to, Compression::default());
        io::copy(&mut from, &mut encoder)?;
        encoder.finish()?.sync_all()
    };
    let result = packed().and_then(|()| fs::rename(&unfinished, &done));
    match result {
        Ok(()) => fs::remove_file(path),
        Err(error) => {
            // What is left of it is removed now, or at the next start.
            let _ = fs::remove_file(&unfinished);
            Err(error)
        }
    }
}

/// Renames `path` to the name of a backup made at `time`, or the next one that is free.
pub(super) fn rotate(path: &Path, time: SystemTime) -> io::Result<()> {
    let names = Names::of(path);
    let mut time = time;
    loop {
        let name = format!("{}{}{}", names.stem, stamp(time), names.extension);
        let backup = names.directory.join(name);
        if !backup.exists() && !with_gz(&backup).exists() {
            return fs::rename(path, backup);
        }
        time += std::time::Duration::from_millis(1);
    }
}

fn with_gz(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(COMPRESSED);
    name.into()
}

/// `2006-01-02T15-04-05.000` in UTC.
fn stamp(time: SystemTime) -> String {
    let time = api::google::Timestamp::from(time);
    let seconds = api::google::Timestamp { seconds: time.seconds, nanos: 0 }.to_string();
    let seconds = seconds.trim_end_matches('Z').replace(':', "-");
    format!("{seconds}.{:03}", time.nanos / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn names_carry_the_time_and_do_not_collide() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tetragon.log");
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_005);
        for _ in 0..2 {
            fs::write(&path, "x").unwrap();
            rotate(&path, time).unwrap();
        }
        let wanted =
            ["tetragon-2023-11-14T22-13-20.005.log", "tetragon-2023-11-14T22-13-20.006.log"];
        assert_eq!(names(dir.path()), wanted);
    }

    #[test]
    fn oldest_go_the_rest_is_compressed_and_others_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let own = |n: u32| at(&format!("t-2024-01-0{n}T00-00-00.000.log"));
        (1..=4).for_each(|n| fs::write(own(n), format!("events of day {n}")).unwrap());
        fs::set_permissions(own(4), fs::Permissions::from_mode(0o640)).unwrap();
        fs::write(at("t-2023-01-01T00-00-00.000.log.gz.tmp"), "half").unwrap();
        for other in ["t.log", "t-notes.log", "u-2024-01-01T00-00-00.000.log"] {
            fs::write(at(other), "other").unwrap();
        }
        Names::of(&at("t.log")).tidy(Keep { backups: 2, compress: true }).unwrap();
        let wanted = [
            "t-2024-01-03T00-00-00.000.log.gz",
            "t-2024-01-04T00-00-00.000.log.gz",
            "t-notes.log",
            "t.log",
            "u-2024-01-01T00-00-00.000.log",
        ];
        assert_eq!(names(dir.path()), wanted);
        let packed = File::open(at("t-2024-01-04T00-00-00.000.log.gz")).unwrap();
        assert_eq!(packed.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
        assert_eq!(text, "events of day 4");
    }

    #[test]
    fn zero_keeps_all() {
        let dir = tempfile::tempdir().unwrap();
        for n in 1..=9 {
            fs::write(dir.path().join(format!("t-2024-01-0{n}T00-00-00.000")), "").unwrap();
        }
        let names_of = Names::of(&dir.path().join("t"));
        names_of.tidy(Keep { backups: 0, compress: false }).unwrap();
        assert_eq!(names(dir.path()).len(), 9);
    }
}
