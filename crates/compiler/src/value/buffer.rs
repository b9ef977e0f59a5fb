//! Buffers: bytes with a length that the call says.
//!
//! In the record: the buffer's length (u64), then as much of it as fits, which is what filters see.

use super::memory::Memory;
use super::{Capture, Kind, bytes};
use crate::Error;
use crate::emit::Emitter;
use crate::emit::load::status;
use crate::emit::scratch::TEXT_MAX;
use crate::flow::choose;
use crate::observed::Observed;
use crate::plan::Input;
use ebpf::{Block, Cond, Size, Value};

/// Bytes before the buffer's.
pub(super) const HEAD: i32 = 8;
/// Above every length that a call returns: `MAX_RW_COUNT` in linux/fs.h. A negative `int` that stands
/// in a 64-bit register with zeros above is no length either.
const RETURNED_MAX: i32 = i32::MAX;

/// A buffer.
pub(crate) struct Buffer;

impl Kind for Buffer {
    fn head(&self) -> i32 {
        HEAD
    }

    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let Capture { input, loaded, to, fault } = *capture;
        let length = e.buffer_length(input)?;
        let memory = Memory::of(e, input);
        Ok(e.copy_bytes(memory, to, length, loaded.value, fault))
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        decode(bytes)
    }
}

/// Reads back a length and as much as there is of what is so long.
pub(super) fn decode(bytes: &[u8]) -> Option<Observed> {
    let original = bytes::u64(bytes, 0)?;
    let bytes = bytes.get(HEAD as usize..)?;
    Some(Observed::Bytes {
        bytes: bytes.to_vec(),
        original: (original > bytes.len() as u64).then_some(original),
    })
}

/// How many bytes the call returned.
pub(super) fn returned_length(e: &mut Emitter<'_>) -> Result<Value, Error> {
    let returned = e.returned()?;
    let zero = |b: &mut ebpf::FunctionBuilder| b.iconst(0);
    Ok(choose(&mut e.b, Cond::Ugt, returned, RETURNED_MAX, zero, |_| returned))
}

impl Emitter<'_> {
    /// Writes a length and as much as fits of what is so long; gives how many bytes that are. Goes to
    /// `fault`, which takes a status, where it cannot be read.
    pub(super) fn copy_bytes(
        &mut self,
        memory: Memory,
        to: Value,
        length: Value,
        from: Value,
        fault: Block,
    ) -> Value {
        self.b.store(Size::U64, to, 0, length);
        let most = |b: &mut ebpf::FunctionBuilder| b.iconst(TEXT_MAX.into());
        let captured = choose(&mut self.b, Cond::Ugt, length, TEXT_MAX, most, |_| length);
        let bytes = self.b.add(to, HEAD);
        let failed = self.read_memory(memory, bytes, captured, from);
        self.fault_if(Cond::Ne, failed, 0, fault, status::ADDRESS);
        self.b.add(captured, HEAD)
    }

    /// How long a buffer is.
    fn buffer_length(&mut self, input: &Input) -> Result<Value, Error> {
        if self.returned_buffer.is_some() {
            return returned_length(self);
        }
        if let Some(length) = &input.length {
            return self.length_of(length);
        }
        // An array that is read whole.
        Ok(match input.hops.last() {
            Some(hop) => self.b.iconst(hop.size.into()),
            None => self.field_size(&input.source),
        })
    }
}
