//! The features of a kernel, in a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Probe;

/// What is known of a kernel's features. As JSON it can be carried to a machine that compiles for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The kernel's release, as `uname -r` has it. For people: nothing is derived from it.
    pub release: String,
    /// Its architecture, as Rust names it: `x86_64`, `aarch64`.
    pub architecture: String,
    /// Answers, by question: a feature's name, `load KIND`, `helper NUMBER in KIND`, `kfunc NAME in
    /// KIND`.
    pub answers: BTreeMap<String, Probe>,
}

/// Why a target could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The file could not be read or written.
    #[error("cannot {action} the kernel features in {path}: {source}")]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file does not hold a target.
    #[error("{path} does not hold kernel features: {source}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
}

impl Target {
    /// Reads a file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, TargetError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| TargetError::File {
            action: "read",
            path: path.into(),
            source,
        })?;
        serde_json::from_slice(&bytes)
            .map_err(|source| TargetError::Content { path: path.into(), source })
    }

    /// Writes a file, replacing one that is there.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), TargetError> {
        let path = path.as_ref();
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|source| TargetError::Content { path: path.into(), source })?;
        text.push(b'\n');
        std::fs::write(path, text).map_err(|source| TargetError::File {
            action: "write",
            path: path.into(),
            source,
        })
    }
}
