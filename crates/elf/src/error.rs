//! Why a file cannot be probed.

use std::io;
use std::path::PathBuf;

/// Why a file cannot be probed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened or read.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is a directory, a device, or the like.
    #[error("{path} is no regular file", path = .0.display())]
    NotRegular(PathBuf),
    /// It is not ELF.
    #[error(
        "{path} is no ELF file: name the executable or library itself, not a script that starts it",
        path = .0.display()
    )]
    NotElf(PathBuf),
    /// It is ELF, but broken.
    #[error("{path} is a broken ELF file: {why}", path = .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}
