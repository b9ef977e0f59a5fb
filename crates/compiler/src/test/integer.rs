//! Tests of integers, with the type's width and sign.

use crate::Error;
use crate::emit::{Emitter, Targets};
use crate::plan::Input;
use crate::value::integer::extend;
use ebpf::{Block, Cond, Operand, Size, Value};
use policy::checked::{Comparison, ValueKind};
use std::ops::RangeInclusive;

/// Width in bytes and sign of what is an integer to filters.
fn width(kind: ValueKind) -> (Size, bool) {
    match kind {
        ValueKind::Integer(width) => {
            let size = match width.bits {
                8 => Size::U8,
                16 => Size::U16,
                32 => Size::U32,
                _ => Size::U64,
            };
            (size, width.signed)
        }
        _ => (Size::U64, false),
    }
}

pub(crate) fn test(
    e: &mut Emitter<'_>,
    input: &Input,
    kind: ValueKind,
    comparison: &Comparison,
    to: Targets,
) -> Result<(), Error> {
    let fault = e.fault_to(to.unknown);
    let value = e.load(input, fault)?.value;
    let (size, signed) = width(kind);
    let value = extend(e, value, size, signed);
    compare(e, value, signed, comparison, to);
    Ok(())
}

/// Compares a number that is extended to 64 bits as its sign says.
pub(crate) fn compare(
    e: &mut Emitter<'_>,
    value: Value,
    signed: bool,
    comparison: &Comparison,
    to: Targets,
) {
    let (less, greater) = if signed { (Cond::Slt, Cond::Sgt) } else { (Cond::Ult, Cond::Ugt) };
    match comparison {
        Comparison::Integers(ranges) => {
            for range in ranges {
                within(e, value, signed, range, to.yes);
            }
        }
        // Greater than one of them: greater than the least.
        Comparison::Greater(values) => {
            if let Some(least) = values.iter().min() {
                let bound = constant(e, *least);
                e.unless(greater, value, bound, to.yes);
            }
        }
        Comparison::Less(values) => {
            if let Some(most) = values.iter().max() {
                let bound = constant(e, *most);
                e.unless(less, value, bound, to.yes);
            }
        }
        // A bit in common with one of them: with any.
        Comparison::Mask(masks) => {
            let mask = masks.iter().fold(0, |all, mask| all | mask);
            let mask = constant(e, i128::from(mask));
            let common = e.b.and(value, mask);
            e.unless(Cond::Ne, common, 0, to.yes);
        }
        _ => {}
    }
    e.b.jump(to.no, &[]);
}

/// Goes to `yes` when the value lies in the range, else goes on.
fn within(
    e: &mut Emitter<'_>,
    value: Value,
    signed: bool,
    range: &RangeInclusive<i128>,
    yes: Block,
) {
    let (less, greater) = if signed { (Cond::Slt, Cond::Sgt) } else { (Cond::Ult, Cond::Ugt) };
    let (least, most) = (*range.start(), *range.end());
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
