//! The thread that reads what perf tells of executable mappings, while a policy asks for it (`loader`).
//!
//! Each CPU has a ring of its own. What is read is put into order by time, and what is later than the
//! moment at which reading began is held back until the next time: an earlier record may still be in a
//! ring that was read before. When the pipeline does not keep up, reading waits; the kernel then counts
//! what the rings do not take.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use kernel::mappings::{Mapped, Mappings, Record};

/// How soon a stop is noticed when nothing happens.
const PATIENCE: Duration = Duration::from_millis(200);
/// Time between two attempts to hand on what the pipeline has no room for.
const HELD_BACK: Duration = Duration::from_millis(5);
/// Mappings that wait for the pipeline.
const QUEUE: usize = 4096;
/// Time between two looks at which CPUs are online, ns.
const FOLLOW: u64 = 1_000_000_000;
/// How long an exec may take from the moment at which the old program is given up, ns.
const EXEC: u64 = 60_000_000_000;

/// What is handed on to the pipeline.
pub(super) enum Told {
    /// A mapping; of the program that its process began to execute then (CLOCK_MONOTONIC, ns), if it did.
    Mapped(Mapped, Option<u64>),
    /// So many records were lost.
    Lost(u64),
}

/// What is handed on, for the pipeline.
pub(super) fn channel() -> (SyncSender<Told>, Receiver<Told>) {
    sync_channel(QUEUE)
}

/// The thread. Dropped, it ends.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Has the kernel tell of mappings, and hands them on.
    ///
    /// # Errors
    /// The kernel does not, or there is no thread; in words for users.
    pub(super) fn begin(sender: SyncSender<Told>) -> Result<Self, String> {
        let mappings = Mappings::open().map_err(|error| error.to_string())?;
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, thread) = (stop.clone(), std::thread::Builder::new());
        let thread = thread.name("mappings".to_owned());
        let thread = thread.spawn(move || Reader::new(mappings, sender).run(&asked));
        let thread = thread.map_err(|error| format!("cannot start thread mappings: {error}"))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that reads mappings had panicked");
        }
    }
}

struct Reader {
    mappings: Mappings,
    sender: SyncSender<Told>,
    /// Records that are not in order yet.
    held: Vec<Record>,
    /// When processes last began to execute a program.
    execs: HashMap<u32, u64>,
    followed: u64,
    /// Damaged rings that were told of.
    corrupt: u64,
}

impl Reader {
    fn new(mappings: Mappings, sender: SyncSender<Told>) -> Self {
        let (held, execs) = (Vec::new(), HashMap::new());
        Self { mappings, sender, held, execs, followed: 0, corrupt: 0 }
    }

    fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let waited = self.mappings.wait(PATIENCE);
            let now = u64::try_from(kernel::clock::monotonic().as_nanos()).unwrap_or(u64::MAX);
            if let Err(error) = waited.and_then(|_| self.follow(now)) {
                tracing::error!(%error, "process_loader events have stopped");
                return;
            }
            let held = &mut self.held;
            self.mappings.read(|record| held.push(record));
            self.held.sort_by_key(Record::time);
            let ready = self.held.partition_point(|record| record.time() <= now);
            let later = self.held.split_off(ready);
            for record in std::mem::replace(&mut self.held, later) {
                let told = match record {
                    Record::Exec { pid, time } => {
                        self.execs.insert(pid, time);
                        continue;
                    }
                    Record::Mapped(mapped) => {
                        let exec = self.execs.get(&mapped.pid).copied();
                        Told::Mapped(mapped, exec)
                    }
                    Record::Lost { count, .. } => Told::Lost(count),
                };
                if !self.hand_on(told, stop) {
                    return;
                }
            }
        }
    }

    /// Takes in other CPUs, and forgets execs that are over.
    fn follow(&mut self, now: u64) -> Result<(), kernel::Error> {
        if now < self.followed + FOLLOW {
            return Ok(());
        }
        self.followed = now;
        self.execs.retain(|_, time| now.saturating_sub(*time) < EXEC);
        self.execs.shrink_to(2 * self.execs.len());
        let corrupt = self.mappings.corrupt();
        if corrupt > self.corrupt {
            self.corrupt = corrupt;
            tracing::error!(corrupt, "a ring of mappings was damaged: what it held is lost");
        }
        self.mappings.follow_cpus()
    }

    /// False: the pipeline or this thread is to end.
    fn hand_on(&self, mut told: Told, stop: &AtomicBool) -> bool {
        loop {
            match self.sender.try_send(told) {
                Ok(()) => return true,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(back)) => told = back,
            }
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            std::thread::sleep(HELD_BACK);
        }
    }
}
