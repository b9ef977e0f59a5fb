//! Random filters: operators that the type has, with values that it takes.

use super::draft::Filter;
use super::random::Random;
use crate::checked::{ValueKind, Width};
use crate::document::{Operator, TypeName};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether one value of the type can be asked about.
pub(super) fn comparable(kind: TypeName) -> bool {
    !alone(kind).is_empty()
}

/// The operators about one value of the type.
fn alone(kind: TypeName) -> Vec<Operator> {
    let mut operators = kind.kind().operators();
    operators
        .retain(|operator| !matches!(operator, Operator::CelExpr | Operator::CapabilitiesGained));
    operators
}

/// A filter on the argument at a position of `args`, perhaps together with others.
pub(super) fn draw(random: &mut Random, args: &[TypeName], position: usize) -> Filter {
    let kind = args[position];
    let sets: Vec<usize> =
        (0..args.len()).filter(|at| args[*at].kind() == ValueKind::CapabilitySet).collect();
    let several = args.len() > 1;
    if several && kind.kind() == ValueKind::CapabilitySet && random.once_in(3) {
        let positions = vec![random.pick_or(&sets, position), position];
        return Filter { positions, operator: Operator::CapabilitiesGained, values: Vec::new() };
    }
    let numbers: Vec<(usize, Width)> = (0..args.len())
        .filter_map(|at| match args[at].kind() {
            ValueKind::Integer(width) => Some((at, width)),
            _ => None,
        })
        .collect();
    let texts: Vec<usize> = (0..args.len()).filter(|at| args[*at].kind().is_text()).collect();
    if several
        && (matches!(kind.kind(), ValueKind::Integer(_)) || kind.kind().is_text())
        && !(numbers.is_empty() && texts.is_empty())
        && random.once_in(6)
    {
        let named = Named { numbers: &numbers, texts: &texts };
        let values = vec![condition(random, named, 2)];
        return Filter { positions: Vec::new(), operator: Operator::CelExpr, values };
    }
    let operator = random.pick_or(&alone(kind), Operator::Equal);
    Filter { positions: vec![position], operator, values: values(random, kind, operator) }
}

fn values(random: &mut Random, kind: TypeName, operator: Operator) -> Vec<String> {
    use Operator as O;
    if matches!(operator, O::SPortPriv | O::NotSPortPriv | O::DPortPriv | O::NotDPortPriv) {
        return Vec::new();
    }
    // Mostly few, sometimes so many that they are kept in tables.
    let count = match random.below(8) {
        0 => 20 + random.below(60),
        1 => 5 + random.below(4),
        _ => 1 + random.below(3),
    };
    (0..count).map(|_| value(random, kind, operator)).collect()
}

fn value(random: &mut Random, kind: TypeName, operator: Operator) -> String {
    use Operator as O;
    match operator {
        O::SAddr | O::NotSAddr | O::DAddr | O::NotDAddr => network(random),
        O::SPort | O::NotSPort | O::DPort | O::NotDPort => {
            let ports = [port(random), port(random)];
            if random.once_in(2) {
                return ports[0].to_string();
            }
            format!("{}:{}", ports[0].min(ports[1]), ports[0].max(ports[1]))
        }
        O::Protocol | O::NotProtocol => {
            random.pick_or(&["IPPROTO_TCP", "IPPROTO_UDP", "1", "132"], "6").to_owned()
        }
        O::Family | O::NotFamily => {
            random.pick_or(&["AF_INET", "AF_INET6", "AF_UNIX", "16"], "2").to_owned()
        }
        O::State | O::NotState => {
            random.pick_or(&["TCP_ESTABLISHED", "TCP_LISTEN", "2"], "1").to_owned()
        }
        O::FileType | O::NotFileType => {
            random.pick_or(&["reg", "dir", "sock", "lnk", "blk", "chr", "fifo"], "reg").to_owned()
        }
        _ => match kind.kind() {
            ValueKind::Text | ValueKind::Path | ValueKind::File | ValueKind::UnixAddress => {
                written_text(random, kind, operator)
            }
            ValueKind::Capability if matches!(operator, O::InRange | O::NotInRange) => {
                let least = random.below(64);
                format!("{least}:{}", least + random.below(10))
            }
            ValueKind::Capability => random.below(64).to_string(),
            ValueKind::Integer(width) => number(random, width, operator),
            _ => number(random, Width { bits: 64, signed: false }, operator),
        },
    }
}

