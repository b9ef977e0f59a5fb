//! Paths of executables as [`image`](crate::follow::image) keeps them, against the values of filters.

use crate::Error;
use crate::base::state;
use crate::emit::Emitter;
use crate::follow::image::{self, SHORT, Side};
use crate::walk::PATH_MAX;
use ebpf::{Block, Cond, FunctionBuilder, MapRef, Operand, Size, Value};
use policy::checked::PathComparison;
use std::collections::BTreeMap;

/// A path in memory.
#[derive(Clone, Copy)]
pub(crate) struct Path {
    /// Address of its first byte.
    start: Value,
    /// Its length, at least 1.
    length: Value,
}

/// Where a lookup of a path goes on when there is none to go on with.
#[derive(Clone, Copy)]
pub(crate) struct Misses {
    /// It is not known.
    pub(crate) unknown: Block,
    /// It is too long for a path.
    pub(crate) too_long: Block,
}

/// The path on one side of the record of the process that `leader` leads.
pub(crate) fn find(
    b: &mut FunctionBuilder,
    images: MapRef,
    long: MapRef,
    leader: Value,
    side: Side,
    misses: Misses,
) -> Path {
    let record = state::lookup(b, images, leader, false);
    let [known, some, fits, short, far, there, have] = [(); 7].map(|()| b.create_block());
    let start = b.append_param(have);
    b.brif(Cond::Eq, record, 0, misses.unknown, known);
    b.switch_to(known);
    let length = b.load(Size::U32, record, side.length);
    b.brif(Cond::Eq, length, 0, misses.unknown, some);
    b.switch_to(some);
    b.brif(Cond::Ugt, length, PATH_MAX, misses.too_long, fits);
    b.switch_to(fits);
    b.brif(Cond::Ugt, length, SHORT, far, short);
    b.switch_to(short);
    let here = b.add(record, i32::from(side.path));
    b.jump(have, &[here]);
    b.switch_to(far);
    let storage = state::lookup(b, long, leader, false);
    b.brif(Cond::Eq, storage, 0, misses.unknown, there);
    b.switch_to(there);
    let elsewhere = b.add(storage, side.long);
    b.jump(have, &[elsewhere]);
    b.switch_to(have);
    Path { start, length }
}

/// Goes to `yes` when the path compares with one of the values, else goes on here.
///
/// Where the verifier knows that a path is short it must not see comparisons with longer values: every
/// one of them is behind a test of the length that it can decide from the bounds of the length.
pub(crate) fn compare(
    b: &mut FunctionBuilder,
    path: Path,
    comparison: PathComparison,
    values: &[Vec<u8>],
    yes: Block,
) {
    match comparison {
        PathComparison::Exact => {
            let mut by_length: BTreeMap<usize, Vec<&[u8]>> = BTreeMap::new();
            for value in values {
                by_length.entry(value.len()).or_default().push(value);
            }
            let (short, long): (Vec<_>, Vec<_>) =
                by_length.into_iter().partition(|(length, _)| *length <= SHORT as usize);
            let no = b.create_block();
            let (in_short, in_long) = (b.create_block(), b.create_block());
            b.brif(Cond::Ugt, path.length, SHORT, in_long, in_short);
            b.switch_to(in_short);
            exact(b, path, &short, yes, no);
            b.switch_to(in_long);
            exact(b, path, &long, yes, no);
            b.switch_to(no);
        }
        PathComparison::Prefix => {
            for value in values {
                let (next, enough) = (b.create_block(), b.create_block());
                b.brif(Cond::Uge, path.length, value.len() as i32, enough, next);
                b.switch_to(enough);
                same(b, path.start, value, next);
                b.jump(yes, &[]);
                b.switch_to(next);
            }
        }
        PathComparison::Postfix => {
            for value in values {
                let (next, enough) = (b.create_block(), b.create_block());
                b.brif(Cond::Uge, path.length, value.len() as i32, enough, next);
                b.switch_to(enough);
                let before = b.sub(path.length, value.len() as i32);
                let start = b.add(path.start, before);
                same(b, start, value, next);
                b.jump(yes, &[]);
                b.switch_to(next);
            }
        }
    }
}

/// Ends the current block: the path is one of the values, which are sorted by length, or not.
fn exact(
    b: &mut FunctionBuilder,
    path: Path,
    values: &[(usize, Vec<&[u8]>)],
    yes: Block,
    no: Block,
) {
    match values {
        [] => b.jump(no, &[]),
        [(length, values)] => {
            let candidate = b.create_block();
            b.brif(Cond::Eq, path.length, *length as i32, candidate, no);
            b.switch_to(candidate);
            for value in values {
                let next = b.create_block();
                same(b, path.start, value, next);
                b.jump(yes, &[]);
                b.switch_to(next);
            }
            b.jump(no, &[]);
        }
        values => {
            let (low, high) = values.split_at(values.len() / 2);
            let (below, above) = (b.create_block(), b.create_block());
            b.brif(Cond::Ult, path.length, high[0].0 as i32, below, above);
            b.switch_to(below);
            exact(b, path, low, yes, no);
            b.switch_to(above);
            exact(b, path, high, yes, no);
        }
    }
}

/// Goes on when the bytes at `start` are these, else at `otherwise`: eight at a time.
pub(crate) fn same(b: &mut FunctionBuilder, start: Value, value: &[u8], otherwise: Block) {
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
        let found = b.load(size, start, at as i16);
        let expected = match i32::try_from(expected.cast_signed()) {
            Ok(small) => Operand::Imm(small),
            Err(_) => Operand::Value(b.iconst(expected.cast_signed())),
        };
        let on = b.create_block();
        b.brif(Cond::Eq, found, expected, on, otherwise);
        b.switch_to(on);
        at += bytes;
    }
}

impl Emitter<'_> {
    /// The thread that leads the current process, as a pointer whose type the verifier knows.
    pub(super) fn leader(&mut self, otherwise: Block) -> Result<Value, Error> {
        let task = self.current();
        let offset = self.read.offset("task_struct", "group_leader")?;
        let leader = self.b.load(Size::U64, task, offset as i16);
        self.require(Cond::Ne, leader, 0, otherwise);
        Ok(leader)
    }

    /// One of the current process's two paths.
    pub(super) fn image(&mut self, side: Side, misses: Misses) -> Result<Path, Error> {
        let images = self.kept(image::IMAGES);
        let long = self.kept(image::LONG);
        let leader = self.leader(misses.unknown)?;
        Ok(find(&mut self.b, images, long, leader, side, misses))
    }
}
