//! Where events come from: programs in the kernel, the rings' reader, and the pipeline.
//!
//! Two threads. The *reader* does nothing but empty the rings into a bounded queue, so that the rings,
//! which are small and whose overflow is a loss, stay empty even while the pipeline waits for the
//! disk or /proc. The *pipeline thread* is the only writer of the process table. When the queue is
//! full the reader stops reading: the kernel then counts what the ring does not take, and nothing is
//! lost silently.

mod earlier;
mod mappings;
mod plan;
mod policies;
mod queue;
mod reader;
mod unlisted;
mod worker;

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use api::tetragon::{DumpProcessCacheReqArgs, ProcessInternal};
use compiler::base::Base;
use compiler::keep::Earlier;
use kernel::features::Features;
use kernel::ringbuf::{RingBuffer, RingSet};

use crate::cgroups::Hierarchy;
use crate::cluster::Directory;
use crate::config::Config;
use crate::hub::Hub;
use crate::pipeline::{Pipeline, PipelineConfig, Stats};
use crate::policies::Loader;
use crate::procfs::Procfs;
use crate::requests::Requests;
use crate::source::{Inspect, Source};
use mappings::Told;
use policies::{KernelLoader, KernelPolicies};
use queue::{Origin, Queue};
use worker::{Inputs, Request, Worker};

