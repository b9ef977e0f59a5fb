//! Paths of executed files and working directories, built in the base programs' scratch memory.

use super::emit::Emitter;
use super::scratch::{PATH, WALK};
use crate::Error;
use crate::read::Base;
use crate::walk::{self, Memory, Path, Walk};
use ebpf::{FuncId, Function, Value};

/// Where in scratch memory.
const MEMORY: Memory = Memory { buffer: PATH, state: WALK };

/// Which path to build.
#[derive(Clone, Copy)]
pub(super) struct PathOf {
    /// Address of the `struct path`.
    pub(super) path: Value,
    /// Address of the `struct path` of the root it is relative to.
    pub(super) root: Value,
}

impl Emitter<'_> {
    /// Walks up from a `struct path`; `step` is the function that [`Self::path_step`] made.
    pub(super) fn path(&mut self, scratch: Value, of: PathOf, step: FuncId) -> Result<Path, Error> {
        let (b, read) = (&mut self.b, &self.read);
        let dentry = read.get(b, Base::Address(of.path), "path", "dentry")?;
        let mount = read.get(b, Base::Address(of.path), "path", "mnt")?;
        let from = walk::From { dentry, mount: Some(mount), root: Some(of.root) };
        Walk { b, read, area: scratch, memory: MEMORY }.up(from, step)
    }

    /// The callback of [`Self::path`].
    pub(super) fn path_step(self) -> Result<Function, Error> {
        walk::step(self.b, &self.read, MEMORY)
    }
}
