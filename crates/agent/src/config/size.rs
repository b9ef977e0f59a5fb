//! Sizes as users write them: a number with an optional suffix k, M or G (of 1024, either case).

/// Reads a size. An empty text is 0. `None` when `text` is not one or does not fit 64 bits.
pub(super) fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.is_empty() {
        return Some(0);
    }
    let (digits, shift) = match text.as_bytes()[text.len() - 1] {
        b'k' | b'K' => (&text[..text.len() - 1], 10),
        b'm' | b'M' => (&text[..text.len() - 1], 20),
        b'g' | b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_suffixes() {
        let table = [
            ("", Some(0)),
            ("0", Some(0)),
            ("65535", Some(65535)),
            ("65k", Some(65 * 1024)),
            ("65K", Some(65 * 1024)),
            ("10M", Some(10 << 20)),
            ("2g", Some(2 << 30)),
            ("k", None),
            ("-1", None),
            ("+1", None),
            ("1.5M", None),
            ("10MB", None),
            ("99999999999G", None),
        ];
        for (text, wanted) in table {
            assert_eq!(super::parse(text), wanted, "{text:?}");
        }
    }
}
