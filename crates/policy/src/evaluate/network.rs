//! Sockets and addresses: SAddr, DAddr, SPort, DPort, Protocol, Family, State and negations.
//!
//! A value without the thing that is asked for (an address of a Unix socket, a port of ICMP, the
//! destination of a socket address) is matched by neither form.

use super::value::{End, Socket, Value};
use crate::checked::{Cidr, Comparison};
use std::net::IpAddr;

impl Cidr {
    /// Whether the address lies in the network. An IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) lies in
    /// networks of either kind; else the kinds must be the same.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.covers(address) || self.covers(address.to_canonical())
    }

    fn covers(&self, address: IpAddr) -> bool {
        let prefix = u32::from(self.prefix);
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= prefix
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= prefix
            }
            _ => false,
        }
    }
}

fn in_networks(end: End, networks: &[Cidr]) -> Option<bool> {
    let address = end.address?;
    Some(networks.iter().any(|network| network.contains(address)))
}

/// Whether a comparison of what sockets and addresses have holds.
pub(super) fn compare(comparison: &Comparison, value: &Value) -> Option<bool> {
    let socket = match value {
        Value::Socket(socket) => socket,
        Value::UnixAddress { family, .. } => &Socket { family: *family, ..Socket::default() },
        _ => return None,
    };
    match comparison {
        Comparison::SourceAddress(networks) => in_networks(socket.source, networks),
        Comparison::DestinationAddress(networks) => in_networks(socket.destination, networks),
        Comparison::SourcePort(ranges) => {
            socket.source.port.map(|port| ranges.iter().any(|range| range.contains(&port)))
        }
        Comparison::DestinationPort(ranges) => {
            socket.destination.port.map(|port| ranges.iter().any(|range| range.contains(&port)))
        }
        Comparison::Protocol(protocols) => {
            socket.protocol.map(|protocol| protocols.contains(&protocol))
        }
        Comparison::Family(families) => Some(families.contains(&socket.family)),
        Comparison::State(states) => socket.state.map(|state| states.contains(&u16::from(state))),
        _ => None,
    }
}
