//! Packets: `struct sk_buff`, read as far as its headers lie in its linear part.
//!
//! Family, addresses and ports come from the headers themselves, because a packet need not have a
//! socket. Where there is no IP header yet (`network_header` is set when one is written) the family is
//! AF_UNSPEC. In IPv6 the extension headers are skipped, so that the protocol is the transport's.
//! Offsets are from `head`; `tail` is an offset too on 64-bit machines
//! (`NET_SKBUFF_DATA_USES_OFFSET` in linux/skbuff.h).

use super::network::{self, INET, INET6, Object, Side};
use super::{Capture, Kind, bytes};
use crate::Error;
use crate::emit::{Emitter, Loaded};
use crate::observed::{Observed, SocketBuffer};
use crate::plan::Input;
use crate::read::Base;
use ebpf::{Block, Cond, Size, Value};

/// A packet in the record.
mod at {
    /// u32 each.
    pub(super) const FAMILY: i16 = 0;
    pub(super) const PROTOCOL: i16 = 4;
    pub(super) const HASH: i16 = 8;
    pub(super) const LENGTH: i16 = 12;
    pub(super) const PRIORITY: i16 = 16;
    pub(super) const MARK: i16 = 20;
    pub(super) const SECURITY_LENGTH: i16 = 24;
    pub(super) const SECURITY_OFFSET: i16 = 28;
    /// [`super::network::at`], twice.
    pub(super) const ENDS: i16 = 32;
    pub(super) const SIZE: i16 = ENDS + 2 * super::network::at::SIZE;
}

/// RFC 791.
mod ipv4 {
    pub(super) const SIZE: i32 = 20;
    pub(super) const FRAGMENT: u32 = 6;
    pub(super) const FRAGMENT_OFFSET: i32 = 0x1fff;
    pub(super) const PROTOCOL: u32 = 9;
    pub(super) const SOURCE: u32 = 12;
    pub(super) const DESTINATION: u32 = 16;
}

/// RFC 8200.
mod ipv6 {
    pub(super) const SIZE: i32 = 40;
    pub(super) const NEXT_HEADER: u32 = 6;
    pub(super) const SOURCE: u32 = 8;
    pub(super) const DESTINATION: u32 = 24;
    pub(super) const FRAGMENT_OFFSET: i32 = 0xfff8;

    /// Headers between the IPv6 header and the transport's: IPPROTO_*.
    const HOP_BY_HOP: i32 = 0;
    const ROUTING: i32 = 43;
    pub(super) const FRAGMENT: i32 = 44;
    pub(super) const AUTHENTICATION: i32 = 51;
    const DESTINATION_OPTIONS: i32 = 60;
    /// All of them, as bits.
    pub(super) const EXTENSIONS: i64 = 1 << HOP_BY_HOP
        | 1 << ROUTING
        | 1 << FRAGMENT
        | 1 << AUTHENTICATION
        | 1 << DESTINATION_OPTIONS;
    /// How many of them are skipped: one of each.
    pub(super) const EXTENSIONS_MAX: u32 = 5;
}

/// Transports whose header begins with source and destination port: TCP, UDP, DCCP, SCTP, UDP-Lite.
const WITH_PORTS: [i32; 5] = [6, 17, 33, 132, 136];

/// A packet's network header.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    buffer: Base,
    /// AF_INET, AF_INET6 or AF_UNSPEC.
    pub(super) family: Value,
    /// Address of `head`.
    head: Value,
    /// Where the network header is.
    network: Value,
    /// Where the linear part ends.
    tail: Value,
    /// Its transport, once it was looked for.
    transport: Option<Transport>,
}

/// A packet's transport.
#[derive(Clone, Copy)]
struct Transport {
    /// IPPROTO_*
    protocol: Value,
    /// Where its header is; 0 where the packet has none, being a later fragment.
    offset: Value,
}

/// A packet.
pub(crate) struct Buffer;

impl Kind for Buffer {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let Capture { loaded, to, fault, .. } = *capture;
        let packet = e.packet(loaded, fault)?;
        let transport = e.transport(packet);
        let packet = Packet { transport: Some(transport), ..packet };
        e.b.store(Size::U32, to, at::FAMILY, packet.family);
        e.b.store(Size::U32, to, at::PROTOCOL, transport.protocol);
        for (at, member) in [
            (at::HASH, "hash"),
            (at::LENGTH, "len"),
            (at::PRIORITY, "priority"),
            (at::MARK, "mark"),
        ] {
            let value = e.read.get(&mut e.b, packet.buffer, "sk_buff", member)?;
            e.b.store(Size::U32, to, at, value);
        }
        let ends = e.b.add(to, i32::from(at::ENDS));
        e.store_ends(Object::Packet(packet), &[Side::Source, Side::Destination], ends, fault)?;
        e.security_path(packet.buffer, to)?;
        Ok(e.b.iconst(at::SIZE.into()))
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        let word = |at: i16| bytes::u32(bytes, at as usize);
        let half = |at: i16| u16::try_from(word(at)?).ok();
        let family = half(at::FAMILY)?;
        let end = |side| network::end(bytes, at::ENDS, side, family);
        Some(Observed::Buffer(Box::new(SocketBuffer {
            family,
            protocol: half(at::PROTOCOL)?,
            hash: word(at::HASH)?,
            length: word(at::LENGTH)?,
            priority: word(at::PRIORITY)?,
            mark: word(at::MARK)?,
            source: end(Side::Source)?,
            destination: end(Side::Destination)?,
            security_path_length: word(at::SECURITY_LENGTH)?,
            security_path_offset: word(at::SECURITY_OFFSET)?,
        })))
    }
}

