//! Integers and ranges in filters, read as the filtered type reads them.

use crate::problem::excerpt;
use crate::text::integer;
use std::ops::RangeInclusive;

/// Width and sign of an integer type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Width {
    /// 8, 16, 32 or 64.
    pub bits: u8,
    /// Whether the highest bit is the sign.
    pub signed: bool,
}

impl Width {
    /// Least and greatest value.
    #[must_use]
    pub fn range(self) -> RangeInclusive<i128> {
        let span = 1_i128 << self.bits;
        if self.signed { -span / 2..=span / 2 - 1 } else { 0..=span - 1 }
    }

    /// Reads a value: decimal, `0x` hexadecimal, octal with a leading zero. For signed types a
    /// hexadecimal or octal number may be the bit pattern of a negative value.
    pub(crate) fn parse(self, text: &str) -> Result<i128, String> {
        let text = text.trim();
        let value = integer(text).ok_or_else(|| {
            format!("`{}` is no integer: write it decimal, 0x… or octal 0…", excerpt(text))
        })?;
        let range = self.range();
        if range.contains(&value) {
            return Ok(value);
        }
        let pattern = text.len() > 1 && text.starts_with('0') && value >> self.bits == 0;
        if self.signed && pattern {
            return Ok(value - (1_i128 << self.bits));
        }
        let kind = if self.signed { "signed" } else { "unsigned" };
        Err(format!(
            "{value} does not fit into {} bits {kind}: {} to {}",
            self.bits,
            range.start(),
            range.end()
        ))
    }

    /// Reads `min:max`, both inclusive.
    pub(crate) fn parse_range(self, text: &str) -> Result<RangeInclusive<i128>, String> {
        let Some((least, most)) = text.split_once(':') else {
            return Err(format!("`{}` is no range: write min:max", excerpt(text)));
        };
        Ok(self.parse(least)?..=self.parse(most)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fit_their_type() {
        let int = Width { bits: 32, signed: true };
        let uint8 = Width { bits: 8, signed: false };
        let uint64 = Width { bits: 64, signed: false };
        assert_eq!(int.parse("-1"), Ok(-1));
        assert_eq!(int.parse("0xffffffff"), Ok(-1));
        assert_eq!(int.parse("0100"), Ok(64));
        assert_eq!(uint64.parse("0xffffffffffffffff"), Ok(i128::from(u64::MAX)));
        assert_eq!(
            int.parse("4294967295").unwrap_err(),
            "4294967295 does not fit into 32 bits signed: -2147483648 to 2147483647"
        );
        assert_eq!(
            uint8.parse("256").unwrap_err(),
            "256 does not fit into 8 bits unsigned: 0 to 255"
        );
        assert_eq!(int.parse_range("-5:-1"), Ok(-5..=-1));
        assert_eq!(int.parse_range("7").unwrap_err(), "`7` is no range: write min:max");
    }
}
