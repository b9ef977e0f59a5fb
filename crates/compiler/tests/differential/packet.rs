//! Packets made up: headers of IP and of what it carries, and the `struct sk_buff` that they are in.

use crate::arena::Arena;
use crate::real::Words;
use compiler::observed::SocketBuffer;
use kernel::btf::Btf;
use policy::evaluate::{End, Socket};
use std::net::IpAddr;

/// How a packet is laid out.
pub(crate) struct Layout {
    /// Bytes before the network header.
    network: usize,
    /// Words of options behind the header of IPv4.
    options: usize,
    /// Extension headers of IPv6, by number.
    extensions: Vec<u8>,
    /// A fragment that is not the first.
    later: bool,
    /// Only so many bytes of the transport's header are there.
    transport: usize,
    /// Length of the security path and offset of its last policy.
    pub(crate) security: Option<(u32, u32)>,
}

const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;

/// Transports that have ports.
const WITH_PORTS: [u16; 5] = [6, 17, 33, 132, 136];

impl Layout {
    pub(crate) fn new(words: &mut Words) -> Self {
        let mut extensions = vec![0, 43, FRAGMENT, AUTHENTICATION, 60];
        for _ in 0..words.below(6) {
            extensions.remove(words.below(extensions.len()));
        }
        let rotation = words.below(extensions.len().max(1));
        extensions.rotate_left(rotation);
        let with_extensions = words.below(3) == 0;
        let security = (words.next() as u32, words.next() as u32);
        Self {
            network: words.below(60),
            options: words.below(3),
            extensions: if with_extensions { extensions } else { Vec::new() },
            later: words.below(8) == 0,
            transport: if words.below(12) == 0 { words.below(4) } else { 8 },
            security: (words.below(4) == 0).then_some(security),
        }
    }

    /// Whether it is a fragment that has no header of the transport; in IPv6 its own header says so.
    fn is_later(&self, family: u16) -> bool {
        self.later && (family == 2 || self.extensions.contains(&FRAGMENT))
    }
}

/// Takes away what a packet of this layout does not have.
pub(crate) fn fit(socket: &mut Socket, layout: &Layout) {
    if socket.source.address.is_none() {
        *socket = Socket::default();
        return;
    }
    socket.state = None;
    let ported = socket.protocol.is_some_and(|protocol| WITH_PORTS.contains(&protocol));
    if !ported || layout.is_later(socket.family) || layout.transport < 4 {
        socket.source.port = None;
        socket.destination.port = None;
    }
}

/// The bytes of a packet from the network header on.
fn bytes(socket: &Socket, layout: &Layout) -> Vec<u8> {
    let address = |end: &End| match end.address {
        Some(IpAddr::V4(address)) => address.octets().to_vec(),
        Some(IpAddr::V6(address)) => address.octets().to_vec(),
        None => Vec::new(),
    };
    let protocol = socket.protocol.unwrap_or(0) as u8;
    let later = layout.is_later(socket.family);
    let mut packet = Vec::new();
    match socket.family {
        2 => {
            packet.resize(20 + 4 * layout.options, 0xee);
            packet[0] = 0x45 + layout.options as u8;
            let fragment: u16 = if later { 0x2001 } else { 0x4000 };
            packet[6..8].copy_from_slice(&fragment.to_be_bytes());
            packet[9] = protocol;
            packet[12..16].copy_from_slice(&address(&socket.source));
            packet[16..20].copy_from_slice(&address(&socket.destination));
        }
        10 => {
            packet.resize(40, 0xee);
            packet[0] = 0x60;
            packet[8..24].copy_from_slice(&address(&socket.source));
            packet[24..40].copy_from_slice(&address(&socket.destination));
            // Where the number of the next header goes.
            let mut next = 6;
            for extension in &layout.extensions {
                packet[next] = *extension;
                next = packet.len();
                let units = layout.options as u8;
                let size = match *extension {
                    FRAGMENT => 8,
                    AUTHENTICATION => 4 * (usize::from(units) + 2),
                    _ => 8 * (usize::from(units) + 1),
                };
                packet.resize(next + size, 0xee);
                packet[next + 1] = units;
                if *extension == FRAGMENT {
                    let place: u16 = if later { 8 } else { 1 };
                    packet[next + 2..next + 4].copy_from_slice(&place.to_be_bytes());
                    // What is behind it is not a header.
                    if later {
                        break;
                    }
                }
            }
            packet[next] = protocol;
        }
        // Neither version 4 nor 6.
        _ => packet.resize(28, 0x06),
    }
    let ports = [socket.source.port, socket.destination.port];
    let mut transport: Vec<u8> =
        ports.iter().flat_map(|port| port.unwrap_or(0xeeee).to_be_bytes()).collect();
    transport.extend([0xee; 4]);
    packet.extend(&transport[..layout.transport]);
    packet
}

/// The address of a `struct sk_buff` that holds the packet.
pub(crate) fn make(
    arena: &mut Arena,
    layout: &Layout,
    seen: &SocketBuffer,
    socket: &Socket,
) -> u64 {
    let packet = [&vec![0xdd; layout.network], bytes(socket, layout).as_slice()].concat();
    // What is behind `tail` is not the packet's.
    let head = arena.keep(&[&packet[..], &[0x11; 64]].concat());
    let made = arena.structure("sk_buff");
    arena.number(&made, "head", head);
    arena.number(&made, "network_header", layout.network as u64);
    arena.number(&made, "tail", packet.len() as u64);
    arena.number(&made, "hash", seen.hash.into());
    arena.number(&made, "len", seen.length.into());
    arena.number(&made, "priority", seen.priority.into());
    arena.number(&made, "mark", seen.mark.into());
    if let (Some((length, offset)), Some(id)) = (layout.security, security_extension(&arena.btf)) {
        let extensions = arena.structure("skb_ext");
        let path = arena.structure("sec_path");
        arena.number(&path, "len", length.into());
        arena.number(&path, "olen", offset.into());
        let units = (path.address - extensions.address) / 8;
        arena.number(&extensions, &format!("offset[{id}]"), units);
        arena.number(&made, "active_extensions", 1 << id);
        arena.number(&made, "extensions", extensions.address);
    }
    made.address
}

/// The number of the security path among the extensions of buffers; `None`: this kernel has none.
pub(crate) fn security_extension(btf: &Btf) -> Option<i64> {
    btf.enumerator("skb_ext_id", "SKB_EXT_SEC_PATH")
}
