//! The thread that empties the ring.

use std::sync::atomic::Ordering;
use std::time::Duration;

use kernel::ringbuf::RingSet;

use super::Shared;
use super::queue::Batch;

/// How soon a stop is noticed when nothing happens.
const PATIENCE: Duration = Duration::from_millis(200);

/// Reads until it is told to stop, then what is left, and closes the queue.
pub(super) fn run(mut rings: RingSet, shared: &Shared) {
    let mut batch = Batch::default();
    loop {
        let stopping = shared.stop.load(Ordering::Relaxed);
        if !stopping && let Err(error) = rings.wait(Some(PATIENCE)) {
            shared.fail(error.to_string());
            break;
        }
        rings.consume(|_, record| batch.push(record));
        if !batch.is_empty() {
            batch = shared.queue.push(batch);
        }
        if stopping {
            break;
        }
    }
    shared.queue.close();
}
