//! The server: the gRPC services, and the HTTP API below `/v1`, on a TCP address, with or without TLS,
//! and on a unix socket.
//!
//! A TCP address always comes with the unix socket of the run directory, which speaks without TLS
//! to its own user only. gRPC needs HTTP/2; the HTTP API can be had with HTTP/1.1 as well. gRPC clients
//! that vanish without a word are noticed by pings.

mod connection;
mod event_log;
mod events;
mod http;
mod policies;
mod sensors;
pub mod socket;
#[cfg(test)]
mod tests;
mod tls;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::tetragon::event_log_service_server::EventLogServiceServer;
use api::tetragon::fine_guidance_sensors_server::FineGuidanceSensorsServer;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;

use crate::config::{Listen, ServerConfig, Settings, TcpAddress};
use crate::export::Exporter;
use crate::hub::Hub;
use crate::policies::Store;
use crate::source::Inspect;
use connection::{accept_tcp, accept_unix};
use event_log::EventLog;
use http::Http;
use sensors::Sensors;
use socket::{ListenError, SocketFile, UnixSocket};
use tls::Tls;

/// Silence after which a client is asked whether it is still there, and the time it has to answer.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// What the services answer from.
pub struct Answers {
    /// Events.
    pub hub: Arc<Hub>,
    /// Where they come from.
    pub inspect: Arc<dyn Inspect>,
    /// Policies.
    pub policies: Arc<Store>,
    /// The export.
    pub exporter: Option<Exporter>,
    /// Every setting.
    pub settings: Arc<Settings>,
}

/// The running server.
pub struct Server {
    address: String,
    accepting: Vec<JoinHandle<()>>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    _socket: SocketFile,
}

impl Server {
    /// Listens where `config` says, with `socket` the unix socket that comes with a TCP address.
    /// `None` when it says nowhere.
    pub async fn start(
        config: &ServerConfig,
        socket: &Path,
        answers: Answers,
    ) -> Result<Option<Self>, ListenError> {
        let (tcp, path, address) = match &config.listen {
            Listen::None => return Ok(None),
            Listen::Unix(path) => (None, path.as_path(), config.listen.to_string()),
            Listen::Tcp(address) => {
                let listener = socket::tcp(address, "server-address").await?;
                let port = listener.local_addr().map_or(address.port, |local| local.port());
                let bound = TcpAddress { host: address.host.clone(), port };
                (Some(listener), socket, bound.to_string())
            }
        };
        let (unix, file) = UnixSocket::bind(path).await?.split();
        let tls = Tls::new(config).map(Arc::new);
        let open = |tcp: &TcpListener| tcp.local_addr().is_ok_and(|at| !at.ip().is_loopback());
        if tls.is_none() && tcp.as_ref().is_some_and(open) {
            tracing::warn!(
                address,
                "Whoever reaches the gRPC address sees all events: it is not on the loopback \
                 interface and has no TLS; see --server-tls-cert-file"
            );
        }
        if let Some(tls) = &tls {
            // Said now rather than to the first client; it may still appear later.
            tls.current();
        }
        let (to, connections) = mpsc::channel(1);
        let mut accepting = vec![tokio::spawn(accept_unix(unix, to.clone()))];
        if let Some(tcp) = tcp {
            accepting.push(tokio::spawn(accept_tcp(tcp, tls, to)));
        }
        let (stop, stopped) = oneshot::channel();
        let http = Http {
            hub: Arc::clone(&answers.hub),
            inspect: Arc::clone(&answers.inspect),
            policies: Arc::clone(&answers.policies),
            settings: Arc::clone(&answers.settings),
        };
        let sensors = Sensors {
            hub: answers.hub,
            inspect: answers.inspect,
            policies: answers.policies,
            settings: answers.settings,
            deprecated_calls: config.deprecated_calls,
        };
        let routes = Routes::new(FineGuidanceSensorsServer::new(sensors))
            .add_service(EventLogServiceServer::new(EventLog { exporter: answers.exporter }));
        let routes = http.beside(routes.into_axum_router(), &config.listen);
        let serve = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(PING.0))
            .http2_keepalive_timeout(Some(PING.1))
            .accept_http1(true)
            .add_routes(Routes::from(routes))
            .serve_with_incoming_shutdown(ReceiverStream::new(connections), async {
                // Dropping the sender stops the server just as well.
                let _ = stopped.await;
            });
        let serving = tokio::spawn(async {
            if let Err(error) = serve.await {
                tracing::error!(%error, "The gRPC server ended");
            }
        });
        tracing::info!(address, "The gRPC server listens");
        Ok(Some(Self { address, accepting, stop, serving, _socket: file }))
    }

    /// Where it listens, as a client is told: `host:port` or `unix:///path`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Takes no more calls and waits `at_most` so long for those under way; event streams end when
    /// the hub is closed. Removes the unix socket.
    pub async fn stop(self, at_most: Duration) {
        self.accepting.iter().for_each(JoinHandle::abort);
        // Nobody receives when the server has ended already.
        let _ = self.stop.send(());
        let mut serving = self.serving;
        if tokio::time::timeout(at_most, &mut serving).await.is_err() {
            tracing::warn!("Some clients did not end their calls in time");
            serving.abort();
        }
    }
}
