//! Sockets and packets: what is captured of them, and what the operators make of it.
//!
//! The kernel's typed tracepoints show them everywhere, functions where there are trampolines.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::observed::{End, Observation, Observed, Socket, SocketBuffer};
use harness::{Harness, hook_number, hooks, own_thread, policy};
use kernel::features::Feature;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};

/// What this thread's calls show while `body` runs.
fn own(harness: &mut Harness, body: impl FnOnce()) -> Vec<Observation> {
    own_thread(harness.during(body))
}

/// With and without pointers of types that the verifier is told.
fn harnesses() -> impl Iterator<Item = Harness> {
    [Harness::new(), Harness::lacking(Feature::RdonlyCast)].into_iter().flatten()
}

fn end(address: SocketAddr) -> End {
    End { address: Some(address.ip()), port: address.port() }
}

/// A connection within this machine, closed again by this end first. Gives this end's address and the
/// other's.
fn connection(to: &str) -> (SocketAddr, SocketAddr) {
    let listener = TcpListener::bind(to).unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let ends = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    drop(stream);
    ends
}

/// A policy on changes of TCP states to `new`, with a filter on the socket, which still has the old one.
fn on_state(kind: &str, new: u32, filter: &str) -> String {
    policy("state", "tracepoints", &on_state_hook(kind, new, filter))
}

fn on_state_hook(kind: &str, new: u32, filter: &str) -> String {
    let resolve = if kind == "socket" { ", resolve: sk_socket" } else { "" };
    let mut hook = format!(
        "subsystem: sock\nevent: inet_sock_set_state\nraw: true\nargs:\n- {{index: 0, type: {kind}{resolve}}}\n- {{index: 2, type: int}}\nselectors:\n- matchArgs:\n  - {{args: [1], operator: Equal, values: ['{new}']}}\n"
    );
    if !filter.is_empty() {
        hook.push_str(&format!("  - {{args: [0], {filter}}}\n"));
    }
    hook
}

/// TCP_FIN_WAIT1, into which the end goes that closes.
const FIN_WAIT1: u32 = 4;

