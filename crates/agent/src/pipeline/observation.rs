//! From what policies saw to events.

use std::collections::HashMap;

use api::tetragon as wire;
use compiler::observed::Observation;
use policy::PolicyKey;
use wire::get_events_response::Event;

use super::Pipeline;
use crate::clock::WallTime;
use crate::events::waiting::{Body, Pending};
use crate::observation;
use crate::policies::Measures;

impl Pipeline {
    /// Takes in what a policy saw. It is sent when its process is known, or after a bounded wait.
    pub fn observation(&mut self, mut observation: Observation) {
        self.requests.carry_out(&observation);
        let (process, tid) = (observation.process, observation.tid);
        let time = self.clock.monotonic(observation.time);
        let stacks = std::mem::take(&mut observation.stacks);
        // The sooner, the more likely that the process is still there.
        let trace = (!stacks.is_empty()).then(|| {
            let image = self.table.get(process).map(|entry| &entry.image);
            let binary =
                image.filter(|image| image.is_known()).map(|image| image.binary.to_string());
            self.naming.name(process, binary, stacks)
        });
        // The stacks are of who ran, the event is of whom its socket belongs to.
        let owner = observation.owner.map(|owner| (owner.process, owner.tid));
        let (process, tid) = owner.unwrap_or((process, tid));
        let hit = observation::event(observation, &self.config.host);
        let parent = self.table.get(process).map_or(process, |entry| entry.parent);
        self.send(Pending { process, parent, body: Body::Hit(hit, tid), time, trace });
    }

    /// Counts a record of the ring of observations that cannot be read.
    pub fn undecodable_observation(&mut self, error: &dyn std::fmt::Display) {
        self.policy_losses.undecodable();
        if !self.undecodable_observation_logged {
            self.undecodable_observation_logged = true;
            tracing::error!(%error, "a policy's record cannot be read; such records count as lost");
        }
    }

    /// Takes in what was measured of policies since they were loaded: `missed_runs` of all together,
    /// `forgotten` calls whose return never came.
    pub fn policies_measured(
        &mut self,
        measures: &HashMap<PolicyKey, Measures>,
        missed_runs: u64,
        forgotten: u64,
    ) {
        self.policy_losses.measured(measures);
        self.policy_losses.missed_runs(missed_runs);
        self.policy_losses.forgotten(forgotten);
    }

    /// Takes in what was last measured of a policy that is no more in force.
    pub fn policy_departed(&mut self, key: &PolicyKey, last: &Measures) {
        self.policy_losses.departed(key, last);
    }

    /// Sends what was lost of policies' events since the last time.
    pub(super) fn report_policy_losses(&mut self) {
        for loss in self.policy_losses.report(self.now) {
            self.counters.loss_events += 1;
            let lost = wire::EventsLost {
                ring: "observation".to_owned(),
                count: loss.count,
                cause: loss.cause,
                ..wire::EventsLost::default()
            };
            let event = self.messages.envelope(Event::EventsLost(lost), WallTime::now());
            self.outbox.send(event, None);
        }
    }
}
