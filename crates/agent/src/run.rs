//! One run of the agent, from the command line to the exit status.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cluster::{self, Cluster};
use crate::config::{self, Config, Loaded, Place, Request};
use crate::envelope::Envelope;
use crate::export::Exporter;
use crate::health::HealthServer;
use crate::hub::Hub;
use crate::lifecycle::run_dir::{Info, PATH, RunDir};
use crate::lifecycle::signals::Signals;
use crate::lifecycle::{limits, privileges};
use crate::logging;
use crate::metrics::{EventCounters, MetricsServer, Sources};
use crate::policies::{Files, Made, Outcome, Records, Rules, Store, Watcher, restore};
use crate::server::{Answers, Server};
use crate::source::Source;

/// Threads for clients; events are made and exported by threads of their own.
const WORKERS: usize = 2;

/// Time that clients have to take their last events when the agent stops.
const CLIENT_TIME: Duration = Duration::from_secs(3);

/// Time that the export has to write its last events.
const EXPORT_TIME: Duration = Duration::from_secs(10);

/// Anything that ends a run.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Runs the agent as the command line and the machine's configuration say, until a signal ends it.
/// `load` loads the programs that make events. Exit status: 0 after an orderly stop, 1 after an
/// error, which is logged and printed.
pub fn main(load: impl FnOnce(&Config) -> Result<Box<dyn Source>, Failure>) -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    let loaded = match config::load(arguments, std::env::vars_os(), &Place::standard()) {
        Ok(Request::Run(loaded)) => *loaded,
        Ok(Request::Print(text)) => {
            use std::io::Write as _;
            // A reader that has read enough is no error.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(errors) => {
            errors.0.iter().for_each(|error| eprintln!("Error: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let run = || {
        logging::start(&loaded.config.log)?;
        run(loaded, Path::new(PATH), load)
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "The agent ends");
            if logging::level() < logging::Level::Error || !logging::started() {
                eprintln!("Error: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs with this configuration in this run directory until a signal comes.
pub fn run(
    loaded: Loaded,
    run_dir: &Path,
    load: impl FnOnce(&Config) -> Result<Box<dyn Source>, Failure>,
) -> Result<(), Failure> {
    let started = Instant::now();
    limits::raise_open_files();
    tracing::info!(version = crate::VERSION, "Starting tetragon");
    for (name, value, source) in &loaded.settings {
        if *source != config::Source::Default {
            tracing::debug!(name, %value, %source, "Setting");
        }
    }
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    privileges::check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("grpc")
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        // Before there is anything that a signal would leave behind.
        let mut signals = Signals::new()?;
        let run_dir = RunDir::claim(run_dir)?;
        let source = tokio::task::block_in_place(|| load(&loaded.config))?;
        let agent = Agent::start(&loaded, &run_dir, source).await?;
        tracing::info!(after = ?started.elapsed(), "Tetragon is ready");
        let signal = signals.next().await;
        tracing::info!(signal = signal.as_raw_value(), "Stopping tetragon");
        tokio::spawn(signals.exit_on_next());
        agent.stop().await;
        Ok(())
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// The parts of a running agent.
pub struct Agent {
    hub: Arc<Hub>,
    source: Box<dyn Source>,
    policies: Arc<Store>,
    watcher: Option<Watcher>,
    server: Option<Server>,
    exporter: Option<Exporter>,
    health: Option<HealthServer>,
    metrics: Option<MetricsServer>,
    cluster: Option<Cluster>,
    followed: Option<cluster::Policies>,
}

impl Agent {
    /// Starts everything, listeners before the source of events, policies last. When a part cannot start, those
    /// that did are stopped again.
    pub async fn start(
        loaded: &Loaded,
        run_dir: &RunDir,
        source: Box<dyn Source>,
    ) -> Result<Self, Failure> {
        let config = &loaded.config;
        let envelope = Envelope {
            node_name: config.node_name.clone(),
            cluster_name: config.cluster_name.clone(),
        };
        // Counting costs time for each event, so only where somebody can ask.
        let counted = config.metrics.events && config.metrics.address.is_some();
        let counters = counted.then(|| Arc::new(EventCounters::new(config.metrics.labels)));
        let hub = Hub::counting(config.event_queue_size, envelope, counters);
        let cluster = match config.kubernetes.enabled {
            true => Some(Cluster::start(config).await?),
            false => None,
        };
        let mut store = Store::new(source.loader());
        let records = config.policies.persist.then_some(&config.policies.persist_dir);
        let records = records.map(|dir| Records::open(dir)).transpose()?;
        if let Some(records) = &records {
            store = store.with_records(records.clone());
        }
        let labels = match (&config.policies.node_labels, &cluster) {
            (Some(labels), _) => Some(labels.clone()),
            (None, Some(cluster)) => cluster.node_labels(&config.node_name).await,
            (None, None) => None,
        };
        if let Some(labels) = labels {
            store = store.with_node_labels(labels);
        }
        let rules = config.policies.rego_dir.as_deref();
        let rules = rules.map(|dir| Rules::open(dir, node(config))).transpose()?.map(Arc::new);
        if let Some(rules) = &rules {
            store = store.with_rules(Arc::clone(rules));
        }
        let mut agent = Self {
            hub,
            source,
            policies: Arc::new(store),
            watcher: None,
            server: None,
            exporter: None,
            health: None,
            metrics: None,
            cluster,
            followed: None,
        };
        match agent.start_parts(loaded, run_dir, records.as_ref(), rules).await {
            Ok(()) => Ok(agent),
            Err(error) => {
                agent.stop().await;
                Err(error)
            }
        }
    }

    async fn start_parts(
        &mut self,
        loaded: &Loaded,
        run_dir: &RunDir,
        records: Option<&Records>,
        rules: Option<Arc<Rules>>,
    ) -> Result<(), Failure> {
        let config = &loaded.config;
        let inspect = self.source.inspect();
        if let Some(cluster) = &self.cluster {
            self.source.set_directory(Arc::clone(cluster.directory()));
        }
        self.exporter = Exporter::start(&config.export, &self.hub)?;
        let answers = Answers {
            hub: Arc::clone(&self.hub),
            inspect: Arc::clone(&inspect),
            policies: Arc::clone(&self.policies),
            exporter: self.exporter.clone(),
            settings: Arc::new(loaded.settings.clone()),
        };
        self.server = Server::start(&config.server, &run_dir.socket(), answers).await?;
        if let Some(address) = &config.metrics.address {
            let sources = Sources {
                events: self.hub.counters().cloned(),
                hub: Arc::clone(&self.hub),
                exporter: self.exporter.clone(),
                inspect: Arc::clone(&inspect),
                policies: Arc::clone(&self.policies),
                directory: self.cluster.as_ref().map(|cluster| Arc::clone(cluster.directory())),
            };
            match MetricsServer::start(address, sources).await {
                Ok(server) => self.metrics = Some(server),
                // Nothing else depends on it.
                Err(error) => tracing::error!(%error, "There are no metrics"),
            }
        }
        self.health = HealthServer::start(&config.health, inspect).await?;
        let path = |path: &Option<std::path::PathBuf>| {
            path.as_deref().map(|path| path.display().to_string()).unwrap_or_default()
        };
        run_dir.write_info(&Info {
            pid: std::process::id(),
            server_address: self
                .server
                .as_ref()
                .map(|s| s.address().to_owned())
                .unwrap_or_default(),
            export_fname: path(&config.export.file),
            btf_fname: path(&config.btf),
        })?;
        let hub = Arc::clone(&self.hub);
        tokio::task::block_in_place(|| {
            self.source.start(hub)?;
            if let Some(records) = records {
                tell("of clients", restore(&self.policies, records)?);
            }
            let mut files = Files::new(&config.policies);
            tell("of files", files.load(&self.policies)?);
            let rules = rules.map(|rules| {
                let mut made = Made::new();
                tell("of rules", made.follow(&rules, &self.policies));
                (rules, made)
            });
            self.source.take_over();
            self.watcher = Some(Watcher::start(Arc::clone(&self.policies), files, rules)?);
            Ok::<(), Failure>(())
        })?;
        if config.kubernetes.policies {
            let follow = |cluster: &Cluster| cluster.follow_policies(&self.policies);
            self.followed = self.cluster.as_ref().map(follow);
        }
        Ok(())
    }

    /// Where the gRPC server listens.
    pub fn address(&self) -> Option<&str> {
        self.server.as_ref().map(Server::address)
    }

    /// Stops in order: no new events, then the last ones to clients and the export.
    pub async fn stop(mut self) {
        tokio::task::block_in_place(|| {
            drop(self.watcher.take());
            drop(self.followed.take());
            self.policies.close();
            self.source.stop();
        });
        self.hub.close();
        drop(self.cluster.take());
        drop(self.health.take());
        drop(self.metrics.take());
        if let Some(server) = self.server.take() {
            server.stop(CLIENT_TIME).await;
        }
        if let Some(exporter) = &self.exporter {
            let finished = tokio::task::block_in_place(|| exporter.finish(EXPORT_TIME));
            if !finished {
                tracing::error!("The export did not write its last events in time");
            }
        }
        tracing::info!(
            events = self.hub.published(),
            lost_by_listeners = self.hub.lost(),
            "Tetragon has stopped"
        );
    }
}

/// Logs what became of policies, if there are any.
fn tell(which: &str, outcome: Outcome) {
    if outcome != Outcome::default() {
        let Outcome { loaded, failed } = outcome;
        tracing::info!(loaded, failed, "policies {which} are loaded");
    }
}

/// What rules are told of this node.
fn node(config: &Config) -> serde_json::Value {
    let system = rustix::system::uname();
    serde_json::json!({
        "name": config.node_name,
        "cluster": config.cluster_name,
        "labels": config.policies.node_labels.clone().unwrap_or_default(),
        "kernel": system.release().to_string_lossy(),
        "architecture": system.machine().to_string_lossy(),
    })
}
