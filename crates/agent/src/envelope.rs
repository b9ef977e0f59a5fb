//! What stands around every event: node, cluster, time.

use std::time::SystemTime;

use api::tetragon::get_events_response::Event;
use api::tetragon::{EventsLost, GetEventsResponse};

/// The part of the envelope that is the same for all events of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// `node_name`.
    pub node_name: String,
    /// `cluster_name`.
    pub cluster_name: String,
}

impl Envelope {
    /// An event that the agent itself has to tell, of now.
    pub fn wrap(&self, event: Event) -> GetEventsResponse {
        GetEventsResponse {
            event: Some(event),
            node_name: self.node_name.clone(),
            cluster_name: self.cluster_name.clone(),
            time: Some(SystemTime::now().into()),
            ..GetEventsResponse::default()
        }
    }

    /// Says that `count` events are missing from a stream. `queue` is where they were lost.
    pub fn events_lost(&self, queue: &str, cause: &str, count: u64) -> GetEventsResponse {
        self.wrap(Event::EventsLost(EventsLost {
            ring: queue.to_owned(),
            cause: cause.to_owned(),
            count,
            ..EventsLost::default()
        }))
    }
}
