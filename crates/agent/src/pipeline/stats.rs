//! Counters of the pipeline, ready for metrics.

use compiler::base::record::kind;

use crate::cgroups::map;
use crate::events::waiting;
use crate::loss;
use crate::process::{parts, table};
use crate::stacks;

/// What the pipeline counts itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records that arrived and could be read, by kind.
    pub records: [u64; kind::COUNT as usize],
    /// `process_exec` events.
    pub exec_events: u64,
    /// `process_exit` events.
    pub exit_events: u64,
    /// Events of policies.
    pub policy_events: u64,
    /// Executable mappings that the kernel told of.
    pub mappings: u64,
    /// Of these, of files that their process had told of before.
    pub mappings_repeated: u64,
    /// Executable mappings that the kernel's rings did not take.
    pub mappings_lost: u64,
    /// `events_lost` events.
    pub loss_events: u64,
    /// Events sent without all that is to be known of the process or its parent.
    pub incomplete_events: u64,
    /// Processes that no record told of but `/proc` did.
    pub recovered: u64,
    /// Images whose end no record told: it was noticed by what their pid did next, or by `/proc` after a
    /// loss.
    pub exits_missed: u64,
    /// Processes at the start whose image changed while they were read.
    pub changed_while_read: u64,
    /// Execs with arguments or environment of which a part was lost.
    pub incomplete_texts: u64,
}

/// All counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The pipeline's own.
    pub pipeline: Counters,
    /// Entries in the process table.
    pub table_size: usize,
    /// Most entries it may have.
    pub table_capacity: usize,
    /// Processes that run.
    pub table_running: usize,
    /// Bytes of what execs brought.
    pub table_bytes: usize,
    /// What became of entries.
    pub table: table::Counters,
    /// Events that wait for a process.
    pub waiting_size: usize,
    /// What became of waiting events.
    pub waiting: waiting::Counters,
    /// Bytes of arguments and environments that wait for their exec.
    pub parts_bytes: usize,
    /// What became of them.
    pub parts: parts::Counters,
    /// Cgroups known.
    pub cgroups_size: usize,
    /// What happened to them.
    pub cgroups: map::Counters,
    /// Events with stacks.
    pub stacks: stacks::Counters,
    /// Lost records.
    pub losses: loss::Counters,
    /// Lost events of policies.
    pub policy_events_lost: u64,
}
