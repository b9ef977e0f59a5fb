//! Random values near what filters ask about.

use super::filter;
use super::random::Random;
use crate::checked::{
    Argument, Cidr, Comparison, Expression, FileType, Filter, FilterTest, Hook, Subject,
    SyscallAbi, ValueKind, Width,
};
use crate::document::TypeName;
use crate::evaluate::{End, Event, Socket, Value};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) fn event(random: &mut Random, hook: &Hook) -> Event {
    let filters: Vec<&Filter> = hook
        .selectors
        .iter()
        .flat_map(|selector| selector.filters.iter().chain(&selector.return_filters))
        .collect();
    let mut values = |list: &[Argument], subject: fn(usize) -> Subject| {
        let value = |(position, arg): (usize, &Argument)| {
            one(random, arg.kind, subject(position), &filters)
        };
        list.iter().enumerate().map(value).collect()
    };
    let args = values(&hook.args, Subject::Argument);
    let data = values(&hook.data, Subject::Data);
    let returned = hook.return_arg.as_ref();
    let returned = returned.map(|arg| one(random, arg.kind, Subject::Return, &filters));
    Event { args, data, returned, ..Event::default() }
}

/// A value of a type, for a subject of these filters.
fn one(random: &mut Random, kind: TypeName, subject: Subject, filters: &[&Filter]) -> Value {
    let asked = Asked::of(subject, filters);
    let kind_of = kind.kind();
    let number =
        matches!(kind_of, ValueKind::Integer(_) | ValueKind::Capability | ValueKind::Syscall);
    if !number && random.once_in(24) {
        return Value::Fault;
    }
    match kind_of {
        ValueKind::Integer(width) => Value::Integer(integer(random, width, &asked)),
        ValueKind::CapabilitySet => {
            let width = Width { bits: 64, signed: false };
            let set = integer(random, width, &asked);
            Value::CapabilitySet(u64::try_from(set).unwrap_or(0))
        }
        ValueKind::Capability => {
            let width = Width { bits: 8, signed: false };
            Value::Capability(u32::try_from(integer(random, width, &asked) & 63).unwrap_or(0))
        }
        ValueKind::Syscall => {
            let width = Width { bits: 32, signed: false };
            let number = integer(random, width, &asked);
            let abi = if number >> 31 == 1 { SyscallAbi::I386 } else { SyscallAbi::X64 };
            let number = u32::try_from(number & 0x7fff_ffff).unwrap_or(0);
            Value::Syscall { number, abi, name: None }
        }
        ValueKind::Text => {
            let mut bytes = text(random, &asked);
            // Only buffers can hold a NUL.
            if !kind.is_buffer() {
                bytes.retain(|byte| *byte != 0);
            }
            Value::Text(bytes)
        }
        ValueKind::Path | ValueKind::File => {
            let mut path = text(random, &asked);
            path.retain(|byte| *byte != 0);
            if !path.is_empty() && path[0] != b'/' {
                path.insert(0, b'/');
            }
            use FileType as F;
            let types =
                [F::Regular, F::Directory, F::Fifo, F::Socket, F::Link, F::Block, F::Character];
            let file_type = random.pick(&types).copied();
            Value::Path { path, file_type: file_type.filter(|_| kind_of == ValueKind::File) }
        }
        ValueKind::UnixAddress => {
            let mut path = text(random, &asked);
            path.retain(|byte| *byte != 0);
            if path.first() == Some(&b'@') {
                path[0] = 0;
            }
            Value::UnixAddress { family: if random.once_in(8) { 2 } else { 1 }, path }
        }
        ValueKind::Socket | ValueKind::SocketBuffer | ValueKind::SocketAddress => {
            Value::Socket(socket(random, kind_of, &asked))
        }
        ValueKind::Auto | ValueKind::Opaque => Value::Opaque,
    }
}

/// What the filters on one subject mention.
#[derive(Default)]
struct Asked {
    numbers: Vec<i128>,
    texts: Vec<Vec<u8>>,
    sources: Vec<Cidr>,
    destinations: Vec<Cidr>,
    source_ports: Vec<u16>,
    destination_ports: Vec<u16>,
    protocols: Vec<u16>,
    families: Vec<u16>,
    states: Vec<u16>,
}

impl Asked {
    fn of(subject: Subject, filters: &[&Filter]) -> Self {
        let mut asked = Self::default();
        for filter in filters {
            let FilterTest::Known(test) = &filter.test else { continue };
            if let Comparison::Cel(condition) = &test.comparison {
                named(condition, &mut asked);
            } else if filter.subject == subject {
                asked.add(&test.comparison);
            }
        }
        asked
    }

    fn add(&mut self, comparison: &Comparison) {
        use Comparison as C;
        match comparison {
            C::Integers(ranges) | C::Syscalls { numbers: ranges, .. } => {
                let ends = ranges.iter().flat_map(|range| [*range.start(), *range.end()]);
                self.numbers.extend(ends);
            }
            C::Greater(values) | C::Less(values) => self.numbers.extend(values),
            C::Mask(masks) => {
                let near = masks.iter().flat_map(|mask| [i128::from(*mask), i128::from(!*mask)]);
                self.numbers.extend(near);
            }
            C::Equal(values)
            | C::Prefix(values)
            | C::Postfix(values)
            | C::Contains(values)
            | C::ContainsIgnoringCase(values) => self.texts.extend(values.iter().cloned()),
            C::SourceAddress(networks) => self.sources.extend(networks),
            C::DestinationAddress(networks) => self.destinations.extend(networks),
            C::SourcePort(ranges) => {
                self.source_ports
                    .extend(ranges.iter().flat_map(|range| [*range.start(), *range.end()]));
            }
            C::DestinationPort(ranges) => {
                self.destination_ports
                    .extend(ranges.iter().flat_map(|range| [*range.start(), *range.end()]));
            }
            C::Protocol(values) => self.protocols.extend(values),
            C::Family(values) => self.families.extend(values),
            C::State(values) => self.states.extend(values),
            C::Matches(_) | C::FileType(_) | C::CapabilitiesGained { .. } | C::Cel(_) => {}
        }
    }
}

