//! From what policies saw to events.

use compiler::observed::Observation;

use super::Pipeline;
use crate::events::waiting::{Body, Pending};
use crate::observation;

impl Pipeline {
    /// Takes in what a policy saw. It is sent when its process is known, or after a bounded wait.
    pub fn observation(&mut self, observation: Observation) {
        let (process, tid) = (observation.process, observation.tid);
        let time = self.clock.monotonic(observation.time);
        let hit = observation::event(observation, &self.config.host);
        let parent = self.table.get(process).map_or(process, |entry| entry.parent);
        self.send(Pending { process, parent, body: Body::Hit(Box::new(hit), tid), time });
    }
}
