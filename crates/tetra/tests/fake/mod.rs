//! An agent that says what a test tells it to, and a way to run `tetra` against it.

// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use api::tetragon::fine_guidance_sensors_server::{FineGuidanceSensors, FineGuidanceSensorsServer};
use api::tetragon::*;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

/// What happens when the events are all sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The stream ends.
    End,
    /// The stream stays open.
    Stay,
    /// They are sent again, without end.
    Repeat,
}

/// What the agent answers, and what it was asked.
#[derive(Default)]
pub struct State {
    pub events: Vec<GetEventsResponse>,
    pub then: Option<Then>,
    pub level: i32,
    pub healthy: bool,
    /// Calls to refuse as unavailable before the first answer.
    pub refuse: u32,
    pub requests: Vec<GetEventsRequest>,
    pub debug_requests: Vec<GetDebugRequest>,
    pub policies: Vec<TracingPolicyStatus>,
    pub added: Vec<AddTracingPolicyRequest>,
    pub deleted: Vec<DeleteTracingPolicyRequest>,
    /// What calls that change policies are answered with, if they fail.
    pub refusal: Option<Status>,
}

#[derive(Clone)]
pub struct Agent(pub Arc<Mutex<State>>);

#[tonic::async_trait]
impl FineGuidanceSensors for Agent {
    type GetEventsStream =
        tokio_stream::wrappers::ReceiverStream<Result<GetEventsResponse, Status>>;

    async fn get_events(
        &self,
        request: Request<GetEventsRequest>,
    ) -> Answer<Self::GetEventsStream> {
        let (sender, receiver) = tokio::sync::mpsc::channel(16);
        let (events, then) = {
            let mut state = self.0.lock().unwrap();
            state.requests.push(request.into_inner());
            (state.events.clone(), state.then.unwrap_or(Then::End))
        };
        tokio::spawn(async move {
            loop {
                for event in &events {
                    if sender.send(Ok(event.clone())).await.is_err() {
                        return;
                    }
                }
                match then {
                    Then::End => return,
                    Then::Stay => return sender.closed().await,
                    Then::Repeat => {}
                }
            }
        });
        Ok(Response::new(receiver.into()))
    }

    async fn get_health(
        &self,
        _: Request<GetHealthStatusRequest>,
    ) -> Answer<GetHealthStatusResponse> {
        let status = HealthStatus { event: 1, status: 1, details: "running".into() };
        let mut state = self.0.lock().unwrap();
        if state.refuse > 0 {
            state.refuse -= 1;
            return Err(Status::unavailable("not ready"));
        }
        let health_status = if state.healthy { vec![status] } else { vec![] };
        Ok(Response::new(GetHealthStatusResponse { health_status }))
    }

    async fn get_version(&self, _: Request<GetVersionRequest>) -> Answer<GetVersionResponse> {
        Ok(Response::new(GetVersionResponse { version: "v9.8.7".into() }))
    }

    async fn get_info(&self, _: Request<GetInfoRequest>) -> Answer<GetInfoResponse> {
        let probe = |name: &str, enabled| get_info_response::Probe { name: name.into(), enabled };
        let setting = |key: &str, value| get_info_response::ConfVal {
            key: key.into(),
            value: Some(value),
            source: "default".into(),
        };
        Ok(Response::new(GetInfoResponse {
            version: "v9.8.7".into(),
            name: "tetragon".into(),
            probes: vec![probe("fentry", Some(true)), probe("lsm", None)],
            conf: vec![
                setting("export-file-max-size-mb", api::google::Any::pack(&10i64)),
                setting("debug", api::google::Any::pack(&false)),
            ],
            build: None,
        }))
    }

    async fn get_debug(&self, request: Request<GetDebugRequest>) -> Answer<GetDebugResponse> {
        use get_debug_response::Arg;
        let request = request.into_inner();
        let mut state = self.0.lock().unwrap();
        state.debug_requests.push(request);
        let arg = match request.flag() {
            ConfigFlag::LogLevel => Arg::Level(state.level),
            ConfigFlag::DumpProcessCache => Arg::Processes(DumpProcessCacheResArgs {
                processes: vec![ProcessInternal {
                    process: Some(Process { pid: Some(1), ..Default::default() }),
                    color: "inUse".into(),
                    refcnt: Some(2),
                    refcnt_ops: [("process++".to_owned(), 1)].into(),
                }],
            }),
        };
        Ok(Response::new(GetDebugResponse { flag: request.flag, arg: Some(arg) }))
    }

    async fn set_debug(&self, request: Request<SetDebugRequest>) -> Answer<SetDebugResponse> {
        let Some(set_debug_request::Arg::Level(level)) = request.into_inner().arg else {
            return Err(Status::invalid_argument("no level"));
        };
        self.0.lock().unwrap().level = level;
        let arg = Some(set_debug_response::Arg::Level(level));
        Ok(Response::new(SetDebugResponse { flag: 0, arg }))
    }

