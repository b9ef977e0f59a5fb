//! The tree that a policy's text is read into.
//!
//! Scalars stay text until a field says which type it wants: `values: [010]` is the string `010`
//! where strings are wanted. Keys of a mapping are unique.

use crate::problem::{Mark, Path, Step};

/// A value in the text.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) content: Content,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Null,
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A value that is not null and has no parts.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Written without quotes, so that it may be a number or a boolean.
    pub(crate) plain: bool,
    /// Where its first character is, when all of it stands in one line as it is.
    pub(crate) begins: Option<Mark>,
}

/// One `key: value` of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) mark: Mark,
    pub(crate) key: String,
    pub(crate) value: Node,
}

impl Node {
    /// What a message calls this.
    pub(crate) fn what(&self) -> &'static str {
        match &self.content {
            Content::Null => "nothing",
            Content::Scalar(scalar) if !scalar.plain => "a string",
            Content::Scalar(scalar) if boolean(&scalar.text).is_some() => "a boolean",
            Content::Scalar(scalar) if integer(&scalar.text).is_some() => "a number",
            Content::Scalar(scalar) if scalar.text.parse::<f64>().is_ok() => "a fraction",
            Content::Scalar(_) => "a string",
            Content::Sequence(_) => "a list",
            Content::Mapping(_) => "a mapping",
        }
    }

    fn get(&self, step: Step<'_>) -> Option<(Mark, &Node)> {
        match (&self.content, step) {
            (Content::Sequence(items), Step::Index(index)) => {
                items.get(index).map(|item| (item.mark, item))
            }
            (Content::Mapping(entries), Step::Key(key)) => {
                let entry = entries.iter().find(|entry| entry.key == key)?;
                Some((entry.mark, &entry.value))
            }
            _ => None,
        }
    }

    /// The scalar at the path.
    pub(crate) fn scalar(&self, path: &Path<'_>) -> Option<&Scalar> {
        let mut node = self;
        for next in path.steps() {
            node = node.get(next)?.1;
        }
        match &node.content {
            Content::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// The place of what stands at the path: of its key, or, where only the beginning of the path
    /// exists, of the last part that does.
    pub(crate) fn find(&self, path: &Path<'_>) -> Mark {
        let mut node = self;
        let mut found = self.mark;
        let steps = path.steps();
        for (position, step) in steps.iter().enumerate() {
            let Some((mark, next)) = node.get(*step) else { break };
            // A value's place says more than its key's where they stand on one line.
            let last = position + 1 == steps.len();
            let scalar = matches!(next.content, Content::Scalar(_));
            found = if last && scalar { next.mark } else { mark };
            node = next;
        }
        found
    }
}

/// The booleans of YAML 1.1, which Kubernetes reads.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// An integer: decimal, `0x`, `0o`, `0b`, or octal with a leading zero as in YAML 1.1.
pub(crate) fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&digits[2..], 16),
        [b'0', b'o' | b'O', ..] => (&digits[2..], 8),
        [b'0', b'b' | b'B', ..] => (&digits[2..], 2),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let value = i128::from(u64::from_str_radix(digits, radix).ok()?);
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::integer;

    #[test]
    fn integers_of_every_base() {
        for (text, value) in [
            ("0", 0),
            ("-1", -1),
            ("+7", 7),
            ("0x1f", 31),
            ("0o17", 15),
            ("017", 15),
            ("0b101", 5),
            ("-0x10", -16),
            ("18446744073709551615", i128::from(u64::MAX)),
        ] {
            assert_eq!(integer(text), Some(value), "{text}");
        }
        for text in ["", "-", "+", "0x", "08", "1.5", "--1", "1_000", "-+1", "18446744073709551616"]
        {
            assert_eq!(integer(text), None, "{text}");
        }
    }
}
