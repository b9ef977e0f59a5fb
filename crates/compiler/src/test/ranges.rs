//! Whether a number lies in one of several ranges.
//!
//! Few ranges are compared one after the other, more are halved, which costs a comparison per doubling
//! and no memory access. Beyond what a program should hold they are prefixes in a table: every range
//! is a union of at most 126 of them.

use super::prefixes::{self, Prefix};
use crate::emit::Emitter;
use ebpf::{Block, Cond, Operand, Value};
use std::ops::RangeInclusive;

/// So many are compared one after the other.
const LINEAR: usize = 4;
/// So many are code.
const CODE_MAX: usize = 2048;

/// Goes to `yes` when the number, extended to 64 bits as its sign says, lies in one of the ranges, else
/// to `no`. Bounds lie within the type.
pub(crate) fn within(
    e: &mut Emitter<'_>,
    value: Value,
    signed: bool,
    ranges: &[RangeInclusive<i128>],
    yes: Block,
    no: Block,
) {
    let merged = merge(ranges);
    if merged.len() > CODE_MAX {
        // Numbers in an order that prefixes keep: the least signed one becomes 0.
        let bias = if signed { 1 << 63 } else { 0 };
        let biased = if signed {
            let bias = e.b.iconst(i64::MIN);
            e.b.xor(value, bias)
        } else {
            value
        };
        let prefixes: Vec<Prefix> = merged
            .iter()
            .flat_map(|(least, most)| split((*least as u64) ^ bias, (*most as u64) ^ bias))
            .map(|(start, bits)| Prefix { bits, bytes: start.to_be_bytes().to_vec() })
            .collect();
        return prefixes::lookup(e, &[biased], &prefixes, yes, no);
    }
    halve(e, value, signed, &merged, yes, no);
}

fn halve(
    e: &mut Emitter<'_>,
    value: Value,
    signed: bool,
    ranges: &[(i128, i128)],
    yes: Block,
    no: Block,
) {
    if ranges.len() <= LINEAR {
        for range in ranges {
            one(e, value, signed, *range, yes);
        }
        return e.b.jump(no, &[]);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let less = if signed { Cond::Slt } else { Cond::Ult };
    let bound = constant(e, high[0].0);
    let (below, above) = (e.b.create_block(), e.b.create_block());
    e.b.brif(less, value, bound, below, above);
    e.b.switch_to(below);
    halve(e, value, signed, low, yes, no);
    e.b.switch_to(above);
    halve(e, value, signed, high, yes, no);
}

/// Goes to `yes` when the value lies in the range, else goes on.
fn one(e: &mut Emitter<'_>, value: Value, signed: bool, (least, most): (i128, i128), yes: Block) {
    let (less, greater) = if signed { (Cond::Slt, Cond::Sgt) } else { (Cond::Ult, Cond::Ugt) };
    if least == most {
        let bound = constant(e, least);
        return e.unless(Cond::Eq, value, bound, yes);
    }
    let (above, next) = (e.b.create_block(), e.b.create_block());
    let bound = constant(e, least);
    e.b.brif(less, value, bound, next, above);
    e.b.switch_to(above);
    let bound = constant(e, most);
    e.b.brif(greater, value, bound, next, yes);
    e.b.switch_to(next);
}

/// A constant as an operand: its low 64 bits, in the instruction when they fit.
pub(crate) fn constant(e: &mut Emitter<'_>, number: i128) -> Operand {
    match i32::try_from(number) {
        Ok(small) => Operand::Imm(small),
        Err(_) => Operand::Value(e.b.iconst(number as i64)),
    }
}

/// In order, without overlaps and without neighbours that touch.
fn merge(ranges: &[RangeInclusive<i128>]) -> Vec<(i128, i128)> {
    let mut sorted: Vec<(i128, i128)> = ranges
        .iter()
        .filter(|range| !range.is_empty())
        .map(|range| (*range.start(), *range.end()))
        .collect();
    sorted.sort_unstable();
    let mut merged: Vec<(i128, i128)> = Vec::new();
    for (least, most) in sorted {
        match merged.last_mut() {
            Some((_, end)) if least <= end.saturating_add(1) => *end = most.max(*end),
            _ => merged.push((least, most)),
        }
    }
    merged
}

/// The prefixes whose union a range is: where each starts, and how many bits count.
fn split(least: u64, most: u64) -> Vec<(u64, u32)> {
    let mut prefixes = Vec::new();
    let (mut at, end) = (u128::from(least), u128::from(most));
    while at <= end {
        // As large as alignment and the rest allow.
        let mut free = if at == 0 { 64 } else { at.trailing_zeros() };
        while at + (1 << free) - 1 > end {
            free -= 1;
        }
        prefixes.push((at as u64, 64 - free));
        at += 1 << free;
    }
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_merged() {
        assert_eq!(
            merge(&[5..=7, -3..=-1, 0..=0, 9..=9, 6..=8, 20..=20, 20..=20]),
            [(-3, 0), (5, 9), (20, 20)]
        );
        let all = i128::from(i64::MIN)..=i128::from(u64::MAX);
        assert_eq!(merge(&[all.clone(), 3..=4]), [(*all.start(), *all.end())]);
        assert_eq!(merge(&[]), []);
    }

    #[test]
    fn prefixes_are_exactly_the_range() {
        let covers = |(start, bits): (u64, u32), value: u64| {
            bits == 0 || (start ^ value) >> (64 - bits) == 0
        };
        for (least, most) in [
            (0, 0),
            (0, u64::MAX),
            (1, u64::MAX),
            (0, u64::MAX - 1),
            (1, u64::MAX - 1),
            (5, 5),
            (5, 13),
            (u64::MAX, u64::MAX),
            (1 << 63, (1 << 63) + 9),
        ] {
            let prefixes = split(least, most);
            assert!(prefixes.len() <= 126);
            let inside = [least, most, least / 2 + most / 2];
            for value in inside.into_iter().filter(|value| (least..=most).contains(value)) {
                let hits = prefixes.iter().filter(|prefix| covers(**prefix, value)).count();
                assert_eq!(hits, 1, "{value} in {least}..={most}");
            }
            for value in [least.wrapping_sub(1), most.wrapping_add(1)] {
                if !(least..=most).contains(&value) {
                    assert!(!prefixes.iter().any(|prefix| covers(*prefix, value)));
                }
            }
        }
        assert_eq!(split(0, u64::MAX), [(0, 0)]);
        assert_eq!(split(5, 13), [(5, 64), (6, 63), (8, 62), (12, 63)]);
    }
}