/// A number in the range of a type: its ends, small ones, powers of two, any.
pub(super) fn integer(random: &mut Random, width: Width) -> i128 {
    let range = width.range();
    let (least, most) = (*range.start(), *range.end());
    let near = i128::try_from(random.below(5)).unwrap_or(0) - 2;
    let number = match random.below(6) {
        0 => least + near.abs(),
        1 => most - near.abs(),
        2 | 3 => near * 4,
        4 => (1 << random.below(width.bits.into())) + near,
        _ => least + i128::from(random.next()) % (most - least + 1),
    };
    number.clamp(least, most)
}

fn number(random: &mut Random, width: Width, operator: Operator) -> String {
    use Operator as O;
    let range = matches!(operator, O::InRange | O::NotInRange)
        || matches!(operator, O::InMap | O::NotInMap) && random.once_in(3);
    if range {
        let (a, b) = (integer(random, width), integer(random, width));
        return format!("{}:{}", a.min(b), a.max(b));
    }
    let number = integer(random, width);
    let pattern = number & ((1 << width.bits) - 1);
    match random.below(4) {
        0 => format!("{pattern:#x}"),
        1 if number > 7 => format!("0{number:o}"),
        _ => number.to_string(),
    }
}

/// Text over few different bytes, so that values have parts in common; sometimes long.
pub(super) fn text(random: &mut Random) -> String {
    let length = match random.below(32) {
        // About the longest text that is captured.
        0 if random.once_in(4) => 4094 + random.below(4),
        0 => 250 + random.below(60),
        1..=7 => 6 + random.below(30),
        _ => 1 + random.below(6),
    };
    let letters = ['a', 'b', 'A', '/', '.'];
    (0..length).map(|_| random.pick_or(&letters, 'a')).collect()
}

fn written_text(random: &mut Random, kind: TypeName, operator: Operator) -> String {
    use Operator as O;
    let mut text = text(random);
    let whole = matches!(operator, O::Equal | O::NotEqual);
    let start = whole || matches!(operator, O::Prefix | O::NotPrefix);
    match kind.kind() {
        ValueKind::Path | ValueKind::File if start => text.insert(0, '/'),
        ValueKind::UnixAddress if start && random.once_in(3) => text.insert(0, '@'),
        _ => {}
    }
    if whole && random.once_in(12) {
        text.clear();
    }
    if random.once_in(16) && !text.is_empty() {
        text.push('\0');
    }
    text
}

fn network(random: &mut Random) -> String {
    let host = u32::try_from(random.below(1 << 16)).unwrap_or(0);
    if random.once_in(2) {
        let address = Ipv4Addr::from_bits(0x0a00_0000 | host);
        match random.below(4) {
            0 => address.to_string(),
            1 => format!("{address}/{}", random.below(33)),
            _ => format!("{address}/{}", 16 + random.below(17)),
        }
    } else {
        let address = Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(host) << 56 | 7);
        match random.below(4) {
            0 => address.to_string(),
            1 => format!("{address}/{}", random.below(129)),
            _ => format!("{address}/{}", 48 + random.below(32)),
        }
    }
}

pub(super) fn port(random: &mut Random) -> u16 {
    let near = u16::try_from(random.below(3)).unwrap_or(0);
    random.pick_or(&[0, 79, 1022, 8080, u16::MAX - 2], 0) + near
}

/// What conditions can name.
#[derive(Clone, Copy)]
struct Named<'a> {
    /// Integers, by their positions in `args`.
    numbers: &'a [(usize, Width)],
    /// Texts.
    texts: &'a [usize],
}

/// A question about a text.
fn compared(random: &mut Random, position: usize) -> String {
    let (a, b) = (text(random), text(random));
    match random.below(9) {
        0 => format!("arg{position} == '{a}'"),
        1 => format!("'{a}' != arg{position}"),
        2 => format!("arg{position} in ['{a}', \"{b}\"]"),
        3 => format!("arg{position}.startsWith('{a}')"),
        4 => format!("arg{position}.endsWith('{a}')"),
        5 => format!("arg{position}.contains('{a}')"),
        6 => {
            let sign = random.pick_or(&SIGNS, "==");
            format!("size(arg{position}) {sign} {}", a.len())
        }
        _ => matched(random, position),
    }
}

