//! The process table as `tetra dump processcache` shows it.

use api::tetragon::{DumpProcessCacheReqArgs, Process, ProcessInternal};

use super::entry::Entry;
use super::table::Table;

/// Entries that the request asks for; `message` makes the process message of one, given its references.
///
/// `exclude_execve_map_processes` leaves out the processes that run, which are the ones that the
/// kernel side has state of.
pub fn dump(
    table: &Table,
    request: &DumpProcessCacheReqArgs,
    message: impl Fn(&Entry, u32) -> Process,
) -> Vec<ProcessInternal> {
    table
        .iter()
        .filter(|(_, references, _)| !(request.skip_zero_refcnt && references.count() == 0))
        .filter(|(entry, _, _)| {
            !request.exclude_execve_map_processes
                || table.current(entry.process.pid) != Some(entry.process)
        })
        .map(|(entry, references, color)| ProcessInternal {
            process: Some(message(entry, references.count())),
            color: color.name().to_owned(),
            refcnt: Some(references.count()),
            refcnt_ops: references
                .operations()
                .map(|(name, times)| (name.to_owned(), i32::try_from(times).unwrap_or(i32::MAX)))
                .collect(),
        })
        .collect()
}
