//! What kind an event is, and which process it is about.

use crate::tetragon::get_events_response::Event;
use crate::tetragon::{EventType, GetEventsResponse, Process};

impl Event {
    /// Its kind.
    pub fn event_type(&self) -> EventType {
        match self {
            Self::ProcessExec(_) => EventType::ProcessExec,
            Self::ProcessExit(_) => EventType::ProcessExit,
            Self::ProcessKprobe(_) => EventType::ProcessKprobe,
            Self::ProcessTracepoint(_) => EventType::ProcessTracepoint,
            Self::ProcessLoader(_) => EventType::ProcessLoader,
            Self::ProcessUprobe(_) => EventType::ProcessUprobe,
            Self::ProcessThrottle(_) => EventType::ProcessThrottle,
            Self::ProcessLsm(_) => EventType::ProcessLsm,
            Self::ProcessUsdt(_) => EventType::ProcessUsdt,
            Self::Test(_) => EventType::Test,
            Self::RateLimitInfo(_) => EventType::RateLimitInfo,
            Self::EventsLost(_) => EventType::EventsLost,
        }
    }

    /// The process that it is about; some kinds have none.
    pub fn process(&self) -> Option<&Process> {
        match self {
            Self::ProcessExec(event) => event.process.as_ref(),
            Self::ProcessExit(event) => event.process.as_ref(),
            Self::ProcessKprobe(event) => event.process.as_ref(),
            Self::ProcessTracepoint(event) => event.process.as_ref(),
            Self::ProcessLoader(event) => event.process.as_ref(),
            Self::ProcessUprobe(event) => event.process.as_ref(),
            Self::ProcessLsm(event) => event.process.as_ref(),
            Self::ProcessUsdt(event) => event.process.as_ref(),
            Self::ProcessThrottle(_)
            | Self::Test(_)
            | Self::RateLimitInfo(_)
            | Self::EventsLost(_) => None,
        }
    }

    /// The parent of that process.
    pub fn parent(&self) -> Option<&Process> {
        match self {
            Self::ProcessExec(event) => event.parent.as_ref(),
            Self::ProcessExit(event) => event.parent.as_ref(),
            Self::ProcessKprobe(event) => event.parent.as_ref(),
            Self::ProcessTracepoint(event) => event.parent.as_ref(),
            Self::ProcessLoader(event) => event.parent.as_ref(),
            Self::ProcessUprobe(event) => event.parent.as_ref(),
            Self::ProcessLsm(event) => event.parent.as_ref(),
            Self::ProcessUsdt(event) => event.parent.as_ref(),
            Self::ProcessThrottle(_)
            | Self::Test(_)
            | Self::RateLimitInfo(_)
            | Self::EventsLost(_) => None,
        }
    }
}

impl Event {
    /// The ancestors of that process, if it comes with any: the grandparent first.
    pub fn ancestors(&self) -> &[Process] {
        match self {
            Self::ProcessExec(event) => &event.ancestors,
            Self::ProcessExit(event) => &event.ancestors,
            Self::ProcessKprobe(event) => &event.ancestors,
            Self::ProcessTracepoint(event) => &event.ancestors,
            Self::ProcessLoader(event) => &event.ancestors,
            Self::ProcessUprobe(event) => &event.ancestors,
            Self::ProcessLsm(event) => &event.ancestors,
            Self::ProcessUsdt(event) => &event.ancestors,
            Self::ProcessThrottle(_)
            | Self::Test(_)
            | Self::RateLimitInfo(_)
            | Self::EventsLost(_) => &[],
        }
    }

    /// The policy that made it; none for those that come without any.
    pub fn policy_name(&self) -> Option<&str> {
        match self {
            Self::ProcessKprobe(event) => Some(&event.policy_name),
            Self::ProcessTracepoint(event) => Some(&event.policy_name),
            Self::ProcessUprobe(event) => Some(&event.policy_name),
            Self::ProcessLsm(event) => Some(&event.policy_name),
            Self::ProcessUsdt(event) => Some(&event.policy_name),
            Self::ProcessExec(_)
            | Self::ProcessExit(_)
            | Self::ProcessLoader(_)
            | Self::ProcessThrottle(_)
            | Self::Test(_)
            | Self::RateLimitInfo(_)
            | Self::EventsLost(_) => None,
        }
    }
}

impl GetEventsResponse {
    /// Kind of the event; [`EventType::Undef`] when this side does not know it.
    pub fn event_type(&self) -> EventType {
        self.event.as_ref().map_or(EventType::Undef, Event::event_type)
    }

    /// The process that the event is about.
    pub fn process(&self) -> Option<&Process> {
        self.event.as_ref()?.process()
    }

    /// The parent of that process.
    pub fn parent(&self) -> Option<&Process> {
        self.event.as_ref()?.parent()
    }

    /// The ancestors of that process, if it comes with any: the grandparent first.
    pub fn ancestors(&self) -> &[Process] {
        self.event.as_ref().map_or(&[], Event::ancestors)
    }

    /// The policy that made the event.
    pub fn policy_name(&self) -> Option<&str> {
        self.event.as_ref()?.policy_name()
    }
}

impl EventType {
    /// Every kind of event there is.
    pub const ALL: [Self; 12] = [
        Self::ProcessExec,
        Self::ProcessExit,
        Self::ProcessKprobe,
        Self::ProcessTracepoint,
        Self::ProcessLoader,
        Self::ProcessUprobe,
        Self::ProcessThrottle,
        Self::ProcessLsm,
        Self::ProcessUsdt,
        Self::Test,
        Self::RateLimitInfo,
        Self::EventsLost,
    ];
}
