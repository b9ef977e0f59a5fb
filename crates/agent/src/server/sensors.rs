//! The service `FineGuidanceSensors`.

use std::sync::Arc;

use api::google::Any;
use api::tetragon as pb;
use api::tetragon::fine_guidance_sensors_server::FineGuidanceSensors;
use api::tetragon::get_info_response::{BuildInfo, ConfVal, Probe};
use api::tetragon::{get_debug_request, get_debug_response, set_debug_request, set_debug_response};
use tonic::{Request, Response, Status};

use super::connection::Peer;
use super::events::EventStream;
use super::policies;
use crate::config::{Settings, Source, Value};
use crate::hub::Hub;
use crate::logging::{self, Level};
use crate::policies::{GRPC, Store};
use crate::source::Inspect;

/// What the service answers from.
pub(super) struct Sensors {
    pub(super) hub: Arc<Hub>,
    pub(super) inspect: Arc<dyn Inspect>,
    pub(super) policies: Arc<Store>,
    /// Every setting.
    pub(super) settings: Arc<Settings>,
    /// Whether EnableTracingPolicy and DisableTracingPolicy are answered.
    pub(super) deprecated_calls: bool,
}

type Answer<T> = Result<Response<T>, Status>;

fn deprecated<T>(call: &str) -> Answer<T> {
    Err(Status::unknown(format!("{call} is deprecated")))
}

#[tonic::async_trait]
impl FineGuidanceSensors for Sensors {
    type GetEventsStream = EventStream;

    async fn get_events(&self, request: Request<pb::GetEventsRequest>) -> Answer<EventStream> {
        let peer = request.extensions().get::<Peer>();
        EventStream::open(&self.hub, peer, request.get_ref()).map(Response::new)
    }

    async fn get_health(
        &self,
        _: Request<pb::GetHealthStatusRequest>,
    ) -> Answer<pb::GetHealthStatusResponse> {
        let status = pb::HealthStatus {
            event: pb::HealthStatusType::Status as i32,
            status: pb::HealthStatusResult::HealthStatusRunning as i32,
            details: "running".to_owned(),
        };
        Ok(Response::new(pb::GetHealthStatusResponse { health_status: vec![status] }))
    }

    async fn get_version(
        &self,
        _: Request<pb::GetVersionRequest>,
    ) -> Answer<pb::GetVersionResponse> {
        Ok(Response::new(pb::GetVersionResponse { version: crate::VERSION.to_owned() }))
    }

    async fn get_info(&self, _: Request<pb::GetInfoRequest>) -> Answer<pb::GetInfoResponse> {
        let inspect = Arc::clone(&self.inspect);
        let probes = blocking(move || inspect.probes()).await?;
        let probe = |(name, enabled)| Probe { name, enabled: Some(enabled) };
        let conf = |(key, value, source): &(&'static str, Value, Source)| ConfVal {
            key: (*key).to_owned(),
            value: Some(any(value)),
            source: source.to_string(),
        };
        Ok(Response::new(pb::GetInfoResponse {
            version: crate::VERSION.to_owned(),
            name: "tetragon".to_owned(),
            probes: probes.into_iter().map(probe).collect(),
            conf: self.settings.iter().map(conf).collect(),
            build: Some(build()),
        }))
    }

    async fn get_debug(
        &self,
        request: Request<pb::GetDebugRequest>,
    ) -> Answer<pb::GetDebugResponse> {
        let request = request.into_inner();
        let arg = match flag(request.flag)? {
            pb::ConfigFlag::LogLevel => {
                get_debug_response::Arg::Level(wire(logging::level()) as i32)
            }
            pb::ConfigFlag::DumpProcessCache => {
                let get_debug_request::Arg::Dump(arguments) =
                    request.arg.unwrap_or(get_debug_request::Arg::Dump(Default::default()));
                let inspect = Arc::clone(&self.inspect);
                let processes = blocking(move || inspect.processes(&arguments)).await?;
                let processes = processes.map_err(Status::unavailable)?;
                get_debug_response::Arg::Processes(pb::DumpProcessCacheResArgs { processes })
            }
        };
        Ok(Response::new(pb::GetDebugResponse { flag: request.flag, arg: Some(arg) }))
    }

