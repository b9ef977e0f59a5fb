//! Tests of sockets, packets and socket addresses: networks, ports, protocols, families, states.
//!
//! What an object does not have (the address of a Unix socket, a port of ICMP) is unknown. An
//! IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) lies in networks of either kind.

use super::prefixes::{self, Prefix};
use super::ranges::{self, constant};
use crate::Error;
use crate::emit::{Emitter, Targets};
use crate::plan::Input;
use crate::value::network::{INET, INET6, Object, Side};
use ebpf::{Block, Cond, Size, Value};
use policy::checked::{Cidr, Comparison};
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// So many IPv6 networks are code; more are a table.
const CODE_MAX: usize = 16;

/// Tests something with a family and ends.
pub(crate) fn test(
    e: &mut Emitter<'_>,
    input: &Input,
    comparison: &Comparison,
    to: Targets,
) -> Result<(), Error> {
    let fault = e.fault_to(to.unknown);
    let loaded = e.load(input, fault)?;
    let object = e.network(input, loaded, fault)?;
    let (value, numbers) = match comparison {
        Comparison::SourceAddress(networks) => {
            return address(e, object, Side::Source, networks, fault, to);
        }
        Comparison::DestinationAddress(networks) => {
            return address(e, object, Side::Destination, networks, fault, to);
        }
        Comparison::SourcePort(ports) => {
            (e.port(object, Side::Source, to.unknown, fault)?, wide(ports))
        }
        Comparison::DestinationPort(ports) => {
            (e.port(object, Side::Destination, to.unknown, fault)?, wide(ports))
        }
        Comparison::Protocol(protocols) => match object {
            Object::Socket(socket) => (e.socket_protocol(socket)?, singles(protocols)),
            Object::Packet(packet) => (e.packet_protocol(packet, to.unknown), singles(protocols)),
            Object::Address(_) => return unsupported(comparison, input),
        },
        Comparison::Family(families) => (e.family(object)?, singles(families)),
        Comparison::State(states) => match object {
            Object::Socket(socket) => (e.socket_state(socket)?, singles(states)),
            _ => return unsupported(comparison, input),
        },
        _ => return unsupported(comparison, input),
    };
    ranges::within(e, value, false, &numbers, to.yes, to.no);
    Ok(())
}

fn unsupported(comparison: &Comparison, input: &Input) -> Result<(), Error> {
    Err(Error::Unsupported(format!("{comparison:?} of {}", input.kind)))
}

fn wide(ports: &[RangeInclusive<u16>]) -> Vec<RangeInclusive<i128>> {
    ports.iter().map(|range| (*range.start()).into()..=(*range.end()).into()).collect()
}

fn singles(numbers: &[u16]) -> Vec<RangeInclusive<i128>> {
    numbers.iter().map(|number| i128::from(*number)..=i128::from(*number)).collect()
}

fn address(
    e: &mut Emitter<'_>,
    object: Object,
    side: Side,
    networks: &[Cidr],
    fault: Block,
    to: Targets,
) -> Result<(), Error> {
    // An IPv4 network is a range of numbers.
    let ipv4: Vec<RangeInclusive<i128>> = networks
        .iter()
        .filter_map(|network| match network.address {
            IpAddr::V4(address) => {
                let start = i128::from(address.to_bits());
                Some(start..=start + (1 << (32 - network.prefix)) - 1)
            }
            IpAddr::V6(_) => None,
        })
        .collect();
    let ipv6: Vec<(u128, u32)> = networks
        .iter()
        .filter_map(|network| match network.address {
            IpAddr::V6(address) => Some((address.to_bits(), network.prefix.into())),
            IpAddr::V4(_) => None,
        })
        .collect();
    let family = e.family(object)?;
    let (four, six) = (e.b.create_block(), e.b.create_block());
    e.unless(Cond::Eq, family, INET, four);
    e.b.brif(Cond::Eq, family, INET6, six, to.unknown);

    e.b.switch_to(four);
    let address = e.ipv4(object, side, fault)?;
    ranges::within(e, address, false, &ipv4, to.yes, to.no);

    e.b.switch_to(six);
    let [upper, lower] = e.ipv6(object, side, fault)?;
    let mapped = e.b.create_block();
    in_ipv6(e, upper, lower, &ipv6, to.yes, mapped);
    e.b.switch_to(mapped);
    e.require(Cond::Eq, upper, 0, to.no);
    let prefix = e.b.lshr(lower, 32);
    e.require(Cond::Eq, prefix, 0xffff, to.no);
    let address = e.b.zext(lower, Size::U32);
    ranges::within(e, address, false, &ipv4, to.yes, to.no);
    Ok(())
}

/// Goes to `yes` when the address lies in one of the networks, else to `no`.
fn in_ipv6(
    e: &mut Emitter<'_>,
    upper: Value,
    lower: Value,
    networks: &[(u128, u32)],
    yes: Block,
    no: Block,
) {
    if networks.len() > CODE_MAX {
        let prefixes: Vec<Prefix> = networks
            .iter()
            .map(|(address, bits)| Prefix { bits: *bits, bytes: address.to_be_bytes().to_vec() })
            .collect();
        return prefixes::lookup(e, &[upper, lower], &prefixes, yes, no);
    }
    for (address, bits) in networks {
        let next = e.b.create_block();
        let halves = [(upper, (address >> 64) as u64), (lower, *address as u64)];
        for (index, (half, wanted)) in halves.into_iter().enumerate() {
            match bits.saturating_sub(64 * index as u32).min(64) {
                0 => {}
                64 => {
                    let wanted = constant(e, i128::from(wanted as i64));
                    e.require(Cond::Eq, half, wanted, next);
                }
                counted => {
                    let free = 64 - counted;
                    let half = e.b.lshr(half, free as i32);
                    let wanted = constant(e, i128::from((wanted >> free) as i64));
                    e.require(Cond::Eq, half, wanted, next);
                }
            }
        }
        e.b.jump(yes, &[]);
        e.b.switch_to(next);
    }
    e.b.jump(no, &[]);
}
