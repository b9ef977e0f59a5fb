//! The queue between the rings' reader and the pipeline: records in order, in batches, bounded by
//! number and by bytes, each ring's by themselves.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that the queue holds at most, whatever number of records that is; one batch more can be in
/// flight.
const MAX_BYTES: usize = 16 << 20;
/// Batches that are kept for reuse are not larger than this, so that a burst does not stay in memory.
const KEEP_BYTES: usize = 64 << 10;

/// Where records come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Origin {
    /// The base ring.
    #[default]
    Base,
    /// The ring of what policies observe.
    Observation,
}

/// Records of one ring one behind the other, each with its length before it.
#[derive(Debug, Default)]
pub(super) struct Batch {
    origin: Origin,
    bytes: Vec<u8>,
    records: usize,
}

impl Batch {
    pub(super) fn of(origin: Origin) -> Self {
        Self { origin, ..Self::default() }
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    pub(super) fn push(&mut self, record: &[u8]) {
        // The length of a record in a ring has 30 bits.
        self.bytes.extend_from_slice(&(record.len() as u32).to_ne_bytes());
        self.bytes.extend_from_slice(record);
        self.records += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Number of records.
    pub(super) fn len(&self) -> usize {
        self.records
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk::<4>()?;
            let (record, next) = behind.split_at_checked(u32::from_ne_bytes(*length) as usize)?;
            rest = next;
            Some(record)
        })
    }
}

#[derive(Default)]
struct State {
    batches: VecDeque<Batch>,
    held: [Held; 2],
    closed: bool,
    spare: Option<Batch>,
}

/// What the queue holds of one ring.
#[derive(Clone, Copy, Default)]
struct Held {
    records: usize,
    bytes: usize,
}

/// The queue; one writer, one reader.
pub(super) struct Queue {
    max_records: usize,
    state: Mutex<State>,
    /// The state changed in a way that the other side may wait for.
    changed: Condvar,
}

/// What [`Queue::pop`] found.
pub(super) enum Popped {
    Batch(Batch),
    /// Nothing until the deadline.
    Nothing,
    /// Nothing more will come.
    Closed,
}

impl Queue {
    pub(super) fn new(max_records: usize) -> Self {
        let max_records = max_records.max(1);
        Self { max_records, state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a batch, once there is room for more of its ring, and gives an empty one to fill.
    pub(super) fn push(&self, batch: Batch) -> Batch {
        let mut state = self.lock();
        while !state.closed && self.is_full(&state, batch.origin) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let origin = batch.origin;
        let held = &mut state.held[origin as usize];
        held.records += batch.records;
        held.bytes += batch.bytes.len();
        state.batches.push_back(batch);
        let spare = state.spare.take();
        drop(state);
        self.changed.notify_all();
        Batch { origin, ..spare.unwrap_or_default() }
    }

    /// Whether a batch of this ring would be taken at once. The answer stays true for the one writer.
    pub(super) fn has_room(&self, origin: Origin) -> bool {
        let state = self.lock();
        state.closed || !self.is_full(&state, origin)
    }

    fn is_full(&self, state: &State, origin: Origin) -> bool {
        let held = state.held[origin as usize];
        held.records >= self.max_records || held.bytes >= MAX_BYTES
    }

    /// The next batch; waits for one until `deadline`.
    pub(super) fn pop(&self, deadline: Instant) -> Popped {
        let mut state = self.lock();
        loop {
            if let Some(batch) = state.batches.pop_front() {
                let held = &mut state.held[batch.origin as usize];
                held.records -= batch.records;
                held.bytes -= batch.bytes.len();
                drop(state);
                self.changed.notify_all();
                return Popped::Batch(batch);
            }
            if state.closed {
                return Popped::Closed;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return Popped::Nothing;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes a batch back that has been read.
    pub(super) fn recycle(&self, mut batch: Batch) {
        if batch.bytes.capacity() <= KEEP_BYTES {
            batch.bytes.clear();
            batch.records = 0;
            self.lock().spare = Some(batch);
        }
    }

    /// No more batches will come; what is queued can still be popped.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn batch(records: &[&[u8]]) -> Batch {
        let mut batch = Batch::default();
        records.iter().for_each(|record| batch.push(record));
        batch
    }

    #[test]
    fn keeps_order_and_ends() {
        let queue = Queue::new(10);
        queue.push(batch(&[b"one", b""]));
        queue.push(batch(&[b"three"]));
        queue.close();
        let mut seen = Vec::new();
        while let Popped::Batch(batch) = queue.pop(Instant::now()) {
            seen.extend(batch.records().map(<[u8]>::to_vec));
        }
        assert_eq!(seen, [&b"one"[..], b"", b"three"]);
        assert!(matches!(queue.pop(Instant::now()), Popped::Closed));
    }

    #[test]
    fn a_full_queue_holds_the_writer_back() {
        let queue = Arc::new(Queue::new(1));
        queue.push(batch(&[b"first"]));
        let writer = {
            let queue = queue.clone();
            std::thread::spawn(move || {
                queue.push(batch(&[b"second"]));
            })
        };
        std::thread::sleep(Duration::from_millis(50));
        assert!(!writer.is_finished());
        assert!(matches!(queue.pop(Instant::now()), Popped::Batch(_)));
        writer.join().unwrap();
        assert!(matches!(queue.pop(Instant::now()), Popped::Batch(_)));
        assert!(matches!(queue.pop(Instant::now()), Popped::Nothing));
    }

    #[test]
    fn one_full_ring_does_not_hold_the_other_back() {
        let queue = Queue::new(1);
        let mut observed = Batch::of(Origin::Observation);
        observed.push(b"seen");
        let next = queue.push(observed);
        assert_eq!((next.origin(), next.is_empty()), (Origin::Observation, true));
        assert!(!queue.has_room(Origin::Observation) && queue.has_room(Origin::Base));
        queue.push(batch(&[b"exec"]));
        assert!(!queue.has_room(Origin::Base));
        let mut order = Vec::new();
        while let Popped::Batch(batch) = queue.pop(Instant::now()) {
            order.push(batch.origin());
        }
        assert_eq!(order, [Origin::Observation, Origin::Base], "in the order of the pushes");
        assert!(queue.has_room(Origin::Observation));
    }

    #[test]
    fn closing_frees_a_writer_that_waits() {
        let queue = Arc::new(Queue::new(1));
        queue.push(batch(&[b"first"]));
        let writer = {
            let queue = queue.clone();
            std::thread::spawn(move || {
                queue.push(batch(&[b"second"]));
            })
        };
        queue.close();
        writer.join().unwrap();
    }
}