/// How long a question to the pipeline thread may take: it may be reading /proc for many processes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The base programs could not be put in place, or their output not be read.
#[derive(Debug, thiserror::Error)]
pub enum SensorError {
    /// No usable BTF.
    #[error("{0}")]
    Btf(#[from] kernel::btf::BtfError),
    /// Programs, maps or links.
    #[error("cannot load the base programs: {0}")]
    Load(#[from] compiler::Error),
    /// The ring.
    #[error("cannot read the ring of process records: {0}")]
    Ring(#[from] kernel::Error),
    /// A ring larger than there can be.
    #[error("--rb-size and --rb-size-total ask for a ring of {asked} bytes; 2 GiB is the most")]
    RingSize {
        /// Bytes in all.
        asked: u64,
    },
    /// The host's /proc.
    #[error("{0}")]
    Host(#[from] crate::procfs::HostError),
    /// The redaction filters.
    #[error("{0}")]
    Redaction(#[from] crate::redaction::RedactionError),
    /// A thread could not be started.
    #[error("cannot start thread {name}: {error}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// Why.
        error: std::io::Error,
    },
    /// It was started before.
    #[error("the sensor was started already")]
    Started,
}

/// The base programs and what is behind them.
pub struct Sensor {
    base: Option<Base>,
    pipeline: PipelineConfig,
    queue_records: usize,
    threads: Vec<JoinHandle<()>>,
    /// What is told of executable mappings, until the pipeline thread has it.
    mappings: Option<Receiver<Told>>,
    shared: Arc<Shared>,
}

/// What all threads see.
struct Shared {
    queue: Queue,
    /// Set to end the reader.
    stop: AtomicBool,
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    /// What went wrong for good; the health check tells it.
    failure: Mutex<Option<String>>,
    policies: Arc<KernelPolicies>,
    to_send: Arc<Requests>,
}

impl Shared {
    fn fail(&self, text: String) {
        tracing::error!(error = text, "process events have stopped");
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
}

impl Sensor {
    /// Makes and loads the base programs for the running kernel; nothing runs yet.
    pub fn load(config: &Config) -> Result<Self, SensorError> {
        let btf_file = plan::btf_file(config);
        let btf = plan::btf(btf_file.as_deref())?;
        let hierarchy = Hierarchy::detect(&config.procfs);
        let options = plan::options(&btf, config, &hierarchy)?;
        let base = Base::load(&btf, &options, plan::rings(&config.ring)?)?;
        tracing::info!(
            kernel_memory = base.memory_bytes()?,
            ring = base.ring().max_entries(),
            "base programs loaded"
        );
        let pins = plan::pins(&config.pins)?;
        let earlier = Earlier::list(&pins)?;
        let to_send = Requests::start(&config.requests)
            .map(Arc::new)
            .map_err(|error| SensorError::Thread { name: "requests", error })?;
        let queue_records = usize::try_from(config.ring.queue_size).unwrap_or(usize::MAX);
        let (sender, mappings) = mappings::channel();
        Ok(Self {
            base: Some(base),
            pipeline: plan::pipeline(config, hierarchy)?,
            queue_records,
            threads: Vec::new(),
            mappings: Some(mappings),
            shared: Arc::new(Shared {
                queue: Queue::new(queue_records),
                stop: AtomicBool::new(false),
                requests: Mutex::new(None),
                failure: Mutex::new(None),
                policies: Arc::new(KernelPolicies::new(
                    btf_file,
                    &config.policies,
                    config.pins.keep.then_some(pins),
                    earlier,
                    to_send.clone(),
                    sender,
                )),
                to_send,
            }),
        })
    }

    fn spawn(
        &mut self,
        name: &'static str,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<(), SensorError> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
        self.threads.push(thread.map_err(|error| SensorError::Thread { name, error })?);
        Ok(())
    }

    fn begin(&mut self, hub: Arc<Hub>) -> Result<(), SensorError> {
        let mut base = self.base.take().ok_or(SensorError::Started)?;
        let maps = reader::RINGS.map(|origin| match origin {
            Origin::Base => base.ring(),
            Origin::Observation => base.observation_ring(),
        });
        let mut rings = Vec::new();
        for map in maps {
            rings.push(RingBuffer::new(map.try_clone()?)?);
        }
        let rings = RingSet::new(rings)?;
        base.attach()?;
        let attached = kernel::clock::since_boot().as_nanos() as u64;
        let shared = self.shared.clone();
        self.spawn("ring-reader", move || reader::run(rings, &shared))?;

        // The scan follows the attachment: whoever is not in it is announced by a record.
        let mut tasks = base.scan()?;
        let procfs = Procfs::new(&self.pipeline.procfs);
        let current = |pid| base.identity(pid).ok().flatten();
        tasks.extend(unlisted::unlisted(&procfs, &tasks, attached, current));
        base.adopt(&tasks)?;
        let emit = Box::new(move |event| hub.publish(Arc::new(event)));
        let mut pipeline = Pipeline::new(self.pipeline.clone(), emit);
        pipeline.set_requests(self.shared.to_send.clone());
        let (sender, requests) = mpsc::channel();
        let base = Arc::new(base);
        let mappings = self.mappings.take().ok_or(SensorError::Started)?;
        let inputs = Inputs { requests, mappings };
        let worker = Worker::new(pipeline, base.clone(), self.shared.clone(), inputs);

        self.shared.policies.ready(base);
        *self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        self.spawn("pipeline", move || worker.run(&tasks))
    }
}

impl Source for Sensor {
    fn set_directory(&mut self, directory: Arc<Directory>) {
        self.pipeline.directory = Some(directory);
    }

    fn start(&mut self, hub: Arc<Hub>) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.begin(hub)?;
        tracing::debug!(queue_records = self.queue_records, "reading process records");
        Ok(())
    }

    fn stop(&mut self) {
        self.shared.policies.earlier.end();
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                tracing::error!(thread = name, "a thread had panicked");
            }
        }
    }

    fn take_over(&mut self) {
        self.shared.policies.earlier.replaced();
    }

    fn inspect(&self) -> Arc<dyn Inspect> {
        self.shared.clone()
    }

    fn loader(&self) -> Box<dyn Loader> {
        Box::new(KernelLoader(self.shared.policies.clone()))
    }
}

impl Shared {
    /// Asks the thread of the pipeline.
    fn ask<T>(&self, request: impl FnOnce(mpsc::Sender<T>) -> Request) -> Result<T, String> {
        let (reply, answer) = mpsc::channel();
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let requests = requests.ok_or("the process table is not there yet")?;
        let sent = requests.send(request(reply));
        sent.map_err(|_| "the pipeline has ended".to_owned())?;
        answer
            .recv_timeout(ANSWER_TIMEOUT)
            .map_err(|error| format!("the pipeline did not answer: {error}"))
    }
}

impl Inspect for Shared {
    fn check(&self) -> Result<(), String> {
        match &*self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(failure) => Err(failure.clone()),
        }
    }

    fn processes(&self, request: &DumpProcessCacheReqArgs) -> Result<Vec<ProcessInternal>, String> {
        self.ask(|reply| Request::Dump(*request, reply))
    }

    fn stats(&self) -> Result<Stats, String> {
        self.ask(Request::Stats)
    }

    fn probes(&self) -> Vec<(String, bool)> {
        // Not kept: it is asked for rarely, and the kernel's BTF takes 5 MB.
        let btf = match plan::btf(self.policies.btf_file.as_deref()) {
            Ok(btf) => btf,
            Err(error) => {
                tracing::warn!(%error, "cannot probe the kernel's features");
                return Vec::new();
            }
        };
        let features = Features::running(Arc::new(btf));
        let named =
            |(name, probe): (&str, kernel::features::Probe)| (name.to_owned(), probe.is_yes());
        features.compat().into_iter().map(named).collect()
    }
}
