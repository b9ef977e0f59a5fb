//! Events on their way out, in order: behind one whose stacks have no names yet, the next ones wait.
//!
//! Nothing is lost by that. Where names take too long, or too much waits, the oldest is sent without them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use api::tetragon as wire;
use prost::Message as _;

use super::Trace;

/// How long an event waits for the names of its stacks.
const PATIENCE: Duration = Duration::from_secs(5);
/// Events that wait, at most.
const EVENTS_MAX: usize = 8192;
/// Their bytes, at most.
const BYTES_MAX: usize = 16 << 20;

/// Takes events, in order.
pub type Emit = Box<dyn FnMut(wire::GetEventsResponse) + Send>;

/// What happened to events with stacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Events that were sent with the names that were found.
    pub named: u64,
    /// Events that were sent without names because these took too long, or too many waited.
    pub given_up: u64,
}

struct Held {
    event: wire::GetEventsResponse,
    trace: Option<Trace>,
    since: Instant,
    bytes: usize,
}

/// Events on their way out.
pub struct Outbox {
    emit: Emit,
    held: VecDeque<Held>,
    bytes: usize,
    counters: Counters,
}

impl Outbox {
    /// An empty one, that gives events to `emit`.
    pub fn new(emit: Emit) -> Self {
        Self { emit, held: VecDeque::new(), bytes: 0, counters: Counters::default() }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Sends an event: at once if nothing is ahead of it that waits, and its stacks have names.
    pub fn send(&mut self, event: wire::GetEventsResponse, trace: Option<Trace>) {
        if self.held.is_empty() && trace.as_ref().is_none_or(Trace::is_named) {
            return self.emit(event, trace);
        }
        let bytes = event.encoded_len();
        self.bytes += bytes;
        self.held.push_back(Held { event, trace, since: Instant::now(), bytes });
        while self.held.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            self.send_first();
        }
    }

    /// Sends what need not, or must not, wait any longer.
    pub fn release(&mut self, now: Instant) {
        while let Some(first) = self.held.front() {
            let waits = first.trace.as_ref().is_some_and(|trace| !trace.is_named());
            if waits && now.saturating_duration_since(first.since) < PATIENCE {
                break;
            }
            self.send_first();
        }
    }

    /// Sends all, with what names there are.
    pub fn finish(&mut self) {
        while !self.held.is_empty() {
            self.send_first();
        }
    }

    fn send_first(&mut self) {
        let Some(held) = self.held.pop_front() else { return };
        self.bytes -= held.bytes;
        self.emit(held.event, held.trace);
    }

    fn emit(&mut self, mut event: wire::GetEventsResponse, trace: Option<Trace>) {
        if let (Some(trace), Some(body)) = (trace, &mut event.event) {
            match trace.is_named() {
                true => self.counters.named += 1,
                false => {
                    if self.counters.given_up == 0 {
                        tracing::warn!(
                            "finding the names of a stack takes too long; such events are sent \
                             without names"
                        );
                    }
                    self.counters.given_up += 1;
                    trace.give_up();
                }
            }
            trace.put_into(body);
        }
        (self.emit)(event);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use compiler::observed::Stacks;
    use wire::get_events_response::Event;

    use super::*;
    use crate::stacks::Frames;

    /// Names of functions and lengths of stacks.
    type Sent = Arc<Mutex<Vec<(String, usize)>>>;

    fn outbox() -> (Outbox, Sent) {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let to = sent.clone();
        let emit = move |event: wire::GetEventsResponse| {
            let Some(Event::ProcessKprobe(hit)) = event.event else { panic!() };
            to.lock().unwrap().push((hit.function_name, hit.kernel_stack_trace.len()));
        };
        (Outbox::new(Box::new(emit)), sent)
    }

    fn event(name: &str) -> wire::GetEventsResponse {
        let hit = wire::ProcessKprobe { function_name: name.to_owned(), ..Default::default() };
        wire::GetEventsResponse { event: Some(Event::ProcessKprobe(hit)), ..Default::default() }
    }

    fn trace() -> Trace {
        Trace::new(Stacks { kernel: vec![1, 2], ..Stacks::default() }, false)
    }

    #[test]
    fn the_order_is_kept() {
        let (mut outbox, sent) = outbox();
        let names = |sent: &Mutex<Vec<(String, usize)>>| {
            sent.lock().unwrap().iter().map(|(name, _)| name.clone()).collect::<String>()
        };
        let (first, second) = (trace(), trace());
        outbox.send(event("a"), None);
        outbox.send(event("b"), Some(first.clone()));
        outbox.send(event("c"), None);
        outbox.send(event("d"), Some(second.clone()));
        second.name(Frames::default());
        let now = Instant::now();
        outbox.release(now);
        assert_eq!(names(&sent), "a");
        first.name(Frames::default());
        outbox.release(now);
        assert_eq!(names(&sent), "abcd");
        assert!(outbox.is_empty() && outbox.bytes == 0);
        assert_eq!(outbox.counters(), Counters { named: 2, given_up: 0 });
    }

    #[test]
    fn nothing_waits_for_ever() {
        let (mut outbox, sent) = outbox();
        let late = trace();
        outbox.send(event("late"), Some(late.clone()));
        outbox.send(event("behind"), None);
        outbox.release(Instant::now() + PATIENCE);
        assert_eq!(*sent.lock().unwrap(), [("late".to_owned(), 2), ("behind".to_owned(), 0)]);
        late.name(Frames::default());
        assert_eq!(outbox.counters(), Counters { named: 0, given_up: 1 });
        for _ in 0..EVENTS_MAX + 1 {
            outbox.send(event("many"), Some(trace()));
        }
        assert_eq!((outbox.held.len(), sent.lock().unwrap().len()), (EVENTS_MAX, 3));
        outbox.finish();
        assert_eq!(sent.lock().unwrap().len(), EVENTS_MAX + 3);
    }

    #[test]
    fn what_waits_is_bounded_in_bytes() {
        let (mut outbox, sent) = outbox();
        let large = "x".repeat(BYTES_MAX / 3);
        for _ in 0..4 {
            outbox.send(event(&large), Some(trace()));
        }
        assert_eq!((outbox.held.len(), sent.lock().unwrap().len()), (2, 2));
    }
}
