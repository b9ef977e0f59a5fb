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
use crate::plan::{Input, Source};
use ebpf::{Cond, Size, Value};

/// Bytes before the buffer's.
const HEAD: i32 = 8;
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
        e.b.store(Size::U64, to, 0, length);
        let captured = choose(
            &mut e.b,
            Cond::Ugt,
            length,
            TEXT_MAX,
            |b| b.iconst(TEXT_MAX.into()),
            |_| length,
        );
        let memory = Memory::of(e, input);
        let bytes = e.b.add(to, HEAD);
        let failed = e.read_memory(memory, bytes, captured, loaded.value);
        e.fault_if(Cond::Ne, failed, 0, fault, status::ADDRESS);
        Ok(e.b.add(captured, HEAD))
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        let original = bytes::u64(bytes, 0)?;
        let bytes = bytes.get(HEAD as usize..)?;
        Some(Observed::Bytes {
            bytes: bytes.to_vec(),
            original: (original > bytes.len() as u64).then_some(original),
        })
    }
}

impl Emitter<'_> {
    /// How long a buffer is.
    fn buffer_length(&mut self, input: &Input) -> Result<Value, Error> {
        if self.returned_buffer.is_some() {
            let returned = self.returned()?;
            let zero = |b: &mut ebpf::FunctionBuilder| b.iconst(0);
            return Ok(choose(&mut self.b, Cond::Ugt, returned, RETURNED_MAX, zero, |_| returned));
        }
        if let Some(length) = &input.length {
            return self.length_of(length);
        }
        // An array that is read whole.
        let size = match (input.hops.last(), &input.source) {
            (Some(hop), _) => hop.size,
            (None, Source::Field { size, .. }) => *size,
            (None, _) => 0,
        };
        Ok(self.b.iconst(size.into()))
    }
}
