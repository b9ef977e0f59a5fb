//! Arrays in the records of tracepoints: what is an event's argument for each element.
//!
//! In the record: the elements as the kernel has them, as many as fit.

use super::{Capture, Kind};
use crate::Error;
use crate::emit::Emitter;
use crate::emit::load::status;
use crate::emit::scratch::TEXT_MAX;
use crate::flow::choose;
use crate::observed::Observed;
use crate::plan::{Input, Source};
use ebpf::{Cond, Value};

/// An array.
pub(crate) struct Array;

impl Kind for Array {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let size = e.field_size(&capture.input.source);
        let most = |b: &mut ebpf::FunctionBuilder| b.iconst(TEXT_MAX.into());
        let size = choose(&mut e.b, Cond::Ugt, size, TEXT_MAX, most, |_| size);
        let failed =
            e.b.call(crate::helper::PROBE_READ_KERNEL, &[capture.to, size, capture.loaded.value]);
        e.fault_if(Cond::Ne, failed, 0, capture.fault, status::ADDRESS);
        Ok(size)
    }

    fn decode(&self, bytes: &[u8], input: &Input) -> Option<Observed> {
        let Source::Field { element, signed, .. } = input.source else { return None };
        let number = |bytes: &[u8]| {
            let mut word = [0; 8];
            word.get_mut(..bytes.len())?.copy_from_slice(bytes);
            if cfg!(target_endian = "big") {
                word.rotate_right(8 - bytes.len());
            }
            let word = u64::from_ne_bytes(word);
            Some(match (bytes.len(), signed) {
                (8, true) => Observed::Long(word as i64),
                (8, false) => Observed::Size(word),
                (4, true) => Observed::Int(word as i32),
                (2, true) => Observed::Int((word as i16).into()),
                (1, true) => Observed::Int((word as i8).into()),
                _ => Observed::Uint(word as u32),
            })
        };
        let elements = bytes.chunks_exact((element as usize).max(1));
        elements.map(number).collect::<Option<_>>().map(Observed::Values)
    }
}
