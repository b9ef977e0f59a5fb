//! Types of values: how each is captured into a record, and read back from it.
//!
//! A type is one file: its [`Kind`] writes the bytes that the same file decodes. [`of`] is the one
//! place that knows them all.

pub(crate) mod file;
pub(crate) mod integer;
pub(crate) mod path;
pub(crate) mod text;

use crate::Error;
use crate::emit::{Emitter, Loaded};
use crate::observed::Observed;
use crate::plan::Input;
use ebpf::{Block, Value};
use policy::document::TypeName;

/// What there is to capture.
pub(crate) struct Capture<'a> {
    /// The input.
    pub(crate) input: &'a Input,
    /// Its value: a number or pointer.
    pub(crate) loaded: Loaded,
    /// Where its bytes go: [`crate::emit::scratch::TEXT_MAX`] + 8 there are.
    pub(crate) to: Value,
    /// Where to go, with a status, when it cannot be read.
    pub(crate) fault: Block,
}

/// A type of values.
pub(crate) trait Kind: Sync {
    /// Writes the value's bytes; gives how many, at most [`crate::emit::scratch::TEXT_MAX`] + 8, known
    /// to the verifier.
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error>;

    /// Reads them back. `None`: they are not as they should be.
    fn decode(&self, bytes: &[u8], input: &Input) -> Option<Observed>;
}

/// The type of a name; `None` for those that capture nothing.
pub(crate) fn of(name: TypeName) -> Option<&'static dyn Kind> {
    use TypeName as T;
    Some(match name {
        T::Int | T::Int32 | T::Sint32 | T::BpfCmd => &integer::INT32,
        T::Sint16 | T::Int16 => &integer::INT16,
        T::Sint8 | T::Int8 => &integer::INT8,
        T::Uint32 => &integer::UINT32,
        T::Uint16 => &integer::UINT16,
        T::Uint8 => &integer::UINT8,
        T::Int64 | T::Sint64 | T::Long => &integer::INT64,
        T::Uint64 | T::Ulong | T::SizeT => &integer::UINT64,
        T::String => &text::String,
        T::File | T::Fd | T::Kiocb => &path::FILE,
        T::Path | T::Dentry => &path::PATH,
        T::LinuxBinprm => &path::BINPRM,
        _ => return None,
    })
}

/// Bounds-checked reads from a value's bytes.
pub(crate) mod bytes {
    /// `N` bytes at an offset.
    pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
        bytes.get(at..)?.first_chunk().copied()
    }

    /// A u64 in host byte order.
    pub(crate) fn u64(bytes: &[u8], at: usize) -> Option<u64> {
        array(bytes, at).map(u64::from_ne_bytes)
    }
}