    async fn set_debug(
        &self,
        request: Request<pb::SetDebugRequest>,
    ) -> Answer<pb::SetDebugResponse> {
        let request = request.into_inner();
        if flag(request.flag)? != pb::ConfigFlag::LogLevel {
            return Err(Status::invalid_argument("only the log level can be set"));
        }
        let Some(set_debug_request::Arg::Level(number)) = request.arg else {
            return Err(Status::invalid_argument("no log level is given"));
        };
        let level = pb::LogLevel::try_from(number)
            .map_err(|_| Status::invalid_argument(format!("unknown log level {number}")))?;
        logging::set_level(own(level));
        tracing::info!(level = level.as_str_name(), "The log level was changed by a client");
        let arg = Some(set_debug_response::Arg::Level(number));
        Ok(Response::new(pb::SetDebugResponse { flag: request.flag, arg }))
    }

    async fn add_tracing_policy(
        &self,
        request: Request<pb::AddTracingPolicyRequest>,
    ) -> Answer<pb::AddTracingPolicyResponse> {
        let (store, request) = (Arc::clone(&self.policies), request.into_inner());
        blocking(move || policies::add(&store, request)).await?.map(Response::new)
    }

    async fn delete_tracing_policy(
        &self,
        request: Request<pb::DeleteTracingPolicyRequest>,
    ) -> Answer<pb::DeleteTracingPolicyResponse> {
        let (store, request) = (Arc::clone(&self.policies), request.into_inner());
        blocking(move || policies::delete(&store, request)).await?.map(Response::new)
    }

    async fn list_tracing_policies(
        &self,
        request: Request<pb::ListTracingPoliciesRequest>,
    ) -> Answer<pb::ListTracingPoliciesResponse> {
        let (store, domain) = (Arc::clone(&self.policies), request.into_inner().domain);
        let list = move || store.list(Some(domain.as_str()).filter(|domain| !domain.is_empty()));
        let policies = blocking(list).await?;
        Ok(Response::new(pb::ListTracingPoliciesResponse { policies }))
    }

    async fn configure_tracing_policy(
        &self,
        request: Request<pb::ConfigureTracingPolicyRequest>,
    ) -> Answer<pb::ConfigureTracingPolicyResponse> {
        let (store, request) = (Arc::clone(&self.policies), request.into_inner());
        blocking(move || policies::configure(&store, request)).await?.map(Response::new)
    }

    async fn list_domains(
        &self,
        _: Request<pb::ListDomainsRequest>,
    ) -> Answer<pb::ListDomainsResponse> {
        Ok(Response::new(pb::ListDomainsResponse { domains: self.policies.domains() }))
    }

    async fn runtime_hook(
        &self,
        request: Request<pb::RuntimeHookRequest>,
    ) -> Answer<pb::RuntimeHookResponse> {
        // Nothing in the agent waits for containers: it sees their cgroups and processes itself.
        match request.into_inner().event {
            Some(pb::runtime_hook_request::Event::CreateContainer(container)) => {
                tracing::debug!(?container, "A runtime hook tells of a container");
                Ok(Response::new(pb::RuntimeHookResponse {}))
            }
            None => Err(Status::invalid_argument("RuntimeHook: no event is given")),
        }
    }

    async fn enable_tracing_policy(
        &self,
        request: Request<pb::EnableTracingPolicyRequest>,
    ) -> Answer<pb::EnableTracingPolicyResponse> {
        if !self.deprecated_calls {
            return deprecated("EnableTracingPolicy");
        }
        let pb::EnableTracingPolicyRequest { name, namespace, domain } = request.into_inner();
        let store = Arc::clone(&self.policies);
        let key = policies::key(name, namespace, &domain, GRPC);
        blocking(move || store.enable(&key)).await?.map_err(|error| policies::of_change(&error))?;
        Ok(Response::new(pb::EnableTracingPolicyResponse {}))
    }

