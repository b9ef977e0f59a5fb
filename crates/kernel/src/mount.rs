//! Where the kernel's own file systems are mounted, and mounting them.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::errno::Errno;
use crate::error::Error;

/// File systems of the kernel's that are asked for here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileSystem {
    /// Pinned BPF objects.
    Bpf,
    /// Tracepoints' formats and numbers.
    Trace,
    /// Cgroup v2.
    Cgroup2,
}

impl FileSystem {
    /// Its name for mount(2).
    pub fn name(self) -> &'static str {
        match self {
            Self::Bpf => "bpf",
            Self::Trace => "tracefs",
            Self::Cgroup2 => "cgroup2",
        }
    }

    /// Where it usually is.
    pub fn usual_place(self) -> &'static Path {
        Path::new(match self {
            Self::Bpf => "/sys/fs/bpf",
            Self::Trace => "/sys/kernel/tracing",
            Self::Cgroup2 => "/sys/fs/cgroup",
        })
    }

    /// Whether the directory `path` is in such a file system (by statfs(2)'s `f_type`). False if there
    /// is no such file.
    pub fn holds(self, path: &Path) -> Result<bool, Error> {
        let magic = match self {
            Self::Bpf => libc::BPF_FS_MAGIC,
            Self::Trace => libc::TRACEFS_MAGIC,
            Self::Cgroup2 => libc::CGROUP2_SUPER_MAGIC,
        };
        let name = c_path(path)?;
        let mut found = std::mem::MaybeUninit::<libc::statfs>::zeroed();
        // SAFETY: the path ends with NUL, and there is room for one statfs.
        let result = unsafe { libc::statfs(name.as_ptr(), found.as_mut_ptr()) };
        if result != 0 {
            return match Errno::last() {
                Errno::ENOENT => Ok(false),
                errno => Err(file_error("look at", path, errno)),
            };
        }
        // SAFETY: zeroed, and written by the kernel: integers whatever they are.
        let found = unsafe { found.assume_init() };
        Ok(found.f_type == magic)
    }

    /// Where it is mounted in this process's mount namespace: its usual place first, then the first
    /// that /proc/self/mounts lists.
    pub fn find(self) -> Result<Option<PathBuf>, Error> {
        if self.holds(self.usual_place())? {
            return Ok(Some(self.usual_place().to_owned()));
        }
        let path = Path::new("/proc/self/mounts");
        let table = std::fs::read(path).map_err(|source| Error::File {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        Ok(mount_points(&table, self.name()).next())
    }

    /// Mounts it at a directory, which is made if need be (needs CAP_SYS_ADMIN in the mount
    /// namespace's user namespace).
    pub fn mount(self, at: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(at).map_err(|source| Error::File {
            action: "create",
            path: at.to_owned(),
            source,
        })?;
        let target = c_path(at)?;
        let name = CString::new(self.name())
            .map_err(|source| Error::Nul { what: "the file system's name", source })?;
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        let (name, no_data) = (name.as_ptr(), std::ptr::null());
        // SAFETY: the strings end with NUL; no options are passed.
        let result = unsafe { libc::mount(name, target.as_ptr(), name, flags, no_data) };
        if result == 0 { Ok(()) } else { Err(file_error("mount", at, Errno::last())) }
    }
}

/// Unmounts what is mounted at `at`, as soon as nobody uses it.
pub fn unmount(at: &Path) -> Result<(), Error> {
    let target = c_path(at)?;
    // SAFETY: the path ends with NUL.
    let result = unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
    if result == 0 { Ok(()) } else { Err(file_error("unmount", at, Errno::last())) }
}

fn file_error(action: &'static str, path: &Path, errno: Errno) -> Error {
    Error::File { action, path: path.to_owned(), source: errno.into() }
}

/// A path as the kernel takes it.
pub(crate) fn c_path(path: &Path) -> Result<CString, Error> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|source| Error::Nul { what: "the file's name", source })
}

/// Where file systems of a type are mounted, from the lines of a mount table: device, place, type.
fn mount_points(table: &[u8], name: &str) -> impl Iterator<Item = PathBuf> {
    table.split(|&byte| byte == b'\n').filter_map(move |line| {
        let mut fields = line.split(|&byte| byte == b' ').skip(1);
        let (place, kind) = (fields.next()?, fields.next()?);
        (kind == name.as_bytes()).then(|| PathBuf::from(unescape(place)))
    })
}

/// Undoes mangle_path(): blanks, tabs, newlines, `#` and backslashes stand as `\` and three octal
/// digits.
fn unescape(text: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.first_chunk::<3>().filter(|_| first == b'\\');
        let octal = digits.and_then(|digits| {
            let text = str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        });
        out.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &behind[3..] } else { behind };
    }
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_mount_points() {
        let table =
            b"proc /proc proc rw 0 0\nnone /a\\040b\\134 bpf rw 0 0\nbpf /c bpf rw 0 0\nx\n";
        let found: Vec<_> = mount_points(table, "bpf").collect();
        assert_eq!(found, [PathBuf::from("/a b\\"), PathBuf::from("/c")]);
    }

    #[test]
    fn a_path_that_does_not_exist_is_in_no_file_system() {
        assert!(!FileSystem::Bpf.holds(Path::new("/does/not/exist")).unwrap());
        assert!(!FileSystem::Bpf.holds(Path::new("/proc")).unwrap());
    }
}
