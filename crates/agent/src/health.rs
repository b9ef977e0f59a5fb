//! The gRPC health service (`grpc.health.v1`), for liveness probes.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::config::HealthConfig;
use crate::server::socket::{ListenError, tcp};
use crate::source::Inspect;

/// The service that probes ask for.
const LIVENESS: &str = "liveness";

/// The running health server. Dropping it ends it.
pub struct HealthServer {
    address: Option<SocketAddr>,
    tasks: [JoinHandle<()>; 2],
}

impl HealthServer {
    /// Listens where `config` says and tells what `inspect` says of the agent, asking it in
    /// intervals. `None` when no address is configured.
    pub async fn start(
        config: &HealthConfig,
        inspect: Arc<dyn Inspect>,
    ) -> Result<Option<Self>, ListenError> {
        let Some(address) = &config.address else { return Ok(None) };
        let listener = tcp(address, "health-server-address").await?;
        let address = listener.local_addr().ok();
        let (reporter, service) = tonic_health::server::health_reporter();
        reporter.set_service_status(LIVENESS, ServingStatus::Serving).await;
        let serve = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        let serving = tokio::spawn(async {
            if let Err(error) = serve.await {
                tracing::error!(%error, "The health server ended");
            }
        });
        let watching = tokio::spawn(watch(reporter, inspect, config.interval));
        Ok(Some(Self { address, tasks: [serving, watching] }))
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl Drop for HealthServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn watch(reporter: HealthReporter, inspect: Arc<dyn Inspect>, interval: std::time::Duration) {
    let mut was_healthy = true;
    loop {
        tokio::time::sleep(interval).await;
        let inspect = Arc::clone(&inspect);
        let checked = tokio::task::spawn_blocking(move || inspect.check()).await;
        let health = checked.unwrap_or_else(|_| Err("the check itself failed".to_owned()));
        match &health {
            Ok(()) if !was_healthy => tracing::info!("The agent is healthy again"),
            Err(problem) if was_healthy => tracing::error!(problem, "The agent is not healthy"),
            _ => {}
        }
        was_healthy = health.is_ok();
        let status = if was_healthy { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in [LIVENESS, ""] {
            reporter.set_service_status(service, status).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TcpAddress;
    use api::tetragon::{DumpProcessCacheReqArgs, ProcessInternal};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus as Told};

    struct Patient(AtomicBool);

    impl Inspect for Patient {
        fn check(&self) -> Result<(), String> {
            if self.0.load(Ordering::Relaxed) { Ok(()) } else { Err("ill".to_owned()) }
        }

        fn processes(&self, _: &DumpProcessCacheReqArgs) -> Result<Vec<ProcessInternal>, String> {
            Ok(Vec::new())
        }

        fn stats(&self) -> Result<crate::pipeline::Stats, String> {
            Ok(Default::default())
        }

        fn probes(&self) -> Vec<(String, bool)> {
            Vec::new()
        }
    }

    #[tokio::test]
    async fn tells_what_the_check_says() {
        let patient = Arc::new(Patient(AtomicBool::new(true)));
        let address = Some(TcpAddress { host: "127.0.0.1".to_owned(), port: 0 });
        let config = HealthConfig { address, interval: Duration::from_millis(10) };
        let inspect: Arc<dyn Inspect> = Arc::<Patient>::clone(&patient);
        let server = HealthServer::start(&config, inspect).await.unwrap().unwrap();
        let address = format!("http://{}", server.address().unwrap());
        let endpoint = tonic::transport::Endpoint::from_shared(address).unwrap();
        let mut client = HealthClient::new(endpoint.connect().await.unwrap());
        for (healthy, wanted) in
            [(true, Told::Serving), (false, Told::NotServing), (true, Told::Serving)]
        {
            patient.0.store(healthy, Ordering::Relaxed);
            let mut told = None;
            for _ in 0..200 {
                let request = HealthCheckRequest { service: "liveness".to_owned() };
                told = Some(client.check(request).await.unwrap().into_inner().status());
                if told == Some(wanted) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(told, Some(wanted));
        }
    }
}
