//! Tests of texts that were read into the record.

use crate::Error;
use crate::emit::record::Position;
use crate::emit::{Emitter, Targets};
use crate::plan::Input;
use ebpf::{Block, Cond, Size, Value};
use policy::checked::Comparison;

pub(crate) fn test(
    e: &mut Emitter<'_>,
    position: Position,
    input: &Input,
    comparison: &Comparison,
    to: Targets,
) -> Result<(), Error> {
    let text = e.text(position, input, to.unknown)?;
    match comparison {
        Comparison::Equal(values) => {
            for value in values {
                let next = e.b.create_block();
                e.require(Cond::Eq, text.length, value.len() as i32, next);
                same(e, text.start, value, next);
                e.b.jump(to.yes, &[]);
                e.b.switch_to(next);
            }
        }
        Comparison::Prefix(values) => {
            for value in values {
                let next = e.b.create_block();
                e.require(Cond::Uge, text.length, value.len() as i32, next);
                same(e, text.start, value, next);
                e.b.jump(to.yes, &[]);
                e.b.switch_to(next);
            }
        }
        _ => return Err(Error::Unsupported(format!("{comparison:?}"))),
    }
    e.b.jump(to.no, &[]);
    Ok(())
}

/// Goes on when the bytes at `start` are these, else at `otherwise`: eight at a time.
pub(crate) fn same(e: &mut Emitter<'_>, start: Value, value: &[u8], otherwise: Block) {
    let mut at = 0_usize;
    while at < value.len() {
        let (size, bytes) = match value.len() - at {
            8.. => (Size::U64, 8),
            4.. => (Size::U32, 4),
            2.. => (Size::U16, 2),
            _ => (Size::U8, 1),
        };
        let mut word = [0; 8];
        word[..bytes].copy_from_slice(&value[at..at + bytes]);
        // Host byte order: what a load of these bytes gives.
        let expected = if cfg!(target_endian = "little") {
            u64::from_le_bytes(word)
        } else {
            u64::from_be_bytes(word) >> (64 - 8 * bytes)
        };
        let found = e.b.load(size, start, at as i16);
        let expected = super::integer::constant(e, i128::from(expected as i64));
        e.require(Cond::Eq, found, expected, otherwise);
        at += bytes;
    }
}
