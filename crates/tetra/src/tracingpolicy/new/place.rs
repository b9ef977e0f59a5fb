//! Paths as policies name them.
//!
//! What the kernel's hooks get of a file is its name in the file system (a `dentry`) or also where that is
//! mounted (a `path`, a `file`). The former has no mount points in it: of /srv/data on a file system mounted
//! on /srv it is /data.

use std::path::{Component, Path, PathBuf};

use crate::error::Error;

/// A file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its path on the machine.
    pub(super) path: String,
    /// Its path in its file system.
    pub(super) inner: String,
    /// Whether it is a directory, and what is below it is meant.
    pub(super) directory: bool,
}

impl Place {
    /// What a path means on this machine. Symbolic links are followed, as the kernel does.
    pub(super) fn of(path: &Path, directory: bool) -> Result<Self, Error> {
        let path = absolute(path)?;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let inner = inner(&path, &mounts);
        let directory = directory || Path::new(&path).is_dir();
        Ok(Self { path, inner, directory })
    }

    /// The value that matches it: with a slash at the end for what is below it.
    pub(super) fn value(&self) -> String {
        self.below(&self.path)
    }

    /// The same for its path in its file system.
    pub(super) fn inner_value(&self) -> String {
        self.below(&self.inner)
    }

    fn below(&self, path: &str) -> String {
        match self.directory {
            true if path.ends_with('/') => path.to_owned(),
            true => format!("{path}/"),
            false => path.to_owned(),
        }
    }
}

/// The absolute path without `..` and symbolic links; what does not exist yet is taken as it stands.
pub(super) fn absolute(path: &Path) -> Result<String, Error> {
    let wrong = |why: &str| Error::Usage(format!("{}: {why}", path.display()));
    let path = match std::fs::canonicalize(path) {
        Ok(real) => real,
        Err(_) if path.is_absolute() => {
            let mut plain = PathBuf::new();
            for part in path.components() {
                match part {
                    Component::ParentDir => return Err(wrong("no such file or directory")),
                    other => plain.push(other),
                }
            }
            plain
        }
        Err(cause) => return Err(wrong(&format!("{cause}; give an absolute path"))),
    };
    path.to_str()
        .map(ToOwned::to_owned)
        .ok_or_else(|| wrong("policies are UTF-8: this name is not"))
}

/// The path in the file system that it is on, by `/proc/self/mountinfo`.
fn inner(path: &str, mounts: &str) -> String {
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let rest = match point {
            "/" => path,
            point => {
                path.strip_prefix(point).filter(|rest| rest.is_empty() || rest.starts_with('/'))?
            }
        };
        Some((point.len(), root, rest))
    });
    // Of several mounts on one point the last is on top.
    let Some((_, root, rest)) = mounted.max_by_key(|(length, ..)| *length) else {
        return path.to_owned();
    };
    match (root, rest) {
        ("/", "") => "/".to_owned(),
        ("/", rest) => rest.to_owned(),
        (root, rest) => format!("{root}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_file_systems_have_no_mount_points() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      30 22 8:2 / /srv rw - ext4 /dev/sdb1 rw\n\
                      31 22 8:1 /var/pool /pool rw - ext4 /dev/sda1 rw\n";
        assert_eq!(inner("/etc/passwd", mounts), "/etc/passwd");
        assert_eq!(inner("/srv/data", mounts), "/data");
        assert_eq!(inner("/srv", mounts), "/");
        assert_eq!(inner("/srvs", mounts), "/srvs");
        assert_eq!(inner("/pool/one", mounts), "/var/pool/one");
        assert_eq!(inner("/etc", ""), "/etc");
    }

    #[test]
    fn directories_stand_for_what_is_below_them() {
        let place = Place { path: "/srv".into(), inner: "/".into(), directory: true };
        assert_eq!((place.value().as_str(), place.inner_value().as_str()), ("/srv/", "/"));
        let place = Place { directory: false, ..place };
        assert_eq!(place.value(), "/srv");
    }
}
