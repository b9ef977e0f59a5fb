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
                same(b, path.start, 0, value, next);
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
                same(b, start, 0, value, next);
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
            let mut values = values.clone();
            values.sort_unstable();
            values.dedup();
            words(b, path.start, 0, &values, yes, no);
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

/// Ends the current block: the bytes from `at` on are those of one of the values, which are all
/// different and of one length, or not. Where there are several, the next word says which half of them
/// can still be meant: as many tests as there are values one after the other would be too many for the
/// verifier (`BPF_COMPLEXITY_LIMIT_JMP_SEQ`).
fn words(
    b: &mut FunctionBuilder,
    start: Value,
    at: usize,
    values: &[&[u8]],
    yes: Block,
    no: Block,
) {
    let Some(word) = values.first().and_then(|value| Word::of(value, at)) else {
        let target = if values.is_empty() { no } else { yes };
        b.jump(target, &[]);
        return;
    };
    if let [value] = values {
        same(b, start, at, value, no);
        b.jump(yes, &[]);
        return;
    }
    let mut groups: BTreeMap<u64, Vec<&[u8]>> = BTreeMap::new();
    for value in values {
        if let Some(word) = Word::of(value, at) {
            groups.entry(word.bits).or_default().push(value);
        }
    }
    let groups: Vec<(u64, Vec<&[u8]>)> = groups.into_iter().collect();
    let found = b.load(word.size, start, at as i16);
    halves(b, start, at + word.count, found, &groups, yes, no);
}

/// Ends the current block: the word that was found belongs to one of the groups, and the rest to one of
/// its values, or not.
fn halves(
    b: &mut FunctionBuilder,
    start: Value,
    next: usize,
    found: Value,
    groups: &[(u64, Vec<&[u8]>)],
    yes: Block,
    no: Block,
) {
    let (here, there) = (b.create_block(), b.create_block());
    if let [(bits, values)] = groups {
        let bits = constant(b, *bits);
        b.brif(Cond::Eq, found, bits, here, there);
        b.switch_to(here);
        words(b, start, next, values, yes, no);
        b.switch_to(there);
        b.jump(no, &[]);
        return;
    }
    let (low, high) = groups.split_at(groups.len() / 2);
    let Some((bound, _)) = high.first() else {
        b.jump(no, &[]);
        return;
    };
    let bound = constant(b, *bound);
    b.brif(Cond::Ult, found, bound, here, there);
    b.switch_to(here);
    halves(b, start, next, found, low, yes, no);
    b.switch_to(there);
    halves(b, start, next, found, high, yes, no);
}

/// Goes on when the bytes at `start` are those of the value, from the one at `at` on; else at
/// `otherwise`.
fn same(b: &mut FunctionBuilder, start: Value, mut at: usize, value: &[u8], otherwise: Block) {
    while let Some(word) = Word::of(value, at) {
        let found = b.load(word.size, start, at as i16);
        let expected = constant(b, word.bits);
        let on = b.create_block();
        b.brif(Cond::Eq, found, expected, on, otherwise);
        b.switch_to(on);
        at += word.count;
    }
}

/// As many bytes as one load reads.
struct Word {
    size: Size,
    /// How many bytes that is.
    count: usize,
    /// What it reads, in the byte order of the machine, zero-extended.
    bits: u64,
}

impl Word {
    /// The word that begins at a place of a text; `None` at its end.
    fn of(value: &[u8], at: usize) -> Option<Self> {
        let rest = value.get(at..).filter(|rest| !rest.is_empty())?;
        let size = match rest.len() {
            8.. => Size::U64,
            4.. => Size::U32,
            2.. => Size::U16,
            _ => Size::U8,
        };
        let mut word = [0; 8];
        let count = size.bytes() as usize;
        if cfg!(target_endian = "little") {
            word[..count].copy_from_slice(&rest[..count]);
        } else {
            word[8 - count..].copy_from_slice(&rest[..count]);
        }
        Some(Self { size, count, bits: u64::from_ne_bytes(word) })
    }
}

/// A constant, as an immediate where that is possible.
fn constant(b: &mut FunctionBuilder, bits: u64) -> Operand {
    match i32::try_from(bits.cast_signed()) {
        Ok(small) => Operand::Imm(small),
        Err(_) => Operand::Value(b.iconst(bits.cast_signed())),
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
