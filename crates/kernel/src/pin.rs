//! Pins: names in a BPF file system that keep programs, maps and links alive.
//!
//! A pinned object stays when the process that made it ends, and whoever may open its name gets it
//! back. Names do not survive a reboot, nor unmounting the file system.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::errno::Errno;
use crate::error::Error;
use crate::link::Link;
use crate::map::Map;
use crate::mount::{FileSystem, c_path};
use crate::program::{AttachType, Program};
use crate::sys::attr::PinPath;
use crate::sys::{Command, address_of, bpf, bpf_fd, fd_number};

/// A directory in a BPF file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinDir {
    path: PathBuf,
}

impl PinDir {
    /// Opens a directory, making it if need be (mode 0700). When it is not in a BPF file system, one
    /// is mounted at the usual place if `path` is below that and nothing is mounted there yet, else
    /// this fails.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let usual = FileSystem::Bpf.usual_place();
        if path.starts_with(usual) && !FileSystem::Bpf.holds(usual)? {
            FileSystem::Bpf.mount(usual)?;
        }
        // Looked at before it is made, so that nothing is left behind elsewhere.
        let there = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&path);
        if !FileSystem::Bpf.holds(there)? {
            return Err(Error::Lacks {
                what: format!("pinning in {}", path.display()),
                needs: "a BPF file system mounted there (mount -t bpf)",
            });
        }
        make_private_dir(&path)?;
        Ok(Self { path })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a name in it. Not all names are possible: the file system refuses those with a
    /// dot (EPERM).
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Removes it and all that is pinned in it and below. What is not held elsewhere goes: links
    /// detach. True: it was there.
    pub fn remove(self) -> Result<bool, Error> {
        match std::fs::remove_dir_all(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::File { action: "remove", path: self.path, source }),
        }
    }
}

fn make_private_dir(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| Error::File { action: "create", path: path.to_owned(), source })
}

/// Removes a pin. True: it was there. The object goes too, if nothing else holds it.
pub fn unpin(path: &Path) -> Result<bool, Error> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::File { action: "remove the pin", path: path.to_owned(), source }),
    }
}

fn pin(fd: BorrowedFd<'_>, path: &Path) -> Result<(), Error> {
    let name = c_path(path)?;
    let mut attr = PinPath {
        pathname: address_of(name.as_bytes_with_nul()),
        bpf_fd: fd_number(fd),
        file_flags: 0,
    };
    // SAFETY: the path lives until the end of this function, and ends with NUL.
    unsafe { bpf(Command::Pin, &mut attr) }.map(drop).map_err(|errno| pin_error("pin", path, errno))
}

/// Opens whatever is pinned at `path`; `None`: nothing.
fn open(path: &Path) -> Result<Option<OwnedFd>, Error> {
    let name = c_path(path)?;
    let pathname = address_of(name.as_bytes_with_nul());
    let mut attr = PinPath { pathname, ..PinPath::default() };
    // SAFETY: the path lives until the end of this function, and ends with NUL.
    match unsafe { bpf_fd(Command::OpenPinned, &mut attr) } {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(pin_error("open the pin", path, errno)),
    }
}

fn pin_error(action: &'static str, path: &Path, errno: Errno) -> Error {
    Error::File { action, path: path.to_owned(), source: errno.into() }
}

impl Map {
    /// Pins it at a path in a BPF file system; fails if the path exists (EEXIST).
    pub fn pin(&self, path: &Path) -> Result<(), Error> {
        pin(self.as_fd(), path)
    }

    /// Opens the map that is pinned at a path; `None`: nothing is.
    pub fn open_pinned(path: &Path) -> Result<Option<Self>, Error> {
        open(path)?.map(Self::from_fd).transpose()
    }
}

impl Program {
    /// Pins it at a path in a BPF file system; fails if the path exists (EEXIST).
    pub fn pin(&self, path: &Path) -> Result<(), Error> {
        pin(self.as_fd(), path)
    }

    /// Opens the program that is pinned at a path; `None`: nothing is. How it can be attached the
    /// kernel does not tell.
    pub fn open_pinned(path: &Path, attach_type: AttachType) -> Result<Option<Self>, Error> {
        open(path)?.map(|fd| Self::from_fd(fd, attach_type)).transpose()
    }
}

impl Link {
    /// Pins it at a path in a BPF file system, so that the program stays attached when this is dropped;
    /// fails if the path exists (EEXIST).
    pub fn pin(&self, path: &Path) -> Result<(), Error> {
        pin(self.link_fd("pinning")?, path)
    }

    /// Opens the link that is pinned at a path; `None`: nothing is.
    pub fn open_pinned(path: &Path) -> Result<Option<Self>, Error> {
        open(path)?.map(Self::from_fd).transpose()
    }
}
