//! Texts, buffers and paths: Equal, Prefix, Postfix, SubString, SubStringIgnCase and negations.
//!
//! Bytes are compared with bytes, all of them; nothing is decoded. Whether NULs at the end of a policy's
//! value count depends on type and operator, and is settled when the policy is read: `string` ignores
//! them in Equal, everything but `char_buf` in Postfix.

use super::value::Value;
use crate::checked::Comparison;
use std::borrow::Cow;

/// `AF_UNIX`.
const UNIX: u16 = 1;

/// The bytes that are compared. An empty text is a text; an empty path is none.
fn bytes(value: &Value) -> Option<Cow<'_, [u8]>> {
    match value {
        Value::Text(text) => Some(Cow::Borrowed(text)),
        Value::Path { path, .. } => (!path.is_empty()).then_some(Cow::Borrowed(path)),
        // As events show it: abstract names with `@` where the kernel has NUL.
        Value::UnixAddress { family: UNIX, path } => match path.as_slice() {
            [] => None,
            [0, name @ ..] => Some(Cow::Owned([b"@", name].concat())),
            path => Some(Cow::Borrowed(path)),
        },
        _ => None,
    }
}

/// How many bytes are compared.
pub(super) fn size(value: &Value) -> Option<i128> {
    i128::try_from(bytes(value)?.len()).ok()
}

/// Whether a comparison of texts holds.
pub(super) fn compare(comparison: &Comparison, value: &Value) -> Option<bool> {
    let text = bytes(value)?;
    let any = |values: &[Vec<u8>], holds: fn(&[u8], &[u8]) -> bool| {
        Some(values.iter().any(|value| holds(&text, value)))
    };
    match comparison {
        Comparison::Equal(values) => any(values, |text, value| text == value),
        Comparison::Prefix(values) => any(values, <[u8]>::starts_with),
        Comparison::Postfix(values) => any(values, <[u8]>::ends_with),
        Comparison::Contains(values) => {
            any(values, |text, part| contains(text, part, |a, b| a == b))
        }
        Comparison::ContainsIgnoringCase(values) => {
            any(values, |text, part| contains(text, part, <[u8]>::eq_ignore_ascii_case))
        }
        Comparison::Matches(automaton) => Some(automaton.is_match(&text)),
        _ => None,
    }
}

fn contains(text: &[u8], part: &[u8], same: fn(&[u8], &[u8]) -> bool) -> bool {
    // `windows` has no windows of nothing; every text contains the empty one.
    part.is_empty() || text.windows(part.len()).any(|window| same(window, part))
}
