//! Colours, quotes and times of compact lines.

use std::borrow::Cow;

use api::google::Timestamp;

/// Terminal colours, by their SGR parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 34,
    Magenta = 35,
    Cyan = 36,
}

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Coloured,
}

impl Style {
    /// Text in a colour.
    pub(crate) fn paint(self, colour: Colour, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Coloured => format!("\x1b[{}m{text}\x1b[0m", colour as u8),
        }
    }
}

/// What a line begins with; the name takes seven columns or more.
pub(crate) fn tag(style: Style, colour: Colour, emoji: &str, name: &str) -> String {
    style.paint(colour, &format!("{emoji} {name:<7}"))
}

/// Nine digits behind the point, always; `Display` of a timestamp drops zeros.
pub(crate) fn timestamp(time: Timestamp) -> String {
    let whole = Timestamp { nanos: 0, ..time }.to_string();
    format!("{}.{:09}Z", whole.trim_end_matches('Z'), time.nanos)
}

/// The text, in quotes when it holds a space or anything that does not print.
pub(crate) fn quoted(text: &str) -> Cow<'_, str> {
    match text.chars().all(|c| c != ' ' && prints(c)) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(quote(text)),
    }
}

/// The same for text of several words, such as arguments: spaces alone need no quotes.
pub(crate) fn quoted_words(text: &str) -> Cow<'_, str> {
    match text.chars().all(prints) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(quote(text)),
    }
}

/// Letters, marks, numbers, punctuation, symbols and the plain space.
fn prints(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // `str::escape_debug` escapes what does not print; behind another character it leaves
    // combining marks alone.
    let mut buffer = [b'a', 0, 0, 0, 0];
    let end = 1 + c.encode_utf8(&mut buffer[1..]).len();
    std::str::from_utf8(&buffer[..end]).is_ok_and(|pair| pair.escape_debug().nth(1) == Some(c))
}

/// Double quotes around the text, and backslash escapes within, as Go's `%q` has them.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if prints(c) => out.push(c),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if c.is_ascii() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if u32::from(c) < 0x10000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes() {
        for (text, expected) in [
            ("/usr/bin/curl", "/usr/bin/curl"),
            ("", ""),
            ("grün/é/日本/🐝", "grün/é/日本/🐝"),
            ("e\u{301}", "e\u{301}"),
            ("\u{fffd}", "\u{fffd}"),
            ("a b", r#""a b""#),
            ("a\"b", "a\"b"),
            ("a \"b\\", r#""a \"b\\""#),
            ("\x1b[31m\n\t\x07\0\x7f", r#""\x1b[31m\n\t\a\x00\x7f""#),
            ("\u{202e}x", r#""\u202ex""#),
            ("\u{a0}", r#""\u00a0""#),
            ("\u{e0001}", r#""\U000e0001""#),
        ] {
            assert_eq!(quoted(text), expected);
        }
        assert_eq!(quoted_words("-c \"a b\" c"), "-c \"a b\" c");
        assert_eq!(quoted_words("a\nb"), r#""a\nb""#);
    }

    #[test]
    fn times() {
        let time = |seconds, nanos| timestamp(Timestamp { seconds, nanos });
        assert_eq!(time(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(time(1_696_571_460, 500_000_000), "2023-10-06T05:51:00.500000000Z");
    }
}
