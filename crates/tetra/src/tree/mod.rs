//! `tetra tree`: processes and what they began, as a tree, of the agent's table or of events.

mod print;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use api::google::Timestamp;
use api::tetragon::{DumpProcessCacheReqArgs, GetEventsRequest};
use clap::{Args, ValueEnum};
use regex::Regex;

use crate::cli::Global;
use crate::dump;
use crate::duration;
use crate::error::Error;
use crate::getevents::{self, Source};
use crate::output;
use crate::processes::Processes;
use crate::server::Server;

/// How the tree is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Lines for people
    Text,
    /// An object per process, with those below it inside
    Json,
}

/// Flags of the command.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// File of exported events, - for standard input [default: what the agent knows]
    file: Option<PathBuf>,
    /// How long to watch the agent, too, for what begins and ends
    #[arg(long, default_value = "0s", value_parser = duration::parse)]
    time: Duration,
    /// Only what ran at or after this time: 2026-01-31T12:00:00Z, or 10m for ten minutes ago
    #[arg(long, value_name = "TIME", value_parser = point)]
    since: Option<Timestamp>,
    /// Only what ran at or before this time
    #[arg(long, value_name = "TIME", value_parser = point)]
    until: Option<Timestamp>,
    /// Only this process, what it descends from, and what it began
    #[arg(long)]
    pid: Vec<u32>,
    /// Likewise those whose binary matches
    #[arg(long, value_name = "REGEX")]
    process: Vec<Regex>,
    /// How to print it
    #[arg(short, long, value_enum, default_value = "text")]
    output: Form,
}

/// What to print of all that there are.
#[derive(Debug, Default)]
struct Choice {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    pids: Vec<u32>,
    binaries: Vec<Regex>,
}

/// Prints the tree when the events or the time are over, or at Ctrl-C.
pub(crate) async fn run(global: &Global, flags: Flags) -> Result<(), Error> {
    let all = Arc::new(Mutex::new(Processes::default()));
    let source = Source::new(flags.file)?;
    let events = GetEventsRequest::default();
    let collected = match source {
        Source::Agent if flags.time.is_zero() => table(&Server::new(global)?, &all).await,
        Source::Agent => {
            // Whoever begins while the table is read is in the events.
            let server = Server::new(global)?;
            let watch = getevents::collect(global, Source::Agent, events, all.clone());
            let time = async {
                table(&server, &all).await?;
                tokio::time::sleep(flags.time).await;
                Ok(())
            };
            tokio::select! {
                biased;
                signal = tokio::signal::ctrl_c() => signal.map_err(Error::Start),
                ended = time => ended,
                ended = watch => ended,
            }
        }
        source => tokio::select! {
            biased;
            signal = tokio::signal::ctrl_c() => signal.map_err(Error::Start),
            ended = getevents::collect(global, source, events, all.clone()) => ended,
        },
    };
    let all = all.lock().unwrap_or_else(PoisonError::into_inner);
    if collected.is_err() && all.is_empty() {
        return collected;
    }
    let choice =
        Choice { since: flags.since, until: flags.until, pids: flags.pid, binaries: flags.process };
    let text = match flags.output {
        Form::Text => print::text(&all, &choice, width()),
        Form::Json => print::json(&all, &choice)?,
    };
    output::print(&text)?;
    if all.left_out() > 0 {
        let left = all.left_out();
        output::complain(&format!("{left} processes that ended first are left out: too many"));
    }
    collected
}

/// Characters of a line at the terminal; nothing when the lines go elsewhere.
fn width() -> Option<usize> {
    let terminal = std::io::stdout().is_terminal();
    let size = terminal.then(ratatui::crossterm::terminal::size)?.ok()?;
    Some(usize::from(size.0))
}

/// Adds what the agent's process table has.
async fn table(server: &Server, all: &Mutex<Processes>) -> Result<(), Error> {
    let known = dump::processes(server, DumpProcessCacheReqArgs::default()).await?;
    all.lock().unwrap_or_else(PoisonError::into_inner).add_table(&known);
    Ok(())
}

/// A point in time: as events have it, or how long ago it was.
fn point(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = serde_json::from_value(serde_json::Value::from(text)) {
        return Ok(time);
    }
    let bad = || {
        format!(
            "{text:?} is neither a time such as 2026-01-31T12:00:00Z nor 10m for ten minutes ago"
        )
    };
    let ago = duration::parse(text).map_err(|_| bad())?;
    SystemTime::now().checked_sub(ago).map(Timestamp::from).ok_or_else(bad)
}
