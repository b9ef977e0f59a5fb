//! Policies on connections and datagrams.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use anyhow::{Result, ensure};
use kernel::link::Link;
use kernel::program::{AttachType, Program, ProgramSpec, ProgramType};

use super::case::{Case, Report, tool_at};
use crate::lab::{Lab, run};

/// Where documentation's hosts are (RFC 5737): outside of all private networks.
const OUTSIDE: &str = "203.0.113.9";
/// What a policy names.
const NAMED: &str = "192.168.1.1";

/// `r0 = 1; exit`: lets a datagram pass.
const PASS: [u8; 16] = [0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// What `${PODCIDR}` and `${SERVICECIDR}` stand for.
const CLUSTER: &[(&str, &str)] =
    &[("${PODCIDR}", "10.0.0.0/8"), ("${SERVICECIDR}", "172.20.0.0/16")];

const CONNECTION: &[Report] = &[
    Report::call(&[
        ("policy_name", "connect"),
        ("function_name", "tcp_connect"),
        ("args.0.sock_arg.family", "AF_INET"),
        ("args.0.sock_arg.protocol", "IPPROTO_TCP"),
        ("args.0.sock_arg.daddr", "127.0.0.1"),
    ]),
    Report::call(&[
        ("policy_name", "connect"),
        ("function_name", "tcp_sendmsg"),
        ("args.0.sock_arg.daddr", "127.0.0.1"),
        ("args.1.int_arg", "12"),
    ]),
    Report::call(&[
        ("policy_name", "connect"),
        ("function_name", "tcp_close"),
        ("args.0.sock_arg.daddr", "127.0.0.1"),
    ]),
];

const OUTSIDE_CLUSTER: &[Report] = &[Report::call(&[
    ("policy_name", "monitor-network-activity-outside-cluster-cidr-range"),
    ("function_name", "tcp_connect"),
    ("args.0.sock_arg.daddr", OUTSIDE),
    ("args.0.sock_arg.dport", "4321"),
])];

const DATAGRAM: &[Report] = &[Report::call(&[
    ("policy_name", "datagram"),
    ("function_name", "__cgroup_bpf_run_filter_skb"),
    ("args.0.sock_arg.protocol", "IPPROTO_UDP"),
    ("args.1.skb_arg.daddr", "127.0.0.1"),
    ("args.1.skb_arg.protocol", "IPPROTO_UDP"),
    ("args.2.int_arg", "1"), // CGROUP_INET_EGRESS
])];

pub(super) const CASES: &[Case] = &[
    Case::new("tcp-connect.yaml").provoke(converse).reports(CONNECTION),
    Case::new("tcp-connect-with-selectors.yaml").provoke(converse).reports(CONNECTION),
    Case::new("tcp-connect-only-private-addrs.yaml")
        .prepare(|lab| have_addresses(lab).and_then(|()| tool_at("/usr/bin/curl")))
        .stops(leave_private)
        .reports(&[Report::call(&[
            ("policy_name", "connect-only-private-addrs"),
            ("function_name", "tcp_connect"),
            ("process.binary", "/usr/bin/curl"),
            ("args.0.sock_arg.daddr", OUTSIDE),
            ("args.0.sock_arg.dport", "4321"),
            ("action", "KPROBE_ACTION_SIGKILL"),
        ])]),
    Case::new("egress.yaml")
        .filled(CLUSTER)
        .prepare(have_addresses)
        .provoke(leave)
        .reports(OUTSIDE_CLUSTER),
    Case::new("network_egress_cluster.yaml")
        .filled(CLUSTER)
        .prepare(have_addresses)
        .provoke(leave)
        .reports(OUTSIDE_CLUSTER),
    Case::new("dns-only-specified-servers.yaml").stops(ask_others).reports(&[Report::call(&[
        ("policy_name", "dns-only-specified-servers"),
        ("function_name", "ip_output"),
        ("args.0.skb_arg.daddr", "127.0.0.1"),
        ("args.0.skb_arg.dport", "53"),
        ("args.0.skb_arg.protocol", "IPPROTO_UDP"),
        ("action", "KPROBE_ACTION_SIGKILL"),
    ])]),
    Case::new("security-socket-connect-block-others.yaml")
        .prepare(|lab| have_addresses(lab).and_then(|()| tool_at("/usr/bin/curl")))
        .stops(connect_by_curl)
        .reports(&[
            Report::call(&[
                ("policy_name", "security-socket-connect"),
                ("function_name", "security_socket_connect"),
                ("args.0.sock_arg.protocol", "IPPROTO_TCP"),
                ("args.1.sockaddr_arg.addr", NAMED),
                ("args.1.sockaddr_arg.port", "80"),
                ("action", "KPROBE_ACTION_POST"),
            ]),
            Report::call(&[
                ("function_name", "security_socket_connect"),
                ("args.1.sockaddr_arg.family", "AF_INET"),
                ("args.1.sockaddr_arg.addr", OUTSIDE),
                ("args.1.sockaddr_arg.port", "80"),
                ("action", "KPROBE_ACTION_OVERRIDE"),
            ]),
        ]),
    Case::new("datagram.yaml").provoke(send_filtered).reports(DATAGRAM),
    Case::new("datagram-with-selectors.yaml").provoke(send_filtered).reports(DATAGRAM),
    Case::new("datagram-with-sock-tracking.yaml").provoke(send_filtered).reports(DATAGRAM),
    Case::new("datagram_518.yaml").provoke(send_from_other).reports(&[
        // It runs where the sender does, but the socket is the receiver's.
        Report::call(&[
            ("policy_name", "datagram-518"),
            ("function_name", "sk_filter_trim_cap"),
            ("process.arguments", "one field::*"),
            ("args.1.skb_arg.daddr", "127.0.0.1"),
            ("args.1.skb_arg.protocol", "IPPROTO_UDP"),
            ("args.1.label", "datagram"),
        ]),
        Report::call(&[
            ("policy_name", "datagram-518"),
            ("function_name", "ip_output"),
            ("process.arguments", "tool send *"),
            ("args.0.sock_arg.protocol", "IPPROTO_UDP"),
            ("args.1.skb_arg.daddr", "127.0.0.1"),
        ]),
    ]),
    Case::new("dev_queue_xmit.yaml").provoke(|_| send("127.0.0.1")).reports(&[Report::call(&[
        ("policy_name", "syscalls"),
        ("function_name", "dev_queue_xmit"),
        ("args.0.skb_arg.daddr", "127.0.0.1"),
    ])]),
    Case::new("stack_traces.yaml").provoke(send_in_vain).reports(&[Report::call(&[
        ("policy_name", "stack-traces-example"),
        ("function_name", "kfree_skb_reason"),
        ("args.0.skb_arg.protocol", "IPPROTO_UDP"),
        ("args.1.label", "reason"),
    ])]),
];

/// Gives the machine addresses of others, on its loopback device.
fn have_addresses(lab: &Lab) -> Result<()> {
    for address in [OUTSIDE, NAMED] {
        let script = format!(
            "busybox ip addr show dev lo | busybox grep -q {address}/32 || \
             busybox ip addr add {address}/32 dev lo"
        );
        lab.shell(&script.replace("busybox", &lab.binary("busybox")?.to_string_lossy()))?.ok()?;
    }
    Ok(())
}

/// Connects, sends twelve bytes, closes.
fn converse(_: &Lab) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    client.write_all(b"twelve bytes")?;
    let (mut server, _) = listener.accept()?;
    server.read_exact(&mut [0; 12])?;
    Ok(())
}

