//! Where events go: each is put into its form and written.

use api::tetragon::kprobe_argument::Arg;
use api::tetragon::{GetEventsResponse, KprobeArgument, get_events_response::Event};

use super::Consumer;
use crate::compact::Compact;
use crate::error::Error;
use crate::output::{Output, complain};

/// What to make of an event.
#[derive(Debug)]
pub(super) enum Form {
    /// A JSON object per line.
    Json,
    /// Lines for people.
    Compact(Compact),
    /// The bytes that are written to the file of this path, raw.
    Tty(String),
}

/// Writes events in a form.
#[derive(Debug)]
pub(super) struct Sink {
    form: Form,
    output: Output,
}

impl Sink {
    pub(super) fn new(form: Form, output: Output) -> Self {
        Self { form, output }
    }
}

impl Consumer for Sink {
    /// Writes an event. One that has no such form is reported on standard error.
    fn put(&mut self, event: &GetEventsResponse) -> Result<(), Error> {
        match &self.form {
            Form::Json => match serde_json::to_string(event) {
                Ok(mut line) => {
                    line.push('\n');
                    self.output.write(line.as_bytes())
                }
                Err(cause) => {
                    complain(&format!("event left out: it cannot be written as JSON: {cause}"));
                    Ok(())
                }
            },
            Form::Compact(compact) => match compact.encode(event) {
                Ok(lines) => self.output.write(lines.as_bytes()),
                Err(cause) => {
                    complain(&format!("event left out: {cause}"));
                    Ok(())
                }
            },
            Form::Tty(path) => match written(event, path) {
                Some(bytes) => self.output.write(bytes),
                None => Ok(()),
            },
        }
    }

    /// Writes out what was collected.
    fn flush(&mut self) -> Result<(), Error> {
        self.output.flush()
    }
}

/// The bytes that the event writes to the file at `path`.
fn written<'a>(event: &'a GetEventsResponse, path: &str) -> Option<&'a [u8]> {
    let Some(Event::ProcessKprobe(call)) = &event.event else { return None };
    let arg = |argument: Option<&'a KprobeArgument>| argument?.arg.as_ref();
    match (arg(call.args.first()), arg(call.args.get(1))) {
        (Some(Arg::FileArg(file)), Some(Arg::BytesArg(bytes))) if file.path == path => Some(bytes),
        (Some(Arg::FileArg(file)), Some(Arg::TruncatedBytesArg(bytes))) if file.path == path => {
            Some(&bytes.bytes_arg)
        }
        _ => None,
    }
}
