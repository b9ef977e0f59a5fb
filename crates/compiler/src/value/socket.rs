//! Sockets: `struct sock`, and `struct socket`, which has one.
//!
//! What is named `skc_` here is also in the small sockets that stand for a connection before and after
//! its own (`struct request_sock`, `struct inet_timewait_sock`); the rest of them is something else.

use super::network::{self, Object, Side};
use super::{Capture, Kind, bytes};
use crate::Error;
use crate::emit::load::status;
use crate::emit::{Emitter, Loaded};
use crate::observed::{self, Observed};
use crate::plan::Input;
use crate::read::Base;
use ebpf::{Block, Cond, Size, Value};
use policy::document::TypeName;

/// A socket in the record.
mod at {
    /// u32 each.
    pub(super) const FAMILY: i16 = 0;
    pub(super) const TYPE: i16 = 4;
    pub(super) const PROTOCOL: i16 = 8;
    pub(super) const STATE: i16 = 12;
    pub(super) const MARK: i16 = 16;
    pub(super) const PRIORITY: i16 = 20;
    /// u64
    pub(super) const COOKIE: i16 = 24;
    /// [`super::network::at`], twice.
    pub(super) const ENDS: i16 = 32;
    pub(super) const SIZE: i16 = ENDS + 2 * super::network::at::SIZE;
}

/// A socket.
pub(crate) struct Socket;

impl Kind for Socket {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let Capture { input, loaded, to, fault } = *capture;
        let socket = e.socket(input.kind, loaded, fault)?;
        for (at, member) in [
            (at::FAMILY, "__sk_common.skc_family"),
            (at::TYPE, "sk_type"),
            (at::PROTOCOL, "sk_protocol"),
            (at::STATE, "__sk_common.skc_state"),
            (at::MARK, "sk_mark"),
            (at::PRIORITY, "sk_priority"),
        ] {
            let value = e.read.get(&mut e.b, socket, "sock", member)?;
            e.b.store(Size::U32, to, at, value);
        }
        e.b.store(Size::U64, to, at::COOKIE, socket.value());
        let ends = e.b.add(to, i32::from(at::ENDS));
        e.store_ends(Object::Socket(socket), &[Side::Source, Side::Destination], ends, fault)?;
        Ok(e.b.iconst(at::SIZE.into()))
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        let word = |at: i16| bytes::u32(bytes, at as usize);
        let half = |at: i16| u16::try_from(word(at)?).ok();
        let family = half(at::FAMILY)?;
        let end = |side| network::end(bytes, at::ENDS, side, family);
        Some(Observed::Socket(Box::new(observed::Socket {
            family,
            kind: half(at::TYPE)?,
            protocol: half(at::PROTOCOL)?,
            state: u8::try_from(word(at::STATE)?).ok()?,
            mark: word(at::MARK)?,
            priority: word(at::PRIORITY)?,
            source: end(Side::Source)?,
            destination: end(Side::Destination)?,
            cookie: bytes::u64(bytes, at::COOKIE as usize)?,
        })))
    }
}

impl Emitter<'_> {
    /// The `struct sock` of a value. Goes to `fault`, which takes a status, where there is none.
    pub(crate) fn socket(
        &mut self,
        kind: TypeName,
        loaded: Loaded,
        fault: Block,
    ) -> Result<Base, Error> {
        if kind == TypeName::Sock {
            return self.structure(loaded, "sock", fault);
        }
        let socket = self.structure(loaded, "socket", fault)?;
        let sock = self.pointer(socket, "socket", "sk", "sock")?;
        // One that was released has none.
        self.fault_if(Cond::Eq, sock.value(), 0, fault, status::ADDRESS);
        Ok(sock)
    }

    /// Protocol of a socket, IPPROTO_*.
    pub(crate) fn socket_protocol(&mut self, socket: Base) -> Result<Value, Error> {
        Ok(self.read.get(&mut self.b, socket, "sock", "sk_protocol")?)
    }

    /// State of a socket, TCP_*.
    pub(crate) fn socket_state(&mut self, socket: Base) -> Result<Value, Error> {
        Ok(self.read.get(&mut self.b, socket, "sock", "__sk_common.skc_state")?)
    }

    /// As in memory.
    pub(super) fn socket_ipv4(&mut self, socket: Base, side: Side) -> Result<Value, Error> {
        let member = match side {
            Side::Source => "__sk_common.skc_rcv_saddr",
            Side::Destination => "__sk_common.skc_daddr",
        };
        Ok(self.read.get(&mut self.b, socket, "sock", member)?)
    }

    /// As in memory.
    pub(super) fn socket_ipv6(&mut self, socket: Base, side: Side) -> Result<[Value; 2], Error> {
        let member = match side {
            Side::Source => "__sk_common.skc_v6_rcv_saddr",
            Side::Destination => "__sk_common.skc_v6_daddr",
        };
        // Kernels without IPv6 have no such sockets.
        if !self.read.has("sock", member) {
            return Ok([self.b.iconst(0), self.b.iconst(0)]);
        }
        let offset = self.read.offset("sock", member)?;
        Ok([self.word(socket, offset), self.word(socket, offset + 8)])
    }

    pub(super) fn socket_port(&mut self, socket: Base, side: Side) -> Result<Value, Error> {
        let (b, read) = (&mut self.b, &self.read);
        Ok(match side {
            Side::Source => read.get(b, socket, "sock", "__sk_common.skc_num")?,
            Side::Destination => {
                let port = read.get(b, socket, "sock", "__sk_common.skc_dport")?;
                b.to_be(port, Size::U16)
            }
        })
    }
}
