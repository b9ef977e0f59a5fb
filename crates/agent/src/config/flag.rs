//! What a flag is. [`super::table`] declares them all; parsing, configuration files, environment,
//! help, generated documentation and `GetInfo` follow from the declaration alone.

use super::{Config, duration};

/// One setting.
pub struct Flag {
    /// Name on the command line, in configuration files and as a drop-in's file name.
    pub name: &'static str,
    /// One-letter form.
    pub short: Option<char>,
    /// Left out of the help.
    pub hidden: bool,
    /// One sentence for the help.
    pub help: &'static str,
    /// Type, default and effect.
    pub kind: Kind,
}

/// The type of a flag, with its default and its effect.
pub enum Kind {
    /// True or false.
    Bool(bool, Effect<bool>),
    /// Signed integer.
    Int(i64, Effect<i64>),
    /// Unsigned integer.
    Uint(u64, Effect<u64>),
    /// Text.
    Str(&'static str, Effect<String>),
    /// Comma-separated list; empty by default.
    Strings(Effect<Vec<String>>),
    /// Nanoseconds, signed; written as [`super::parse_duration`] reads them.
    Duration(i64, Effect<i64>),
}

/// What setting a flag does.
pub enum Effect<T> {
    /// Puts the value into the configuration, or says what is wrong with it.
    Sets(fn(&mut Config, T) -> Checked),
    /// Acts while the configuration is read.
    Reads,
    /// Nothing in this version; a value other than the default earns a warning.
    NotYet,
}

/// Whether a value is good.
pub type Checked = Result<(), Complaint>;

/// What a flag may say of a value of the right type.
pub enum Complaint {
    /// The agent must not start: what is wrong and what would be right.
    Wrong(String),
    /// The agent starts with something else: what is wrong and what is used.
    Replaced(String),
}

/// A flag's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// Signed integer.
    Int(i64),
    /// Unsigned integer.
    Uint(u64),
    /// Text.
    Str(String),
    /// List.
    Strings(Vec<String>),
    /// Nanoseconds.
    Duration(i64),
}

/// A value as it stands in a source, before its flag's type is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// Text, for lists too: comma-separated.
    Text(String),
    /// A list that the source has as one.
    List(Vec<String>),
    /// Resets the flag to its type's zero.
    Zero,
}

