//! The policies of the introductory article, as they stand. They lie beside this executable when the
//! tests were built where they are.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::fcntl::AT_FDCWD;
use nix::unistd::symlinkat;

use crate::agent::Agent;
use crate::event::Event;
use crate::lab::{Lab, run};
use crate::test::{Need, Test};

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("intro::files_are_monitored", files_are_monitored).needs(&[Need::Vm, Need::Intro]),
    Test::new("intro::links_to_passwd_are_denied", links_are_denied).needs(&[Need::Intro]),
    Test::new("intro::connections_are_seen", connections_are_seen).needs(&[Need::Vm, Need::Intro]),
];

fn agent(lab: &Lab, policy: &str) -> Result<Agent> {
    let policy = lab.binary(&format!("intro-{policy}.yaml"))?;
    lab.agent(&["--tracing-policy-dir=", &format!("--tracing-policy={}", policy.display())])
}

/// Whether an event is of this function, and of this process.
fn of(event: &Event, function: &str) -> bool {
    event.text("function_name") == function && event.pid() == u64::from(std::process::id())
}

fn files_are_monitored(lab: &Lab) -> Result<()> {
    fs::create_dir_all("/data/sub")?;
    fs::create_dir_all("/data2")?;
    let mut programs = Vec::new();
    // To be executed they are mapped into memory, by the kernel.
    for path in ["/data/sub/program", "/data2/program"] {
        let program = lab.program("program", &crate::elf::exit(0))?;
        fs::copy(&program, path)?;
        programs.push(path);
    }
    let mut agent = agent(lab, "file-monitoring")?;
    for path in programs {
        run(&mut Command::new(path))?.ok()?;
    }
    for path in ["/data/sub/file", "/data2/file", "/tmp/data"] {
        let mut file = fs::File::create(path)?;
        file.write_all(b"text")?;
        // By path: since Linux 6.2 truncating an open file is another hook's.
        nix::unistd::truncate(path, 2)?;
        let mut text = String::new();
        fs::File::open(path)?.read_to_string(&mut text)?;
    }
    let files = |event: &Event| {
        of(event, "security_file_permission") || of(event, "security_path_truncate")
    };
    agent.wait_for("reads, writes and truncations are seen", |events| {
        events.of_kind("process_kprobe").into_iter().filter(|event| files(event)).count() >= 3
    })?;
    let events = agent.finish()?;
    let events = events.of_kind("process_kprobe");
    let permissions: Vec<_> =
        events.iter().filter(|event| of(event, "security_file_permission")).collect();
    for event in &permissions {
        ensure!(event.text("args.0.file_arg.path") == "/data/sub/file", "{event:?}");
        ensure!(event.at("return") == &serde_json::json!({"int_arg": 0}), "{event:?}");
        ensure!(event.text("args.0.file_arg.permission").starts_with("-rw"), "{event:?}");
        ensure!(event.text("policy_name") == "file-monitoring", "{event:?}");
    }
    // MAY_WRITE is 2, MAY_READ 4.
    for mask in [2, 4] {
        let found = permissions.iter().any(|event| event.number("args.1.int_arg") == Some(mask));
        ensure!(found, "no access with mask {mask}: {permissions:?}");
    }
    let maps: Vec<_> =
        events.iter().filter(|event| event.text("function_name") == "security_mmap_file").collect();
    let [map] = maps[..] else { anyhow::bail!("one mapping is wanted: {maps:?}") };
    ensure!(map.text("args.0.file_arg.path") == "/data/sub/program", "{map:?}");
    // PROT_READ and PROT_EXEC; `nop` reports nothing.
    ensure!(map.at("args.1") == &serde_json::json!({"uint_arg": 5}), "{map:?}");
    ensure!(map.at("return") == &serde_json::json!({"int_arg": 0}), "{map:?}");
    let mut truncations: Vec<_> =
        events.iter().filter(|event| of(event, "security_path_truncate")).collect();
    let truncation = truncations.pop().context("no truncation")?;
    ensure!(truncation.text("args.0.path_arg.path") == "/data/sub/file", "{truncation:?}");
    Ok(())
}

