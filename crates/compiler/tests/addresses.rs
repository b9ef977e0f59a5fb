//! Socket addresses that system calls are given: what is captured, and what the operators make of it.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::observed::{End, Observation, Observed, SocketAddress};
use harness::{Harness, own_thread, policy};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;

/// What this thread's calls show while `body` runs.
fn own(harness: &mut Harness, body: impl FnOnce()) -> Vec<Observation> {
    own_thread(harness.during(body))
}

/// A policy on connect(2) with a filter on the address.
fn on_connect(kind: &str, filter: &str) -> String {
    let mut hook =
        format!("call: sys_connect\nsyscall: true\nargs:\n- {{index: 1, type: {kind}}}\n");
    if !filter.is_empty() {
        hook.push_str(&format!("selectors:\n- matchArgs:\n  - {{index: 1, {filter}}}\n"));
    }
    policy("connect", "kprobes", &hook)
}

/// Connects a datagram socket, which sends nothing.
fn connect(to: &str) {
    let to: SocketAddr = to.parse().unwrap();
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    // Without a route it fails; the call is made all the same.
    let _ = socket.connect(to);
}

/// Connects a Unix socket to an address where nobody listens.
fn connect_unix(to: &SocketAddrUnix) {
    let socket: OwnedFd =
        rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    assert!(rustix::net::connect(&socket, to).is_err());
}

#[test]
fn internet_addresses_are_captured() {
    let Some(mut harness) = Harness::new() else { return };
    harness.load(&on_connect("sockaddr", ""));
    let seen = own(&mut harness, || {
        connect("127.1.2.3:4660");
        connect("[::1]:9");
        connect_unix(&SocketAddrUnix::new("/tmp/tested-nobody").unwrap());
    });
    let address = |family, address: Option<&str>, port| {
        let address = address.map(|address| address.parse::<IpAddr>().unwrap());
        Some(Observed::Address(SocketAddress { family, end: End { address, port } }))
    };
    let args: Vec<_> = seen.iter().map(|seen| seen.args[0].clone()).collect();
    assert_eq!(
        args,
        [address(2, Some("127.1.2.3"), 4660), address(10, Some("::1"), 9), address(1, None, 0)]
    );
}

/// Tries filters on connections to these addresses: with which of them each sees connect(2).
fn check(filters: &[(&str, &[&str], &[&str])]) {
    let Some(mut harness) = Harness::new() else { return };
    for (filter, addresses, wanted) in filters {
        harness.load(&on_connect("sockaddr", filter));
        let seen = own(&mut harness, || addresses.iter().for_each(|address| connect(address)));
        harness.remove("connect");
        let text = |seen: &Observation| match &seen.args[0] {
            Some(Observed::Address(SocketAddress { end, .. })) => {
                SocketAddr::from((end.address.unwrap(), end.port)).to_string()
            }
            other => panic!("{other:?}"),
        };
        let seen: Vec<String> = seen.iter().map(text).collect();
        assert_eq!(seen, *wanted, "{filter}");
    }
}

const ADDRESSES: [&str; 8] = [
    "127.0.0.1:9",
    "127.0.1.0:9",
    "127.0.1.255:9",
    "127.0.2.0:9",
    "[::1]:9",
    "[::2]:9",
    "[::ffff:127.0.1.1]:9",
    "[fd00:1:2:3:4::]:9",
];

#[test]
fn addresses_lie_in_networks() {
    let in_net = ["127.0.1.0:9", "127.0.1.255:9", "[::ffff:127.0.1.1]:9"];
    check(&[
        ("operator: SAddr, values: ['127.0.1.0/24']", &ADDRESSES, &in_net),
        (
            "operator: NotSAddr, values: ['127.0.1.0/24', '::/64']",
            &ADDRESSES,
            &["127.0.0.1:9", "127.0.2.0:9", "[fd00:1:2:3:4::]:9"],
        ),
        ("operator: SAddr, values: ['::1']", &ADDRESSES, &["[::1]:9"]),
        (
            "operator: SAddr, values: ['::/126', '127.0.0.1']",
            &ADDRESSES,
            &["127.0.0.1:9", "[::1]:9", "[::2]:9"],
        ),
        ("operator: SAddr, values: ['fd00:1:2:2::/63']", &ADDRESSES, &["[fd00:1:2:3:4::]:9"]),
        ("operator: SAddr, values: ['fd00:1:2:4::/63']", &ADDRESSES, &[]),
        (
            "operator: SAddr, values: ['0.0.0.0/0']",
            &ADDRESSES,
            &["127.0.0.1:9", "127.0.1.0:9", "127.0.1.255:9", "127.0.2.0:9", "[::ffff:127.0.1.1]:9"],
        ),
        ("operator: SAddr, values: ['::/0']", &ADDRESSES, &ADDRESSES[4..]),
    ]);
}