impl Kind {
    /// What the help calls the type; nothing for booleans.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(..) => "",
            Self::Int(..) => "int",
            Self::Uint(..) => "uint",
            Self::Str(..) => "string",
            Self::Strings(..) => "strings",
            Self::Duration(..) => "duration",
        }
    }

    /// The value of a flag that nobody set.
    pub fn default_value(&self) -> Value {
        match self {
            Self::Bool(default, _) => Value::Bool(*default),
            Self::Int(default, _) => Value::Int(*default),
            Self::Uint(default, _) => Value::Uint(*default),
            Self::Str(default, _) => Value::Str((*default).to_owned()),
            Self::Strings(_) => Value::Strings(Vec::new()),
            Self::Duration(default, _) => Value::Duration(*default),
        }
    }

    fn zero(&self) -> Value {
        match self {
            Self::Bool(..) => Value::Bool(false),
            Self::Int(..) => Value::Int(0),
            Self::Uint(..) => Value::Uint(0),
            Self::Str(..) => Value::Str(String::new()),
            Self::Strings(..) => Value::Strings(Vec::new()),
            Self::Duration(..) => Value::Duration(0),
        }
    }

    /// Whether the flag does something in this version.
    pub fn acts(&self) -> bool {
        !matches!(
            self,
            Self::Bool(_, Effect::NotYet)
                | Self::Int(_, Effect::NotYet)
                | Self::Uint(_, Effect::NotYet)
                | Self::Str(_, Effect::NotYet)
                | Self::Strings(Effect::NotYet)
                | Self::Duration(_, Effect::NotYet)
        )
    }

    /// Reads a value of this type. The error says what was found and what would be right.
    pub fn parse(&self, raw: &Raw) -> Result<Value, String> {
        let text = match (self, raw) {
            (_, Raw::Zero) => return Ok(self.zero()),
            (Self::Strings(_), Raw::List(list)) => return Ok(Value::Strings(list.clone())),
            (Self::Strings(_), Raw::Text(text)) => return Ok(Value::Strings(split(text))),
            (_, Raw::List(_)) => return Err(format!("has a list; {} is wanted", self.wanted())),
            (_, Raw::Text(text)) => text,
        };
        let value = match self {
            Self::Bool(..) => boolean(text).map(Value::Bool),
            Self::Int(..) => integer(text).and_then(|n| i64::try_from(n).ok()).map(Value::Int),
            Self::Uint(..) => integer(text).and_then(|n| u64::try_from(n).ok()).map(Value::Uint),
            Self::Duration(..) => duration::parse(text).map(Value::Duration),
            Self::Str(..) | Self::Strings(_) => Some(Value::Str(text.clone())),
        };
        value.ok_or_else(|| format!("has {text:?}; {} is wanted", self.wanted()))
    }

    fn wanted(&self) -> &'static str {
        match self {
            Self::Bool(..) => "true or false",
            Self::Int(..) => "a whole number",
            Self::Uint(..) => "a whole number that is not negative",
            Self::Str(..) => "a text",
            Self::Strings(..) => "a comma-separated list",
            Self::Duration(..) => "a duration with unit, such as 300ms, 30s or 1h30m,",
        }
    }

    /// Puts `value` into `config`. A value of another type than the flag's cannot come from
    /// [`Kind::parse`] and changes nothing.
    pub(super) fn apply(&self, config: &mut Config, value: &Value) -> Checked {
        match (self, value) {
            (Self::Bool(_, Effect::Sets(set)), Value::Bool(value)) => set(config, *value),
            (Self::Int(_, Effect::Sets(set)), Value::Int(value)) => set(config, *value),
            (Self::Uint(_, Effect::Sets(set)), Value::Uint(value)) => set(config, *value),
            (Self::Str(_, Effect::Sets(set)), Value::Str(value)) => set(config, value.clone()),
            (Self::Strings(Effect::Sets(set)), Value::Strings(value)) => set(config, value.clone()),
            (Self::Duration(_, Effect::Sets(set)), Value::Duration(value)) => set(config, *value),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Uint(value) => value.fmt(f),
            Self::Str(value) => f.write_str(value),
            Self::Strings(value) => write!(f, "[{}]", value.join(",")),
            Self::Duration(value) => f.write_str(&duration::format(*value)),
        }
    }
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// The spellings that Go's `strconv.ParseBool` takes, which existing configurations use.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Decimal, or with prefix 0x, 0o or 0b.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: &Kind, text: &str) -> Option<Value> {
        kind.parse(&Raw::Text(text.to_owned())).ok()
    }

    #[test]
    fn types_read_their_own_spelling_only() {
        let int = Kind::Int(0, Effect::NotYet);
        let uint = Kind::Uint(0, Effect::NotYet);
        let bool = Kind::Bool(false, Effect::NotYet);
        assert_eq!(text(&int, "-1"), Some(Value::Int(-1)));
        assert_eq!(text(&int, "0x10"), Some(Value::Int(16)));
        assert_eq!(text(&int, "9223372036854775808"), None);
        assert_eq!(text(&int, "1 "), None);
        assert_eq!(text(&int, "--1"), None);
        assert_eq!(text(&int, "0x-1"), None);
        assert_eq!(text(&int, ""), None);
        assert_eq!(text(&uint, "-1"), None);
        assert_eq!(text(&uint, "18446744073709551615"), Some(Value::Uint(u64::MAX)));
        assert_eq!(text(&bool, "T"), Some(Value::Bool(true)));
        assert_eq!(text(&bool, "yes"), None);
        let error = int.parse(&Raw::Text("ten".into())).unwrap_err();
        assert_eq!(error, "has \"ten\"; a whole number is wanted");
        assert!(int.parse(&Raw::List(vec!["1".into()])).is_err());
    }

    #[test]
    fn lists_come_as_text_or_as_lists() {
        let kind = Kind::Strings(Effect::NotYet);
        let wanted = Some(Value::Strings(vec!["a".into(), "b".into()]));
        assert_eq!(text(&kind, "a, b,"), wanted);
        assert_eq!(kind.parse(&Raw::List(vec!["a".into(), "b".into()])).ok(), wanted);
        assert_eq!(kind.parse(&Raw::Zero).ok(), Some(Value::Strings(Vec::new())));
    }
}
