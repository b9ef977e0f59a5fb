use super::*;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use api::google::Any;
use api::tetragon::event_log_service_client::EventLogServiceClient;
use api::tetragon::fine_guidance_sensors_client::FineGuidanceSensorsClient;
use api::tetragon::get_events_response::Event;
use api::tetragon::{
    AddTracingPolicyRequest, ConfigFlag, ConfigureTracingPolicyRequest, CreateContainer,
    DeleteTracingPolicyRequest, DisableTracingPolicyRequest, DumpProcessCacheReqArgs,
    EnableTracingPolicyRequest, EventType, Filter, GetDebugRequest, GetEventLogParamsRequest,
    GetEventsRequest, GetEventsResponse, GetHealthStatusRequest, GetInfoRequest, GetVersionRequest,
    ListDomainsRequest, ListSensorsRequest, ListTracingPoliciesRequest, Process, ProcessExec,
    ProcessExit, ProcessInternal, RuntimeHookRequest, SetEventLogParamsRequest, TracingPolicyMode,
    TracingPolicyState, get_debug_response, runtime_hook_request,
};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::config::{ExportConfig, RotationConfig, Source, Value};
use crate::envelope::Envelope;
use crate::policies::store_tests;

const SECOND: Duration = Duration::from_secs(1);

struct Quiet;

impl Inspect for Quiet {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn processes(&self, request: &DumpProcessCacheReqArgs) -> Result<Vec<ProcessInternal>, String> {
        let process = ProcessInternal { color: "inUse".to_owned(), ..ProcessInternal::default() };
        if request.skip_zero_refcnt { Ok(Vec::new()) } else { Ok(vec![process]) }
    }

    fn stats(&self) -> Result<crate::pipeline::Stats, String> {
        Ok(Default::default())
    }

    fn probes(&self) -> Vec<(String, bool)> {
        vec![("kprobe_multi".to_owned(), true)]
    }
}

/// A server that listens in a directory of the test.
pub(super) struct Lab {
    pub(super) dir: TempDir,
    pub(super) hub: Arc<Hub>,
    pub(super) server: Server,
}

pub(super) fn server_config(listen: &str) -> ServerConfig {
    ServerConfig { listen: Listen::parse(listen).unwrap(), ..ServerConfig::default() }
}

impl Lab {
    pub(super) async fn start(
        config: ServerConfig,
        exporter: Option<Exporter>,
        hub: Arc<Hub>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let answers = Answers {
            hub: Arc::clone(&hub),
            inspect: Arc::new(Quiet),
            policies: Arc::new(store_tests::store().0),
            exporter,
            settings: Arc::new(vec![
                ("cluster-name", Value::Str("c".into()), Source::CommandLine),
                ("debug", Value::Bool(true), Source::Environment("TETRAGON_DEBUG".into())),
                ("enable-ancestors", Value::Strings(vec!["base".into()]), Source::Default),
            ]),
        };
        let server = Server::start(&config, &dir.path().join("s"), answers).await.unwrap().unwrap();
        Self { dir, hub, server }
    }

    pub(super) async fn plain(listen: &str) -> Self {
        Self::start(server_config(listen), None, Hub::new(16, Envelope::default())).await
    }

    fn unix(&self) -> String {
        format!("unix://{}", self.dir.path().join("s").display())
    }

    fn tcp(&self) -> String {
        format!("http://{}", self.server.address())
    }
}

async fn client(address: &str) -> FineGuidanceSensorsClient<Channel> {
    let channel = Endpoint::from_shared(address.to_owned()).unwrap().connect().await.unwrap();
    FineGuidanceSensorsClient::new(channel)
}

pub(super) fn exec(n: u32) -> Arc<GetEventsResponse> {
    let process = Process { pid: Some(n), ..Process::default() };
    let exec = ProcessExec { process: Some(process), ..ProcessExec::default() };
    Arc::new(Envelope::default().wrap(Event::ProcessExec(exec)))
}

pub(super) fn exit() -> Arc<GetEventsResponse> {
    Arc::new(Envelope::default().wrap(Event::ProcessExit(ProcessExit::default())))
}

