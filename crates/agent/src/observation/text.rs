//! Text of bytes that nobody promised to be UTF-8.

use std::char::REPLACEMENT_CHARACTER;

/// The text; each run of bytes that are no UTF-8 becomes one U+FFFD. NUL bytes at the end are none of it.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let mut text = String::with_capacity(end);
    let mut in_run = false;
    for chunk in bytes[..end].utf8_chunks() {
        if !chunk.valid().is_empty() {
            text.push_str(chunk.valid());
            in_run = false;
        }
        if !chunk.invalid().is_empty() && !in_run {
            text.push(REPLACEMENT_CHARACTER);
            in_run = true;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_other_bytes_become_one_character() {
        let cases: &[(&[u8], &str)] = &[
            (b"", ""),
            (b"/etc/passwd", "/etc/passwd"),
            (b"/etc/passwd\0\0", "/etc/passwd"),
            (b"a\0b\0", "a\0b"),
            ("caf\u{e9}".as_bytes(), "caf\u{e9}"),
            (b"\xff", "\u{fffd}"),
            (b"\xff\xfe\x80", "\u{fffd}"),
            (b"a\xff\xfeb\xffc", "a\u{fffd}b\u{fffd}c"),
            (b"cut\xe2\x82", "cut\u{fffd}"),
            // A character cut short right before another one that is.
            (b"\xe2\x82\xe2\x82", "\u{fffd}"),
            // The character itself is no mistake.
            ("\u{fffd}\u{fffd}".as_bytes(), "\u{fffd}\u{fffd}"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(text(bytes), *expected, "{}", bytes.escape_ascii());
        }
    }
}
