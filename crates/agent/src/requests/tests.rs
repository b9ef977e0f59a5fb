//! Requests to servers of the test, on this machine only.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use compiler::base::record::Identity;

use super::{Counters, Requests};
use crate::config::RequestConfig;
use crate::test_observations::{kprobe, observation};

fn requests(enabled: bool, dns: SocketAddr) -> Requests {
    Requests::start(&RequestConfig { enabled, dns_server: dns }).unwrap()
}

fn nobody() -> SocketAddr {
    // What is bound but not listened at, or read from, answers nothing.
    SocketAddr::from(([127, 0, 0, 1], 1))
}

/// Has the selector match so many times, then waits until `count` requests were dealt with.
fn matched(requests: &Requests, actions: &str, times: u64) -> Counters {
    let selector = format!(r#"{{"matchActions": [{actions}]}}"#);
    let one = observation(kprobe(), &selector, Identity { ktime: 1, pid: 2 }, 2);
    for _ in 0..times {
        requests.carry_out(&one);
    }
    let wanted = times * actions.matches("action").count() as u64;
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let counters = requests.counters(&one.policy);
        let Counters { answered, failed, suppressed } = counters;
        if answered + failed + suppressed >= wanted || Instant::now() > end {
            return counters;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_url_is_fetched() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut got = Vec::new();
        while !got.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            got.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").unwrap();
        String::from_utf8(got).unwrap()
    });
    let requests = requests(true, nobody());
    let action = format!(r#"{{"action": "GetUrl", "argUrl": "http://{address}/a?b=c"}}"#);
    let counters = matched(&requests, &action, 1);
    assert_eq!(counters, Counters { answered: 1, ..Counters::default() });
    let got = serving.join().unwrap();
    assert!(got.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{got}");
    assert!(got.contains(&format!("host: {address}\r\n")), "{got}");
}

#[test]
fn a_name_is_looked_up() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let requests = requests(true, server.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let mut question = [0; 512];
        let (length, from) = server.recv_from(&mut question).unwrap();
        // What is no answer, or one to another question, is not taken for it.
        server.send_to(b"x", from).unwrap();
        server.send_to(&question[..length], from).unwrap();
        question[2] |= 0x80;
        server.send_to(&question[..length], from).unwrap();
        question[12..length].to_vec()
    });
    let counters = matched(&requests, r#"{"action": "DnsLookup", "argFqdn": "ebpf.io"}"#, 1);
    assert_eq!(counters, Counters { answered: 1, ..Counters::default() });
    assert_eq!(serving.join().unwrap(), b"\x04ebpf\x02io\0\0\x01\0\x01");
}

#[test]
fn what_is_not_answered_is_counted() {
    let requests = requests(true, nobody());
    let closed = {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        server.local_addr().unwrap()
    };
    let action = format!(
        r#"{{"action": "GetUrl", "argUrl": "http://{closed}/"}}, {{"action": "DnsLookup", "argFqdn": "a.b"}}"#
    );
    assert_eq!(matched(&requests, &action, 1), Counters { failed: 2, ..Counters::default() });
}

#[test]
fn nothing_is_sent_unless_that_is_allowed() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let requests = requests(false, nobody());
    let url = server.local_addr().unwrap();
    let action = format!(r#"{{"action": "GetUrl", "argUrl": "http://{url}/"}}"#);
    let counters = matched(&requests, &action, 3);
    assert_eq!(counters, Counters { suppressed: 3, ..Counters::default() });
    assert!(server.accept().is_err());
    assert!(!requests.are_sent());
}

#[test]
fn a_policy_that_asks_all_the_time_is_held_back_and_others_are_not() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let requests = Arc::new(requests(true, server.local_addr().unwrap()));
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = server.recv_from(&mut question) {
            question[2] |= 0x80;
            let _ = server.send_to(&question[..length], from);
        }
    });
    let lookup = r#"{"action": "DnsLookup", "argFqdn": "a.b"}"#;
    let before = Instant::now();
    let counters = matched(&requests, lookup, 5000);
    let seconds = before.elapsed().as_secs() + 1;
    assert_eq!(counters.answered + counters.suppressed, 5000, "{counters:?}");
    assert!((10..=10 + seconds).contains(&counters.answered), "{counters:?}");
    let other = matched(&requests, lookup, 2);
    assert_eq!(other, Counters { answered: 2, ..Counters::default() });
}

#[test]
fn who_does_not_answer_holds_up_nobody() {
    // It takes connections and says nothing.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let requests = requests(true, nobody());
    let url = server.local_addr().unwrap();
    let selector =
        format!(r#"{{"matchActions": [{{"action": "GetUrl", "argUrl": "http://{url}/"}}]}}"#);
    let before = Instant::now();
    for _ in 0..20 {
        let one = observation(kprobe(), &selector, Identity { ktime: 1, pid: 2 }, 2);
        for _ in 0..20 {
            requests.carry_out(&one);
        }
    }
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
    // The thread ends with what it is told by, and what is under way with it.
    drop(requests);
}
