//! Messages and tags: lengths and quoting.
//!
//! Both are copied into events and lines of text, so they are quoted once, here, as a Go string
//! literal would be without its outer quotes: `\n`, `\"`, `\x01`, `\u00a0`.

/// Longest message, in bytes after quoting.
pub(crate) const MESSAGE: usize = 256;
/// Longest tag, in bytes after quoting.
pub(crate) const TAG: usize = 128;

/// The quoted text, cut to `most` bytes at a character, and whether it was cut.
pub(crate) fn quote(text: &str, most: usize) -> (String, bool) {
    let mut quoted = String::new();
    for c in text.chars() {
        let escaped = match c {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            '\u{7}' => "\\a".to_owned(),
            '\u{8}' => "\\b".to_owned(),
            '\u{c}' => "\\f".to_owned(),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            '\u{b}' => "\\v".to_owned(),
            c if is_printable(c) => c.to_string(),
            c if u32::from(c) < 0x80 => format!("\\x{:02x}", u32::from(c)),
            c if u32::from(c) <= 0xffff => format!("\\u{:04x}", u32::from(c)),
            c => format!("\\U{:08x}", u32::from(c)),
        };
        if quoted.len() + escaped.len() > most {
            return (quoted, true);
        }
        quoted.push_str(&escaped);
    }
    (quoted, false)
}

fn is_printable(c: char) -> bool {
    // A mark counts as printable when it follows something, so it is asked for with a letter before.
    c == '\'' || ['a', c].iter().collect::<String>().escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_like_a_go_literal() {
        let (quoted, cut) = quote("a\n\"b\"\\ \u{1}\u{7f}é\u{a0}'\u{301}\u{e000}\u{10ffff}", 256);
        assert_eq!(quoted, "a\\n\\\"b\\\"\\\\ \\x01\\x7fé\\u00a0'\u{301}\\ue000\\U0010ffff");
        assert!(!cut);
    }

    #[test]
    fn cuts_between_characters() {
        assert_eq!(quote("abc", 2), ("ab".to_owned(), true));
        assert_eq!(quote("aé", 2), ("a".to_owned(), true));
        assert_eq!(quote("a\n", 2), ("a".to_owned(), true));
        assert_eq!(quote("ab", 2), ("ab".to_owned(), false));
    }
}
