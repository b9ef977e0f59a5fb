//! Events that wait for a process that the table does not have yet.
//!
//! The ring is in order, and a fork comes before what its child does, so a missing process was lost, or
//! the scan at start has not told of it yet. An event waits until the process appears or for a bounded
//! number of attempts, then it is sent with what is known. Events of one process never overtake each
//! other: behind one that waits, the next ones wait too.
//!
//! The queue is bounded by events and bytes; if it is full, the oldest event is sent at once.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};

use api::tetragon as wire;
use compiler::base::record::Identity;

use crate::clock::WallTime;
use crate::observation::Hit;
use crate::stacks::Trace;

/// Most events that wait.
const MAX_EVENTS: usize = 8192;
/// Most bytes of text in them.
const MAX_BYTES: usize = 4 << 20;
/// Most processes remembered as waited for in vain.
const MAX_GIVEN_UP: usize = 8192;

/// What an event is, apart from its parent and ancestors.
#[derive(Clone, Debug)]
pub enum Body {
    /// An exec.
    Exec(Box<wire::Process>),
    /// An exit: the process, if it is known, and the kernel's exit code.
    Exit(Option<Box<wire::Process>>, u32),
    /// What a policy saw, and the thread in which it did.
    Hit(Hit, u32),
}

/// An event under way.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Process that it is about.
    pub process: Identity,
    /// Its parent, by what the record said; that of a hit is what the table says.
    pub parent: Identity,
    /// Kind and content.
    pub body: Body,
    /// When it happened.
    pub time: WallTime,
    /// Its stacks.
    pub trace: Option<Trace>,
}

impl Pending {
    fn size(&self) -> usize {
        let process = match &self.body {
            Body::Exec(process) | Body::Exit(Some(process), _) => process,
            Body::Exit(None, _) => return 0,
            Body::Hit(hit, _) => return hit.size(),
        };
        let variables = &process.environment_variables;
        process.binary.len()
            + process.arguments.len()
            + process.cwd.len()
            + variables.iter().map(|entry| entry.key.len() + entry.value.len()).sum::<usize>()
    }
}

/// What happened to waiting events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Events that had to wait.
    pub inserted: u64,
    /// Attempts that were in vain.
    pub retries: u64,
    /// Events sent incomplete after the last attempt.
    pub failures: u64,
    /// Events sent incomplete because the queue was full.
    pub overflows: u64,
}

/// An event in the queue.
#[derive(Debug)]
pub struct Waiting {
    /// The event.
    pub event: Pending,
    awaited: Identity,
    attempts: u32,
}

/// One way through the queue.
#[derive(Debug)]
pub struct Pass {
    queue: VecDeque<Waiting>,
    blocked: HashSet<Identity>,
    /// Events to be sent, in order.
    pub sent: Vec<Pending>,
}

impl Iterator for Pass {
    type Item = Waiting;

    fn next(&mut self) -> Option<Waiting> {
        self.queue.pop_front()
    }
}

/// The queue.
#[derive(Debug)]
pub struct WaitingEvents {
    attempts: u32,
    queue: VecDeque<Waiting>,
    /// Number of waiting events of each process.
    subjects: HashMap<Identity, u32>,
    /// Number of events that wait for each process.
    awaited: HashMap<Identity, u32>,
    given_up: HashSet<Identity>,
    bytes: usize,
    counters: Counters,
}

impl WaitingEvents {
    /// An empty queue, in which every event has so many attempts.
    pub fn new(attempts: u32) -> Self {
        Self {
            attempts,
            queue: VecDeque::new(),
            subjects: HashMap::new(),
            awaited: HashMap::new(),
            given_up: HashSet::new(),
            bytes: 0,
            counters: Counters::default(),
        }
    }

    /// Number of waiting events.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// What happened to waiting events.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether an event of this process waits, so that later ones have to wait behind it.
    pub fn holds(&self, process: Identity) -> bool {
        self.subjects.contains_key(&process)
    }