fn links_are_denied(lab: &Lab) -> Result<()> {
    let policy = lab.binary("intro-restrict-symlink.yaml")?;
    let flags = ["--tracing-policy-dir=", &format!("--tracing-policy={}", policy.display())];
    // Where nothing can deny it, the policy observes, when that is accepted.
    let degraded = !lab.in_vm();
    if degraded {
        let agent = lab.agent(&flags)?;
        ensure!(agent.log().contains("Override is not carried out"), "{}", agent.log());
        agent.stop()?;
    }
    let accepting = [&flags[..], &["--allow-degraded-enforcement"]].concat();
    let mut agent = Agent::start(lab, "denying", if degraded { &accepting } else { &flags })?;
    // As ln(1) of coreutils does; the C library's symlink() is another system call.
    symlinkat("/etc/passwd2", AT_FDCWD, &lab.path("other"))?;
    let link = lab.path("link");
    let made = symlinkat("/etc/passwd", AT_FDCWD, &link);
    if degraded {
        made?;
    } else {
        ensure!(made == Err(nix::errno::Errno::EPERM), "{made:?}");
        ensure!(link.symlink_metadata().is_err(), "the link is there");
    }
    // What the rule becomes on this kernel.
    let shown = agent.ask(&["tp", "list", "-o", "json"])?.ok()?;
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout)?;
    let rule = &shown["policies"][0]["hook_statuses"][0]["effective_actions"][0];
    let becomes = rule["becomes"].as_str().context("no effective action")?;
    let ways = match degraded {
        true => ["not carried out: "].as_slice(),
        false => &["denied by LSM, at inode_symlink", "the call is not made, by "],
    };
    ensure!(rule["action"] == "Override -1" && rule["in_full"] != degraded, "{rule}");
    ensure!(ways.iter().any(|way| becomes.starts_with(way)), "{rule}");
    let mine = |event: &Event| event.text("function_name").ends_with("_sys_symlinkat");
    agent.wait_for("the link is seen", |events| {
        events.of_kind("process_kprobe").into_iter().any(mine)
    })?;
    let events = agent.finish()?;
    let seen: Vec<_> = events.of_kind("process_kprobe").into_iter().filter(|e| mine(e)).collect();
    let [event] = seen[..] else { anyhow::bail!("one is wanted: {seen:?}") };
    ensure!(event.text("action") == "KPROBE_ACTION_OVERRIDE", "{event:?}");
    let args = serde_json::json!([
        {"string_arg": "/etc/passwd"},
        {"int_arg": -100},
        {"string_arg": link.to_str()},
    ]);
    ensure!(event.at("args") == &args, "{event:?}");
    Ok(())
}

fn connections_are_seen(lab: &Lab) -> Result<()> {
    let mut agent = agent(lab, "tcp-connect")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let to = listener.local_addr()?;
    let mut client = TcpStream::connect(to)?;
    let from = client.local_addr()?;
    client.write_all(b"twelve bytes")?;
    let (mut server, _) = listener.accept()?;
    let mut text = [0; 12];
    server.read_exact(&mut text)?;
    drop((client, server, listener));
    agent.wait_for("the connection is seen to close", |events| {
        events.of_kind("process_kprobe").into_iter().any(|event| of(event, "tcp_close"))
    })?;
    let events = agent.finish()?;
    let events = events.of_kind("process_kprobe");
    let one = |function: &str| {
        let found = events.iter().find(|event| of(event, function));
        found.copied().with_context(|| format!("no {function}: {events:?}"))
    };
    let connect = one("tcp_connect")?;
    let sock = |name: &str| connect.at(&format!("args.0.sock_arg.{name}")).clone();
    ensure!(sock("family") == "AF_INET", "{connect:?}");
    ensure!(sock("protocol") == "IPPROTO_TCP", "{connect:?}");
    ensure!(sock("daddr") == "127.0.0.1" && sock("dport") == to.port(), "{connect:?}");
    let send = one("tcp_sendmsg")?;
    ensure!(send.number("args.1.int_arg") == Some(12), "{send:?}");
    ensure!(send.at("args.0.sock_arg.sport") == from.port(), "{send:?}");
    ensure!(send.at("args.0.sock_arg.state") == "TCP_ESTABLISHED", "{send:?}");
    one("tcp_close")?;
    Ok(())
}
