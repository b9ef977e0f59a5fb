//! The pipeline thread: the only writer of the process table.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use api::tetragon::{DumpProcessCacheReqArgs, ProcessInternal};
use compiler::Decoder;
use compiler::base::Base;
use compiler::base::record::{Identity, Task};

use super::Shared;
use super::mappings::Told;
use super::queue::{Batch, Origin, Popped};
use crate::loss::{CpuLosses, KernelLosses};
use crate::pipeline::{Pipeline, Stats};

/// Time between two ticks.
const TICK: Duration = Duration::from_millis(100);
/// Time between two looks for the names of stacks while events wait for them.
const NAMES: Duration = Duration::from_millis(2);
/// Time between two times that the counters of policies are read.
const MEASURE: Duration = Duration::from_secs(1);
/// Time between two times that freed memory is given back to the system.
const RELEASE: Duration = Duration::from_secs(10);

/// A question to the thread.
pub(super) enum Request {
    Dump(DumpProcessCacheReqArgs, mpsc::Sender<Vec<ProcessInternal>>),
    Stats(mpsc::Sender<Stats>),
}

/// What comes otherwise than through the queue.
pub(super) struct Inputs {
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) mappings: mpsc::Receiver<Told>,
}

pub(super) struct Worker {
    pipeline: Pipeline,
    base: Arc<Base>,
    shared: Arc<Shared>,
    inputs: Inputs,
    decoder: Option<Decoder>,
    /// Calls that decoders before this one gave up.
    forgotten: u64,
    next_measure: Instant,
}

impl Worker {
    pub(super) fn new(
        pipeline: Pipeline,
        base: Arc<Base>,
        shared: Arc<Shared>,
        inputs: Inputs,
    ) -> Self {
        let next_measure = Instant::now();
        Self { pipeline, base, shared, inputs, decoder: None, forgotten: 0, next_measure }
    }

    /// Tells of the processes that run already, then of what the records say, until the queue ends.
    pub(super) fn run(mut self, tasks: &[Task]) {
        let base = self.base.clone();
        self.pipeline.bootstrap(tasks, &|pid| identity(&base, pid));
        self.pipeline.set_lookup(Arc::new(move |pid| identity(&base, pid)));
        let mut next = Instant::now() + TICK;
        let mut release = Instant::now() + RELEASE;
        let mut waiting = false;
        loop {
            let soon = Instant::now() + NAMES;
            let until = if waiting { next.min(soon) } else { next };
            let popped = self.shared.queue.pop(until);
            let closed = matches!(popped, Popped::Closed);
            if let Popped::Batch(batch) = popped {
                match batch.origin() {
                    Origin::Base => batch.records().for_each(|r| self.pipeline.record(r)),
                    Origin::Observation => self.observations(&batch),
                }
                self.shared.queue.recycle(batch);
            }
            let now = Instant::now();
            if now >= next || closed {
                next = now + TICK;
                self.tick(now, closed);
            }
            waiting = self.pipeline.send_named();
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

    /// Takes in what policies saw.
    fn observations(&mut self, batch: &Batch) {
        // The one that can read a policy's records is there before the policy.
        if let Some(new) = self.shared.policies.decoder() {
            self.forgotten += self.decoder.as_ref().map_or(0, Decoder::forgotten);
            self.decoder = Some(new);
        }
        for record in batch.records() {
            match self.decoder.as_mut().map(|decoder| decoder.decode(record)) {
                Some(Ok(Some(observation))) => self.pipeline.observation(observation),
                Some(Ok(None)) => {}
                Some(Err(error)) => self.pipeline.undecodable_observation(&error),
                None => self.pipeline.undecodable_observation(&"no policy was loaded"),
            }
            self.measured();
        }
    }

    /// Takes in observations that waited for the digest of a file.
    fn measured(&mut self) {
        while let Some(observation) = self.decoder.as_mut().and_then(Decoder::measured) {
            self.pipeline.observation(observation);
        }
    }

    /// Takes in what was measured of policies.
    fn measure(&mut self, now: Instant) {
        match self.shared.policies.take() {
            Ok(Some(taken)) => {
                self.next_measure = now + MEASURE;
                for (key, last) in &taken.departed {
                    self.pipeline.policy_departed(key, last);
                }
                let forgotten =
                    self.forgotten + self.decoder.as_ref().map_or(0, Decoder::forgotten);
                self.pipeline.policies_measured(&taken.measures, taken.missed_runs, forgotten);
            }
            Ok(None) => {}
            Err(error) => {
                self.next_measure = now + MEASURE;
                self.shared.fail(format!("cannot read the counters of policies: {error}"));
            }
        }
    }

    fn tick(&mut self, now: Instant, last: bool) {
        self.measured();
        if last || now >= self.next_measure {
            self.measure(now);
        }
        match self.kernel_losses() {
            Ok(losses) => self.pipeline.kernel_losses(&losses),
            Err(error) => self.shared.fail(format!("cannot read the loss counters: {error}")),
        }
        for told in self.inputs.mappings.try_iter() {
            match told {
                Told::Mapped(mapped, exec) => self.pipeline.mapped(mapped, exec),
                Told::Lost(count) => self.pipeline.mappings_lost(count),
            }
        }
        self.pipeline.tick(now);
        for request in self.inputs.requests.try_iter() {
            match request {
                Request::Dump(arguments, reply) => {
                    // Whoever asked may have given up.
                    let _ = reply.send(self.pipeline.dump(&arguments));
                }
                Request::Stats(reply) => {
                    let _ = reply.send(self.pipeline.stats());
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
