//! GetUrl and DnsLookup through the agent: what leaves it, and what does not.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::policies::{link, links_to};
use crate::agent::Agent;
use crate::lab::{Lab, within};
use crate::test::Test;

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("requests::are_only_counted_without_the_flag", counted),
    Test::new("requests::are_sent_with_the_flag", sent),
];

const TARGET: &str = "/target/that/is/to/be/told/elsewhere";

/// A policy that wants both requests for a link to [`TARGET`].
fn asking(port: u16) -> String {
    let actions = format!(
        "      matchActions:\n      - action: GetUrl\n        argUrl: http://127.0.0.1:{port}/told?a=b\n      - action: DnsLookup\n        argFqdn: told.example\n"
    );
    links_to("asker", TARGET, &actions)
}

/// One of the counters of the only policy.
fn counter(agent: &Agent, name: &str) -> Result<u64> {
    let list = agent.ask(&["tracingpolicy", "list", "-o", "json"])?.ok()?.stdout;
    let list: serde_json::Value = serde_json::from_str(&list)?;
    let counter = &list["policies"][0]["stats"]["action_counters"][name];
    Ok(counter.as_str().unwrap_or("0").parse()?)
}

fn counted(lab: &Lab) -> Result<()> {
    let tool = lab.tool("linker")?;
    let server = TcpListener::bind("127.0.0.1:0")?;
    server.set_nonblocking(true)?;
    let mut agent = lab.agent_with_policy(&asking(server.local_addr()?.port()))?;
    let log = agent.log();
    ensure!(log.contains("--enable-policy-requests they are only counted"), "{log}");
    link(lab, &tool, TARGET, "link").context("the link is made all the same")?;
    agent.wait_for("the link is seen", |events| !events.of_policy("asker").is_empty())?;
    ensure!(counter(&agent, "requests_suppressed")? == 2);
    ensure!(agent.ask(&["tp", "list"])?.ok()?.stdout.contains(" monitor_only "));
    ensure!(server.accept().is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    let events = agent.stop()?;
    let event = events.of_policy("asker")[0];
    ensure!(event.text("action") == "KPROBE_ACTION_DNSLOOKUP", "{event:?}");
    Ok(())
}

fn sent(lab: &Lab) -> Result<()> {
    let tool = lab.tool("linker")?;
    let web = TcpListener::bind("127.0.0.1:0")?;
    let names = UdpSocket::bind("127.0.0.1:0")?;
    names.set_read_timeout(Some(Duration::from_secs(60)))?;
    let server = format!("--policy-requests-dns-server={}", names.local_addr()?);
    let policy = lab.policy("policy.yaml", &asking(web.local_addr()?.port()))?;
    let policy = format!("--tracing-policy={}", policy.display());
    let flags = ["--tracing-policy-dir=", &policy, "--enable-policy-requests", &server];
    let agent = lab.agent(&flags)?;
    let log = agent.log();
    ensure!(!log.contains("they are only counted"), "{log}");
    let asked = thread::spawn(move || -> Result<(String, Vec<u8>)> {
        let mut question = [0; 512];
        let (length, from) = names.recv_from(&mut question)?;
        question[2] |= 0x80;
        names.send_to(&question[..length], from)?;
        let (mut stream, _) = web.accept()?;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            request.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
        Ok((String::from_utf8(request)?, question[12..length].to_vec()))
    });
    link(lab, &tool, "/another/target", "other")?;
    link(lab, &tool, TARGET, "link")?;
    within(Duration::from_secs(60), "both are answered", || {
        Ok(counter(&agent, "requests_answered")? == 2)
    })?;
    ensure!(counter(&agent, "requests_failed")? == 0);
    ensure!(counter(&agent, "requests_suppressed")? == 0);
    let (request, name) = asked.join().ok().context("the servers")??;
    ensure!(request.starts_with("GET /told?a=b HTTP/1.1\r\n"), "{request}");
    ensure!(name == b"\x04told\x07example\0\0\x01\0\x01", "{name:?}");
    agent.stop()?;
    Ok(())
}