/// The numbers that an expression names, and what it compares texts with.
fn named(expression: &Expression, asked: &mut Asked) {
    match expression {
        Expression::Literal(value, _) => asked.numbers.push(*value),
        Expression::Compare(_, comparison) => asked.add(comparison),
        _ => {}
    }
    for operand in expression.operands() {
        named(operand, asked);
    }
}

/// A number that is asked about or one beside it, within the type; sometimes any.
fn integer(random: &mut Random, width: Width, asked: &Asked) -> i128 {
    let near = match random.pick(&asked.numbers).copied() {
        Some(number) if !random.once_in(6) => number + random.pick_or(&[0, 0, 1, -1], 0),
        _ => filter::integer(random, width),
    };
    let low = near & ((1 << width.bits) - 1);
    if width.range().contains(&low) { low } else { low - (1 << width.bits) }
}

/// A text that is asked about, or one that differs from it in one way.
fn text(random: &mut Random, asked: &Asked) -> Vec<u8> {
    let any = filter::text(random).into_bytes();
    let mut text = match random.pick(&asked.texts) {
        Some(text) if !random.once_in(8) => text.clone(),
        _ => any.clone(),
    };
    let last = text.len().saturating_sub(1);
    match random.below(12) {
        0 => text.extend(any),
        1 => text = [any, text].concat(),
        2 => text.truncate(last),
        3 => drop(text.drain(..text.len().min(1))),
        4 => text.push(b'a'),
        5 => text.insert(0, b'b'),
        6 => text.make_ascii_uppercase(),
        7 => {
            let at = random.below(text.len());
            if let Some(byte) = text.get_mut(at) {
                *byte ^= 1;
            }
        }
        8 if random.once_in(4) => text.clear(),
        _ => {}
    }
    text
}

fn socket(random: &mut Random, kind: ValueKind, asked: &Asked) -> Socket {
    let internet = !random.once_in(8);
    let networks = [&asked.sources[..], &asked.destinations].concat();
    let v4 = match random.pick(&networks) {
        Some(network) => network.address.is_ipv4() != random.once_in(6),
        None => random.once_in(2),
    };
    let mut end = |networks: &[Cidr], ports: &[u16]| {
        let fitting: Vec<Cidr> =
            networks.iter().filter(|network| network.address.is_ipv4() == v4).copied().collect();
        let address = Some(address(random, v4, &fitting)).filter(|_| internet);
        let near = [0, 1, u16::MAX];
        let port = match random.pick(ports).copied() {
            Some(port) if !random.once_in(6) => port.wrapping_add(random.pick_or(&near, 0)),
            _ => filter::port(random),
        };
        End { address, port: internet.then_some(port) }
    };
    let source = end(&asked.sources, &asked.source_ports);
    let destination = end(&asked.destinations, &asked.destination_ports);
    let family = match (internet, v4) {
        (true, true) => 2,
        (true, false) => 10,
        // A family that is not of the internet.
        (false, _) => random.pick_or(&[1, 16, 17], 1),
    };
    let whole = kind != ValueKind::SocketAddress;
    let protocol = choose(random, &asked.protocols, &[6, 17, 1]);
    let state = choose(random, &asked.states, &[1, 2, 7, 10]);
    Socket {
        family,
        protocol: whole.then_some(protocol),
        state: u8::try_from(state).ok().filter(|_| kind == ValueKind::Socket),
        source,
        destination: if whole { destination } else { End::default() },
    }
}

fn choose(random: &mut Random, asked: &[u16], other: &[u16]) -> u16 {
    let of = if asked.is_empty() || random.once_in(2) { other } else { asked };
    random.pick_or(of, 0)
}

/// An address at one of the edges of a network, inside or just outside; sometimes any.
fn address(random: &mut Random, v4: bool, networks: &[Cidr]) -> IpAddr {
    let step = random.below(5);
    let network = random.pick(networks).map(|network| (network.address, u32::from(network.prefix)));
    match network {
        Some((IpAddr::V4(first), prefix)) => {
            let last = first.to_bits() | u32::MAX.checked_shr(prefix).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(match step {
                0 => first.to_bits(),
                1 => last,
                2 => last.wrapping_add(1),
                3 => first.to_bits().wrapping_sub(1),
                _ => first.to_bits().wrapping_add(1),
            }))
        }
        Some((IpAddr::V6(first), prefix)) => {
            let last = first.to_bits() | u128::MAX.checked_shr(prefix).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(match step {
                0 => first.to_bits(),
                1 => last,
                2 => last.wrapping_add(1),
                3 => first.to_bits().wrapping_sub(1),
                _ => first.to_bits().wrapping_add(1),
            }))
        }
        None if v4 => IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | (random.next() >> 48) as u32)),
        None => IpAddr::V6(Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(random.next()))),
    }
}