    async fn disable_tracing_policy(
        &self,
        request: Request<pb::DisableTracingPolicyRequest>,
    ) -> Answer<pb::DisableTracingPolicyResponse> {
        if !self.deprecated_calls {
            return deprecated("DisableTracingPolicy");
        }
        let pb::DisableTracingPolicyRequest { name, namespace, domain } = request.into_inner();
        let store = Arc::clone(&self.policies);
        let key = policies::key(name, namespace, &domain, GRPC);
        blocking(move || store.disable(&key))
            .await?
            .map_err(|error| policies::of_change(&error))?;
        Ok(Response::new(pb::DisableTracingPolicyResponse {}))
    }

    async fn list_sensors(
        &self,
        _: Request<pb::ListSensorsRequest>,
    ) -> Answer<pb::ListSensorsResponse> {
        deprecated("ListSensors")
    }

    async fn enable_sensor(
        &self,
        _: Request<pb::EnableSensorRequest>,
    ) -> Answer<pb::EnableSensorResponse> {
        deprecated("EnableSensor")
    }

    async fn disable_sensor(
        &self,
        _: Request<pb::DisableSensorRequest>,
    ) -> Answer<pb::DisableSensorResponse> {
        deprecated("DisableSensor")
    }

    async fn remove_sensor(
        &self,
        _: Request<pb::RemoveSensorRequest>,
    ) -> Answer<pb::RemoveSensorResponse> {
        deprecated("RemoveSensor")
    }
}

/// Runs what may wait for another thread.
pub(super) async fn blocking<T: Send + 'static>(
    question: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let answer = tokio::task::spawn_blocking(question).await;
    answer.map_err(|_| Status::internal("the question was not answered; see the agent's log"))
}

fn flag(number: i32) -> Result<pb::ConfigFlag, Status> {
    pb::ConfigFlag::try_from(number)
        .map_err(|_| Status::invalid_argument(format!("unknown flag {number}")))
}

fn wire(level: Level) -> pb::LogLevel {
    match level {
        Level::Panic => pb::LogLevel::Panic,
        Level::Fatal => pb::LogLevel::Fatal,
        Level::Error => pb::LogLevel::Error,
        Level::Warn => pb::LogLevel::Warn,
        Level::Info => pb::LogLevel::Info,
        Level::Debug => pb::LogLevel::Debug,
        Level::Trace => pb::LogLevel::Trace,
    }
}

fn own(level: pb::LogLevel) -> Level {
    match level {
        pb::LogLevel::Panic => Level::Panic,
        pb::LogLevel::Fatal => Level::Fatal,
        pb::LogLevel::Error => Level::Error,
        pb::LogLevel::Warn => Level::Warn,
        pb::LogLevel::Info => Level::Info,
        pb::LogLevel::Debug => Level::Debug,
        pb::LogLevel::Trace => Level::Trace,
    }
}

fn any(value: &Value) -> Any {
    match value {
        Value::Bool(value) => Any::pack(value),
        Value::Int(value) => Any::pack(value),
        Value::Uint(value) => Any::pack(&i64::try_from(*value).unwrap_or(i64::MAX)),
        Value::Str(value) => Any::pack(value),
        Value::Strings(values) => Any::pack_strings(values.iter().cloned()),
        Value::Duration(_) => Any::pack(&value.to_string()),
    }
}

/// What the build was told of itself, by environment variables at compile time.
fn build() -> BuildInfo {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    BuildInfo {
        go_version: String::new(),
        commit: text(option_env!("TETRAGON_BUILD_COMMIT")),
        time: text(option_env!("TETRAGON_BUILD_TIME")),
        modified: text(option_env!("TETRAGON_BUILD_MODIFIED")),
    }
}
