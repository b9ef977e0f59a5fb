//! The HTTP server of metrics: `GET /metrics`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::core::Collector as _;
use prometheus::process_collector::ProcessCollector;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::EventCounters;
use super::families::{self, Page};
use crate::cluster::Directory;
use crate::config::TcpAddress;
use crate::export::Exporter;
use crate::hub::Hub;
use crate::policies::Store;
use crate::server::socket::{ListenError, tcp};
use crate::source::Inspect;

/// Connections at a time.
const CONNECTIONS: usize = 16;

/// Time that a client has to send a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whom a scrape asks.
pub struct Sources {
    /// Events by kind, unless they are not to be counted.
    pub events: Option<Arc<EventCounters>>,
    /// Who listens.
    pub hub: Arc<Hub>,
    /// The export, if there is one.
    pub exporter: Option<Exporter>,
    /// Programs and processes.
    pub inspect: Arc<dyn Inspect>,
    /// Policies.
    pub policies: Arc<Store>,
    /// Whom containers belong to, in a cluster.
    pub directory: Option<Arc<Directory>>,
}

/// The running server. Dropping it ends it.
pub struct MetricsServer {
    address: Option<SocketAddr>,
    task: JoinHandle<()>,
}

impl MetricsServer {
    /// Listens on an address.
    pub async fn start(address: &TcpAddress, sources: Sources) -> Result<Self, ListenError> {
        let listener = tcp(address, "metrics-server").await?;
        let address = listener.local_addr().ok();
        Ok(Self { address, task: tokio::spawn(serve(listener, Arc::new(sources))) })
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, sources: Arc<Sources>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Descriptors may have run out: others give some back.
                tracing::warn!(%error, "A client of metrics cannot be accepted");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let sources = Arc::clone(&sources);
        tokio::spawn(async move {
            let answer = |request| {
                let sources = Arc::clone(&sources);
                async move { Ok::<_, Infallible>(answer(&request, &sources)) }
            };
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            let service = hyper::service::service_fn(answer);
            if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "A client of metrics left");
            }
            drop(permit);
        });
    }
}

fn answer(request: &Request<Incoming>, sources: &Sources) -> Response<Full<Bytes>> {
    let text = |status: StatusCode, kind: &'static str, text: String| {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
        response
    };
    const PLAIN: &str = "text/plain; charset=utf-8";
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => {
            // Locks, and questions to other threads.
            match tokio::task::block_in_place(|| page(sources)) {
                Ok(page) => text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page),
                Err(error) => {
                    tracing::warn!(%error, "Metrics cannot be written");
                    text(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n"))
                }
            }
        }
        (_, "/metrics") => {
            let mut response =
                text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "GET is allowed\n".into());
            response
                .headers_mut()
                .insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
            response
        }
        _ => text(StatusCode::NOT_FOUND, PLAIN, "metrics are at /metrics\n".into()),
    }
}

/// Everything, as it is now.
fn page(sources: &Sources) -> Result<String, prometheus::Error> {
    let mut page = Page::default();
    families::build(&mut page);
    if let Some(events) = &sources.events {
        families::events(&mut page, events);
    }
    families::hub(&mut page, &sources.hub);
    if let Some(exporter) = &sources.exporter {
        families::export(&mut page, exporter.counters());
    }
    match sources.inspect.stats() {
        Ok(stats) => families::pipeline(&mut page, &stats),
        Err(why) => tracing::warn!(why, "Metrics of the pipeline are missing from this scrape"),
    }
    families::policies(&mut page, &sources.policies.list(None));
    families::enforcers(&mut page, &sources.policies.missed_notifications());
    if let Some(directory) = &sources.directory {
        families::cluster(&mut page, directory);
    }
    page.process(ProcessCollector::for_self().collect());
    page.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Envelope;
    use crate::metrics::LabelFilter;
    use crate::pipeline::Stats;
    use crate::policies::store_tests;
    use api::tetragon::{DumpProcessCacheReqArgs, ProcessExec, ProcessInternal};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    struct Counted;

    impl Inspect for Counted {
        fn check(&self) -> Result<(), String> {
            Ok(())
        }

        fn processes(&self, _: &DumpProcessCacheReqArgs) -> Result<Vec<ProcessInternal>, String> {
            Ok(Vec::new())
        }

        fn stats(&self) -> Result<Stats, String> {
            Ok(Stats { table_size: 42, ..Stats::default() })
        }

        fn probes(&self) -> Vec<(String, bool)> {
            Vec::new()
        }
    }

    async fn ask(server: &MetricsServer, request: &str) -> String {
        let address = server.address().unwrap();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_scrape_has_everything() {
        let counters = Arc::new(EventCounters::new(LabelFilter::parse("binary").unwrap()));
        let hub = Hub::counting(8, Envelope::default(), Some(Arc::clone(&counters)));
        let exec = ProcessExec {
            process: Some(api::tetragon::Process {
                binary: "/bin/\"x\"\n".into(),
                flags: "execve".into(),
                ..Default::default()
            }),
            ..ProcessExec::default()
        };
        let event = api::tetragon::get_events_response::Event::ProcessExec(exec);
        hub.publish(Arc::new(Envelope::default().wrap(event)));
        let (policies, _) = store_tests::store();
        policies.add("grpc", &store_tests::from("p.yaml", &store_tests::text("told"))).unwrap();
        let sources = Sources {
            events: Some(counters),
            hub,
            exporter: None,
            inspect: Arc::new(Counted),
            policies: Arc::new(policies),
            directory: None,
        };
        let address = TcpAddress { host: "127.0.0.1".into(), port: 0 };
        let server = MetricsServer::start(&address, sources).await.unwrap();
        let answer = ask(&server, "GET /metrics").await;
        for part in [
            "HTTP/1.1 200 OK",
            "content-type: text/plain; version=0.0.4",
            "# TYPE tetragon_events_total counter",
            r#"tetragon_events_total{type="PROCESS_EXEC",namespace="",workload="",pod="",binary="/bin/\"x\"\n",node_name=""} 1"#,
            r#"tetragon_flags_total{type="execve"} 1"#,
            "tetragon_process_cache_size 42",
            r#"tetragon_tracingpolicy_loaded{state="enabled"} 1"#,
            r#"tetragon_enforcer_missed_notifications_total{info="sys_dup",policy="told",reason="overwritten"} 3"#,
            "tetragon_notify_overflowed_events_total 0",
            "process_open_fds",
            r#"tetragon_build_info{version="v"#,
        ] {
            assert!(answer.contains(part), "{part}: {answer}");
        }
        assert!(ask(&server, "GET /").await.starts_with("HTTP/1.1 404"));
        assert!(ask(&server, "POST /metrics").await.starts_with("HTTP/1.1 405"));
    }
}
