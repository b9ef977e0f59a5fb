//! The pipeline thread: the only writer of the process table.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use api::tetragon::{DumpProcessCacheReqArgs, ProcessInternal};
use compiler::base::Base;
use compiler::base::record::{Identity, Task};

use super::Shared;
use super::queue::Popped;
use crate::loss::{CpuLosses, KernelLosses};
use crate::pipeline::Pipeline;

/// Time between two ticks.
const TICK: Duration = Duration::from_millis(100);
/// Time between two times that freed memory is given back to the system.
const RELEASE: Duration = Duration::from_secs(10);

/// A question to the thread.
pub(super) enum Request {
    Dump(DumpProcessCacheReqArgs, mpsc::Sender<Vec<ProcessInternal>>),
}

pub(super) struct Worker {
    pub(super) pipeline: Pipeline,
    pub(super) base: Arc<Base>,
    pub(super) shared: Arc<Shared>,
    pub(super) requests: mpsc::Receiver<Request>,
}

impl Worker {
    /// Tells of the processes that run already, then of what the records say, until the queue ends.
    pub(super) fn run(mut self, tasks: &[Task]) {
        let base = self.base.clone();
        self.pipeline.bootstrap(tasks, &|pid| identity(&base, pid));
        self.pipeline.set_lookup(Box::new(move |pid| identity(&base, pid)));
        let mut next = Instant::now() + TICK;
        let mut release = Instant::now() + RELEASE;
        loop {
            let popped = self.shared.queue.pop(next);
            let closed = matches!(popped, Popped::Closed);
            if let Popped::Batch(batch) = popped {
                for record in batch.records() {
                    self.pipeline.record(record);
                }
                self.shared.queue.recycle(batch);
            }
            let now = Instant::now();
            if now >= next || closed {
                next = now + TICK;
                self.tick(now);
            }
            if now >= release {
                release = now + RELEASE;
                kernel::memory::release();
            }
            if closed {
                self.pipeline.finish();
                return;
            }
        }
    }

    fn kernel_losses(&self) -> Result<KernelLosses, compiler::Error> {
        let cpus = self.base.losses()?.into_iter().map(|cpu| CpuLosses {
            ring_full: cpu.lost,
            no_state: cpu.no_state,
            no_handover: cpu.no_handover,
        });
        Ok(KernelLosses { cpus: cpus.collect(), missed_runs: self.base.missed_runs()? })
    }

    fn tick(&mut self, now: Instant) {
        match self.kernel_losses() {
            Ok(losses) => self.pipeline.kernel_losses(&losses),
            Err(error) => self.shared.fail(format!("cannot read the loss counters: {error}")),
        }
        self.pipeline.tick(now);
        for request in self.requests.try_iter() {
            match request {
                Request::Dump(arguments, reply) => {
                    // Whoever asked may have given up.
                    let _ = reply.send(self.pipeline.dump(&arguments));
                }
            }
        }
    }
}

/// A failed lookup is as good as none: what /proc says is then not trusted.
fn identity(base: &Base, pid: u32) -> Option<Identity> {
    base.identity(pid).unwrap_or_else(|error| {
        tracing::debug!(pid, %error, "cannot look up a process's identity");
        None
    })
}
