//! A file that is open: what was read of it, what its digest is of and what a probe attaches to are the
//! same, whatever its name leads to meanwhile.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Contents, Error};

/// An executable or library that is open. Two are equal if they are one file, by device and inode.
#[derive(Debug, Clone)]
pub struct ProgramFile {
    path: PathBuf,
    file: Arc<File>,
    device: u64,
    inode: u64,
}

impl ProgramFile {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be opened, or is no regular file. What is in it is not looked at.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        // Opening a pipe would wait for its other end.
        let regular = std::fs::metadata(path).map_err(failed)?.is_file();
        if !regular {
            return Err(Error::NotRegular(path.to_owned()));
        }
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(Error::NotRegular(path.to_owned()));
        }
        let (device, inode) = (metadata.dev(), metadata.ino());
        Ok(Self { path: path.to_owned(), file: Arc::new(file), device, inode })
    }

    /// The name by which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A name that leads to the open file in this process, even if its own name does not any more.
    pub fn by_descriptor(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// What is in it.
    ///
    /// # Errors
    /// It is no ELF file, a broken one, or cannot be read.
    pub fn contents(&self) -> Result<Contents, Error> {
        Contents::read(self)
    }

    /// Reads from the file's start, independently of others who do.
    pub(crate) fn reader(&self) -> Reader<'_> {
        self.bounded_reader(u64::MAX)
    }

    /// The same, which reads so many bytes at most, and sees no more of a larger file.
    pub(crate) fn bounded_reader(&self, left: u64) -> Reader<'_> {
        Reader { file: &self.file, at: 0, left }
    }

    pub(crate) fn failed(&self, source: io::Error) -> Error {
        Error::Read { path: self.path.clone(), source }
    }

    fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

impl AsFd for ProgramFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl PartialEq for ProgramFile {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for ProgramFile {}

impl PartialOrd for ProgramFile {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ProgramFile {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl std::hash::Hash for ProgramFile {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

/// Reads at its own position.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    file: &'a File,
    at: u64,
    /// Bytes that may be read yet.
    left: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.len() as u64 > self.left {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than is read of a file"));
        }
        let count = self.file.read_at(buffer, self.at)?;
        self.left -= count as u64;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let moved = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = moved.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
