//! Assignments to registers, which an Override of a uprobe makes.
//!
//! `DST=SRC`, where SRC is a constant, `%reg`, `off%reg` (the register plus an offset), `off(%reg)` or
//! `(%reg)` (8 bytes of user memory there). A part of a register has its own name: `eax`, `ax`, `al`,
//! `w3`. Whether the running machine has the register is the compiler's to say.

use crate::problem::excerpt;
use crate::text::integer;

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Register that is written.
    pub register: String,
    /// What is written.
    pub source: RegisterSource,
}

/// What is written to a register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterSource {
    /// The value; negative ones as their two's complement.
    Constant(u64),
    /// The value of a register plus an offset.
    Register(String, i64),
    /// 8 bytes of user memory at a register plus an offset.
    Memory(String, i64),
}

impl Assignment {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is no assignment: write REG=SOURCE, with a source like 5, %rax, 8%rsp or \
                 8(%rsp)",
                excerpt(text)
            )
        };
        let (register, source) = text.split_once('=').ok_or_else(wrong)?;
        Ok(Self {
            register: known(register.trim())?,
            source: parse_source(source.trim()).ok_or_else(wrong)??,
        })
    }
}

/// `None` when the grammar does not fit.
fn parse_source(text: &str) -> Option<Result<RegisterSource, String>> {
    let offset = |text: &str| match text.trim() {
        "" => Some(0),
        digits => integer(digits).and_then(|value| i64::try_from(value).ok()),
    };
    if let Some((before, inside)) = text.split_once('(') {
        let register = inside.strip_suffix(')')?.trim().strip_prefix('%')?;
        let offset = offset(before)?;
        return Some(known(register).map(|register| RegisterSource::Memory(register, offset)));
    }
    if let Some((before, register)) = text.split_once('%') {
        let offset = offset(before)?;
        return Some(known(register).map(|register| RegisterSource::Register(register, offset)));
    }
    let value = integer(text)?;
    let value =
        u64::try_from(value).ok().or_else(|| i64::try_from(value).ok().map(i64::cast_unsigned))?;
    Some(Ok(RegisterSource::Constant(value)))
}

/// The register's name, if one of x86-64 or arm64.
fn known(name: &str) -> Result<String, String> {
    let numbered = |prefix: &str, suffixes: &[&str], numbers: std::ops::RangeInclusive<u8>| {
        name.strip_prefix(prefix).is_some_and(|rest| {
            suffixes.iter().any(|suffix| {
                rest.strip_suffix(suffix).is_some_and(|number| {
                    !(number.len() > 1 && number.starts_with('0'))
                        && number.bytes().all(|digit| digit.is_ascii_digit())
                        && number.parse().is_ok_and(|number| numbers.contains(&number))
                })
            })
        })
    };
    let named = [
        "rip", "eip", "rax", "eax", "ax", "ah", "al", "rbx", "ebx", "bx", "bh", "bl", "rcx", "ecx",
        "cx", "ch", "cl", "rdx", "edx", "dx", "dh", "dl", "rsi", "esi", "si", "sil", "rdi", "edi",
        "di", "dil", "rbp", "ebp", "bp", "bpl", "rsp", "esp", "sp", "spl", "pc",
    ];
    if named.contains(&name)
        || numbered("r", &["", "d", "w", "b"], 8..=15)
        || numbered("x", &[""], 0..=31)
        || numbered("w", &[""], 0..=30)
    {
        Ok(name.to_owned())
    } else {
        Err(format!(
            "`{}` is no register: write one of x86-64 (rax, edi, r8d, …) or arm64 (x0, w3, sp, pc)",
            excerpt(name)
        ))
    }
}

/// Whether a text names a register.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    known(name).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_source() {
        let source = |text: &str| Assignment::parse(text).unwrap().source;
        let reg = |name: &str| name.to_owned();
        assert_eq!(source("rax=11"), RegisterSource::Constant(11));
        assert_eq!(source("rax = 0x10"), RegisterSource::Constant(16));
        assert_eq!(source("rax=010"), RegisterSource::Constant(8));
        assert_eq!(source("eax=-1"), RegisterSource::Constant(u64::MAX));
        assert_eq!(source("rip=%rax"), RegisterSource::Register(reg("rax"), 0));
        assert_eq!(source("rsp=8%rsp"), RegisterSource::Register(reg("rsp"), 8));
        assert_eq!(source("rip=(%rsp)"), RegisterSource::Memory(reg("rsp"), 0));
        assert_eq!(source("x0=-0x8( %x29 )"), RegisterSource::Memory(reg("x29"), -8));
        assert_eq!(source("r15d=%r8b"), RegisterSource::Register(reg("r8b"), 0));
        for wrong in [
            "",
            "rax",
            "rax=",
            "=1",
            "xyz=1",
            "rax=%",
            "rax=%zzz",
            "rax=8(%rsp",
            "rax=8(rsp)",
            "rax=8%rsp)",
            "r16=1",
            "r08=1",
            "x32=1",
            "w31=1",
            "rax=%rsp+8",
            "rax=(%rsp)8",
        ] {
            assert!(Assignment::parse(wrong).is_err(), "{wrong}");
        }
    }
}
