//! All of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::version::Info;
use kube::Client;
use kubernetes::definitions::{self, DefinitionError};
use tokio::signal::unix::{SignalKind, signal};

use crate::controller;
use crate::leader::{Candidate, Election};
use crate::probes::{self, Counters};
use crate::settings::Settings;

/// Where a pod finds its namespace.
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// How long to wait for the API server at first.
const REACHED_WITHIN: Duration = Duration::from_secs(60);

/// Why it does not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no way to the API server.
    #[error("{0}")]
    Client(#[from] kubernetes::Error),
    /// The API server does not answer.
    #[error("the API server does not answer within {} seconds: {cause}", REACHED_WITHIN.as_secs())]
    Unreachable {
        /// What it says instead.
        cause: kube::Error,
    },
    /// It is too old.
    #[error("Kubernetes {0} is too old: definitions of custom resources need 1.16")]
    TooOld(String),
    /// A definition is not in force.
    #[error("{0}")]
    Definition(#[from] DefinitionError),
    /// An address cannot be had.
    #[error("cannot listen at {address}: {cause}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        cause: std::io::Error,
    },
    /// Not known where the lease should be.
    #[error(
        "the namespace of the lease is not known: {OWN_NAMESPACE} cannot be read ({0}); give \
         --leader-election-namespace"
    )]
    Namespace(std::io::Error),
    /// The lease went to another replica.
    #[error("another replica holds the lease: this one starts over")]
    LeaseLost,
    /// The system refuses something.
    #[error("cannot start: {0}")]
    System(std::io::Error),
}

/// Works until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot work, or no longer may.
pub async fn serve(settings: &Settings) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::System)?;
    tokio::select! {
        result = work(settings) => result,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

async fn work(settings: &Settings) -> Result<(), Error> {
    let counters = Counters::new().map_err(|error| Error::System(std::io::Error::other(error)))?;
    let counters = Arc::new(counters);
    let served = async {
        let health = async {
            let Some(address) = settings.health_address() else { return Ok(()) };
            let result = probes::health(&address, counters.clone()).await;
            result.map_err(|cause| Error::Listen { address, cause })
        };
        let metrics = async {
            let Some(address) = settings.metrics_address() else { return Ok(()) };
            let result = probes::metrics(&address, counters.clone()).await;
            result.map_err(|cause| Error::Listen { address, cause })
        };
        tokio::try_join!(health, metrics)?;
        // Neither is asked for.
        std::future::pending::<Result<(), Error>>().await
    };
    tokio::select! {
        result = served => result,
        result = keep(settings, counters.clone()) => result,
    }
}

async fn keep(settings: &Settings, counters: Arc<Counters>) -> Result<(), Error> {
    let client = kubernetes::connect(settings.kubeconfig()).await?;
    let version = reach(&client).await?;
    tracing::info!("Kubernetes {}.{}", version.major, version.minor);
    if !settings.skip_crd_creation {
        for definition in settings.definitions() {
            let outcome =
                definitions::ensure(&client, &definition, settings.force_update_crds).await?;
            let name = definition["metadata"]["name"].as_str().unwrap_or_default();
            tracing::info!("definition {name}: {outcome:?}");
        }
    }
    counters.ready.store(true, Ordering::Relaxed);
    if settings.skip_pod_info_crd {
        return std::future::pending().await;
    }
    if !settings.leader_election {
        counters.leading.set(1);
        controller::run(client, counters).await;
        return Ok(());
    }
    let mut candidate = Candidate::new(client.clone(), election(settings)?);
    candidate.lead().await;
    tracing::info!("this replica holds the lease");
    counters.leading.set(1);
    tokio::select! {
        () = candidate.hold() => Err(Error::LeaseLost),
        () = controller::run(client, counters) => Ok(()),
    }
}

/// The server's version, once it answers.
async fn reach(client: &Client) -> Result<Info, Error> {
    let deadline = tokio::time::Instant::now() + REACHED_WITHIN;
    let mut retries = kubernetes::Retries::default();
    loop {
        match client.apiserver_version().await {
            Ok(version) => return new_enough(version),
            Err(error) if tokio::time::Instant::now() >= deadline => {
                return Err(Error::Unreachable { cause: error });
            }
            Err(error) => tracing::warn!(%error, "the API server does not answer; trying again"),
        }
        tokio::time::sleep(retries.next().unwrap_or_default()).await;
    }
}

fn new_enough(version: Info) -> Result<Info, Error> {
    let number = |text: &str| -> Option<u32> {
        let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        text[..end].parse().ok()
    };
    match (number(&version.major), number(&version.minor)) {
        (Some(major), Some(minor)) if (major, minor) < (1, 16) => {
            Err(Error::TooOld(format!("{}.{}", version.major, version.minor)))
        }
        // One that does not say is not kept from working.
        _ => Ok(version),
    }
}

fn election(settings: &Settings) -> Result<Election, Error> {
    let namespace = match settings.lease_namespace() {
        Some(namespace) => namespace.to_owned(),
        None => {
            let text = std::fs::read_to_string(OWN_NAMESPACE).map_err(Error::Namespace)?;
            text.trim().to_owned()
        }
    };
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Ok(Election {
        identity: format!("{}_{}", host.trim(), std::process::id()),
        namespace,
        lasts: settings.leader_election_lease_duration,
        renew_within: settings.leader_election_renew_deadline,
        every: settings.leader_election_retry_period,
    })
}
