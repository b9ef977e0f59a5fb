//! Where an argument of a static probe is, as its note says in the assembler's words: `-4@%edi`,
//! `8@-16(%rbp)`, `4@$7`, `8@table+8(%rip)`, `2@(%rax,%rbx,8)`; on ARM `8@x0`, `-4@[sp, 12]`, `4@7`.

use crate::Architecture;

/// Where an argument is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operand {
    /// Its bytes: 1, 2, 4 or 8.
    pub size: u32,
    /// Whether it can be negative.
    pub signed: bool,
    /// Where it is.
    pub place: Place,
}

/// Where the bytes of an argument are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it is always this.
    Constant(i64),
    /// In a register, named without `%`.
    Register(String),
    /// In memory, at the sum of these.
    Memory {
        /// Register.
        base: Option<String>,
        /// Register, and by what it is multiplied: 1, 2, 4 or 8.
        index: Option<(String, u8)>,
        /// Symbol of the file; with the instruction pointer as base, the address is that of the symbol.
        symbol: Option<String>,
        /// Bytes.
        displacement: i64,
    },
}

/// Why an argument cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperandError {
    /// It is a floating-point number.
    #[error("`{0}` is a floating-point number, which programs of the kernel cannot read")]
    Float(String),
    /// It is in memory of the thread.
    #[error("`{0}` is relative to a segment register, which programs of the kernel cannot read")]
    Segment(String),
    /// It is not in words that are known.
    #[error("`{0}` does not say where an argument is, in words that are known")]
    Unknown(String),
}

/// Divides the text of a note into those of its arguments: blanks also stand within brackets.
pub(crate) fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0_u32);
    for (at, c) in text.char_indices() {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth = depth.saturating_sub(1),
            ' ' | '\t' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}

impl Operand {
    /// Reads an argument's text.
    ///
    /// # Errors
    /// It cannot be read at a probe, or is not understood.
    pub fn parse(text: &str, architecture: Architecture) -> Result<Self, OperandError> {
        let unknown = || OperandError::Unknown(text.to_owned());
        let (size, place) = text.split_once('@').ok_or_else(unknown)?;
        if size.ends_with('f') {
            return Err(OperandError::Float(text.to_owned()));
        }
        let bytes: i32 = size.parse().map_err(|_| unknown())?;
        if !matches!(bytes.unsigned_abs(), 1 | 2 | 4 | 8) {
            return Err(unknown());
        }
        let vector = |prefix: &&str| place.trim_start_matches('%').starts_with(prefix);
        if architecture == Architecture::X86_64 && ["xmm", "ymm", "zmm", "st"].iter().any(vector) {
            return Err(OperandError::Float(text.to_owned()));
        }
        if place.starts_with('%') && place.contains(':') {
            return Err(OperandError::Segment(text.to_owned()));
        }
        let place = match architecture {
            Architecture::Aarch64 => arm64(place),
            _ => x86_64(place),
        };
        let place = place.ok_or_else(unknown)?;
        Ok(Self { size: bytes.unsigned_abs(), signed: bytes < 0, place })
    }
}

fn x86_64(text: &str) -> Option<Place> {
    if let Some(constant) = text.strip_prefix('$') {
        return Some(Place::Constant(number(constant)?));
    }
    if let Some(register) = text.strip_prefix('%') {
        return name(register).map(Place::Register);
    }
    let (before, registers) = match text.strip_suffix(')') {
        Some(text) => {
            let (before, registers) = text.split_once('(')?;
            (before, Some(registers))
        }
        None => (text, None),
    };
    let (symbol, displacement) = address(before)?;
    let mut parts = registers.into_iter().flat_map(|text| text.split(',')).map(str::trim);
    let register = |part: Option<&str>| match part {
        None | Some("") => Some(None),
        Some(text) => name(text.strip_prefix('%')?).map(Some),
    };
    let base = register(parts.next())?;
    let index = register(parts.next())?;
    let scale = match parts.next() {
        None | Some("") => 1,
        Some(scale) => scale.parse().ok().filter(|scale| matches!(scale, 1 | 2 | 4 | 8))?,
    };
    if parts.next().is_some() || (base.is_none() && index.is_none() && symbol.is_none()) {
        return None;
    }
    let index = index.map(|register| (register, scale));
    Some(Place::Memory { base, index, symbol, displacement })
}

fn arm64(text: &str) -> Option<Place> {
    let memory = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let Some(memory) = memory else {
        let first = text.chars().next()?;
        return match first.is_ascii_alphabetic() {
            true => name(text).map(Place::Register),
            false => Some(Place::Constant(number(text.strip_prefix('#').unwrap_or(text))?)),
        };
    };
    let mut parts = memory.split(',').map(str::trim);
    let base = name(parts.next()?).map(Some)?;
    let (mut index, mut displacement) = (None, 0);
    match parts.next() {
        None => {}
        Some(part) if part.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            index = Some((name(part)?, 1));
        }
        Some(part) => displacement = number(part.strip_prefix('#').unwrap_or(part))?,
    }
    let whole = parts.next().is_none();
    whole.then_some(Place::Memory { base, index, symbol: None, displacement })
}

