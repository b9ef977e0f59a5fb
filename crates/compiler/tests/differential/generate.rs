//! Random hooks, and random calls that come close to what they ask for.

use crate::choices::Choices;
use crate::given::{Call, Given, INTEGERS, integer};
use crate::hook::{Arg, Filter, Hook, Selector};

/// Which types are wanted.
pub(crate) struct Wanted {
    integers: Vec<(&'static str, u32, bool)>,
    texts: Vec<&'static str>,
}

/// Types of texts.
const TEXTS: [&str; 1] = ["string"];

impl Wanted {
    pub(crate) fn from_environment() -> Self {
        let only = std::env::var("DIFFERENTIAL_TYPES").ok();
        let wanted =
            |kind: &str| only.as_ref().is_none_or(|only| only.split(',').any(|one| one == kind));
        Self {
            integers: INTEGERS.into_iter().filter(|(kind, ..)| wanted(kind)).collect(),
            texts: TEXTS.into_iter().filter(|kind| wanted(kind)).collect(),
        }
    }

    fn kind(&self, choices: &mut Choices) -> &'static str {
        let text = self.integers.is_empty() || choices.chance(40);
        if text && !self.texts.is_empty() {
            return choices.of(&self.texts);
        }
        choices.of(&self.integers).0
    }
}

/// A hook.
pub(crate) fn hook(choices: &mut Choices, wanted: &Wanted) -> Hook {
    let args: Vec<Arg> =
        (0..1 + choices.below(4)).map(|_| Arg { kind: wanted.kind(choices), size: None }).collect();
    let returned =
        (!wanted.integers.is_empty() && choices.chance(30)).then(|| choices.of(&wanted.integers).0);
    let mut hook = Hook { args, returned, selectors: Vec::new() };
    if choices.chance(3) {
        return hook;
    }
    hook.selectors = (0..1 + choices.below(4)).map(|_| selector(choices, &hook)).collect();
    hook
}

fn selector(choices: &mut Choices, hook: &Hook) -> Selector {
    let mut selector = Selector::default();
    let count = choices.of(&[0, 1, 1, 1, 1, 2, 2, 3]);
    for _ in 0..count {
        let position = choices.below(hook.args.len());
        let kind = hook.args[position].kind;
        let filter = if integer(kind).is_some() && choices.chance(12) {
            expression_filter(choices, hook)
        } else {
            filter(choices, kind, vec![position])
        };
        selector.filters.push(filter);
    }
    if let Some(kind) = hook.returned
        && choices.chance(50)
    {
        selector.returns.push(filter(choices, kind, Vec::new()));
    }
    selector
}

fn filter(choices: &mut Choices, kind: &'static str, positions: Vec<usize>) -> Filter {
    match integer(kind) {
        Some((bits, signed)) => integer_filter(choices, bits, signed, positions),
        None => text_filter(choices, positions),
    }
}

/// How many values a filter gets.
fn count(choices: &mut Choices) -> usize {
    match choices.below(100) {
        0..60 => 1 + choices.below(3),
        60..90 => 1 + choices.below(8),
        90..98 => 1 + choices.below(40),
        _ => 1 + choices.below(300),
    }
}

const INTEGER_OPERATORS: [&str; 9] = [
    "Equal",
    "NotEqual",
    "InMap",
    "NotInMap",
    "InRange",
    "NotInRange",
    "GreaterThan",
    "LessThan",
    "Mask",
];

fn integer_filter(choices: &mut Choices, bits: u32, signed: bool, positions: Vec<usize>) -> Filter {
    let operator = choices.of(&INTEGER_OPERATORS);
    let values = (0..count(choices))
        .map(|_| {
            let ranged = match operator {
                "InRange" | "NotInRange" => true,
                "InMap" | "NotInMap" => choices.chance(30),
                _ => false,
            };
            let first = number(choices, bits, signed);
            if !ranged {
                return written(choices, first, bits);
            }
            let second = if choices.chance(50) {
                (first + choices.below(9) as i128).min(range(bits, signed).1)
            } else {
                number(choices, bits, signed)
            };
            format!("{}:{}", first.min(second), first.max(second))
        })
        .collect();
    Filter { positions, operator, values }
}

/// Least and greatest number.
fn range(bits: u32, signed: bool) -> (i128, i128) {
    let span = 1_i128 << bits;
    if signed { (-span / 2, span / 2 - 1) } else { (0, span - 1) }
}

/// A number of that width, near where something changes.
fn number(choices: &mut Choices, bits: u32, signed: bool) -> i128 {
    let (least, most) = range(bits, signed);
    let near = choices.below(5) as i128 - 2;
    let number = match choices.below(8) {
        0 => least + near,
        1 => most + near,
        2 | 3 => near,
        4 => (1_i128 << choices.below(bits as usize + 1)) + near,
        5 => near - (1_i128 << choices.below(bits as usize + 1)),
        6 => choices.below(40) as i128,
        _ => i128::from(choices.word()) & ((1_i128 << bits) - 1),
    };
    if (least..=most).contains(&number) { number } else { wrapped(number, bits, signed) }
}

fn wrapped(number: i128, bits: u32, signed: bool) -> i128 {
    crate::given::cut(number as u64, bits, signed)
}

/// A number as users write it.
fn written(choices: &mut Choices, number: i128, bits: u32) -> String {
    let pattern = number & ((1_i128 << bits) - 1);
    match choices.below(6) {
        // The bit pattern; of negative numbers too.
        0 => format!("{pattern:#x}"),
        1 if number > 0 => format!("0{number:o}"),
        _ => number.to_string(),
    }
}

