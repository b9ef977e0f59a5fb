//! What is known of the agent's events.

use std::time::Duration;

use api::tetragon::get_events_response::Event;
use api::tetragon::{GetEventsResponse, TracingPolicyStatus};

use super::counts::{Counter, Counts};
use crate::getevents::Collect;
use crate::hook_name::hook_name;
use crate::processes::Processes;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct State {
    /// All events.
    pub(super) events: Counter,
    /// Records and events that were lost.
    pub(super) lost: Counter,
    /// Those, by where and why.
    pub(super) losses: Counts,
    /// Events that the export's limit left out.
    pub(super) limited: Counter,
    /// By `exec_id`.
    pub(super) by_process: Counts,
    /// By policy.
    pub(super) by_policy: Counts,
    /// By hook.
    pub(super) by_hook: Counts,
    /// By type.
    pub(super) by_type: Counts,
    /// The processes.
    pub(super) processes: Processes,
    /// What the agent says of its policies.
    pub(super) policies: Vec<TracingPolicyStatus>,
}

impl State {
    /// An interval is over.
    pub(super) fn tick(&mut self, passed: Duration) {
        for counter in [&mut self.events, &mut self.lost, &mut self.limited] {
            counter.tick(passed);
        }
        for counts in [
            &mut self.losses,
            &mut self.by_process,
            &mut self.by_policy,
            &mut self.by_hook,
            &mut self.by_type,
        ] {
            counts.tick(passed);
        }
    }
}

impl Collect for State {
    fn add(&mut self, event: &GetEventsResponse) {
        let Some(body) = &event.event else { return };
        match body {
            Event::EventsLost(lost) => {
                self.lost.add(lost.count);
                return self.losses.add(&format!("{}: {}", lost.ring, lost.cause), lost.count);
            }
            Event::RateLimitInfo(info) => {
                return self.limited.add(info.number_of_dropped_process_events);
            }
            _ => {}
        }
        self.events.add(1);
        let kind = event.event_type().as_str_name();
        self.by_type.add(kind.strip_prefix("PROCESS_").unwrap_or(kind), 1);
        self.processes.add(event);
        if let Some(process) = body.process() {
            self.by_process.add(&process.exec_id, 1);
        }
        if let Some(policy) = body.policy_name() {
            self.by_policy.add(policy, 1);
        }
        if let Some(hook) = hook_name(body) {
            self.by_hook.add(&hook, 1);
        }
    }
}
