//! Tests of texts that were read into the record.
//!
//! Values are compared eight bytes at a time. Those of one length are found by halving on one word
//! after the other, so a long list costs a text a few comparisons more, not one per value; very long
//! ones are tables.
//!
//! Places in a text are bounded by a mask and not by a comparison with its length, so that the
//! verifier need not tell texts of different lengths apart behind a test.

use super::{automaton, search};
use crate::Error;
use crate::emit::record::{Bytes, Position};
use crate::emit::scratch::{PLACE_MASK, TEXT_MAX};
use crate::emit::table::{TableKind, TableSpec};
use crate::emit::{Emitter, Targets};
use crate::helper;
use crate::plan::Input;
use ebpf::{Block, Cond, Operand, Size, Value};
use policy::checked::Comparison;
use std::collections::BTreeMap;

/// Up to so many alternatives are tried one after the other.
const LINEAR: usize = 3;

/// From so many values of one length on, they are looked up in a table.
const TABLE_LEAST: usize = 64;
/// Longer values are compared word by word however many there are: few fit into a policy.
const TABLE_KEY_MAX: usize = 512;
/// Tables that a program gets for texts, at most: the kernel takes 64 maps (`MAX_USED_MAPS`). Beyond
/// that, values are compared.
const TABLES_MAX: usize = 32;

/// Tests the text at a position.
pub(crate) fn test(
    e: &mut Emitter<'_>,
    position: Position,
    input: &Input,
    comparison: &Comparison,
    to: Targets,
) -> Result<(), Error> {
    let text = e.text(position, input, to.unknown)?;
    compare(e, text, comparison, to)
}

/// Whether a comparison is of bytes.
pub(crate) fn is_of_bytes(comparison: &Comparison) -> bool {
    matches!(
        comparison,
        Comparison::Equal(_)
            | Comparison::Prefix(_)
            | Comparison::Postfix(_)
            | Comparison::Contains(_)
            | Comparison::ContainsIgnoringCase(_)
            | Comparison::Matches(_)
    )
}

/// Tests a text in memory.
pub(crate) fn compare(
    e: &mut Emitter<'_>,
    text: Bytes,
    comparison: &Comparison,
    to: Targets,
) -> Result<(), Error> {
    match comparison {
        Comparison::Equal(values) => {
            let groups: Vec<_> = by_length(values).into_iter().collect();
            equal(e, text, &groups, to);
        }
        Comparison::Prefix(values) => {
            for (length, values) in by_length(&beginnings(values)) {
                let next = e.b.create_block();
                // The others are longer still.
                e.require(Cond::Uge, text.length, length as i32, to.no);
                one_of(e, text.start, &values, to.yes, next);
                e.b.switch_to(next);
            }
            e.b.jump(to.no, &[]);
        }
        Comparison::Postfix(values) => {
            for (length, values) in by_length(&endings(values)) {
                let next = e.b.create_block();
                e.require(Cond::Uge, text.length, length as i32, to.no);
                let from = e.b.sub(text.length, length as i32);
                let from = e.b.and(from, PLACE_MASK);
                let start = e.b.add(text.start, from);
                one_of(e, start, &values, to.yes, next);
                e.b.switch_to(next);
            }
            e.b.jump(to.no, &[]);
        }
        Comparison::Contains(values) => search::contains(e, text, values, false, to)?,
        Comparison::ContainsIgnoringCase(values) => search::contains(e, text, values, true, to)?,
        Comparison::Matches(automaton) => automaton::matches(e, text, automaton, to)?,
        _ => return Err(Error::Unsupported(format!("{comparison:?} of a text"))),
    }
    Ok(())
}

/// Values by their lengths, each once; those that no text is long enough for are left out.
pub(crate) fn by_length(values: &[Vec<u8>]) -> BTreeMap<usize, Vec<&[u8]>> {
    let mut groups: BTreeMap<usize, Vec<&[u8]>> = BTreeMap::new();
    for value in values.iter().filter(|value| value.len() <= TEXT_MAX as usize) {
        groups.entry(value.len()).or_default().push(value);
    }
    for group in groups.values_mut() {
        group.sort_unstable();
        group.dedup();
    }
    groups
}

/// Values without those that begin with another one.
fn beginnings(values: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut sorted: Vec<&Vec<u8>> = values.iter().collect();
    sorted.sort_unstable();
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for value in sorted {
        // What begins with a value follows it, with nothing between them that does not.
        if !kept.last().is_some_and(|shorter| value.starts_with(shorter)) {
            kept.push(value.clone());
        }
    }
    kept
}

/// Values without those that end with another one.
fn endings(values: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let reversed = |values: &[Vec<u8>]| -> Vec<Vec<u8>> {
        values.iter().map(|value| value.iter().rev().copied().collect()).collect()
    };
    reversed(&beginnings(&reversed(values)))
}