fn leave(_: &Lab) -> Result<()> {
    let listener = TcpListener::bind((OUTSIDE, 4321))?;
    TcpStream::connect(listener.local_addr()?)?;
    Ok(())
}

fn leave_private(lab: &Lab) -> Result<()> {
    let inside = TcpListener::bind("127.0.0.1:0")?;
    let outside = TcpListener::bind((OUTSIDE, 4321))?;
    let connect = |to: &TcpListener| -> Result<_> {
        let to = to.local_addr()?.to_string();
        run(Command::new("/usr/bin/curl").args(["tool", "connect", &to]))
    };
    connect(&inside)?.ok()?;
    let killed = connect(&outside)?;
    ensure!(killed.status.signal() == Some(9), "it was not killed: {killed:?}");
    // Nor is anybody else spared: the policy names no binary.
    let other =
        run(Command::new(lab.tool("other")?).args(["tool", "connect", "203.0.113.9:4321"]))?;
    ensure!(other.status.signal() == Some(9), "it was not killed: {other:?}");
    Ok(())
}

fn ask_others(lab: &Lab) -> Result<()> {
    let ask = |server: &str| -> Result<_> {
        run(Command::new(lab.tool("asking")?).args(["tool", "send", server]))
    };
    ask("127.0.0.53:53")?.ok()?;
    ask("127.0.0.1:54")?.ok()?;
    let killed = ask("127.0.0.1:53")?;
    ensure!(killed.status.signal() == Some(9), "it was not killed: {killed:?}");
    Ok(())
}

fn connect_by_curl(_: &Lab) -> Result<()> {
    let named = TcpListener::bind((NAMED, 80))?;
    let other = TcpListener::bind((OUTSIDE, 80))?;
    TcpStream::connect(other.local_addr()?)?;
    let connect = |to: &str| run(Command::new("/usr/bin/curl").args(["tool", "connect", to]));
    connect(&named.local_addr()?.to_string())?.ok()?;
    let denied = connect(&other.local_addr()?.to_string())?;
    ensure!(!denied.status.success(), "it was not denied: {denied:?}");
    ensure!(other.set_nonblocking(true).is_ok() && other.accept().is_ok());
    ensure!(other.accept().is_err(), "the connection was made");
    Ok(())
}

/// Sends a datagram that arrives.
fn send(to: &str) -> Result<()> {
    let receiver = UdpSocket::bind((to, 0))?;
    let sender = UdpSocket::bind((to, 0))?;
    sender.send_to(b"provoked", receiver.local_addr()?)?;
    ensure!(receiver.recv(&mut [0; 16])? == 8);
    Ok(())
}

/// Receives a datagram that another process sends.
fn send_from_other(_: &Lab) -> Result<()> {
    let receiver = UdpSocket::bind("127.0.0.1:0")?;
    let to = receiver.local_addr()?.to_string();
    run(Command::new(std::env::current_exe()?).args(["tool", "send", &to]))?.ok()?;
    ensure!(receiver.recv(&mut [0; 16])? == 8);
    Ok(())
}

/// Sends a datagram while a program that lets all pass is attached to the cgroup of all: without one the
/// kernel does not ask (`cgroup_bpf_sock_enabled`, since Linux 5.18).
fn send_filtered(_: &Lab) -> Result<()> {
    let program = Program::load(&ProgramSpec {
        name: "pass",
        program_type: ProgramType::CGROUP_SKB,
        attach_type: AttachType::CGROUP_INET_EGRESS,
        instructions: &PASS,
        ..ProgramSpec::default()
    })?;
    let cgroup = File::open("/sys/fs/cgroup")?;
    let _link = Link::cgroup(&program, cgroup.as_fd(), "/")?;
    send("127.0.0.1")
}

/// Sends a datagram to a port where nobody is.
fn send_in_vain(_: &Lab) -> Result<()> {
    UdpSocket::bind("127.0.0.1:0")?.send_to(b"provoked", "127.0.0.1:9")?;
    Ok(())
}
