//! What sockets, packets and socket addresses have in common: a family, ends with address and port.
//!
//! Captures and filters read them by the same functions, each only what it needs. Values that an object
//! does not have (the port of a Unix socket) are told apart by its family and protocol, never by 0.

use super::packet::Packet;
use super::sockaddr::Address;
use crate::Error;
use crate::emit::{Emitter, Loaded};
use crate::observed;
use crate::plan::Input;
use crate::read::Base;
use ebpf::{Block, Cond, Size, Value};
use policy::document::TypeName;
use std::net::IpAddr;

/// AF_UNIX
pub(crate) const UNIX: i32 = 1;
/// AF_INET
pub(crate) const INET: i32 = 2;
/// AF_INET6
pub(crate) const INET6: i32 = 10;

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The local one of a socket; the one that a socket address names.
    Source,
    /// The remote one.
    Destination,
}

/// Something with a family and ends.
#[derive(Clone, Copy)]
pub(crate) enum Object {
    /// A `struct sock`.
    Socket(Base),
    /// What a `struct sk_buff` holds.
    Packet(Packet),
    /// A `struct sockaddr`.
    Address(Address),
}

impl Emitter<'_> {
    /// The object that a value of a type with ends points to. Goes to `fault`, which takes a status,
    /// where there is none.
    pub(crate) fn network(
        &mut self,
        input: &Input,
        loaded: Loaded,
        fault: Block,
    ) -> Result<Object, Error> {
        Ok(match input.kind {
            TypeName::Sock | TypeName::Socket => {
                Object::Socket(self.socket(input.kind, loaded, fault)?)
            }
            TypeName::Skb => Object::Packet(self.packet(loaded, fault)?),
            _ => Object::Address(self.socket_address(input, loaded, fault)),
        })
    }

    /// Its address family, AF_*.
    pub(crate) fn family(&mut self, object: Object) -> Result<Value, Error> {
        Ok(match object {
            Object::Socket(socket) => {
                self.read.get(&mut self.b, socket, "sock", "__sk_common.skc_family")?
            }
            Object::Packet(packet) => packet.family,
            Object::Address(address) => address.family,
        })
    }

    /// The IPv4 address of an end, as a number in host order. The family is AF_INET.
    pub(crate) fn ipv4(
        &mut self,
        object: Object,
        side: Side,
        fault: Block,
    ) -> Result<Value, Error> {
        let address = match object {
            Object::Socket(socket) => self.socket_ipv4(socket, side)?,
            Object::Packet(packet) => self.packet_ipv4(packet, side),
            Object::Address(address) => self.sockaddr_ipv4(address, fault),
        };
        Ok(self.b.to_be(address, Size::U32))
    }

    /// The IPv6 address of an end, as its upper and lower half, in host order. The family is AF_INET6.
    pub(crate) fn ipv6(
        &mut self,
        object: Object,
        side: Side,
        fault: Block,
    ) -> Result<[Value; 2], Error> {
        let halves = match object {
            Object::Socket(socket) => self.socket_ipv6(socket, side)?,
            Object::Packet(packet) => self.packet_ipv6(packet, side),
            Object::Address(address) => self.sockaddr_ipv6(address, fault),
        };
        Ok(halves.map(|half| self.b.to_be(half, Size::U64)))
    }

    /// The port of an end, in host order. Goes to `none` where the object has no ports.
    pub(crate) fn port(
        &mut self,
        object: Object,
        side: Side,
        none: Block,
        fault: Block,
    ) -> Result<Value, Error> {
        match object {
            Object::Socket(socket) => {
                let family = self.family(object)?;
                self.internet(family, none);
                self.socket_port(socket, side)
            }
            Object::Packet(packet) => Ok(self.packet_port(packet, side, none)),
            Object::Address(address) => {
                self.internet(address.family, none);
                Ok(self.sockaddr_port(address, fault))
            }
        }
    }

    /// Goes on when the family is AF_INET or AF_INET6, else at `otherwise`.
    fn internet(&mut self, family: Value, otherwise: Block) {
        let on = self.b.create_block();
        self.unless(Cond::Eq, family, INET, on);
        self.require(Cond::Eq, family, INET6, otherwise);
        self.b.jump(on, &[]);
        self.b.switch_to(on);
    }

    /// Writes both ends, or the source alone, as [`at`] says, for [`end`] to read.
    pub(super) fn store_ends(
        &mut self,
        object: Object,
        sides: &[Side],
        to: Value,
        fault: Block,
    ) -> Result<(), Error> {
        let family = self.family(object)?;
        for side in sides {
            let offset = side.offset();
            for zero in [at::ADDRESS, at::ADDRESS + 8, at::PORT] {
                self.b.store(Size::U64, to, offset + zero, 0);
            }
        }
        let (four, six, addressed) =
            (self.b.create_block(), self.b.create_block(), self.b.create_block());
        self.unless(Cond::Eq, family, INET, four);
        self.b.brif(Cond::Eq, family, INET6, six, addressed);
        self.b.switch_to(four);
        for side in sides {
            let address = self.ipv4(object, *side, fault)?;
            self.b.store(Size::U64, to, side.offset() + at::ADDRESS, address);
        }
        self.b.jump(addressed, &[]);
        self.b.switch_to(six);
        for side in sides {
            let [upper, lower] = self.ipv6(object, *side, fault)?;
            self.b.store(Size::U64, to, side.offset() + at::ADDRESS, lower);
            self.b.store(Size::U64, to, side.offset() + at::ADDRESS + 8, upper);
        }
        self.b.jump(addressed, &[]);
        self.b.switch_to(addressed);
        let done = self.b.create_block();
        for side in sides {
            let port = self.port(object, *side, done, fault)?;
            self.b.store(Size::U64, to, side.offset() + at::PORT, port);
        }
        self.b.jump(done, &[]);
        self.b.switch_to(done);
        Ok(())
    }
}

/// An end in the record, in words of eight bytes.
pub(super) mod at {
    /// Address as a number of 128 bits, the lower half first.
    pub(crate) const ADDRESS: i16 = 0;
    /// Port.
    pub(crate) const PORT: i16 = 16;
    /// Size.
    pub(crate) const SIZE: i16 = 24;
}

impl Side {
    fn offset(self) -> i16 {
        match self {
            Self::Source => 0,
            Self::Destination => at::SIZE,
        }
    }
}

/// Reads an end back; `start`: where the ends begin.
pub(super) fn end(bytes: &[u8], start: i16, side: Side, family: u16) -> Option<observed::End> {
    let word = |at: i16| super::bytes::u64(bytes, (start + side.offset() + at) as usize);
    let (lower, upper) = (word(at::ADDRESS)?, word(at::ADDRESS + 8)?);
    let address = match i32::from(family) {
        INET => Some(IpAddr::from((lower as u32).to_be_bytes())),
        INET6 => Some(IpAddr::from((u128::from(upper) << 64 | u128::from(lower)).to_be_bytes())),
        _ => None,
    };
    Some(observed::End { address, port: u16::try_from(word(at::PORT)?).ok()? })
}
