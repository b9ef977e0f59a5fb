//! The agent's HTTP API, asked over its unix socket with what every system has.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// For an answer: in an emulated machine a large policy takes its time.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// Sends one request. Gives the status, and the body as JSON; null for none.
pub(crate) fn ask(socket: &Path, method: &str, path: &str, body: &str) -> Result<(u16, Value)> {
    let mut stream = UnixStream::connect(socket).context("the agent's socket")?;
    stream.set_read_timeout(Some(ANSWERED_WITHIN))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("{method} {path}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a head's end")?;
    let status = head.split(' ').nth(1).context("an answer without status")?.parse()?;
    let value = if body.is_empty() { Value::Null } else { serde_json::from_str(body)? };
    Ok((status, value))
}
