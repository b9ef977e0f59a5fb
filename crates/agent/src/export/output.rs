//! The file that exported lines go to.
//!
//! A line is there whole or not at all: what a failed write left of one is cut off again, or, where
//! nothing can be cut (a pipe, a terminal), the next line starts on a fresh one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::backups::{Backups, Keep, rotate};
use crate::config::RotationConfig;

/// Time between two looks whether the file was moved away or removed by somebody else.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Time after which a rotation that failed is tried again.
const ROTATE_AGAIN: Duration = Duration::from_secs(10);

/// Size that `max_size_mb` 0 stands for.
const DEFAULT_SIZE_MB: u64 = 100;

/// Not all lines could be written.
#[derive(Debug)]
pub(super) struct Failed {
    /// Lines that were written whole.
    pub(super) written: usize,
    /// Why the next one was not.
    pub(super) error: io::Error,
}

/// Where lines go.
pub(super) struct Output {
    target: Target,
    open: Option<Open>,
    /// Last rotation, or the start.
    rotated: Instant,
    rotate_again: Option<Instant>,
}

enum Target {
    Stdout,
    File { path: PathBuf, backups: Backups },
}

struct Open {
    file: File,
    /// Whether it can be cut and rotated.
    regular: bool,
    size: u64,
    /// Device and inode.
    id: (u64, u64),
    looked: Instant,
    /// The last line there has no end.
    mid_line: bool,
}

impl Output {
    /// For `path`, or standard output when it is `-` or `/dev/stdout`. Opens nothing yet.
    pub(super) fn new(path: &Path, rotation: &RotationConfig) -> io::Result<Self> {
        let target = if path == Path::new("-") || path == Path::new("/dev/stdout") {
            Target::Stdout
        } else {
            let backups = Backups::start(path)?;
            Target::File { path: path.to_owned(), backups }
        };
        let output = Self { target, open: None, rotated: Instant::now(), rotate_again: None };
        output.tidy(rotation);
        Ok(output)
    }

    fn tidy(&self, rotation: &RotationConfig) {
        if let Target::File { backups, path } = &self.target
            && path.parent().is_some_and(Path::is_dir)
        {
            backups.tidy(Keep { backups: rotation.max_backups, compress: rotation.compress });
        }
    }

    /// Writes `lines`, each of which ends with a newline, and rotates before when they do not fit.
    pub(super) fn write(&mut self, lines: &[u8], rotation: &RotationConfig) -> Result<(), Failed> {
        let none = |error| Failed { written: 0, error };
        self.look();
        self.open(rotation).map_err(none)?;
        let max_size_mb = Some(rotation.max_size_mb).filter(|mb| *mb > 0);
        let max = max_size_mb.unwrap_or(DEFAULT_SIZE_MB).saturating_mul(1 << 20);
        if let Some(open) = &self.open
            && open.size > 0
            && open.size.saturating_add(lines.len() as u64) > max
        {
            self.rotate(rotation).map_err(none)?;
        }
        match &mut self.open {
            Some(open) => open.write(lines),
            None => Err(none(ErrorKind::NotFound.into())),
        }
    }

    /// When [`Output::tick`] wants to be called, if nothing is written until then.
    pub(super) fn tick_at(&self, rotation: &RotationConfig) -> Option<Instant> {
        let open = self.open.as_ref()?;
        let waits = open.regular && open.size > 0 && !rotation.interval.is_zero();
        let due = waits.then(|| self.rotated.checked_add(rotation.interval))??;
        Some(self.rotate_again.map_or(due, |again| again.max(due)))
    }

    /// Rotates when the interval has passed.
    pub(super) fn tick(&mut self, now: Instant, rotation: &RotationConfig) -> io::Result<()> {
        if self.tick_at(rotation).is_some_and(|due| due <= now) {
            self.rotate(rotation)?;
        }
        Ok(())
    }

    fn open(&mut self, rotation: &RotationConfig) -> io::Result<()> {
        if self.open.is_some() {
            return Ok(());
        }
        let open = match &self.target {
            Target::Stdout => {
                Open::new(File::from(io::stdout().as_fd().try_clone_to_owned()?), false)?
            }
            Target::File { path, .. } => open_file(path, rotation.mode)?,
        };
        self.open = Some(open);
        Ok(())
    }

    /// Lets go of a file that is no longer at its path.
    fn look(&mut self) {
        let Target::File { path, .. } = &self.target else { return };
        let Some(open) = &mut self.open else { return };
        if open.looked.elapsed() < LOOK_INTERVAL {
            return;
        }
        open.looked = Instant::now();
        let there = fs::metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == open.id);
        if !there {
            self.open = None;
        }
    }

    /// Moves the file away and opens a new one. When the move fails the old one is kept, whatever
    /// its size, and the move is tried again later.
    fn rotate(&mut self, rotation: &RotationConfig) -> io::Result<()> {
        let Target::File { path, .. } = &self.target else { return Ok(()) };
        if !self.open.as_ref().is_some_and(|open| open.regular) {
            return Ok(());
        }
        let now = Instant::now();
        if self.rotate_again.is_some_and(|again| again > now) {
            return Ok(());
        }
        if let Err(error) = rotate(path, SystemTime::now()) {
            tracing::warn!(path = %path.display(), %error, "Cannot rotate the export file");
            self.rotate_again = Some(now + ROTATE_AGAIN);
            return Ok(());
        }
        self.open = None;
        self.rotated = now;
        self.rotate_again = None;
        self.tidy(rotation);
        self.open(rotation)
    }
}

/// Opens an existing file to append to it, or makes one with `mode` whatever the umask, and the
/// directories to it.
fn open_file(path: &Path, mode: u32) -> io::Result<Open> {
    let mut options = OpenOptions::new();
    options.read(true).append(true);
    match options.open(path) {
        Ok(file) => Open::new(file, true),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
            }
            let file = options.create_new(true).mode(mode).open(path)?;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            Open::new(file, true)
        }
        Err(error) => Err(error),
    }
}

impl Open {
    fn new(mut file: File, ours: bool) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let regular = ours && metadata.is_file();
        let mut mid_line = false;
        if regular && metadata.len() > 0 {
            // An agent that was killed may have left half a line.
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            mid_line = last != *b"\n";
        }
        let id = (metadata.dev(), metadata.ino());
        Ok(Self { file, regular, size: metadata.len(), id, looked: Instant::now(), mid_line })
    }

    fn write(&mut self, lines: &[u8]) -> Result<(), Failed> {
        if self.mid_line {
            self.put(b"\n").map_err(|(_, error)| Failed { written: 0, error })?;
            self.mid_line = false;
        }
        let Err((wrote, error)) = self.put(lines) else { return Ok(()) };
        let whole = lines[..wrote].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = (wrote - whole) as u64;
        if rest > 0 {
            let cut = self.regular && self.file.set_len(self.size - rest).is_ok();
            if cut {
                self.size -= rest;
            }
            self.mid_line = !cut;
        }
        let written = lines[..whole].iter().filter(|byte| **byte == b'\n').count();
        Err(Failed { written, error })
    }

    /// Writes all of `bytes`, or says how many it wrote before which error.
    fn put(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut wrote = 0;
        while wrote < bytes.len() {
            match self.file.write(&bytes[wrote..]) {
                Ok(0) => return Err((wrote, ErrorKind::WriteZero.into())),
                Ok(n) => {
                    wrote += n;
                    self.size += n as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err((wrote, error)),
            }
        }
        Ok(())
    }
}
