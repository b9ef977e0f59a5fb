//! The service `FineGuidanceSensors`.

use std::sync::Arc;

use api::google::Any;
use api::tetragon as pb;
use api::tetragon::fine_guidance_sensors_server::FineGuidanceSensors;
use api::tetragon::get_info_response::{BuildInfo, ConfVal, Probe};
use api::tetragon::{get_debug_request, get_debug_response, set_debug_request, set_debug_response};
use tonic::{Request, Response, Status};

use super::connection::Peer;
use super::events::{EventStream, Wanted};
use super::policies;
use crate::config::Value;
use crate::hub::Hub;
use crate::logging::{self, Level};
use crate::policies::Store;
use crate::source::Inspect;

/// Event streams at once: each may hold a full queue of events.
const STREAMS: usize = 128;

/// What the service answers from.
pub(super) struct Sensors {
    pub(super) hub: Arc<Hub>,
    pub(super) inspect: Arc<dyn Inspect>,
    pub(super) policies: Arc<Store>,
    /// Every setting, by name.
    pub(super) settings: Vec<(&'static str, Value)>,
}

type Answer<T> = Result<Response<T>, Status>;

fn deprecated<T>(call: &str) -> Answer<T> {
    Err(Status::unknown(format!("{call} is deprecated")))
}

#[tonic::async_trait]
impl FineGuidanceSensors for Sensors {
    type GetEventsStream = EventStream;

    async fn get_events(&self, request: Request<pb::GetEventsRequest>) -> Answer<EventStream> {
        let wanted = Wanted::new(request.get_ref())?;
        if self.hub.listeners() >= STREAMS {
            let full = format!("{STREAMS} clients listen to events already");
            return Err(Status::resource_exhausted(full));
        }
        let client = request.extensions().get::<Peer>().map_or("client", |peer| &peer.0);
        tracing::debug!(client, "A client listens to events");
        let subscription = self.hub.subscribe(client.to_owned(), wanted.kinds());
        Ok(Response::new(EventStream::new(subscription, wanted)))
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
        let conf = |(key, value): &(&'static str, Value)| ConfVal {
            key: (*key).to_owned(),
            value: Some(any(value)),
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
        blocking(move || policies::add(&store, &request)).await?.map(Response::new)
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
        _: Request<pb::RuntimeHookRequest>,
    ) -> Answer<pb::RuntimeHookResponse> {
        Err(Status::unimplemented("RuntimeHook: runtime hooks are not supported by this version"))
    }

    async fn enable_tracing_policy(
        &self,
        _: Request<pb::EnableTracingPolicyRequest>,
    ) -> Answer<pb::EnableTracingPolicyResponse> {
        deprecated("EnableTracingPolicy")
    }

    async fn disable_tracing_policy(
        &self,
        _: Request<pb::DisableTracingPolicyRequest>,
    ) -> Answer<pb::DisableTracingPolicyResponse> {
        deprecated("DisableTracingPolicy")
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
async fn blocking<T: Send + 'static>(
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
