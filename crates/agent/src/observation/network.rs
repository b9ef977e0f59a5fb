//! Sockets, socket buffers and addresses. Numbers without a name are shown as numbers.

use api::tetragon as wire;
use compiler::observed::{End, Socket, SocketAddress, SocketBuffer};
use policy::names;

use super::text::text;

/// Address of what has none that events can show.
const NO_ADDRESS: &str = "invalid IP";

/// Names of socket types (include/linux/net.h), from 1.
const SOCKET_TYPES: [&str; 10] = [
    "SOCK_STREAM",
    "SOCK_DGRAM",
    "SOCK_RAW",
    "SOCK_RDM",
    "SOCK_SEQPACKET",
    "SOCK_DCCP",
    "7",
    "8",
    "9",
    "SOCK_PACKET",
];

fn named(name: Option<&'static str>, number: impl ToString) -> String {
    name.map_or_else(|| number.to_string(), str::to_owned)
}

fn family(number: u16) -> String {
    named(names::family(number), number)
}

fn protocol(number: u16) -> String {
    named(names::protocol(number), number)
}

fn socket_type(number: u16) -> String {
    let index = usize::from(number).checked_sub(1);
    named(index.and_then(|index| SOCKET_TYPES.get(index).copied()), number)
}

fn address(end: &End) -> String {
    end.address.map_or_else(|| NO_ADDRESS.to_owned(), |address| address.to_string())
}

pub(super) fn socket(socket: &Socket) -> wire::KprobeSock {
    wire::KprobeSock {
        family: family(socket.family),
        r#type: socket_type(socket.kind),
        protocol: protocol(socket.protocol),
        mark: socket.mark,
        priority: socket.priority,
        saddr: address(&socket.source),
        daddr: address(&socket.destination),
        sport: socket.source.port.into(),
        dport: socket.destination.port.into(),
        cookie: socket.cookie,
        state: named(names::tcp_state(socket.state), socket.state),
    }
}

pub(super) fn buffer(buffer: &SocketBuffer) -> wire::KprobeSkb {
    wire::KprobeSkb {
        hash: buffer.hash,
        len: buffer.length,
        priority: buffer.priority,
        mark: buffer.mark,
        saddr: address(&buffer.source),
        daddr: address(&buffer.destination),
        sport: buffer.source.port.into(),
        dport: buffer.destination.port.into(),
        proto: buffer.protocol.into(),
        sec_path_len: buffer.security_path_length,
        sec_path_olen: buffer.security_path_offset,
        protocol: protocol(buffer.protocol),
        family: family(buffer.family),
    }
}

pub(super) fn internet_address(given: &SocketAddress) -> wire::KprobeSockaddr {
    wire::KprobeSockaddr {
        family: family(given.family),
        addr: address(&given.end),
        port: given.end.port.into(),
    }
}

/// Abstract names begin with `@` and lose their NUL bytes.
pub(super) fn unix_address(number: u16, path: &[u8]) -> wire::KprobeSockaddrUn {
    let mut shown = Vec::with_capacity(path.len());
    if path.first() == Some(&0) && path.len() > 1 {
        shown.push(b'@');
    }
    shown.extend(path.iter().filter(|&&byte| byte != 0));
    wire::KprobeSockaddrUn { family: family(number), path: text(&shown) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(address: &str, port: u16) -> End {
        End { address: address.parse().ok(), port }
    }

    #[test]
    fn tcp_socket() {
        let mut given = Socket {
            family: 2,
            kind: 1,
            protocol: 6,
            state: 2,
            mark: 7,
            priority: 8,
            source: end("10.0.0.1", 1234),
            destination: end("::ffff:1.2.3.4", 80),
            cookie: 0xffff_8881_0000_0000,
        };
        assert_eq!(
            socket(&given),
            wire::KprobeSock {
                family: "AF_INET".into(),
                r#type: "SOCK_STREAM".into(),
                protocol: "IPPROTO_TCP".into(),
                mark: 7,
                priority: 8,
                saddr: "10.0.0.1".into(),
                daddr: "::ffff:1.2.3.4".into(),
                sport: 1234,
                dport: 80,
                cookie: 0xffff_8881_0000_0000,
                state: "TCP_SYN_SENT".into(),
            }
        );
        (given.family, given.kind, given.protocol, given.state) = (1, 5, 0, 1);
        (given.source, given.destination) = (end("", 0), end("", 0));
        let unix = socket(&given);
        assert_eq!((unix.family.as_str(), unix.r#type.as_str()), ("AF_UNIX", "SOCK_SEQPACKET"));
        assert_eq!((unix.saddr.as_str(), unix.daddr.as_str()), ("invalid IP", "invalid IP"));
        assert_eq!(unix.protocol, "IPPROTO_IP");
    }

    #[test]
    fn numbers_without_a_name() {
        let given = Socket {
            family: 99,
            kind: 11,
            protocol: 253,
            state: 0,
            mark: 0,
            priority: 0,
            source: end("", 0),
            destination: end("", 0),
            cookie: 0,
        };
        let shown = socket(&given);
        let texts = [shown.family, shown.r#type, shown.protocol, shown.state];
        assert_eq!(texts, ["99", "11", "253", "0"]);
        assert_eq!(socket_type(0), "0");
        assert_eq!(socket_type(7), "7");
        assert_eq!(socket_type(10), "SOCK_PACKET");
    }

    #[test]
    fn socket_buffer() {
        let given = SocketBuffer {
            family: 10,
            protocol: 17,
            hash: 1,
            length: 2,
            priority: 3,
            mark: 4,
            source: end("fe80::1", 53),
            destination: end("2001:db8::2", 5353),
            security_path_length: 5,
            security_path_offset: 6,
        };
        assert_eq!(
            buffer(&given),
            wire::KprobeSkb {
                hash: 1,
                len: 2,
                priority: 3,
                mark: 4,
                saddr: "fe80::1".into(),
                daddr: "2001:db8::2".into(),
                sport: 53,
                dport: 5353,
                proto: 17,
                sec_path_len: 5,
                sec_path_olen: 6,
                protocol: "IPPROTO_UDP".into(),
                family: "AF_INET6".into(),
            }
        );
    }

    #[test]
    fn addresses() {
        let given = SocketAddress { family: 2, end: end("127.0.0.1", 8080) };
        let shown = internet_address(&given);
        assert_eq!((shown.family.as_str(), shown.addr.as_str()), ("AF_INET", "127.0.0.1"));
        assert_eq!(shown.port, 8080);
        let given = SocketAddress { family: 16, end: end("", 0) };
        assert_eq!(internet_address(&given).addr, "invalid IP");
        let cases: &[(&[u8], &str)] = &[
            (b"/run/x.sock", "/run/x.sock"),
            (b"/run/x.sock\0\0", "/run/x.sock"),
            (b"\0abstract", "@abstract"),
            (b"\0a\0b\0", "@ab"),
            (b"\0", ""),
            (b"", ""),
            (b"\0\xff\xfe", "@\u{fffd}"),
        ];
        for (path, expected) in cases {
            let shown = unix_address(1, path);
            assert_eq!((shown.family.as_str(), shown.path.as_str()), ("AF_UNIX", *expected));
        }
    }
}