/// A regular expression that one text at least matches, and one does not.
fn matched(random: &mut Random, position: usize) -> String {
    let part = pattern(random, 3);
    match random.below(5) {
        0 => format!("arg{position}.matches(r'^{part}')"),
        3 => format!("arg{position}.matches(r'\\b{part}')"),
        1 => format!("arg{position}.matches(r'{part}a$')"),
        2 => format!("arg{position}.matches(r'^a({part})$')"),
        _ => format!("arg{position}.matches(r'b{part}|^({part})*[^/]$')"),
    }
}

/// A regular expression that does not match the empty text.
fn pattern(random: &mut Random, depth: usize) -> String {
    if depth == 0 || random.once_in(3) {
        let atoms = ["a", "b", "A", "/", r"\.", ".", "[ab]", "[^a/]", r"\w", r"\W", "(?i:a)"];
        return random.pick_or(&atoms, "a").to_owned();
    }
    let one = pattern(random, depth - 1);
    match random.below(7) {
        0 => format!("({one})+"),
        1 => format!("(?:{one}){{1,3}}"),
        2 => format!("({one})*{}", pattern(random, depth - 1)),
        3 => format!("({one})?{}", pattern(random, depth - 1)),
        4 => format!("({one}|{})", pattern(random, depth - 1)),
        _ => one + &pattern(random, depth - 1),
    }
}

const SIGNS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

/// A condition over some of the arguments.
fn condition(random: &mut Random, args: Named<'_>, depth: usize) -> String {
    if depth > 0 && random.once_in(2) {
        let (a, b) = (condition(random, args, depth - 1), condition(random, args, depth - 1));
        return match random.below(7) {
            6 => format!("({a}) ? ({b}) : {}", condition(random, args, depth - 1)),
            0 => format!("({a}) && ({b})"),
            1 => format!("({a}) || ({b})"),
            2 => format!("xor({a}, {b})"),
            3 => format!("!({a})"),
            4 => format!("and({a}, not({b}))"),
            _ => format!("or({a}, {b})"),
        };
    }
    if let (Some(position), true) =
        (random.pick(args.texts).copied(), args.numbers.is_empty() || random.once_in(2))
    {
        return compared(random, position);
    }
    let Some(&(position, width)) = random.pick(args.numbers) else { return "true".to_owned() };
    numeric(random, args, position, width)
}

/// A condition over the number at a position.
fn numeric(random: &mut Random, args: Named<'_>, position: usize, width: Width) -> String {
    let sign = random.pick_or(&SIGNS, "==");
    // Numbers of 8 and 16 bits are ones of 32.
    let wide = Width { bits: width.bits.max(32), ..width };
    let literal = |random: &mut Random| {
        let suffix = if width.signed { "" } else { "u" };
        let of = if random.once_in(2) { wide } else { width };
        format!("{}{suffix}", integer(random, of))
    };
    let constant = literal(random);
    match random.below(9) {
        4 => format!("arg{position} in [{constant}, {}]", literal(random)),
        5 => {
            let other = literal(random);
            format!("(arg{position} > {other} ? arg{position} : {constant}) {sign} {other}")
        }
        0 => format!("arg{position} + {} {sign} {constant}", literal(random)),
        1 => format!("arg{position} - {} {sign} {constant}", literal(random)),
        6 | 7 => {
            let operation = random.pick_or(&["*", "/", "%"], "*");
            // By another argument of the same type, which may be 0, or by a small number.
            let alike = |other: &&(usize, Width)| {
                other.1.signed == width.signed && other.1.bits.max(32) == wide.bits
            };
            let others: Vec<&(usize, Width)> = args.numbers.iter().filter(alike).collect();
            let right = match random.pick(&others) {
                Some((other, _)) if random.once_in(2) => format!("arg{other}"),
                _ => {
                    let suffix = if width.signed { "" } else { "u" };
                    let small = random.pick_or(&[1, 2, 3, 7, 64, 1000], 1);
                    let minus = if width.signed && random.once_in(3) { "-" } else { "" };
                    format!("{minus}{small}{suffix}")
                }
            };
            format!("arg{position} {operation} {right} {sign} {constant}")
        }
        _ => format!("arg{position} {sign} {constant}"),
    }
}
