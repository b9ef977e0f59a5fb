//! `tetra replay`: which recorded events a policy would have matched, by the reference evaluator, as far as
//! the recording tells. Nothing is loaded, and no agent is asked.

mod event;
mod hook;
mod report;
mod value;
mod verdict;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use policy::CheckedPolicy;

use crate::cli::Global;
use crate::error::Error;
use crate::getevents::{self, Selection, Source};
use crate::output;
use crate::tracingpolicy::{Form, read};
use report::Report;

/// Flags of the command.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// File of exported events, - for standard input
    file: PathBuf,
    /// Policy to try, YAML or JSON; may be given again
    #[arg(short, long, required = true, value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// Policy that made the recording: without it, values of other policies' events are known by their
    /// labels only; may be given again
    #[arg(long, value_name = "FILE")]
    recorded_by: Vec<PathBuf>,
    /// Print what cannot be told and what does not match, too
    #[arg(short, long)]
    all: bool,
    /// Print only how many there are of each
    #[arg(short, long)]
    summary: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
    #[command(flatten)]
    selection: Selection,
}

/// Goes through the events; prints verdicts as it goes, and in the end how many there were.
pub(crate) async fn run(global: &Global, flags: Flags) -> Result<(), Error> {
    let policies = checked(&flags.policy)?;
    let recorders = checked(&flags.recorded_by)?;
    let report = Report::new(policies, recorders, flags.output, flags.all, flags.summary)?;
    let report = Arc::new(Mutex::new(report));
    let source = Source::new(Some(flags.file))?;
    let request = flags.selection.request();
    getevents::collect(global, source, request, report::Shared(report.clone())).await?;
    let report = report.lock().unwrap_or_else(PoisonError::into_inner);
    output::print(&report.summary()?)
}

/// The policies of files. They stay until the command ends.
fn checked(paths: &[PathBuf]) -> Result<&'static [CheckedPolicy], Error> {
    let read = |path: &PathBuf| {
        let text = read(path)?;
        CheckedPolicy::read(&path.to_string_lossy(), &text)
            .map_err(|problems| Error::Policy(problems.to_string()))
    };
    let policies: Vec<CheckedPolicy> = paths.iter().map(read).collect::<Result<_, _>>()?;
    Ok(policies.leak())
}
