//! Texts in quotes, as CEL writes them.

use crate::problem::excerpt;

/// A text that begins here, and what stands behind it. `None`: there is none.
pub(super) fn read(from: &str) -> Result<Option<(Vec<u8>, &str)>, String> {
    let (raw, quoted) = match from.strip_prefix(['r', 'R']) {
        Some(rest) if rest.starts_with(['"', '\'']) => (true, rest),
        _ => (false, from),
    };
    let Some(quote) = quoted.chars().next().filter(|first| matches!(first, '"' | '\'')) else {
        return Ok(None);
    };
    let mut text = Vec::new();
    let mut rest = quoted[1..].chars();
    loop {
        match rest.next() {
            None => {
                return Err(format!("the text that begins here has no end: `{}`", excerpt(from)));
            }
            Some(end) if end == quote => return Ok(Some((text, rest.as_str()))),
            Some('\\') if !raw => escape(&mut rest, &mut text)?,
            Some(other) => text.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// What stands behind a backslash.
fn escape(rest: &mut std::str::Chars<'_>, text: &mut Vec<u8>) -> Result<(), String> {
    let Some(kind) = rest.next() else { return Err("a text ends with a backslash".to_owned()) };
    text.push(match kind {
        'n' => b'\n',
        't' => b'\t',
        'r' => b'\r',
        '\\' => b'\\',
        '"' => b'"',
        '\'' => b'\'',
        'x' => {
            let digits: String = rest.take(2).collect();
            u8::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 2).ok_or_else(|| {
                format!("`\\x{}` is no byte: two hexadecimal digits are", excerpt(&digits))
            })?
        }
        other => return Err(format!("`\\{other}` is no escape in a text")),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn quotes_and_escapes() {
        for (given, text, rest) in [
            (r#""a'b" c"#, "a'b".as_bytes(), " c"),
            (r#"'a"b')"#, b"a\"b", ")"),
            (r"'\n\t\r\\\'\x00'", b"\n\t\r\\'\0", ""),
            (r"r'\n\'", br"\n\", ""),
            ("''", b"", ""),
            ("'\u{e9}'", "\u{e9}".as_bytes(), ""),
        ] {
            assert_eq!(read(given), Ok(Some((text.to_vec(), rest))), "{given}");
        }
        for none in ["a", "", "rest", "5"] {
            assert_eq!(read(none), Ok(None), "{none}");
        }
        for bad in ["'", "'a\"", "'\\", "'\\x4'", "'\\x4g'", "'\\xé'", "'\\+1'"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
