//! soon
use std::ffi::OsString;
use std::process::ExitCode;
pub(crate) fn run(_: &[OsString]) -> ExitCode {
    ExitCode::SUCCESS
}
