//! What kubelet and Prometheus ask: `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use prometheus::{IntCounter, IntGauge, Registry, TextEncoder};
use tokio::net::TcpListener;

/// What is counted.
pub struct Counters {
    registry: Registry,
    /// PodInfos made.
    pub pod_infos_created: IntCounter,
    /// PodInfos changed.
    pub pod_infos_changed: IntCounter,
    /// Tries to make or change one that failed.
    pub pod_info_errors: IntCounter,
    /// Times that the API server did not tell of pods.
    pub watch_errors: IntCounter,
    /// Whether this replica works.
    pub leading: IntGauge,
    /// Whether the definitions are in force.
    pub ready: AtomicBool,
}

impl Counters {
    /// All at 0.
    ///
    /// # Errors
    /// Not as long as the names differ.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("tetragon_operator".to_owned()), None)?;
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let leading = IntGauge::new("leader", "Whether this replica works.")?;
        registry.register(Box::new(leading.clone()))?;
        Ok(Self {
            pod_infos_created: counter("podinfo_created_total", "PodInfos made.")?,
            pod_infos_changed: counter("podinfo_updated_total", "PodInfos changed.")?,
            pod_info_errors: counter(
                "podinfo_errors_total",
                "Tries to make or change a PodInfo that failed.",
            )?,
            watch_errors: counter(
                "watch_errors_total",
                "Times that the API server did not tell of pods.",
            )?,
            leading,
            ready: AtomicBool::new(false),
            registry,
        })
    }

    /// All of them in the text format of Prometheus.
    fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

/// Serves `/healthz` and `/readyz`. It is healthy as long as it answers, and ready once the definitions are
/// in force.
///
/// # Errors
/// When the address cannot be had.
pub async fn health(address: &str, counters: Arc<Counters>) -> std::io::Result<()> {
    let ready = async |State(counters): State<Arc<Counters>>| match counters
        .ready
        .load(Ordering::Relaxed)
    {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the definitions are not in force yet"),
    };
    let router = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .with_state(counters);
    axum::serve(TcpListener::bind(address).await?, router).await
}

/// Serves `/metrics`.
///
/// # Errors
/// When the address cannot be had.
pub async fn metrics(address: &str, counters: Arc<Counters>) -> std::io::Result<()> {
    let metrics = async |State(counters): State<Arc<Counters>>| counters.text();
    let router = Router::new().route("/metrics", get(metrics)).with_state(counters);
    axum::serve(TcpListener::bind(address).await?, router).await
}
