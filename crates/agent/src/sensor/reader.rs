//! The thread that empties the rings.
//!
//! What a process did is in the ring of observations after its exec is in the base ring. So the ring of
//! observations is read first and handed on second: what the base ring holds by then includes all that
//! the observations need. When the pipeline cannot keep up with the observations, their ring is left
//! alone until it can: the kernel then counts what it does not take, and the base ring is read on.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kernel::ringbuf::{RingBuffer, RingSet};

use super::Shared;
use super::queue::{Batch, Origin};

/// How soon a stop is noticed when nothing happens.
const PATIENCE: Duration = Duration::from_millis(200);
/// Time between two looks at the base ring while observations have to wait. The other ring has
/// something to read all that time, so waiting for the rings would not wait.
const HELD_BACK: Duration = Duration::from_millis(2);

/// Observations that are read before the base ring gets its turn, however fast more come.
const AT_ONCE: usize = 4096;

/// The rings in the order of the set.
pub(super) const RINGS: [Origin; 2] = [Origin::Base, Origin::Observation];

/// Reads until it is told to stop, then what is left, and closes the queue.
pub(super) fn run(mut rings: RingSet, shared: &Shared) {
    let mut batches = RINGS.map(Batch::of);
    loop {
        let stopping = shared.stop.load(Ordering::Relaxed);
        let held_back = !stopping && !shared.queue.has_room(Origin::Observation);
        if held_back {
            std::thread::sleep(HELD_BACK);
        } else if !stopping && let Err(error) = rings.wait(Some(PATIENCE)) {
            shared.fail(error.to_string());
            break;
        }
        let read = |(ring, batch): (&mut RingBuffer, &mut Batch)| {
            let unlimited = stopping || batch.origin() == Origin::Base;
            ring.consume_while(|record| {
                batch.push(record);
                match unlimited || batch.len() < AT_ONCE {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            });
        };
        let pairs = rings.rings_mut().iter_mut().zip(&mut batches);
        pairs.rev().filter(|(_, b)| !held_back || b.origin() == Origin::Base).for_each(read);
        for batch in &mut batches {
            if !batch.is_empty() {
                *batch = shared.queue.push(std::mem::take(batch));
            }
        }
        if stopping {
            break;
        }
    }
    shared.queue.close();
}
