//! Integers: eight bytes in the record, extended as their type says.

use super::{Capture, Kind, bytes};
use crate::Error;
use crate::emit::Emitter;
use crate::observed::Observed;
use crate::plan::Input;
use ebpf::{Size, Value};

/// An integer type.
pub(crate) struct Integer {
    size: Size,
    signed: bool,
}

const fn signed(size: Size) -> Integer {
    Integer { size, signed: true }
}

const fn unsigned(size: Size) -> Integer {
    Integer { size, signed: false }
}

pub(crate) static INT8: Integer = signed(Size::U8);
pub(crate) static INT16: Integer = signed(Size::U16);
pub(crate) static INT32: Integer = signed(Size::U32);
pub(crate) static INT64: Integer = signed(Size::U64);
pub(crate) static UINT8: Integer = unsigned(Size::U8);
pub(crate) static UINT16: Integer = unsigned(Size::U16);
pub(crate) static UINT32: Integer = unsigned(Size::U32);
pub(crate) static UINT64: Integer = unsigned(Size::U64);

/// A value cut to a width and extended by its sign or by zeros to 64 bits.
pub(crate) fn extend(e: &mut Emitter<'_>, value: Value, size: Size, signed: bool) -> Value {
    match (size, signed) {
        (Size::U64, _) => value,
        (_, true) => e.b.sext(value, size),
        (_, false) => e.b.zext(value, size),
    }
}

impl Kind for Integer {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let value = extend(e, capture.loaded.value, self.size, self.signed);
        e.b.store(Size::U64, capture.to, 0, value);
        Ok(e.b.iconst(8))
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        let value = bytes::u64(bytes, 0)?;
        Some(match (self.size, self.signed) {
            (Size::U64, true) => Observed::Long(value as i64),
            (Size::U64, false) => Observed::Size(value),
            (_, true) => Observed::Int(value as i32),
            (_, false) => Observed::Uint(value as u32),
        })
    }
}
