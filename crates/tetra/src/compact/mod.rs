//! Events as one line of text each, for people.
//!
//! `EMOJI NAME SOURCE BINARY REST`, where the source is the pod or else the node. The lines are
//! relied on by scripts and documents, so they are exact to the byte: a value that an event lacks
//! leaves its place empty but keeps the spaces around it.

mod kprobe;
mod lost;
mod probes;
mod process;
mod stack;
mod style;
mod syscall;
mod tracepoint;

#[cfg(test)]
mod tests;

use api::tetragon::get_events_response::Event;
use api::tetragon::{CapabilitiesType, GetEventsResponse, Process};

pub(crate) use stack::of as stacks;
use style::Colour;
pub(crate) use style::{Style, quoted, quoted_words};

/// How to print events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compact {
    /// Colours or none.
    pub(crate) style: Style,
    /// Put the time before each line.
    pub(crate) timestamps: bool,
    /// Print stacks below the line.
    pub(crate) stack_traces: bool,
    /// Print the digest of a file below the line.
    pub(crate) ima_hash: bool,
}

/// Why an event has no line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoLine {
    #[error("the event is of a kind that this version of tetra does not know")]
    Unknown,
    #[error("{0} events have no compact form; use -o json")]
    Kind(&'static str),
    #[error("a {0} event without a process")]
    NoProcess(&'static str),
}

/// Total length, in bytes, that the trailer is aligned to.
const WIDTH: usize = 120;

impl Compact {
    /// The line, or lines, of an event, each with its line feed.
    pub(crate) fn encode(&self, event: &GetEventsResponse) -> Result<String, NoLine> {
        let kind = event.event_type().as_str_name();
        let body = event.event.as_ref().ok_or(NoLine::Unknown)?;
        let subject = || match body.process() {
            Some(process) => Ok(Subject { style: self.style, node: &event.node_name, process }),
            None => Err(NoLine::NoProcess(kind)),
        };
        let line = match body {
            Event::ProcessExec(exec) => process::exec(&subject()?, exec),
            Event::ProcessExit(exit) => process::exit(&subject()?, exit),
            Event::ProcessLoader(loader) => process::loader(&subject()?, loader),
            Event::ProcessThrottle(throttle) => process::throttle(self.style, throttle),
            Event::ProcessKprobe(call) => kprobe::line(&subject()?, call),
            Event::ProcessTracepoint(hit) => tracepoint::line(&subject()?, hit),
            Event::ProcessUprobe(hit) => probes::uprobe(&subject()?, hit),
            Event::ProcessUsdt(hit) => probes::usdt(&subject()?, hit),
            Event::ProcessLsm(hit) => probes::lsm(&subject()?, hit),
            Event::EventsLost(lost) => lost::line(self.style, &event.node_name, lost),
            Event::Test(_) => "TEST EVENT".to_owned(),
            Event::RateLimitInfo(_) => return Err(NoLine::Kind(kind)),
        };
        let mut text = String::with_capacity(line.len() + 32);
        if self.timestamps {
            text.push_str(&style::timestamp(event.time.unwrap_or_default()));
            text.push(' ');
        }
        text.push_str(&line);
        text.push('\n');
        if self.stack_traces {
            stack::write(&mut text, self.style, body);
        }
        if let (true, Event::ProcessLsm(hit)) = (self.ima_hash, body) {
            probes::write_ima_hash(&mut text, self.style, hit);
        }
        Ok(text)
    }
}

/// The process of a line, on its node.
struct Subject<'a> {
    style: Style,
    node: &'a str,
    process: &'a Process,
}

impl Subject<'_> {
    /// A whole line: emoji and name, source, binary, then `rest`, joined by spaces; then the
    /// trailer.
    fn line(&self, emoji: &str, name: &str, rest: &[&str]) -> String {
        let mut line = style::tag(self.style, Colour::Blue, emoji, name);
        let source = match &self.process.pod {
            Some(pod) => format!("{}/{}", pod.namespace, pod.name),
            None => self.node.to_owned(),
        };
        let source = self.style.paint(Colour::Green, &quoted(&source));
        let binary = self.style.paint(Colour::Magenta, &quoted(&self.process.binary));
        for part in [source.as_str(), binary.as_str()].iter().chain(rest) {
            line.push(' ');
            line.push_str(part);
        }
        self.trail(&mut line);
        line
    }

    /// Marks processes that may do anything.
    fn trail(&self, line: &mut String) {
        let admin = CapabilitiesType::CapSysAdmin;
        let Some(caps) = &self.process.cap else { return };
        if caps.effective.contains(&(admin as i32)) {
            let mark = format!("🛑 {}", admin.as_str_name());
            let mark = self.style.paint(Colour::Magenta, &mark);
            let width = WIDTH.saturating_sub(line.len());
            line.push_str(&format!(" {mark:>width$}"));
        }
    }

    /// A value of the event, in the colour of values.
    fn value(&self, text: &str) -> String {
        self.style.paint(Colour::Cyan, text)
    }
}
