//! Standard output and standard error.
//!
//! Lines are collected and written in large pieces; at a terminal each is written at once.
//! Whoever reads may leave at any time: that shows as [`Error::OutputClosed`].

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;

use crate::error::Error;

/// A collecting writer on standard output.
#[derive(Debug)]
pub(crate) struct Output {
    writer: BufWriter<File>,
    at_once: bool,
}

impl Output {
    /// On the process's standard output.
    pub(crate) fn stdout() -> Result<Self, Error> {
        let stdout = io::stdout();
        let at_once = stdout.is_terminal();
        // Past std's own line buffer, which would write line by line even into a file.
        let file = File::from(stdout.as_fd().try_clone_to_owned().map_err(Error::Write)?);
        Ok(Self { writer: BufWriter::with_capacity(64 * 1024, file), at_once })
    }

    /// Writes bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.writer.write_all(bytes).map_err(Error::write)?;
        if self.at_once { self.flush() } else { Ok(()) }
    }

    /// Writes out what was collected.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.writer.flush().map_err(Error::write)
    }
}

/// Prints a whole text.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut output = Output::stdout()?;
    output.write(text.as_bytes())?;
    output.flush()
}

/// Prints a line on standard error. If that cannot be written to, there is nowhere left to say so.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
