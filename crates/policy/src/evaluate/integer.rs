//! Integers: Equal, InMap, InRange, GT, LT, Mask and their negations.
//!
//! Values have the width and sign of their type, so that -1 of an int8 is less than 0 and that of a
//! uint8 cannot be. Sets of capabilities are compared as numbers of 64 bits, single ones by number.

use super::value::Value;
use crate::checked::Comparison;

/// The number that a value is; `None` for what is no number.
fn number(value: &Value) -> Option<i128> {
    match value {
        Value::Integer(number) => Some(*number),
        Value::CapabilitySet(set) => Some(i128::from(*set)),
        Value::Capability(number) => Some(i128::from(*number)),
        _ => None,
    }
}

/// Whether a comparison of numbers holds.
pub(super) fn compare(comparison: &Comparison, value: &Value) -> Option<bool> {
    let number = number(value)?;
    Some(match comparison {
        Comparison::Integers(ranges) => ranges.iter().any(|range| range.contains(&number)),
        Comparison::Greater(values) => values.iter().any(|value| number > *value),
        Comparison::Less(values) => values.iter().any(|value| number < *value),
        Comparison::Mask(masks) => {
            // Masks have no bits beyond the type's, so the bits of a negative number's sign, of
            // which there are as many as one likes, do not count.
            masks.iter().any(|mask| number & i128::from(*mask) != 0)
        }
        _ => return None,
    })
}
