//! Processes that a filter follows from some on: theirs, and those that they start.
//!
//! A process is learnt of when an event names it with its parent, so one whose exec was not seen (or
//! not in time) is missed: best effort, as the API says.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use api::tetragon::GetEventsResponse;
use api::tetragon::get_events_response::Event;

/// Most processes that are followed; the ones learnt of first are forgotten first.
const MAX: usize = 65_536;

/// The processes of a `pid_set`.
#[derive(Debug)]
pub(super) struct FollowedProcesses {
    first: HashSet<u32>,
    learnt: Mutex<Learnt>,
}

#[derive(Debug, Default)]
struct Learnt {
    pids: HashSet<u32>,
    order: VecDeque<u32>,
}

impl FollowedProcesses {
    pub(super) fn new(pids: &[u32]) -> Self {
        Self { first: pids.iter().copied().collect(), learnt: Mutex::default() }
    }

    /// Whether an event is about one of them or a child of one; which is followed from then on.
    pub(super) fn take(&self, event: &GetEventsResponse) -> bool {
        let Some(pid) = event.process().and_then(|process| process.pid) else { return false };
        let mut learnt = self.learnt.lock().unwrap_or_else(PoisonError::into_inner);
        let follows =
            |learnt: &Learnt, pid| self.first.contains(&pid) || learnt.pids.contains(&pid);
        let parent = event.parent().and_then(|parent| parent.pid);
        let taken = follows(&learnt, pid) || parent.is_some_and(|pid| follows(&learnt, pid));
        if taken && matches!(event.event, Some(Event::ProcessExit(_))) {
            // Its number may be given to another process.
            learnt.pids.remove(&pid);
        } else if taken && !self.first.contains(&pid) && learnt.pids.insert(pid) {
            learnt.order.push_back(pid);
            if learnt.order.len() > MAX
                && let Some(oldest) = learnt.order.pop_front()
            {
                learnt.pids.remove(&oldest);
            }
        }
        taken
    }
}
