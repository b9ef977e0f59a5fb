//! Events from standard input or a file, a JSON object per line, filtered here as the agent filters its own.
//!
//! What is no event, and lines longer than an event may be, are reported on standard error with
//! their number, and passed over. Collected output is written out before every read that may wait,
//! so that `tail -f events.log | tetra getevents -o compact` shows each event at once.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use api::tetragon::{GetEventsRequest, GetEventsResponse};
use filters::{FieldFilters, Selection};

use super::Consumer;
use crate::error::Error;
use crate::output::complain;

/// Whether events come on standard input: it is neither a terminal nor /dev/null.
pub(super) fn is_input() -> io::Result<bool> {
    Ok(!open()?.metadata()?.file_type().is_char_device())
}

/// Standard input without the buffer of std, whose fill level cannot be seen.
fn open() -> io::Result<File> {
    io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

/// Hands over the events of a file, or those that come in, until there are no more.
pub(super) async fn run(
    file: Option<PathBuf>,
    limit: usize,
    request: &GetEventsRequest,
    sink: impl Consumer,
) -> Result<(), Error> {
    let wrong = |error: filters::FilterError| Error::Usage(error.to_string());
    let selection = Selection::new(&request.allow_list, &request.deny_list).map_err(wrong)?;
    let fields = FieldFilters::new(&request.field_filters).map_err(wrong)?;
    // Reads may wait forever, so they have a thread to themselves.
    let work = tokio::task::spawn_blocking(move || {
        let file = match file {
            Some(path) => File::open(&path).map_err(|cause| Error::EventFile { path, cause })?,
            None => open().map_err(Error::Read)?,
        };
        let input = BufReader::with_capacity(64 * 1024, file);
        copy(input, limit, &selection, &fields, sink)
    });
    work.await.map_err(|cause| Error::Start(io::Error::other(cause)))?
}

fn copy<R: Read>(
    mut input: BufReader<R>,
    limit: usize,
    selection: &Selection,
    fields: &FieldFilters,
    mut sink: impl Consumer,
) -> Result<(), Error> {
    let mut line = Vec::new();
    let mut number = 0u64;
    loop {
        line.clear();
        let Some(length) = read_line(&mut input, limit, &mut line, &mut sink)? else {
            return sink.flush();
        };
        number += 1;
        if length > limit {
            complain(&format!(
                "line {number} left out: its {length} bytes are more than --max-recv-size {limit}"
            ));
            continue;
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        match serde_json::from_slice::<GetEventsResponse>(text) {
            Ok(event) if selection.takes(&event) => sink.put(&fields.apply(&event))?,
            Ok(_) => {}
            Err(cause) => complain(&format!("line {number} left out: no event: {cause}")),
        }
    }
}

/// Reads up to and with the next line feed, or to the end; keeps no more than `limit` bytes.
/// Gives the whole line's length without its line feed, nothing at the end of the input.
fn read_line<R: Read>(
    input: &mut BufReader<R>,
    limit: usize,
    line: &mut Vec<u8>,
    sink: &mut impl Consumer,
) -> Result<Option<usize>, Error> {
    let mut length = 0;
    loop {
        if input.buffer().is_empty() {
            sink.flush()?;
        }
        let bytes = match input.fill_buf() {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(Error::Read(cause)),
        };
        if bytes.is_empty() {
            return Ok((length > 0).then_some(length));
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        let room = limit.saturating_sub(line.len()).min(part.len());
        line.extend_from_slice(&part[..room]);
        length += part.len();
        let used = end.map_or(bytes.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(Some(length));
        }
    }
}
