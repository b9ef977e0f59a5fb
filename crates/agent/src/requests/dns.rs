//! DnsLookup: one question for the address of a name (type A, class IN) to one server, by UDP.
//!
//! RFC 1035, 4.1. Any answer to the question will do.

use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::RequestError;

/// The only bits of a question: that more servers are to be asked (RD).
const FLAGS: u16 = 0x0100;
/// The bit of answers (QR).
const ANSWER: u8 = 0x80;
/// Type A, class IN.
const ADDRESS: [u8; 4] = [0, 1, 0, 1];
/// Longest name on the wire.
const NAME_MAX: usize = 255;

/// Asks and waits for the answer.
pub(super) async fn lookup(name: &str, server: SocketAddr) -> Result<(), RequestError> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    // The kernel's choice of a port is one that others cannot guess; with it the number need not be.
    let id = socket.local_addr()?.port().to_be_bytes();
    let question = question(id, name).ok_or_else(|| RequestError::Name(name.to_owned()))?;
    if socket.send(&question).await? != question.len() {
        return Err(Error::from(ErrorKind::WriteZero).into());
    }
    let mut answer = [0; 512];
    loop {
        let length = socket.recv(&mut answer).await?;
        if length >= 12 && answer[..2] == id && answer[2] & ANSWER != 0 {
            return Ok(());
        }
    }
}

/// The question; `None`: the name is none.
fn question(id: [u8; 2], name: &str) -> Option<Vec<u8>> {
    let mut question = Vec::from(id);
    question.extend(FLAGS.to_be_bytes());
    // One question, nothing else.
    question.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    let start = question.len();
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        question.push(length);
        question.extend(label.bytes());
    }
    question.push(0);
    if question.len() - start > NAME_MAX {
        return None;
    }
    question.extend(ADDRESS);
    Some(question)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question() {
        let expected = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x05ebpf-\x02io\0\0\x01\0\x01".to_vec();
        for name in ["ebpf-.io", "ebpf-.io."] {
            assert_eq!(question([0x12, 0x34], name), Some(expected.clone()));
        }
        let labels = |count: usize, last: usize| {
            let mut name = "a.".repeat(count);
            name.push_str(&"b".repeat(last));
            question([0, 0], &name).is_some()
        };
        assert!(labels(1, 63) && !labels(1, 64));
        assert!(labels(126, 1) && !labels(127, 1));
        for wrong in ["", ".", "a..b", ".a"] {
            assert_eq!(question([0, 0], wrong), None, "{wrong}");
        }
    }
}
