//! Durations as users write them: Go's syntax, `1m30s`, `300ms`, `1.5h`, `-2s`, `0`.
//!
//! A duration is a signed number of nanoseconds (about 292 years either way), so that a flag that
//! wants a positive one can say so instead of failing to read it.

use std::fmt::Write as _;

/// Nanoseconds in a second.
pub(super) const SECOND: i64 = 1_000_000_000;

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3600 * SECOND),
];

/// Reads a duration. `None` when `text` is not one or does not fit 63 bits of nanoseconds.
pub fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, after) = rest.split_at(number);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scaled(digits, *scale)?)?;
        rest = after;
    }
    Some(if negative { -total } else { total })
}

/// `digits`, with at most one point, times `scale`; a fraction of a nanosecond is cut.
fn scaled(digits: &str, scale: i64) -> Option<i64> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut value = whole.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.bytes() {
        place /= 10;
        value = value.checked_add(i64::from(digit - b'0') * place)?;
    }
    Some(value)
}

/// Writes a duration of `nanoseconds` as Go prints it: `15s`, `1m30s`, `1h0m0s`, `1.5ms`, `0s`.
pub fn format(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let n = nanoseconds.unsigned_abs();
    let fraction = |n: u64, unit: u64, name: &str| {
        let mut text = format!("{}", n / unit);
        if !n.is_multiple_of(unit) {
            let width = unit.ilog10() as usize;
            let digits = format!("{:0width$}", n % unit);
            let _ = write!(text, ".{}", digits.trim_end_matches('0'));
        }
        text + name
    };
    let text = match n {
        0 => "0s".to_owned(),
        1..1_000 => format!("{n}ns"),
        1_000..1_000_000 => fraction(n, 1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(n, 1_000_000, "ms"),
        _ => {
            let second = SECOND.unsigned_abs();
            let minutes = n / (60 * second);
            let seconds = fraction(n % (60 * second), second, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, m) => format!("{m}m{seconds}"),
                (h, m) => format!("{h}h{m}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        let table = [
            ("0", Some(0)),
            ("30s", Some(30 * SECOND)),
            ("1m30s", Some(90 * SECOND)),
            ("1.5h", Some(5400 * SECOND)),
            ("300ms", Some(300_000_000)),
            (".5s", Some(SECOND / 2)),
            ("-2s", Some(-2 * SECOND)),
            ("+2s", Some(2 * SECOND)),
            ("1h2m3.004s", Some(3_723_004_000_000)),
            ("5µs", Some(5_000)),
            ("", None),
            ("-", None),
            ("30", None),
            ("1.2.3s", None),
            ("s", None),
            (".s", None),
            ("10 s", None),
            ("1d", None),
            ("9999999999h", None),
        ];
        for (text, wanted) in table {
            assert_eq!(parse(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn prints_as_go_prints() {
        let table = [
            (0, "0s"),
            (15 * SECOND, "15s"),
            (90 * SECOND, "1m30s"),
            (3600 * SECOND, "1h0m0s"),
            (1_500_000, "1.5ms"),
            (1_050, "1.05µs"),
            (999, "999ns"),
            (-2 * SECOND, "-2s"),
            (SECOND + SECOND / 4, "1.25s"),
        ];
        for (value, wanted) in table {
            assert_eq!(format(value), wanted);
            assert_eq!(parse(wanted), Some(value));
        }
    }
}