    /// Whether an event waits for this process.
    pub fn awaits(&self, process: Identity) -> bool {
        self.awaited.contains_key(&process)
    }

    /// Whether events have waited for this process in vain; then others need not wait for it.
    pub fn gave_up(&self, process: Identity) -> bool {
        self.attempts == 0 || self.given_up.contains(&process)
    }

    /// No event needs to wait for this process: it will not come.
    pub fn give_up(&mut self, process: Identity) {
        if self.given_up.len() >= MAX_GIVEN_UP {
            self.given_up.clear();
        }
        self.given_up.insert(process);
    }

    /// Adds an event that misses `awaited`. Gives the events that have to be sent to make room.
    #[must_use]
    pub fn push(&mut self, event: Pending, awaited: Identity) -> Vec<Pending> {
        let size = event.size();
        let mut sent = Vec::new();
        while self.queue.len() >= MAX_EVENTS
            || (self.bytes + size > MAX_BYTES && !self.queue.is_empty())
        {
            let Some(oldest) = self.queue.pop_front() else { break };
            self.forget(&oldest);
            sent.push(oldest.event);
            self.counters.overflows += 1;
            if self.counters.overflows == 1 {
                tracing::warn!(
                    waiting = self.queue.len() + 1,
                    "too many events wait for their processes; the oldest are sent incomplete"
                );
            }
        }
        self.counters.inserted += 1;
        self.keep(Waiting { event, awaited, attempts: 0 });
        sent
    }

    /// Gives up all events, in order.
    #[must_use]
    pub fn drain(&mut self) -> Vec<Pending> {
        self.counters.failures += self.queue.len() as u64;
        self.begin_pass().queue.into_iter().map(|waiting| waiting.event).collect()
    }

    /// Takes all events out, in order, to be given to [`Self::settle`] one by one.
    pub fn begin_pass(&mut self) -> Pass {
        self.subjects.clear();
        self.awaited.clear();
        self.bytes = 0;
        Pass { queue: std::mem::take(&mut self.queue), blocked: HashSet::new(), sent: Vec::new() }
    }

    /// Decides about the event that [`Pass::next`] gave: it is sent if it lacks nothing, or if this was
    /// its last attempt, and nothing of its process waits before it; else it waits on.
    pub fn settle(
        &mut self,
        pass: &mut Pass,
        mut waiting: Waiting,
        lacks: Option<Identity>,
        attempt: bool,
    ) {
        if let Some(lacks) = lacks {
            waiting.awaited = lacks;
            if attempt {
                waiting.attempts += 1;
                self.counters.retries += 1;
            }
        }
        let behind = pass.blocked.contains(&waiting.event.process);
        match lacks {
            None if !behind => pass.sent.push(waiting.event),
            Some(lacks) if !behind && waiting.attempts >= self.attempts => {
                self.counters.failures += 1;
                self.give_up(lacks);
                pass.sent.push(waiting.event);
            }
            _ => {
                pass.blocked.insert(waiting.event.process);
                self.keep(waiting);
            }
        }
    }

    fn keep(&mut self, waiting: Waiting) {
        *self.subjects.entry(waiting.event.process).or_default() += 1;
        *self.awaited.entry(waiting.awaited).or_default() += 1;
        self.bytes += waiting.event.size();
        self.queue.push_back(waiting);
    }

    fn forget(&mut self, waiting: &Waiting) {
        one_less(&mut self.subjects, waiting.event.process);
        one_less(&mut self.awaited, waiting.awaited);
        self.bytes -= waiting.event.size();
    }
}

