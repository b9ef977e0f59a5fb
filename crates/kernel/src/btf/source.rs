//! Where BTF comes from.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Btf, BtfError};

/// Where the running kernel shows its BTF (Linux 5.4, CONFIG_DEBUG_INFO_BTF).
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
/// Where the BTF of loaded modules is, one file each (Linux 5.11, CONFIG_DEBUG_INFO_BTF_MODULES).
pub const MODULE_BTF_DIR: &str = "/sys/kernel/btf";

impl Btf {
    /// Reads BTF from a file in the kernel's raw format.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, BtfError> {
        let path = path.as_ref();
        let bytes = read(path)?;
        Self::from_bytes(bytes).map_err(|error| in_file(path, error))
    }

    /// Reads the running kernel's BTF: from the first of `files` that exists, else from the kernel
    /// itself. A file that exists and cannot be used is an error, not a reason to try the next.
    pub fn vmlinux<P: AsRef<Path>>(files: &[P]) -> Result<Self, BtfError> {
        let mut tried: Vec<PathBuf> = Vec::new();
        for path in files.iter().map(AsRef::as_ref).chain([Path::new(KERNEL_BTF)]) {
            match Self::from_file(path) {
                Err(BtfError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
                    tried.push(path.into());
                }
                result => return result,
            }
        }
        Err(BtfError::NoKernelBtf { tried })
    }

    /// Reads the BTF of a loaded module, by its name as in `/proc/modules`.
    pub fn module(base: Arc<Btf>, module: &str) -> Result<Self, BtfError> {
        let path = Path::new(MODULE_BTF_DIR).join(module);
        let bytes = read(&path)?;
        Self::split(base, bytes).map_err(|error| in_file(&path, error))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BtfError> {
    std::fs::read(path).map_err(|source| BtfError::Read { path: path.into(), source })
}

fn in_file(path: &Path, error: BtfError) -> BtfError {
    BtfError::File { path: path.into(), source: Box::new(error) }
}
