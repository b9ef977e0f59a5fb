//! A place in a line of text, and what can be read there. Blanks before what is read are skipped.

use std::str::FromStr;

pub(super) struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self { rest: line }
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Everything up to the end.
    pub(super) fn rest(&mut self) -> &'a str {
        std::mem::take(&mut self.rest).trim()
    }

    /// Fails unless everything has been read.
    pub(super) fn end(&mut self) -> Result<(), String> {
        match self.rest() {
            "" => Ok(()),
            rest => Err(format!("{rest:?} is too much")),
        }
    }

    pub(super) fn starts_with(&mut self, text: &str) -> bool {
        self.skip_blanks();
        self.rest.starts_with(text)
    }

    /// Reads `text` if it is next.
    pub(super) fn take(&mut self, text: &str) -> bool {
        self.skip_blanks();
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    pub(super) fn expect(&mut self, text: &str) -> Result<(), String> {
        if self.take(text) {
            Ok(())
        } else {
            Err(format!("{text:?} is expected before {:?}", self.rest))
        }
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        self.skip_blanks();
        let length = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    /// Letters, digits, `_` and `.`, perhaps none.
    pub(super) fn word(&mut self) -> &'a str {
        self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
    }

    /// A number with or without a sign.
    pub(super) fn number<T: FromStr>(&mut self) -> Result<T, String> {
        let negative = self.take("-");
        if !negative {
            self.take("+");
        }
        let digits = self.take_while(|c| c.is_ascii_digit());
        let text = if negative { format!("-{digits}") } else { digits.to_owned() };
        text.parse().map_err(|_| format!("{text:?} is not a number that fits here"))
    }

    /// `prefix` with a number, as in `v12`.
    pub(super) fn entity(&mut self, prefix: &str) -> Result<u32, String> {
        self.expect(prefix)?;
        let digits = self.take_while(|c| c.is_ascii_digit());
        digits.parse().map_err(|_| format!("a number is expected behind {prefix:?}"))
    }

    /// A string in quotes, with the escapes that Rust's `{:?}` writes.
    pub(super) fn string(&mut self) -> Result<String, String> {
        self.expect("\"")?;
        let mut out = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((index, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[index + 1..];
                    return Ok(out);
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some('0') => out.push('\0'),
                    Some('u') => out.push(escaped(&mut chars)?),
                    Some(c @ ('"' | '\\' | '\'')) => out.push(c),
                    other => return Err(format!("unknown escape {other:?}")),
                },
                c => out.push(c),
            }
        }
        Err(String::from("the string does not end"))
    }
}

/// The character of `{1f600}`.
fn escaped(chars: &mut impl Iterator<Item = (usize, char)>) -> Result<char, String> {
    let digits: String =
        chars.map(|(_, c)| c).skip_while(|&c| c == '{').take_while(|&c| c != '}').collect();
    let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
    code.ok_or_else(|| format!("\\u{{{digits}}} is no character"))
}