fn one_less(counts: &mut HashMap<Identity, u32>, process: Identity) {
    if let Entry::Occupied(mut count) = counts.entry(process) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(pid: u32) -> Identity {
        Identity { ktime: 5, pid }
    }

    fn event(pid: u32, text: usize) -> Pending {
        let process = wire::Process { arguments: "x".repeat(text), ..wire::Process::default() };
        Pending {
            process: id(pid),
            parent: id(1),
            body: Body::Exec(Box::new(process)),
            time: WallTime(0),
            trace: None,
        }
    }

    fn pass(
        queue: &mut WaitingEvents,
        attempt: bool,
        lacks: impl Fn(&Pending) -> Option<Identity>,
    ) -> Vec<Pending> {
        let mut pass = queue.begin_pass();
        while let Some(waiting) = pass.next() {
            let lacks = lacks(&waiting.event);
            queue.settle(&mut pass, waiting, lacks, attempt);
        }
        pass.sent
    }

    fn pids(events: &[Pending]) -> Vec<u32> {
        events.iter().map(|event| event.process.pid).collect()
    }

    #[test]
    fn sent_when_nothing_is_missing_any_more() {
        let mut queue = WaitingEvents::new(3);
        assert!(queue.push(event(10, 0), id(1)).is_empty());
        assert!(queue.push(event(11, 0), id(2)).is_empty());
        assert!(queue.awaits(id(1)) && queue.holds(id(10)) && !queue.holds(id(1)));
        let sent = pass(&mut queue, false, |event| (event.process != id(11)).then_some(id(1)));
        assert_eq!(pids(&sent), [11]);
        assert!(!queue.awaits(id(2)) && !queue.holds(id(11)));
        let sent = pass(&mut queue, false, |_| None);
        assert_eq!(pids(&sent), [10]);
        assert_eq!(queue.counters(), Counters { inserted: 2, ..Counters::default() });
    }

    #[test]
    fn sent_after_the_last_attempt() {
        let mut queue = WaitingEvents::new(3);
        assert!(queue.push(event(10, 0), id(1)).is_empty());
        for _ in 0..2 {
            assert!(pass(&mut queue, true, |_| Some(id(1))).is_empty());
            assert!(pass(&mut queue, false, |_| Some(id(1))).is_empty());
        }
        assert!(!queue.gave_up(id(1)));
        assert_eq!(pids(&pass(&mut queue, true, |_| Some(id(1)))), [10]);
        assert!(queue.gave_up(id(1)));
        assert_eq!((queue.counters().failures, queue.counters().retries), (1, 3));
        assert!(WaitingEvents::new(0).gave_up(id(9)), "no attempts, no waiting");
    }

    #[test]
    fn events_of_one_process_keep_their_order() {
        let mut queue = WaitingEvents::new(3);
        assert!(queue.push(event(10, 1), id(1)).is_empty());
        assert!(queue.push(event(10, 2), id(1)).is_empty());
        assert!(queue.push(event(11, 3), id(1)).is_empty());
        // The first one lacks something, the others do not.
        let sent = pass(&mut queue, false, |event| (event.size() == 1).then_some(id(1)));
        assert_eq!(pids(&sent), [11]);
        let sent = pass(&mut queue, false, |_| None);
        assert_eq!(sent.iter().map(Pending::size).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn bounded_by_events_and_bytes() {
        let mut queue = WaitingEvents::new(3);
        let mut sent = 0;
        for pid in 0..10_000 {
            sent += queue.push(event(pid, 0), id(1)).len();
        }
        assert_eq!((queue.len(), sent), (MAX_EVENTS, 10_000 - MAX_EVENTS));
        assert_eq!(queue.counters().overflows as usize, sent);
        assert!(!queue.holds(id(0)) && queue.holds(id(9_999)));

        let mut queue = WaitingEvents::new(3);
        for pid in 0..10 {
            let _ = queue.push(event(pid, 1 << 20), id(1));
            assert!(queue.bytes <= MAX_BYTES);
        }
        assert_eq!(queue.len(), 4);
        let sent = queue.push(event(77, 8 << 20), id(1));
        assert_eq!((sent.len(), queue.len()), (4, 1), "one that is larger than all may wait alone");
    }
}