/// Goes to `yes` when the text is one of the values, which are grouped by length.
fn equal(e: &mut Emitter<'_>, text: Bytes, groups: &[(usize, Vec<&[u8]>)], to: Targets) {
    if groups.len() > LINEAR {
        let (low, high) = groups.split_at(groups.len() / 2);
        let (below, above) = (e.b.create_block(), e.b.create_block());
        e.b.brif(Cond::Ult, text.length, high[0].0 as i32, below, above);
        e.b.switch_to(below);
        equal(e, text, low, to);
        e.b.switch_to(above);
        return equal(e, text, high, to);
    }
    for (length, values) in groups {
        let next = e.b.create_block();
        e.require(Cond::Eq, text.length, *length as i32, next);
        one_of(e, text.start, values, to.yes, to.no);
        e.b.switch_to(next);
    }
    e.b.jump(to.no, &[]);
}

/// Goes to `yes` when the bytes from `start` on, which are in a text, are one of these values of one
/// length, else to `no`. Ends the block.
fn one_of(e: &mut Emitter<'_>, start: Value, values: &[&[u8]], yes: Block, no: Block) {
    let length = values.first().map_or(0, |value| value.len());
    if values.len() < TABLE_LEAST || length > TABLE_KEY_MAX || e.table_count() >= TABLES_MAX {
        return words(e, start, values, 0, yes, no);
    }
    let table = e.table(TableSpec {
        kind: TableKind::Hash,
        key_size: length as u32,
        value_size: 1,
        entries: values.iter().map(|value| (value.to_vec(), vec![1])).collect(),
    });
    let map = e.b.map(table);
    // The text itself is the key: behind any place in it there is room for the longest value.
    let found = e.b.call(helper::MAP_LOOKUP_ELEM, &[map, start]);
    e.b.brif(Cond::Ne, found, 0, yes, no);
}

/// Where bytes are compared.
pub(crate) trait Source {
    /// The bytes at an offset, in host byte order.
    fn load(&self, e: &mut Emitter<'_>, size: Size, at: usize) -> Value;
}

impl Source for Value {
    fn load(&self, e: &mut Emitter<'_>, size: Size, at: usize) -> Value {
        e.b.load(size, *self, at as i16)
    }
}

impl Source for ebpf::Slot {
    fn load(&self, e: &mut Emitter<'_>, size: Size, at: usize) -> Value {
        e.b.slot_load(size, *self, at as i16)
    }
}

/// Goes to `yes` when the bytes are one of these values of one length, which agree up to `at`, else to
/// `no`. Ends the block.
pub(crate) fn words(
    e: &mut Emitter<'_>,
    source: impl Source + Copy,
    values: &[&[u8]],
    at: usize,
    yes: Block,
    no: Block,
) {
    let Some((size, _)) = values.first().and_then(|value| word(value, at)) else {
        return e.b.jump(if values.is_empty() { no } else { yes }, &[]);
    };
    let found = source.load(e, size, at);
    let mut branches: BTreeMap<u64, Vec<&[u8]>> = BTreeMap::new();
    for value in values {
        if let Some((_, word)) = word(value, at) {
            branches.entry(word).or_default().push(value);
        }
    }
    let branches: Vec<_> = branches.into_iter().collect();
    halve(e, found, &branches, no, &mut |e, values| {
        words(e, source, values, at + size.bytes() as usize, yes, no);
    });
}

/// Finds a number among sorted ones and goes on with what belongs to it; else goes to `no`.
pub(crate) fn halve<T>(
    e: &mut Emitter<'_>,
    found: Value,
    branches: &[(u64, T)],
    no: Block,
    body: &mut impl FnMut(&mut Emitter<'_>, &T),
) {
    if branches.len() > LINEAR {
        let (low, high) = branches.split_at(branches.len() / 2);
        let bound = constant(e, high[0].0);
        let (below, above) = (e.b.create_block(), e.b.create_block());
        e.b.brif(Cond::Ult, found, bound, below, above);
        e.b.switch_to(below);
        halve(e, found, low, no, body);
        e.b.switch_to(above);
        return halve(e, found, high, no, body);
    }
    for (number, what) in branches {
        let (same, next) = (e.b.create_block(), e.b.create_block());
        let number = constant(e, *number);
        e.b.brif(Cond::Eq, found, number, same, next);
        e.b.switch_to(same);
        body(e, what);
        e.b.switch_to(next);
    }
    e.b.jump(no, &[]);
}

/// The number that a load of the next bytes of a value gives, and how many they are; `None` at its
/// end.
pub(crate) fn word(value: &[u8], at: usize) -> Option<(Size, u64)> {
    let rest = value.get(at..)?;
    let size = match rest.len() {
        0 => return None,
        8.. => Size::U64,
        4.. => Size::U32,
        2.. => Size::U16,
        _ => Size::U8,
    };
    let mut bytes = [0; 8];
    let used = size.bytes() as usize;
    bytes[..used].copy_from_slice(&rest[..used]);
    let word = if cfg!(target_endian = "little") {
        u64::from_le_bytes(bytes)
    } else {
        u64::from_be_bytes(bytes) >> (64 - 8 * used)
    };
    Some((size, word))
}

/// A word as an operand.
pub(crate) fn constant(e: &mut Emitter<'_>, word: u64) -> Operand {
    super::ranges::constant(e, i128::from(word as i64))
}