fn socket(seen: &Observation) -> Socket {
    match &seen.args[0] {
        Some(Observed::Socket(socket)) => (**socket).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn sockets_are_captured() {
    for mut harness in harnesses() {
        harness.load(&on_state("sock", FIN_WAIT1, ""));
        for (to, family) in [("127.0.0.1:0", 2), ("[::1]:0", 10)] {
            let mut ends = None;
            let seen = own(&mut harness, || ends = Some(connection(to)));
            let (source, destination) = ends.unwrap();
            assert_eq!(seen.len(), 1, "{to}: {seen:?}");
            let socket = socket(&seen[0]);
            assert!(socket.cookie > 1 << 63, "{socket:?}");
            let expected = Socket {
                family,
                kind: 1,
                protocol: 6,
                state: 1,
                mark: 0,
                priority: 0,
                source: end(source),
                destination: end(destination),
                cookie: socket.cookie,
            };
            assert_eq!(socket, expected);
        }
    }
}

#[test]
fn what_a_socket_belongs_to_is_captured_as_it() {
    for mut harness in harnesses() {
        harness.load(&on_state("socket", FIN_WAIT1, "operator: SAddr, values: [127.0.0.0/8]"));
        let mut ends = None;
        let seen = own(&mut harness, || ends = Some(connection("127.0.0.1:0")));
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(socket(&seen[0]).source, end(ends.unwrap().0));
    }
}

#[test]
fn sockets_are_filtered() {
    for (to, is_ipv6) in [("127.0.0.1:0", false), ("[::1]:0", true)] {
        let listener = TcpListener::bind(to).unwrap();
        let port = listener.local_addr().unwrap().port();
        let number = |by: i32| (i32::from(port) + by).to_string();
        let table = [
            ("operator: SAddr, values: ['127.0.0.1/32', '::2']", true, false),
            ("operator: NotSAddr, values: ['127.0.0.1/32', '::2']", false, true),
            ("operator: DAddr, values: ['127.0.0.2', '::/127']", false, true),
            ("operator: NotDAddr, values: ['127.0.0.2', '::/127']", true, false),
            ("operator: DPort, values: ['PORT']", true, true),
            ("operator: DPort, values: ['PORT-1', 'PORT+1']", false, false),
            ("operator: DPort, values: ['PORT-1:PORT+1']", true, true),
            ("operator: NotDPort, values: ['PORT+1:65535']", true, true),
            ("operator: SPort, values: ['PORT']", false, false),
            ("operator: NotSPort, values: ['PORT']", true, true),
            ("operator: DPortPriv", false, false),
            ("operator: NotSPortPriv", true, true),
            ("operator: Protocol, values: [IPPROTO_TCP]", true, true),
            ("operator: Protocol, values: [IPPROTO_UDP, '5', '7']", false, false),
            ("operator: NotProtocol, values: [IPPROTO_UDP]", true, true),
            ("operator: Family, values: [AF_INET]", true, false),
            ("operator: NotFamily, values: [AF_INET, AF_UNIX]", false, true),
            ("operator: State, values: [TCP_ESTABLISHED]", true, true),
            ("operator: State, values: [TCP_CLOSE_WAIT, TCP_FIN_WAIT1]", false, false),
        ];
        let filters = table.map(|(filter, ..)| {
            let filter = filter.replace("PORT-1", &number(-1)).replace("PORT+1", &number(1));
            on_state_hook("sock", FIN_WAIT1, &filter.replace("PORT", &number(0)))
        });
        for mut harness in harnesses() {
            harness.load(&hooks("state", "tracepoints", &filters));
            let seen = own(&mut harness, || {
                drop(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            });
            let seen: Vec<usize> = seen.iter().map(hook_number).collect();
            for (index, (filter, of_ipv4, of_ipv6)) in table.iter().enumerate() {
                let expected = if is_ipv6 { of_ipv6 } else { of_ipv4 };
                assert_eq!(seen.contains(&index), *expected, "{filter} of {to}");
            }
        }
    }
}

#[test]
fn ipv4_addresses_in_ipv6_sockets_lie_in_networks_of_either_kind() {
    for mut harness in harnesses() {
        for (values, expected) in [
            ("'127.0.0.0/8'", true),
            ("'127.0.0.2/31'", false),
            ("'::ffff:127.0.0.0/104'", true),
            ("'::ffff:0:0/96'", true),
            ("'::/97'", false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let mapped: SocketAddr = format!("[::ffff:127.0.0.1]:{port}").parse().unwrap();
            let filter = format!("operator: DAddr, values: [{values}]");
            harness.load(&on_state("sock", FIN_WAIT1, &filter));
            let seen = own(&mut harness, || drop(TcpStream::connect(mapped).unwrap()));
            harness.remove("state");
            assert_eq!(!seen.is_empty(), expected, "{values}");
        }
    }
}

/// A policy on packets that are sent, with a filter.
fn on_packet(filter: &str) -> String {
    policy("packet", "tracepoints", &on_packet_hook(filter))
}

fn on_packet_hook(filter: &str) -> String {
    let mut hook =
        "subsystem: net\nevent: net_dev_queue\nraw: true\nargs:\n- {index: 0, type: skb}\n"
            .to_owned();
    if !filter.is_empty() {
        hook.push_str(&format!("selectors:\n- matchArgs:\n  - {{index: 0, {filter}}}\n"));
    }
    hook
}

/// Sends a datagram of so many bytes to nobody.
fn datagram(from: &UdpSocket, to: SocketAddr, size: usize) {
    assert_eq!(from.send_to(&vec![7; size], to).unwrap(), size);
}

fn packets(seen: &[Observation]) -> Vec<SocketBuffer> {
    let packet = |seen: &Observation| match &seen.args[0] {
        Some(Observed::Buffer(packet)) => (**packet).clone(),
        other => panic!("{other:?}"),
    };
    seen.iter().map(packet).collect()
}

#[test]
fn packets_are_captured() {
    for mut harness in harnesses() {
        harness.load(&on_packet(""));
        for (to, family, headers) in [("127.0.0.1:7", 2, 14 + 20 + 8), ("[::1]:7", 10, 14 + 40 + 8)]
        {
            let to: SocketAddr = to.parse().unwrap();
            let from = UdpSocket::bind((to.ip(), 0)).unwrap();
            let source = from.local_addr().unwrap();
            let seen = packets(&own(&mut harness, || datagram(&from, to, 100)));
            // What nobody waits for is answered at once, on the way.
            let sent: Vec<_> = seen.iter().filter(|packet| packet.protocol == 17).collect();
            assert_eq!(sent.len(), 1, "{seen:?}");
            let expected = SocketBuffer {
                family,
                protocol: 17,
                hash: sent[0].hash,
                length: headers + 100,
                priority: 0,
                mark: 0,
                source: end(source),
                destination: end(to),
                security_path_length: 0,
                security_path_offset: 0,
            };
            assert_eq!(*sent[0], expected);
        }
    }
}

#[test]
fn packets_are_filtered() {
    let ipv4: SocketAddr = "127.1.2.3:777".parse().unwrap();
    let ipv6: SocketAddr = "[::1]:777".parse().unwrap();
    let table = [
        ("operator: DAddr, values: ['127.1.2.0/24']", true, false),
        ("operator: DAddr, values: ['127.1.3.0/24', '::1']", false, true),
        ("operator: NotDAddr, values: ['127.1.2.3']", false, true),
        ("operator: DPort, values: ['777']", true, true),
        ("operator: DPort, values: ['776', '778']", false, false),
        ("operator: DPortPriv", true, true),
        ("operator: SPort, values: ['777']", false, false),
        ("operator: Protocol, values: [IPPROTO_UDP]", true, true),
        ("operator: Protocol, values: [IPPROTO_TCP]", false, false),
        ("operator: Family, values: [AF_INET6]", false, true),
    ];
    let filters = table.map(|(filter, ..)| on_packet_hook(filter));
    for mut harness in harnesses() {
        harness.load(&hooks("packet", "tracepoints", &filters));
        for to in [ipv4, ipv6] {
            let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let from = UdpSocket::bind((any, 0)).unwrap();
            let mut seen = own(&mut harness, || datagram(&from, to, 1));
            // What is sent, not the answer that nobody is there.
            seen.retain(|seen| packets(std::slice::from_ref(seen))[0].destination.port == 777);
            let seen: Vec<usize> = seen.iter().map(hook_number).collect();
            for (index, (filter, of_ipv4, of_ipv6)) in table.iter().enumerate() {
                let expected = if to.is_ipv4() { of_ipv4 } else { of_ipv6 };
                assert_eq!(seen.contains(&index), *expected, "{filter} of {to}");
            }
        }
    }
}