pub(super) async fn until(condition: impl Fn() -> bool) {
    let end = Instant::now() + 10 * SECOND;
    while !condition() {
        assert!(Instant::now() < end, "waited too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_over_tcp_and_unix_and_end_with_the_hub() {
    let lab = Lab::plain("127.0.0.1:0").await;
    assert!(!lab.server.address().ends_with(":0"), "the port that the kernel chose is told");
    let only_exits = Filter { event_set: vec![EventType::ProcessExit as i32], ..Filter::default() };
    let request = GetEventsRequest { allow_list: vec![only_exits], ..GetEventsRequest::default() };
    let mut all = client(&lab.unix()).await.get_events(GetEventsRequest::default()).await.unwrap();
    let mut exits = client(&lab.tcp()).await.get_events(request).await.unwrap();
    lab.hub.publish(exec(7));
    lab.hub.publish(exit());
    lab.hub.close();
    let mut kinds = Vec::new();
    while let Some(event) = all.get_mut().message().await.unwrap() {
        kinds.push(event.event_type());
    }
    assert_eq!(kinds, [EventType::ProcessExec, EventType::ProcessExit]);
    let event = exits.get_mut().message().await.unwrap().unwrap();
    assert_eq!(event.event_type(), EventType::ProcessExit);
    assert!(exits.get_mut().message().await.unwrap().is_none());
    let socket = lab.dir.path().join("s");
    let begin = Instant::now();
    lab.server.stop(5 * SECOND).await;
    assert!(begin.elapsed() < 4 * SECOND, "idle connections do not hold the server up");
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_loses_its_own_events_and_is_told() {
    let lab = Lab::plain("127.0.0.1:0").await;
    let mut stuck = client(&lab.tcp()).await.get_events(GetEventsRequest::default()).await.unwrap();
    let mut quick =
        client(&lab.unix()).await.get_events(GetEventsRequest::default()).await.unwrap();
    // Large ones, so that what the connection itself can hold is soon full.
    let arguments = "x".repeat(100_000);
    let big = |n| {
        let process = Process { pid: Some(n), arguments: arguments.clone(), ..Process::default() };
        let exec = ProcessExec { process: Some(process), ..ProcessExec::default() };
        Arc::new(Envelope::default().wrap(Event::ProcessExec(exec)))
    };
    let count = 500;
    for n in 0..count {
        lab.hub.publish(big(n));
        let event = quick.get_mut().message().await.unwrap().unwrap();
        assert_eq!(event.process().unwrap().pid, Some(n));
    }
    assert!(lab.hub.lost() > 0);
    lab.hub.close();
    assert!(quick.get_mut().message().await.unwrap().is_none());
    let (mut got, mut told) = (0, 0);
    while let Some(event) = stuck.get_mut().message().await.unwrap() {
        match event.event {
            Some(Event::EventsLost(lost)) => told += lost.count,
            _ => got += 1,
        }
    }
    assert_eq!((told, got + told), (lab.hub.lost(), u64::from(count)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_is_forgotten() {
    let lab = Lab::plain("127.0.0.1:0").await;
    let stream = client(&lab.tcp()).await.get_events(GetEventsRequest::default()).await.unwrap();
    assert_eq!(lab.hub.listeners(), 1);
    drop(stream);
    until(|| lab.hub.listeners() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_streams_and_no_more() {
    let lab = Lab::plain("127.0.0.1:0").await;
    let mut client = client(&lab.unix()).await;
    let mut streams = Vec::new();
    let error = loop {
        match client.get_events(GetEventsRequest::default()).await {
            Ok(stream) => streams.push(stream),
            Err(error) => break error,
        }
        assert!(streams.len() < 1000);
    };
    assert_eq!(error.code(), Code::ResourceExhausted);
    streams.clear();
    until(|| lab.hub.listeners() == 0).await;
    client.get_events(GetEventsRequest::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_address_opens_only_that_socket_and_none_opens_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("own.sock");
    let lab = Lab::plain(&format!("unix://{}", path.display())).await;
    assert_eq!(lab.server.address(), format!("unix://{}", path.display()));
    assert!(path.exists() && !lab.dir.path().join("s").exists());
    client(lab.server.address()).await.get_version(GetVersionRequest {}).await.unwrap();
    let answers = Answers {
        hub: Arc::clone(&lab.hub),
        inspect: Arc::new(Quiet),
        policies: Arc::new(store_tests::store().0),
        exporter: None,
        settings: Arc::default(),
    };
    assert!(Server::start(&server_config(""), &path, answers).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_are_answered() {
    let lab = Lab::plain("127.0.0.1:0").await;
    let mut client = client(&lab.unix()).await;
    let version = client.get_version(GetVersionRequest {}).await.unwrap().into_inner();
    assert_eq!(version.version, crate::VERSION);
    let health = client.get_health(GetHealthStatusRequest::default()).await.unwrap().into_inner();
    assert_eq!(health.health_status[0].details, "running");
    let info = client.get_info(GetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.name, "tetragon");
    assert_eq!(
        (info.probes[0].name.as_str(), info.probes[0].enabled),
        ("kprobe_multi", Some(true))
    );
    let conf = |key: &str| {
        let entry = info.conf.iter().find(|entry| entry.key == key).unwrap();
        entry.value.as_ref().map(Any::to_json).unwrap().unwrap()
    };
    assert_eq!(conf("cluster-name"), "c");
    let sources: Vec<&str> = info.conf.iter().map(|entry| entry.source.as_str()).collect();
    assert_eq!(sources, ["command line", "environment variable TETRAGON_DEBUG", "default"]);
    assert_eq!(conf("debug"), true);
    assert_eq!(conf("enable-ancestors"), serde_json::json!(["base"]));

    let dump = GetDebugRequest { flag: ConfigFlag::DumpProcessCache as i32, arg: None };
    let dumped = client.get_debug(dump).await.unwrap().into_inner();
    let Some(get_debug_response::Arg::Processes(dumped)) = dumped.arg else { panic!("{dumped:?}") };
    assert_eq!(dumped.processes[0].color, "inUse");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_said() {
    let lab = Lab::plain("127.0.0.1:0").await;
    let mut client = client(&lab.unix()).await;
    #[allow(deprecated)] // that is what the test is about
    let error = client.list_sensors(ListSensorsRequest {}).await.unwrap_err();
    assert_eq!(error.message(), "ListSensors is deprecated");
    let configure = ConfigureTracingPolicyRequest::default();
    let error = client.configure_tracing_policy(configure).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let mode = Some(TracingPolicyMode::TpModeMonitor.into());
    let configure = ConfigureTracingPolicyRequest { mode, ..Default::default() };
    let error = client.configure_tracing_policy(configure).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    let configure = ConfigureTracingPolicyRequest { enable: Some(true), ..Default::default() };
    let error = client.configure_tracing_policy(configure).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    let error = client.runtime_hook(RuntimeHookRequest { event: None }).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let container = CreateContainer { cgroups_path: "/a".into(), ..CreateContainer::default() };
    let event = Some(runtime_hook_request::Event::CreateContainer(container));
    client.runtime_hook(RuntimeHookRequest { event }).await.unwrap();
    let filter = Filter { binary_regex: vec!["(".into()], ..Filter::default() };
    let request = GetEventsRequest { allow_list: vec![filter], ..GetEventsRequest::default() };
    let error = client.get_events(request).await.unwrap_err();
    assert!(error.message().contains("binary_regex"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_export_is_set_and_got() {
    let hub = Hub::new(16, Envelope::default());
    let dir = tempfile::tempdir().unwrap();
    let rotation = RotationConfig { max_size_mb: 10, max_backups: 5, ..RotationConfig::default() };
    let file = Some(dir.path().join("e"));
    let export = ExportConfig { file, rotation, ..ExportConfig::default() };
    let exporter = Exporter::start(&export, &hub).unwrap();
    let lab = Lab::start(server_config("127.0.0.1:0"), exporter, hub).await;
    let channel = Endpoint::from_shared(lab.unix()).unwrap().connect().await.unwrap();
    let mut client = EventLogServiceClient::new(channel);
    let set = SetEventLogParamsRequest {
        max_backups: Some(7),
        rotation_interval: Some("1h30m".into()),
        max_size: None,
    };
    client.set_event_log_params(set).await.unwrap();
    let got = client.get_event_log_params(GetEventLogParamsRequest {}).await.unwrap().into_inner();
    assert_eq!((got.max_size, got.max_backups), (10, 7));
    assert_eq!(got.rotation_interval, "1h30m0s");
    for bad in [
        SetEventLogParamsRequest { max_size: Some(-1), ..Default::default() },
        SetEventLogParamsRequest { rotation_interval: Some("1".into()), ..Default::default() },
        SetEventLogParamsRequest { rotation_interval: Some("-1s".into()), ..Default::default() },
    ] {
        let error = client.set_event_log_params(bad).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
    }
    let lab = Lab::plain("127.0.0.1:0").await;
    let channel = Endpoint::from_shared(lab.unix()).unwrap().connect().await.unwrap();
    let mut client = EventLogServiceClient::new(channel);
    let error = client.get_event_log_params(GetEventLogParamsRequest {}).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
}

/// A certificate authority.
struct Authority {
    cert: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        Self { cert, issuer: Issuer::new(params, key) }
    }

    /// Certificate and key for localhost.
    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// What a client shows: its certificate and key.
type Identity = Option<(String, String)>;

/// Asks for the version over TLS, trusting `authority`.
async fn ask(address: &str, authority: &Authority, identity: Identity) -> Result<String, Status> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.cert.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&tokio_rustls::rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![cert], key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let address = address.to_owned();
    let connect = tower::service_fn(move |_| {
        let (connector, address) = (connector.clone(), address.clone());
        async move {
            let stream = TcpStream::connect(address).await?;
            let name = ServerName::try_from("localhost").unwrap();
            connector.connect(name, stream).await.map(TokioIo::new)
        }
    });
    let endpoint = Endpoint::from_static("http://localhost").timeout(5 * SECOND);
    let channel = endpoint
        .connect_with_connector(connect)
        .await
        .map_err(|error| Status::unavailable(format!("{error:?}")))?;
    let answer = FineGuidanceSensorsClient::new(channel).get_version(GetVersionRequest {}).await?;
    Ok(answer.into_inner().version)
}

/// Files of a TLS server; moved into place at once, as certificate managers do.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, content: &str) {
        fs::write(self.path("new"), content).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    fn put_identity(&self, authority: &Authority) {
        let (cert, key) = authority.issue();
        self.put("cert", &cert);
        self.put("key", &key);
    }

    fn config(&self) -> ServerConfig {
        ServerConfig {
            tls_cert_file: Some(self.path("cert")),
            tls_key_file: Some(self.path("key")),
            ..server_config("localhost:0")
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_refuses_plain_clients_and_follows_the_files() {
    let (old, new, files) = (Authority::new(), Authority::new(), Files::new());
    let hub = Hub::new(16, Envelope::default());
    // No certificate yet: the server starts, and refuses.
    let lab = Lab::start(files.config(), None, hub).await;
    let address = lab.server.address().to_owned();
    assert!(ask(&address, &old, None).await.is_err());
    files.put_identity(&old);
    assert_eq!(ask(&address, &old, None).await.unwrap(), crate::VERSION);
    assert!(ask(&address, &new, None).await.is_err());
    files.put_identity(&new);
    assert_eq!(ask(&address, &new, None).await.unwrap(), crate::VERSION);
    assert!(ask(&address, &old, None).await.is_err());
    // What cannot be used does not replace what can.
    files.put("cert", "rubbish");
    assert!(ask(&address, &new, None).await.is_ok());
    files.put_identity(&old);
    assert!(ask(&address, &old, None).await.is_ok());

    let plain = Endpoint::from_shared(lab.tcp()).unwrap().timeout(5 * SECOND).connect().await;
    if let Ok(channel) = plain {
        let mut client = FineGuidanceSensorsClient::new(channel);
        assert!(client.get_version(GetVersionRequest {}).await.is_err());
    }
    // The unix socket stays plain.
    client(&lab.unix()).await.get_version(GetVersionRequest {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutual_tls_refuses_clients_without_or_with_a_foreign_certificate() {
    let (ours, foreign, files) = (Authority::new(), Authority::new(), Files::new());
    files.put_identity(&ours);
    files.put("ca", &ours.cert.pem());
    let config = ServerConfig {
        tls_client_ca_files: vec![files.path("ca")],
        tls_require_client_cert: true,
        ..files.config()
    };
    let lab = Lab::start(config, None, Hub::new(16, Envelope::default())).await;
    let address = lab.server.address();
    assert!(ask(address, &ours, None).await.is_err());
    assert!(ask(address, &ours, Some(foreign.issue())).await.is_err());
    assert_eq!(ask(address, &ours, Some(ours.issue())).await.unwrap(), crate::VERSION);
    // The authorities may change as well.
    files.put("ca", &foreign.cert.pem());
    assert!(ask(address, &ours, Some(ours.issue())).await.is_err());
    assert!(ask(address, &ours, Some(foreign.issue())).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_are_added_listed_and_deleted() {
    let lab = Lab::plain("127.0.0.1:0").await;
    let mut client = client(&lab.unix()).await;
    let add = |domain: &str, name: &str| AddTracingPolicyRequest {
        yaml: store_tests::text(name),
        domain: domain.into(),
        replace: false,
    };
    client.add_tracing_policy(add("", "one")).await.unwrap();
    client.add_tracing_policy(add("mine", "two")).await.unwrap();
    for (request, code, message) in [
        (add("", "one"), Code::AlreadyExists, "there is a policy `one` in domain grpc already"),
        (add("sensors", "x"), Code::InvalidArgument, "the domain `sensors` is the agent's own"),
        (add("", "refused"), Code::InvalidArgument, "policy:5:3 spec.kprobes[0].call: no such"),
        (add("", "failing"), Code::FailedPrecondition, "the kernel says no"),
        (add("", "UPPER"), Code::InvalidArgument, "policy:3:18 metadata.name: `UPPER`"),
    ] {
        let error = client.add_tracing_policy(request).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().starts_with(message), "{error}");
    }
    let domains = client.list_domains(ListDomainsRequest {}).await.unwrap().into_inner().domains;
    assert_eq!(domains, ["grpc", "mine"]);
    let mut list = async |domain: &str| {
        let request = ListTracingPoliciesRequest { domain: domain.into() };
        client.list_tracing_policies(request).await.unwrap().into_inner().policies
    };
    let names = |list: &[api::tetragon::TracingPolicyStatus]| {
        let states = list.iter().map(|status| (status.name.clone(), status.state()));
        states.collect::<Vec<_>>()
    };
    use TracingPolicyState::{TpStateEnabled, TpStateLoadError};
    let expected = [
        ("one".to_owned(), TpStateEnabled),
        ("two".to_owned(), TpStateEnabled),
        ("refused".to_owned(), TpStateLoadError),
        ("failing".to_owned(), TpStateLoadError),
    ];
    assert_eq!(names(&list("").await), expected);
    assert_eq!(names(&list("mine").await), [("two".to_owned(), TpStateEnabled)]);
    let delete = |domain: &str, name: &str| DeleteTracingPolicyRequest {
        name: name.into(),
        domain: domain.into(),
        ..DeleteTracingPolicyRequest::default()
    };
    let error = client.delete_tracing_policy(delete("", "two")).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.message().ends_with("there is one in domain mine"), "{error}");
    client.delete_tracing_policy(delete("mine", "two")).await.unwrap();
    client.delete_tracing_policy(delete("", "failing")).await.unwrap();
    let left = client.list_tracing_policies(ListTracingPoliciesRequest::default()).await.unwrap();
    assert_eq!(
        names(&left.into_inner().policies),
        &expected[..1].iter().chain(&expected[2..3]).cloned().collect::<Vec<_>>()[..]
    );
}

#[allow(deprecated)] // clients still call what is
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_are_replaced_disabled_and_enabled() {
    let config = ServerConfig { deprecated_calls: true, ..server_config("127.0.0.1:0") };
    let lab = Lab::start(config, None, Hub::new(16, Envelope::default())).await;
    let mut client = client(&lab.unix()).await;
    let add = AddTracingPolicyRequest {
        yaml: store_tests::text("one"),
        replace: true,
        ..AddTracingPolicyRequest::default()
    };
    client.add_tracing_policy(add.clone()).await.unwrap();
    client.add_tracing_policy(add).await.unwrap();
    let list = client.list_tracing_policies(ListTracingPoliciesRequest::default()).await;
    let status = list.unwrap().into_inner().policies.remove(0);
    assert_eq!((status.id, status.state()), (1, TracingPolicyState::TpStateEnabled));
    let configure = |enable| ConfigureTracingPolicyRequest {
        name: "one".into(),
        enable: Some(enable),
        ..ConfigureTracingPolicyRequest::default()
    };
    client.configure_tracing_policy(configure(false)).await.unwrap();
    let name = || "one".to_owned();
    let enable = EnableTracingPolicyRequest { name: name(), ..Default::default() };
    let disable = DisableTracingPolicyRequest { name: name(), ..Default::default() };
    client.enable_tracing_policy(enable.clone()).await.unwrap();
    client.disable_tracing_policy(disable).await.unwrap();
    let list = client.list_tracing_policies(ListTracingPoliciesRequest::default()).await;
    let state = list.unwrap().into_inner().policies[0].state();
    assert_eq!(state, TracingPolicyState::TpStateDisabled);

    let plain = Lab::plain("127.0.0.1:0").await;
    let mut client = self::client(&plain.unix()).await;
    let error = client.enable_tracing_policy(enable).await.unwrap_err();
    assert_eq!(error.message(), "EnableTracingPolicy is deprecated");
}