#[test]
fn many_networks_are_searched_not_tried() {
    let list = |values: Vec<String>| format!("operator: SAddr, values: {values:?}");
    // Every second address, so that none can be joined.
    let ipv4 = |count: u32| {
        (0..count).map(|n| format!("127.{}.{}.{}", n >> 15, n >> 7 & 255, (n & 127) * 2))
    };
    let own = ["127.0.0.0:9", "127.0.0.1:9", "127.0.0.2:9", "127.0.4.0:9", "127.1.0.1:9"];
    let ipv6 = (0..100).map(|n| format!("fd00:{:x}::/32", 2 * n)).chain(["::1".to_owned()]);
    check(&[
        (&list(ipv4(300).collect()), &own, &["127.0.0.0:9", "127.0.0.2:9"]),
        (&list(ipv4(5000).collect()), &own, &["127.0.0.0:9", "127.0.0.2:9", "127.0.4.0:9"]),
        (
            &list(ipv6.collect()),
            &[
                "[fd00:0:1::]:9",
                "[fd00:1::]:9",
                "[fd00:c6::1]:9",
                "[fd00:c8::]:9",
                "[::1]:9",
                "[::2]:9",
            ],
            &["[fd00:0:1::]:9", "[fd00:c6::1]:9", "[::1]:9"],
        ),
    ]);
}

#[test]
fn ports_and_families() {
    let all = ["127.0.0.1:1023", "127.0.0.1:1024", "[::1]:8080", "[::1]:8081"];
    check(&[
        ("operator: SPort, values: ['1000:1023', '8081']", &all, &[all[0], all[3]]),
        ("operator: NotSPort, values: ['1000:1023', '8081']", &all, &[all[1], all[2]]),
        ("operator: SPortPriv", &all, &[all[0]]),
        ("operator: NotSPortPriv", &all, &all[1..]),
        ("operator: Family, values: ['AF_INET6']", &all, &all[2..]),
        ("operator: NotFamily, values: ['AF_INET6', 'AF_UNIX']", &all, &all[..2]),
    ]);
}

#[test]
fn what_an_address_does_not_have_matches_in_neither_form() {
    let Some(mut harness) = Harness::new() else { return };
    for (filter, matches) in [
        ("operator: SAddr, values: ['0.0.0.0/0', '::/0']", false),
        ("operator: NotSAddr, values: ['10.0.0.0/8']", false),
        ("operator: SPort, values: ['0:65535']", false),
        ("operator: NotSPort, values: ['1']", false),
        ("operator: Family, values: [AF_UNIX]", true),
    ] {
        harness.load(&on_connect("sockaddr", filter));
        let to = SocketAddrUnix::new("/tmp/tested-nobody").unwrap();
        let seen = own(&mut harness, || connect_unix(&to));
        harness.remove("connect");
        assert_eq!(!seen.is_empty(), matches, "{filter}");
    }
}

#[test]
fn unix_addresses_are_captured() {
    let Some(mut harness) = Harness::new() else { return };
    harness.load(&on_connect("sockaddr_un", ""));
    let longest = format!("/tmp/{}", "x".repeat(102));
    let seen = own(&mut harness, || {
        connect_unix(&SocketAddrUnix::new("/tmp/tested-nobody").unwrap());
        connect_unix(&SocketAddrUnix::new(longest.as_str()).unwrap());
        connect_unix(&SocketAddrUnix::new_abstract_name(b"tested\0nobody").unwrap());
        connect("127.0.0.1:9");
    });
    let address = |family, path: &[u8]| Some(Observed::UnixAddress { family, path: path.to_vec() });
    let args: Vec<_> = seen.iter().map(|seen| seen.args[0].clone()).collect();
    assert_eq!(
        args,
        [
            address(1, b"/tmp/tested-nobody"),
            address(1, longest.as_bytes()),
            address(1, b"\0tested\0nobody"),
            address(2, b""),
        ]
    );
}

#[test]
fn unix_addresses_are_filtered_as_texts() {
    let path = SocketAddrUnix::new("/tmp/tested-nobody").unwrap();
    let name = SocketAddrUnix::new_abstract_name(b"tested-nobody").unwrap();
    let Some(mut harness) = Harness::new() else { return };
    for (filter, of_path, of_name, of_other) in [
        ("operator: Equal, values: ['/tmp/tested-nobody']", true, false, false),
        ("operator: Equal, values: ['@tested-nobody']", false, true, false),
        ("operator: Equal, values: ['tested-nobody', '/tmp/tested-nobod']", false, false, false),
        ("operator: NotEqual, values: ['@tested-nobody']", true, false, false),
        ("operator: Prefix, values: ['/tmp/']", true, false, false),
        ("operator: Postfix, values: ['-nobody']", true, true, false),
        ("operator: Family, values: [AF_INET]", false, false, true),
    ] {
        harness.load(&on_connect("sockaddr_un", filter));
        let mut matches = |body: &dyn Fn()| !own(&mut harness, body).is_empty();
        assert_eq!(matches(&|| connect_unix(&path)), of_path, "{filter}");
        assert_eq!(matches(&|| connect_unix(&name)), of_name, "{filter}");
        assert_eq!(matches(&|| connect("127.0.0.1:9")), of_other, "{filter}");
        harness.remove("connect");
    }
}
