//! What can go wrong in a command, in sentences that say what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a command failed. Printed as `Error: ...`, with exit code 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Whoever read our output is gone. Not a failure: the command ends quietly.
    #[error("the output was closed")]
    OutputClosed,
    #[error("cannot write the output: {0}")]
    Write(#[source] io::Error),
    #[error("cannot read events: {0}")]
    Read(#[source] io::Error),
    #[error(
        "no agent listens at {address} ({cause}).\n\
         Start it with `tetragon` as root, or name its address with --server-address"
    )]
    NotListening { address: String, cause: String },
    #[error("permission denied at {address}.\nRun tetra as root: the agent's socket is root's")]
    Denied { address: String },
    #[error("cannot connect to {address}: {cause}")]
    Connect { address: String, cause: String },
    #[error("no answer from {address} within {after:?}; --timeout sets how long to wait")]
    Timeout { address: String, after: Duration },
    #[error("the agent at {address} refused: {message} ({code:?})")]
    Refused { address: String, code: tonic::Code, message: String },
    #[error("the agent at {address} went away: {cause}.\nUse --reconnect to wait for its return")]
    WentAway { address: String, cause: String },
    #[error("an event or answer is longer than --max-recv-size: {message}")]
    TooLong { message: String },
    #[error("bad server address {address:?}: {cause}")]
    Address { address: String, cause: String },
    #[error("cannot use {path}, which names the server's address: {cause}")]
    InfoFile { path: PathBuf, cause: String },
    #[error("{0}")]
    Tls(String),
    #[error("{0}")]
    Usage(String),
    #[error("the answer of {address} to {call} lacks {what}: it may be of another version")]
    Answer { address: String, call: &'static str, what: &'static str },
    #[error("cannot write the answer as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Policy(String),
    #[error("cannot read the policy {path}: {cause}")]
    PolicyFile { path: PathBuf, cause: io::Error },
    #[error("cannot read events from {path}: {cause}")]
    EventFile { path: PathBuf, cause: io::Error },
    #[error("cannot write to {path}: {cause}")]
    Directory { path: PathBuf, cause: io::Error },
    #[error("{0}")]
    Kernel(String),
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
}

impl Error {
    /// A failure to write to the standard output.
    pub(crate) fn write(cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Write(cause),
        }
    }
}