impl Emitter<'_> {
    /// Finds the network header. Goes to `fault`, which takes a status, where there is no packet.
    pub(super) fn packet(&mut self, loaded: Loaded, fault: Block) -> Result<Packet, Error> {
        let buffer = self.structure(loaded, "sk_buff", fault)?;
        let head = self.read.offset("sk_buff", "head")?;
        let head = self.word(buffer, head);
        let network = self.read.get(&mut self.b, buffer, "sk_buff", "network_header")?;
        let tail = self.read.get(&mut self.b, buffer, "sk_buff", "tail")?;
        let start = self.b.add(head, network);
        let byte = self.read.probe(&mut self.b, start, 0, Size::U8);
        let version = self.b.lshr(byte, 4);
        let done = self.b.create_block();
        let family = self.b.append_param(done);
        let unspecified = self.b.iconst(0);
        for (number, size, family) in [(4, ipv4::SIZE, INET), (6, ipv6::SIZE, INET6)] {
            let (matching, next) = (self.b.create_block(), self.b.create_block());
            self.b.brif(Cond::Eq, version, number, matching, next);
            self.b.switch_to(matching);
            let end = self.b.add(network, size);
            let family = self.b.iconst(family.into());
            self.b.branch(Cond::Ule, end, tail, done, &[family], done, &[unspecified]);
            self.b.switch_to(next);
        }
        self.b.jump(done, &[unspecified]);
        self.b.switch_to(done);
        Ok(Packet { buffer, family, head, network, tail, transport: None })
    }

    /// A number in the network header, as in memory.
    fn packet_field(&mut self, packet: Packet, offset: u32, size: Size) -> Value {
        let header = self.b.add(packet.head, packet.network);
        self.read.probe(&mut self.b, header, offset, size)
    }

    /// Protocol of the transport, IPPROTO_*. Goes to `none` where the packet is not IP.
    pub(crate) fn packet_protocol(&mut self, packet: Packet, none: Block) -> Value {
        self.require(Cond::Ne, packet.family, 0, none);
        self.transport(packet).protocol
    }

    /// As in memory.
    pub(super) fn packet_ipv4(&mut self, packet: Packet, side: Side) -> Value {
        let offset = match side {
            Side::Source => ipv4::SOURCE,
            Side::Destination => ipv4::DESTINATION,
        };
        self.packet_field(packet, offset, Size::U32)
    }

    /// As in memory.
    pub(super) fn packet_ipv6(&mut self, packet: Packet, side: Side) -> [Value; 2] {
        let offset = match side {
            Side::Source => ipv6::SOURCE,
            Side::Destination => ipv6::DESTINATION,
        };
        [offset, offset + 8].map(|offset| self.packet_field(packet, offset, Size::U64))
    }

    /// The port in host order. Goes to `none` where the packet has none.
    pub(super) fn packet_port(&mut self, packet: Packet, side: Side, none: Block) -> Value {
        let found = match packet.transport {
            Some(found) => found,
            None => self.transport(packet),
        };
        let Transport { protocol, offset } = found;
        self.require(Cond::Ne, offset, 0, none);
        let known = self.b.create_block();
        for with_ports in WITH_PORTS {
            self.unless(Cond::Eq, protocol, with_ports, known);
        }
        self.b.jump(none, &[]);
        self.b.switch_to(known);
        let end = self.b.add(offset, 4);
        self.require(Cond::Ule, end, packet.tail, none);
        let header = self.b.add(packet.head, offset);
        let at = if side == Side::Source { 0 } else { 2 };
        let port = self.read.probe(&mut self.b, header, at, Size::U16);
        self.b.to_be(port, Size::U16)
    }

    /// Finds the transport: protocol and offset 0 where the packet is not IP.
    fn transport(&mut self, packet: Packet) -> Transport {
        let (four, six, found) =
            (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let protocol = self.b.append_param(found);
        let offset = self.b.append_param(found);
        let zero = self.b.iconst(0);
        self.unless(Cond::Eq, packet.family, INET, four);
        self.b.branch(Cond::Eq, packet.family, INET6, six, &[], found, &[zero, zero]);

        self.b.switch_to(four);
        let next = self.packet_field(packet, ipv4::PROTOCOL, Size::U8);
        let words = self.packet_field(packet, 0, Size::U8);
        let words = self.b.and(words, 0xf);
        let size = self.b.shl(words, 2);
        let start = self.b.add(packet.network, size);
        let fragment = self.packet_field(packet, ipv4::FRAGMENT, Size::U16);
        let fragment = self.b.to_be(fragment, Size::U16);
        let fragment = self.b.and(fragment, ipv4::FRAGMENT_OFFSET);
        self.b.branch(Cond::Eq, fragment, 0, found, &[next, start], found, &[next, zero]);

        self.b.switch_to(six);
        let next = self.packet_field(packet, ipv6::NEXT_HEADER, Size::U8);
        let start = self.b.add(packet.network, ipv6::SIZE);
        let mut at = Transport { protocol: next, offset: start };
        for _ in 0..ipv6::EXTENSIONS_MAX {
            at = self.skip_extension(packet, at, found);
        }
        self.b.jump(found, &[at.protocol, at.offset]);
        self.b.switch_to(found);
        Transport { protocol, offset }
    }

    /// Skips an IPv6 extension header. Goes to `found` with protocol and offset where there is none.
    fn skip_extension(&mut self, packet: Packet, at: Transport, found: Block) -> Transport {
        let Transport { protocol, offset } = at;
        let extension = self.b.create_block();
        // Each is below 64, so that one number has a bit for each.
        self.b.branch(Cond::Ugt, protocol, 63, found, &[protocol, offset], extension, &[]);
        self.b.switch_to(extension);
        let bit = self.b.iconst(1);
        let bit = self.b.shl(bit, protocol);
        let known = self.b.iconst(ipv6::EXTENSIONS);
        let is_known = self.b.and(bit, known);
        let there = self.b.create_block();
        self.b.branch(Cond::Eq, is_known, 0, found, &[protocol, offset], there, &[]);
        self.b.switch_to(there);
        // What is not in the linear part cannot be skipped.
        let end = self.b.add(offset, 8);
        let whole = self.b.create_block();
        self.b.branch(Cond::Ugt, end, packet.tail, found, &[protocol, offset], whole, &[]);
        self.b.switch_to(whole);
        let header = self.b.add(packet.head, offset);
        let next = self.read.probe(&mut self.b, header, 0, Size::U8);
        let units = self.read.probe(&mut self.b, header, 1, Size::U8);
        // In units of 8 bytes, not counting the first one; in units of 4, not counting the first two.
        let options = self.b.add(units, 1);
        let options = self.b.shl(options, 3);
        let words = self.b.add(units, 2);
        let words = self.b.shl(words, 2);
        let (fragment, other, skip) =
            (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let size = self.b.append_param(skip);
        self.b.brif(Cond::Eq, protocol, ipv6::FRAGMENT, fragment, other);
        self.b.switch_to(other);
        self.b.branch(Cond::Eq, protocol, ipv6::AUTHENTICATION, skip, &[words], skip, &[options]);
        self.b.switch_to(fragment);
        let place = self.read.probe(&mut self.b, header, 2, Size::U16);
        let place = self.b.to_be(place, Size::U16);
        let place = self.b.and(place, ipv6::FRAGMENT_OFFSET);
        let (zero, eight) = (self.b.iconst(0), self.b.iconst(8));
        self.b.branch(Cond::Eq, place, 0, skip, &[eight], found, &[next, zero]);
        self.b.switch_to(skip);
        Transport { protocol: next, offset: self.b.add(offset, size) }
    }

    /// `skb_sec_path()`: an extension of the buffer, if its bit is set; offsets of extensions are in
    /// units of 8 bytes.
    fn security_path(&mut self, buffer: Base, to: Value) -> Result<(), Error> {
        self.b.store(Size::U32, to, at::SECURITY_LENGTH, 0);
        self.b.store(Size::U32, to, at::SECURITY_OFFSET, 0);
        let id = self.machine.btf.enumerator("skb_ext_id", "SKB_EXT_SEC_PATH");
        let (Some(id), true) = (id, self.read.has("sk_buff", "active_extensions")) else {
            return Ok(());
        };
        let (b, read) = (&mut self.b, &self.read);
        let active = read.get(b, buffer, "sk_buff", "active_extensions")?;
        let mine = b.and(active, 1 << id);
        let (there, done) = (b.create_block(), b.create_block());
        b.brif(Cond::Ne, mine, 0, there, done);
        b.switch_to(there);
        let extensions = read.get(b, buffer, "sk_buff", "extensions")?;
        let base = Base::Address(extensions);
        let units = read.get(b, base, "skb_ext", &format!("offset[{id}]"))?;
        let offset = b.shl(units, 3);
        let path = Base::Address(b.add(extensions, offset));
        let length = read.get(b, path, "sec_path", "len")?;
        b.store(Size::U32, to, at::SECURITY_LENGTH, length);
        let offset = read.get(b, path, "sec_path", "olen")?;
        b.store(Size::U32, to, at::SECURITY_OFFSET, offset);
        b.jump(done, &[]);
        b.switch_to(done);
        Ok(())
    }
}