const TEXT_OPERATORS: [&str; 4] = ["Equal", "NotEqual", "Prefix", "NotPrefix"];

fn text_filter(choices: &mut Choices, positions: Vec<usize>) -> Filter {
    let operator = choices.of(&TEXT_OPERATORS);
    let empty = operator.ends_with("Equal");
    let values = (0..count(choices)).map(|_| text_value(choices, empty)).collect();
    Filter { positions, operator, values }
}

/// A text for a filter.
fn text_value(choices: &mut Choices, empty: bool) -> String {
    let length = length(choices);
    let mut text: String = match choices.below(10) {
        0 => choices.of(&["/etc/passwd", "/etc", "/", "/etc/", "/data/", "é/ü"]).to_owned(),
        _ => (0..length).map(|_| choices.of(&LETTERS)).collect(),
    };
    if choices.chance(3) {
        text.push('\0');
    }
    if text.is_empty() && !empty {
        text.push('a');
    }
    text
}

const LETTERS: [char; 6] = ['a', 'b', 'A', '/', '.', 'a'];

/// A length, often one where the way of comparing changes.
fn length(choices: &mut Choices) -> usize {
    let around = choices.below(3);
    match choices.below(20) {
        0..12 => choices.below(7),
        12 => 7 + around,
        13 => 15 + around,
        14 => 31 + around,
        15 => 63 + around,
        16 => 126 + around,
        17 => 254 + around,
        18 => choices.below(600),
        _ => choices.of(&[511, 512, 1023, 1024, 2047, 2048, 4094, 4095, 4096, 4097]),
    }
}

/// A condition over the integers of at least 32 bits; plain filters where there are none.
fn expression_filter(choices: &mut Choices, hook: &Hook) -> Filter {
    let _ = hook;
    let (bits, signed) = integer(hook.args[0].kind).unwrap_or((8, false));
    match integer(hook.args[0].kind) {
        Some(_) => integer_filter(choices, bits, signed, vec![0]),
        None => text_filter(choices, vec![0]),
    }
}

/// A call that comes close to what the hook's filters ask for.
pub(crate) fn call(choices: &mut Choices, hook: &Hook) -> Call {
    let args = hook
        .args
        .iter()
        .enumerate()
        .map(|(position, arg)| {
            let asked: Vec<&Filter> = hook
                .selectors
                .iter()
                .flat_map(|selector| &selector.filters)
                .filter(|filter| filter.positions.contains(&position))
                .collect();
            given(choices, arg.kind, &asked)
        })
        .collect();
    let returned = hook.returned.map_or(0, |kind| {
        let asked: Vec<&Filter> =
            hook.selectors.iter().flat_map(|selector| &selector.returns).collect();
        match given(choices, kind, &asked) {
            Given::Word(word) => word,
            _ => 0,
        }
    });
    Call { args, returned }
}

fn given(choices: &mut Choices, kind: &str, asked: &[&Filter]) -> Given {
    let value = (!asked.is_empty() && choices.chance(75)).then(|| {
        let filter = choices.of(asked);
        choices.of(&filter.values)
    });
    match integer(kind) {
        Some((bits, signed)) => integer_given(choices, bits, signed, value),
        None => text_given(choices, value),
    }
}

fn integer_given(choices: &mut Choices, bits: u32, signed: bool, value: Option<String>) -> Given {
    let number = match value {
        None => number(choices, bits, signed),
        Some(value) => {
            let bounds: Vec<&str> = value.split(':').collect();
            read(choices.of(&bounds)) + choices.of(&[-1, 0, 0, 0, 1])
        }
    };
    let word = number as u64;
    let mask = u64::MAX >> (64 - bits);
    // What is above the type's bits must not matter.
    let above = if choices.chance(50) { choices.word() } else { word };
    Given::Word((word & mask) | (above & !mask))
}

/// A number as [`written`].
fn read(text: &str) -> i128 {
    if let Some(digits) = text.strip_prefix("0x") {
        return i128::from_str_radix(digits, 16).unwrap();
    }
    match text.strip_prefix('0') {
        Some(digits) if !digits.is_empty() => i128::from_str_radix(digits, 8).unwrap(),
        _ => text.parse().unwrap(),
    }
}

fn text_given(choices: &mut Choices, value: Option<String>) -> Given {
    if choices.chance(4) {
        return Given::Nowhere(nowhere(choices));
    }
    let mut text = match value {
        Some(value) => value.into_bytes(),
        None => text_value(choices, true).into_bytes(),
    };
    text.retain(|byte| *byte != 0);
    match choices.below(10) {
        0 => {
            text.pop();
        }
        1 if !text.is_empty() => {
            text.remove(0);
        }
        2 => text.push(choices.of(b"aA/.\xff")),
        3 => text.insert(0, choices.of(b"aA/.\xff")),
        4 if !text.is_empty() => {
            let at = choices.below(text.len());
            text[at] = choices.of(b"abA/.\xff");
        }
        5 => text.extend(text_value(choices, true).bytes().filter(|byte| *byte != 0)),
        6 => {
            let other = text_value(choices, true).into_bytes();
            text.splice(0..0, other.into_iter().filter(|byte| *byte != 0));
        }
        _ => {}
    }
    Given::Text(text)
}

/// An address where nothing can be read.
fn nowhere(choices: &mut Choices) -> u64 {
    choices.of(&[0, 1, 0xfff, 0x7fff_ffff_f000, 0xdead_0000_0000_0000, u64::MAX])
}
