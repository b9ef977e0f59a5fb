//! What calls are made of: words, and what is at their addresses.

use compiler::observed::{Fault, Observed};
use policy::evaluate::Value;

/// A call.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Call {
    pub(crate) args: Vec<Given>,
    pub(crate) returned: u64,
}

/// An argument.
#[derive(Clone, PartialEq)]
pub(crate) enum Given {
    /// A number.
    Word(u64),
    /// The address of a text without NUL.
    Text(Vec<u8>),
    /// An address where nothing is.
    Nowhere(u64),
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(word) => write!(f, "{word:#x}"),
            Self::Text(text) => {
                write!(f, "{:?} ({} bytes)", text.escape_ascii().to_string(), text.len())
            }
            Self::Nowhere(address) => write!(f, "bad address {address:#x}"),
        }
    }
}

/// Integer types: name, bits, whether signed.
pub(crate) const INTEGERS: [(&str, u32, bool); 18] = [
    ("int8", 8, true),
    ("sint8", 8, true),
    ("uint8", 8, false),
    ("int16", 16, true),
    ("sint16", 16, true),
    ("uint16", 16, false),
    ("int", 32, true),
    ("int32", 32, true),
    ("sint32", 32, true),
    ("bpf_cmd", 32, true),
    ("uint32", 32, false),
    ("int64", 64, true),
    ("sint64", 64, true),
    ("long", 64, true),
    ("uint64", 64, false),
    ("ulong", 64, false),
    ("size_t", 64, false),
    // The last one again, so that types of 64 bits are as frequent as their names.
    ("size_t", 64, false),
];

/// Width and sign of an integer type.
pub(crate) fn integer(kind: &str) -> Option<(u32, bool)> {
    INTEGERS.iter().find(|(name, ..)| *name == kind).map(|(_, bits, signed)| (*bits, *signed))
}

/// What the low bits of a word are, as a type of that width and sign.
pub(crate) fn cut(word: u64, bits: u32, signed: bool) -> i128 {
    let shift = 64 - bits;
    if signed {
        i128::from((word << shift).cast_signed() >> shift)
    } else {
        i128::from(word << shift >> shift)
    }
}

/// Longest text that is captured.
const TEXT_MAX: usize = 4096;

impl Given {
    /// The word that the program gets. `memory` keeps what it points to.
    pub(crate) fn word(&self, memory: &mut Vec<Vec<u8>>) -> u64 {
        match self {
            Self::Word(word) | Self::Nowhere(word) => *word,
            Self::Text(text) => {
                let mut bytes = text.clone();
                bytes.push(0);
                memory.push(bytes);
                memory.last().map_or(0, |bytes| bytes.as_ptr() as u64)
            }
        }
    }

    /// What it is to filters, and what is to be captured, as a value of a type.
    pub(crate) fn expected(&self, kind: &str) -> (Value, Option<Observed>) {
        if let (Self::Word(word), Some((bits, signed))) = (self, integer(kind)) {
            let value = cut(*word, bits, signed);
            let observed = match (bits, signed) {
                (64, true) => Observed::Long(value as i64),
                (64, false) => Observed::Size(value as u64),
                (_, true) => Observed::Int(value as i32),
                (_, false) => Observed::Uint(value as u32),
            };
            return (Value::Integer(value), Some(observed));
        }
        match self {
            Self::Text(text) => {
                let text = text[..text.len().min(TEXT_MAX)].to_vec();
                (Value::Text(text.clone()), Some(Observed::Text(text)))
            }
            Self::Nowhere(_) => (Value::Fault, Some(Observed::Fault(Fault::Address))),
            Self::Word(_) => panic!("{kind} is no integer"),
        }
    }
}