    async fn add_tracing_policy(
        &self,
        request: Request<AddTracingPolicyRequest>,
    ) -> Answer<AddTracingPolicyResponse> {
        let mut state = self.0.lock().unwrap();
        state.added.push(request.into_inner());
        state.refusal.clone().map_or(Ok(Response::new(AddTracingPolicyResponse {})), Err)
    }
    async fn delete_tracing_policy(
        &self,
        request: Request<DeleteTracingPolicyRequest>,
    ) -> Answer<DeleteTracingPolicyResponse> {
        let mut state = self.0.lock().unwrap();
        state.deleted.push(request.into_inner());
        state.refusal.clone().map_or(Ok(Response::new(DeleteTracingPolicyResponse {})), Err)
    }
    async fn list_tracing_policies(
        &self,
        request: Request<ListTracingPoliciesRequest>,
    ) -> Answer<ListTracingPoliciesResponse> {
        let domain = request.into_inner().domain;
        let mut policies = self.0.lock().unwrap().policies.clone();
        policies.retain(|policy| domain.is_empty() || policy.domain == domain);
        Ok(Response::new(ListTracingPoliciesResponse { policies }))
    }
    async fn configure_tracing_policy(
        &self,
        _: Request<ConfigureTracingPolicyRequest>,
    ) -> Answer<ConfigureTracingPolicyResponse> {
        Err(Status::unimplemented("fake"))
    }
    async fn enable_tracing_policy(
        &self,
        _: Request<EnableTracingPolicyRequest>,
    ) -> Answer<EnableTracingPolicyResponse> {
        Err(Status::unimplemented("fake"))
    }
    async fn disable_tracing_policy(
        &self,
        _: Request<DisableTracingPolicyRequest>,
    ) -> Answer<DisableTracingPolicyResponse> {
        Err(Status::unimplemented("fake"))
    }
    async fn list_sensors(&self, _: Request<ListSensorsRequest>) -> Answer<ListSensorsResponse> {
        Err(Status::unimplemented("fake"))
    }
    async fn enable_sensor(&self, _: Request<EnableSensorRequest>) -> Answer<EnableSensorResponse> {
        Err(Status::unimplemented("fake"))
    }
    async fn disable_sensor(
        &self,
        _: Request<DisableSensorRequest>,
    ) -> Answer<DisableSensorResponse> {
        Err(Status::unimplemented("fake"))
    }
    async fn remove_sensor(&self, _: Request<RemoveSensorRequest>) -> Answer<RemoveSensorResponse> {
        Err(Status::unimplemented("fake"))
    }
    async fn list_domains(&self, _: Request<ListDomainsRequest>) -> Answer<ListDomainsResponse> {
        Ok(Response::new(ListDomainsResponse { domains: vec!["grpc".into(), "static".into()] }))
    }
    async fn runtime_hook(&self, _: Request<RuntimeHookRequest>) -> Answer<RuntimeHookResponse> {
        Err(Status::unimplemented("fake"))
    }
}

/// A running agent; it ends with this.
pub struct Fake {
    pub agent: Agent,
    pub address: SocketAddr,
    pub runtime: Runtime,
}

impl Fake {
    /// On a TCP port of its own.
    pub fn new(state: State) -> Self {
        let runtime = Runtime::new().unwrap();
        let agent = Agent(Arc::new(Mutex::new(state)));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let service = FineGuidanceSensorsServer::new(agent.clone());
        runtime.spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Self { agent, address, runtime }
    }

    /// Also on a socket.
    pub fn listen(&self, path: &Path) {
        let _guard = self.runtime.enter();
        let listener = UnixListener::bind(path).unwrap();
        let service = FineGuidanceSensorsServer::new(self.agent.clone());
        self.runtime.spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming(UnixListenerStream::new(listener)),
        );
    }

    /// `tetra` told to use this agent.
    pub fn tetra(&self, args: &[&str]) -> Command {
        let mut command = tetra(args);
        command.args(["--server-address", &self.address.to_string()]);
        command
    }
}

/// `tetra` with nothing on its standard input.
pub fn tetra(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tetra"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Exit code, standard output and standard error.
pub fn outcome(output: Output) -> (Option<i32>, String, String) {
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Runs to the end.
pub fn run(mut command: Command) -> (Option<i32>, String, String) {
    outcome(command.output().unwrap())
}

/// An exec event.
pub fn exec(binary: &str) -> GetEventsResponse {
    GetEventsResponse {
        node_name: "node".into(),
        event: Some(get_events_response::Event::ProcessExec(ProcessExec {
            process: Some(Process { binary: binary.into(), pid: Some(7), ..Default::default() }),
            ..Default::default()
        })),
        ..Default::default()
    }
}
