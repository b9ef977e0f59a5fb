//! `tetra getevents`: events from the agent or from standard input, as JSON or as compact lines.

mod filter;
mod lines;
mod sink;
mod stream;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::tetragon::{GetEventsRequest, GetEventsResponse};
use clap::{ArgAction, Args, ValueEnum};

use crate::cli::Global;
use crate::compact::{Compact, Style};
use crate::duration;
use crate::error::Error;
use crate::output::Output;
use crate::server::Server;
pub(crate) use filter::Selection;
use sink::{Form, Sink};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Json,
    Compact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// Flags of the command.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// How to print events
    #[arg(short, long, value_enum, default_value = "json")]
    pub(crate) output: Format,
    /// Colours in compact lines
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) color: Color,
    /// Times before compact lines
    #[arg(long)]
    pub(crate) timestamps: bool,
    /// Stacks below compact lines
    #[arg(
        long, action = ArgAction::Set, default_value = "true", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, value_name = "BOOL", hide_possible_values = true
    )]
    pub(crate) stack_traces: bool,
    /// Digests of files below compact lines
    #[arg(
        long, action = ArgAction::Set, default_value = "true", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, value_name = "BOOL", hide_possible_values = true
    )]
    pub(crate) ima_hash: bool,
    /// Write the bytes that processes write to this terminal or file, instead of events
    #[arg(short, long, value_name = "PATH", default_value = "", hide_default_value = true)]
    pub(crate) tty_encode: String,
    /// Connect again when the agent goes away
    #[arg(long)]
    pub(crate) reconnect: bool,
    /// How long to wait before that
    #[arg(long, default_value = "2s", value_parser = duration::parse)]
    pub(crate) reconnect_wait: Duration,
    #[command(flatten)]
    pub(crate) selection: filter::Selection,
}

impl Flags {
    fn sink(&self) -> Result<Sink, Error> {
        let form = match (self.tty_encode.as_str(), self.output) {
            ("", Format::Json) => Form::Json,
            ("", Format::Compact) => Form::Compact(Compact {
                style: self.style(),
                timestamps: self.timestamps,
                stack_traces: self.stack_traces,
                ima_hash: self.ima_hash,
            }),
            (path, _) => Form::Tty(path.to_owned()),
        };
        Ok(Sink::new(form, Output::stdout()?))
    }

    /// Colours suit a terminal, unless the user or the terminal say otherwise (no-color.org).
    fn style(&self) -> Style {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let coloured = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                std::io::stdout().is_terminal()
                    && !set("NO_COLOR")
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        };
        if coloured { Style::Coloured } else { Style::Plain }
    }
}

/// Prints events until there are no more, the reader leaves, or the agent goes away.
pub(crate) async fn run(global: &Global, flags: Flags) -> Result<(), Error> {
    let sink = flags.sink()?;
    let again = flags.reconnect.then_some(flags.reconnect_wait);
    let request = flags.selection.request();
    match Source::new(None)? {
        Source::Agent => stream::run(&Server::new(global)?, request, again, sink).await,
        source => collect(global, source, request, sink).await,
    }
}

/// Whoever takes events.
pub(crate) trait Consumer: Send + 'static {
    /// Takes one.
    ///
    /// # Errors
    /// When no more can be taken.
    fn put(&mut self, event: &GetEventsResponse) -> Result<(), Error>;

    /// Called before a wait for the next one.
    ///
    /// # Errors
    /// When no more can be taken.
    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// What many events make together, to be looked at meanwhile or afterwards.
pub(crate) trait Collect: Send + 'static {
    /// Adds what an event tells.
    fn add(&mut self, event: &GetEventsResponse);
}

impl<T: Collect> Consumer for Arc<Mutex<T>> {
    fn put(&mut self, event: &GetEventsResponse) -> Result<(), Error> {
        self.lock().unwrap_or_else(PoisonError::into_inner).add(event);
        Ok(())
    }
}

/// Where events come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The agent.
    Agent,
    /// Standard input, a JSON object per line.
    Input,
    /// A file of such lines.
    File(PathBuf),
}

impl Source {
    /// The file, if one is named (`-`: standard input); else standard input, if something comes there;
    /// else the agent.
    pub(crate) fn new(file: Option<PathBuf>) -> Result<Self, Error> {
        Ok(match file {
            Some(file) if file.as_os_str() == "-" => Self::Input,
            Some(file) => Self::File(file),
            None if lines::is_input().map_err(Error::Read)? => Self::Input,
            None => Self::Agent,
        })
    }
}

/// Hands over all events of a source that the request asks for, until there are no more.
pub(crate) async fn collect(
    global: &Global,
    source: Source,
    request: GetEventsRequest,
    consumer: impl Consumer,
) -> Result<(), Error> {
    match source {
        Source::Agent => stream::run(&Server::new(global)?, request, None, consumer).await,
        Source::Input => lines::run(None, global.max_recv_size, &request, consumer).await,
        Source::File(path) => {
            lines::run(Some(path), global.max_recv_size, &request, consumer).await
        }
    }
}
