//! Tests of integers, with the type's width and sign.

use super::ranges::{self, constant};
use crate::Error;
use crate::emit::{Emitter, Targets};
use crate::plan::Input;
use crate::value::integer::extend;
use ebpf::{Cond, Size, Value};
use policy::checked::{Comparison, Width};

/// Tests an integer of a width.
pub(crate) fn test(
    e: &mut Emitter<'_>,
    input: &Input,
    width: Width,
    comparison: &Comparison,
    to: Targets,
) -> Result<(), Error> {
    let fault = e.fault_to(to.unknown);
    let value = e.load(input, fault)?.value;
    let value = extend(e, value, size(width), width.signed);
    compare(e, value, width.signed, comparison, to);
    Ok(())
}

/// Size in bytes.
pub(super) fn size(width: Width) -> Size {
    match width.bits {
        8 => Size::U8,
        16 => Size::U16,
        32 => Size::U32,
        _ => Size::U64,
    }
}

/// Compares a number that is extended to 64 bits as its sign says.
pub(super) fn compare(
    e: &mut Emitter<'_>,
    value: Value,
    signed: bool,
    comparison: &Comparison,
    to: Targets,
) {
    let (less, greater) = if signed { (Cond::Slt, Cond::Sgt) } else { (Cond::Ult, Cond::Ugt) };
    match comparison {
        Comparison::Integers(ranges) => {
            return ranges::within(e, value, signed, ranges, to.yes, to.no);
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
            let mask = constant(e, i128::from(mask as i64));
            let common = e.b.and(value, mask);
            e.unless(Cond::Ne, common, 0, to.yes);
        }
        _ => {}
    }
    e.b.jump(to.no, &[]);
}
