//! Rules on connections.

use policy::checked::Cidr;
use policy::document::{Operator, TypeName};

use super::draft::{Action, Arg, At, Filter, Hook, Rule};
use super::ways::Ways;
use crate::error::Error;

/// `TCP_SYN_SENT`: the state that a connection has when it is begun.
const BEGUN: u32 = 2;
/// EPERM
const NOT_PERMITTED: i32 = -1;

fn networks(to: &[Cidr]) -> Vec<String> {
    to.iter().map(|net| format!("{}/{}", net.address, net.prefix)).collect()
}

fn goal(to: &[Cidr]) -> String {
    match to {
        [] => String::new(),
        to => format!(" to {}", networks(to).join(" or ")),
    }
}

/// Reports connections.
pub(super) fn watch(to: &[Cidr], ways: &Ways<'_>) -> Rule {
    let reached = |arg| (!to.is_empty()).then(|| Filter::new(arg, Operator::DAddr, networks(to)));
    let message = format!("TCP connection{}", goal(to));
    let hook = match ways.sees_functions() {
        true => Hook {
            why: "When a process connects, whether that succeeds or not.".into(),
            at: At::Function("tcp_connect".into()),
            message,
            args: vec![Arg::new(0, TypeName::Sock, "connection")],
            selectors: reached(0).into_iter().map(|filter| vec![filter]).collect(),
            actions: Vec::new(),
        },
        false => Hook {
            why: "When a process connects, whether that succeeds or not: its socket is in state TCP_SYN_SENT \
                  then."
                .into(),
            at: At::RawTracepoint("sock", "inet_sock_set_state"),
            message,
            args: vec![
                Arg::new(0, TypeName::Sock, "connection"),
                Arg::new(2, TypeName::Int, "state"),
            ],
            selectors: vec![
                std::iter::once(Filter::new(1, Operator::Equal, [BEGUN])).chain(reached(0)).collect(),
            ],
            actions: Vec::new(),
        },
    };
    Rule {
        about: format!("Reports TCP connections that processes make{}.", goal(to)),
        limits: vec![
            "Other protocols than TCP are not reported, nor are connections that come in.".into(),
        ],
        hooks: vec![hook],
        doubt: None,
    }
}

/// Denies connections and datagrams.
pub(super) fn deny(to: &[Cidr], ways: &Ways<'_>) -> Result<Rule, Error> {
    let connect = ways.deny_at("socket_connect");
    let found = connect.and_then(|at| Some((at.index("address", "sockaddr", 0)?, at)));
    let Some((address, connect)) = found else {
        return Err(Error::Policy("this kernel has no security hook socket_connect".to_owned()));
    };
    let mut hooks = vec![Hook {
        why: "Before a socket is connected, of whatever protocol; `address` is the kernel's own copy.".into(),
        at: connect.at,
        message: format!("connection{}", goal(to)),
        args: vec![Arg::new(address, TypeName::Sockaddr, "address")],
        selectors: vec![vec![Filter::new(0, Operator::SAddr, networks(to))]],
        actions: vec![Action::Deny(NOT_PERMITTED)],
    }];
    if let Some(send) = ways.deny_at("socket_sendmsg")
        && let Some(message) = send.index("msg", "msghdr", 0)
    {
        hooks.push(Hook {
            why: "Before a datagram is sent without a connection: its address comes with it."
                .into(),
            at: send.at,
            message: format!("datagram{}", goal(to)),
            args: vec![Arg::new(message, TypeName::Sockaddr, "address").field("msg_name")],
            selectors: vec![vec![Filter::new(0, Operator::SAddr, networks(to))]],
            actions: vec![Action::Deny(NOT_PERMITTED)],
        });
    }
    Ok(Rule {
        about: format!("Denies connections and datagrams{}.", goal(to)),
        limits: vec![
            "Connections that exist already go on.".to_owned(),
            "What a proxy or resolver elsewhere does for a process is not seen.".to_owned(),
        ],
        hooks,
        doubt: ways.cannot_deny(),
    })
}
