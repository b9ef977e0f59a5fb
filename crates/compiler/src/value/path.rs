//! Paths: of files, of descriptors, of paths and dentries, of programs about to be executed.
//!
//! In the record: the mode (u16), how much there is of the path (u16), the path's bytes. A path is
//! relative to the root of the current process; that of a dentry alone, to its filesystem's.

use super::file::Object;
use super::{Capture, Kind, bytes};
use crate::Error;
use crate::emit::{Emitter, scratch};
use crate::observed::{FilePath, Observed};
use crate::plan::Input;
use crate::walk::{self, Walk};
use ebpf::{Size, Value};

/// Byte offsets of a captured path.
pub(crate) mod at {
    /// Mode (u16).
    pub(crate) const MODE: i16 = 0;
    /// [`extent`](crate::walk::extent) (u16).
    pub(crate) const EXTENT: i16 = 2;
    /// The path.
    pub(crate) const PATH: i16 = 4;
}

/// Something that has a path; how it is observed.
pub(crate) struct Path(fn(FilePath) -> Observed);

pub(crate) static FILE: Path = Path(Observed::File);
pub(crate) static PATH: Path = Path(Observed::Path);
pub(crate) static BINPRM: Path = Path(Observed::Binprm);

impl Kind for Path {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let object = e.object(capture.input.kind, capture.loaded, capture.fault)?;
        let mode = e.mode(object.dentry)?;
        e.b.store(Size::U16, capture.to, at::MODE, mode);
        let path = e.walk(object)?;
        e.b.store(Size::U16, capture.to, at::EXTENT, path.extent);
        let to = e.b.add(capture.to, i32::from(at::PATH));
        e.copy(to, path.length, path.start);
        Ok(e.b.add(path.length, i32::from(at::PATH)))
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        let extent = bytes::array(bytes, at::EXTENT as usize)?;
        Some(self.0(FilePath {
            mode: u16::from_ne_bytes(bytes::array(bytes, at::MODE as usize)?),
            complete: i32::from(u16::from_ne_bytes(extent)) == walk::extent::WHOLE,
            path: bytes.get(at::PATH as usize..)?.to_vec(),
        }))
    }
}

impl Emitter<'_> {
    /// Builds the path of an object in the scratch area.
    pub(crate) fn walk(&mut self, object: Object) -> Result<walk::Path, Error> {
        let area = self.scratch();
        let root = match object.mount {
            Some(_) => Some(self.root()?),
            None => None,
        };
        let from = walk::From {
            dentry: object.dentry.value(),
            mount: object.mount.map(crate::read::Base::value),
            root,
        };
        let step = self.functions.path_step;
        Walk { b: &mut self.b, read: &self.read, area, memory: scratch::PATHS }.up(from, step)
    }
}
