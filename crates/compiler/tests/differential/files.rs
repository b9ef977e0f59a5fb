//! Files of any path: in a root directory of this thread's own.

use crate::real::{Opened, Words};
use nix::sched::{CloneFlags, unshare};
use policy::checked::{FileType, ValueKind};
use policy::document::TypeName;
use policy::evaluate::generate::Call;
use policy::evaluate::{Event, Value};
use rustix::fs::{FileType as Made, Mode, OFlags, fstat, mkdir, mknodat, open, symlink, unlink};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

/// A root directory; left when dropped.
pub(crate) struct Root {
    /// The one before.
    outside: OwnedFd,
    place: PathBuf,
}

impl Root {
    /// `None`, with a word: this thread cannot have a root of its own.
    pub(crate) fn enter() -> Option<Self> {
        // In memory, where there is such a place: thousands of files are made.
        let memory = PathBuf::from("/dev/shm");
        let place = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let place = place.join(format!("differential-{}", std::process::id()));
        // What is read to know how many CPUs there are.
        let cpus = "sys/devices/system/cpu";
        std::fs::create_dir_all(&place).unwrap();
        let possible = std::fs::read(format!("/{cpus}/possible")).unwrap();
        // Its own file system, so that paths in that are the same.
        mount("none", &place, "tmpfs", MountFlags::empty(), None::<&std::ffi::CStr>).unwrap();
        std::fs::create_dir_all(place.join(cpus)).unwrap();
        std::fs::write(place.join(cpus).join("possible"), possible).unwrap();
        let directory = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let outside = open("/", directory, Mode::empty()).unwrap();
        if let Err(error) = unshare(CloneFlags::CLONE_FS) {
            eprintln!("skipped: no root directory for one thread: {error}");
            return None;
        }
        rustix::process::chroot(&place).unwrap();
        rustix::process::chdir("/").unwrap();
        Some(Self { outside, place })
    }

    /// Opens a file for each value that has a path; what cannot be a path is made one. Some of those that
    /// were made are deleted, if there are `words` that say so.
    pub(crate) fn open(
        &self,
        mut words: Option<&mut Words>,
        call: &Call,
        mut event: Event,
    ) -> (Event, Vec<Option<Opened>>) {
        let mut files = Vec::new();
        for (kind, value) in call.args.iter().zip(&mut event.args) {
            // There is no bad pointer to a file.
            if matches!(value, Value::Fault)
                && matches!(kind, TypeName::File | TypeName::Path | TypeName::Dentry)
            {
                *value = Value::path("/");
            }
            let Value::Path { path, file_type } = value else {
                files.push(None);
                continue;
            };
            let opened = if path.is_empty() {
                pipe()
            } else {
                at_path(words.as_deref_mut(), path, *file_type)
            };
            // A pipe's entry is the root of its tree: only its mount tells that there is no path.
            if *kind == TypeName::Dentry && path.is_empty() {
                path.push(b'/');
            }
            let mode = fstat(&*opened.file).unwrap().st_mode;
            if kind.kind() == ValueKind::File {
                *file_type = FileType::of_mode(mode);
            }
            files.push(Some(opened));
        }
        (event, files)
    }
}

fn opened(file: OwnedFd) -> Opened {
    let mode = fstat(&file).unwrap().st_mode as u16;
    Opened { file: Rc::new(file), mode }
}

/// Something without a path.
fn pipe() -> Opened {
    opened(rustix::pipe::pipe().unwrap().0)
}

/// Opens the file of a path, made unless it is there. The path becomes what it is called.
fn at_path(words: Option<&mut Words>, path: &mut Vec<u8>, file_type: Option<FileType>) -> Opened {
    let mut names: Vec<Vec<u8>> = path
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b"." && *name != b"..")
        .map(|name| name[..name.len().min(255)].to_vec())
        .collect();
    let mut whole = vec![b'/'];
    let last = names.pop();
    let mut new = false;
    for name in names {
        let mut next = whole.clone();
        if next.len() > 1 {
            next.push(b'/');
        }
        next.extend(name);
        // What is a file stays one.
        if mkdir(&next, Mode::RWXU).is_err() && !is_directory(&next) {
            break;
        }
        whole = next;
    }
    if let Some(last) = last
        && whole.len() + last.len() < 3000
    {
        let mut next = whole.clone();
        if next.len() > 1 {
            next.push(b'/');
        }
        next.extend(last);
        let made = match file_type {
            Some(FileType::Directory) => mkdir(&next, Mode::RWXU),
            Some(FileType::Fifo) => make(&next, Made::Fifo),
            Some(FileType::Socket) => make(&next, Made::Socket),
            Some(FileType::Block) => make(&next, Made::BlockDevice),
            Some(FileType::Character) => make(&next, Made::CharacterDevice),
            Some(FileType::Link) => symlink("nothing", &next),
            _ => make(&next, Made::RegularFile),
        };
        new = made.is_ok();
        if new || rustix::fs::lstat(&next).is_ok() {
            whole = next;
        }
    }
    let file =
        open(&whole, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let file = opened(file);
    // Not what another call has open.
    if new && words.is_some_and(|words| words.below(12) == 0) && unlink(&whole).is_ok() {
        whole.extend(b" (deleted)");
    }
    *path = whole;
    file
}

fn make(path: &[u8], what: Made) -> rustix::io::Result<()> {
    mknodat(rustix::fs::CWD, path, what, Mode::RUSR | Mode::XGRP, 0)
}

fn is_directory(path: &[u8]) -> bool {
    rustix::fs::lstat(path).is_ok_and(|stat| Made::from_raw_mode(stat.st_mode).is_dir())
}

impl Drop for Root {
    fn drop(&mut self) {
        let left = rustix::process::fchdir(&self.outside)
            .and_then(|()| rustix::process::chroot("."))
            .and_then(|()| unmount(&self.place, UnmountFlags::DETACH))
            .map(|()| std::fs::remove_dir(&self.place));
        if let Err(error) = left {
            eprintln!("{}: {error}", self.place.display());
        }
    }
}