/// `8`, `-8`, `table`, `table+8`, `8+table`.
fn address(text: &str) -> Option<(Option<String>, i64)> {
    if text.is_empty() {
        return Some((None, 0));
    }
    if let Some(number) = number(text) {
        return Some((None, number));
    }
    let symbol = |text: &str| {
        let first = text.chars().next().filter(|c| c.is_alphabetic() || matches!(c, '_' | '.'));
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '$' | '@');
        (first.is_some() && text.chars().all(plain)).then(|| text.to_owned())
    };
    if let Some(symbol) = symbol(text) {
        return Some((Some(symbol), 0));
    }
    let at = text.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-'))?.0;
    let (left, right) = text.split_at(at);
    match symbol(left) {
        Some(symbol) => Some((Some(symbol), number(right)?)),
        None => Some((Some(symbol(right.strip_prefix('+')?)?), number(left)?)),
    }
}

fn name(text: &str) -> Option<String> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| text.to_owned())
}

/// A number in C's notation; of 64 bits with or without sign.
fn number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.bytes().all(|c| c.is_ascii_digit()).then(|| digits.parse().ok())??,
    };
    let value = magnitude as i64;
    Some(if negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(
        base: Option<&str>,
        index: Option<(&str, u8)>,
        symbol: Option<&str>,
        displacement: i64,
    ) -> Place {
        Place::Memory {
            base: base.map(str::to_owned),
            index: index.map(|(register, scale)| (register.to_owned(), scale)),
            symbol: symbol.map(str::to_owned),
            displacement,
        }
    }

    #[test]
    fn every_form_of_x86_is_read() {
        let register = |name: &str| Place::Register(name.to_owned());
        for (text, size, signed, place) in [
            ("-4@%edi", 4, true, register("edi")),
            ("8@%rax", 8, false, register("rax")),
            ("1@%r10b", 1, false, register("r10b")),
            ("-4@$-9", 4, true, Place::Constant(-9)),
            ("8@$0x10", 8, false, Place::Constant(16)),
            ("8@$18446744073709551615", 8, false, Place::Constant(-1)),
            ("-2@-32(%rbp)", 2, true, memory(Some("rbp"), None, None, -32)),
            ("8@(%rsp)", 8, false, memory(Some("rsp"), None, None, 0)),
            ("-1@8(%rax,%rbx,4)", 1, true, memory(Some("rax"), Some(("rbx", 4)), None, 8)),
            ("8@(%rax,%rbx)", 8, false, memory(Some("rax"), Some(("rbx", 1)), None, 0)),
            ("8@16(,%rbx,8)", 8, false, memory(None, Some(("rbx", 8)), None, 16)),
            ("4@table(%rip)", 4, false, memory(Some("rip"), None, Some("table"), 0)),
            ("4@table+8(%rip)", 4, false, memory(Some("rip"), None, Some("table"), 8)),
            ("4@-4+table(%rip)", 4, false, memory(Some("rip"), None, Some("table"), -4)),
            ("4@table-12(%rip)", 4, false, memory(Some("rip"), None, Some("table"), -12)),
            ("4@0x20(%rip)", 4, false, memory(Some("rip"), None, None, 32)),
            ("4@.Lanon.1", 4, false, memory(None, None, Some(".Lanon.1"), 0)),
        ] {
            let expected = Operand { size, signed, place };
            assert_eq!(Operand::parse(text, Architecture::X86_64), Ok(expected), "{text}");
        }
    }

    #[test]
    fn every_form_of_arm_is_read() {
        let register = |name: &str| Place::Register(name.to_owned());
        for (text, size, signed, place) in [
            ("8@x0", 8, false, register("x0")),
            ("-4@w3", 4, true, register("w3")),
            ("-4@[sp, 12]", 4, true, memory(Some("sp"), None, None, 12)),
            ("8@[x19]", 8, false, memory(Some("x19"), None, None, 0)),
            ("8@[x19, x2]", 8, false, memory(Some("x19"), Some(("x2", 1)), None, 0)),
            ("4@[x1, #-8]", 4, false, memory(Some("x1"), None, None, -8)),
            ("4@5", 4, false, Place::Constant(5)),
            ("-8@-5", 8, true, Place::Constant(-5)),
        ] {
            let expected = Operand { size, signed, place };
            assert_eq!(Operand::parse(text, Architecture::Aarch64), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let parse = |text: &str| Operand::parse(text, Architecture::X86_64).unwrap_err();
        for text in ["8f@%xmm0", "8@%xmm1", "4f@-4(%rbp)", "8@%st"] {
            assert_eq!(parse(text), OperandError::Float(text.to_owned()));
        }
        assert_eq!(parse("8@%fs:16"), OperandError::Segment("8@%fs:16".to_owned()));
        for text in [
            "",
            "8",
            "@%rax",
            "3@%rax",
            "8@",
            "8@%",
            "8@(%rax,%rbx,3)",
            "8@(rax)",
            "8@5",
            "8@$x",
            "8@8(%rax",
            "8@(%rax,%rbx,8,1)",
            "8@a b(%rip)",
            "--8@%rax",
        ] {
            assert_eq!(parse(text), OperandError::Unknown(text.to_owned()), "{text}");
        }
    }

    #[test]
    fn blanks_within_brackets_divide_nothing() {
        assert_eq!(
            split("-4@%edi  8@8(%rax, %rbx, 8)\t4@$1"),
            ["-4@%edi", "8@8(%rax, %rbx, 8)", "4@$1"]
        );
        assert_eq!(split("-4@[sp, 12] 8@x0"), ["-4@[sp, 12]", "8@x0"]);
        assert!(split(" ").is_empty());
    }
}
