//! The service `EventLogService`: how the export file is rotated.

use std::time::Duration;

use api::tetragon::event_log_service_server::EventLogService;
use api::tetragon::{
    GetEventLogParamsRequest, GetEventLogParamsResponse, SetEventLogParamsRequest,
    SetEventLogParamsResponse,
};
use tonic::{Request, Response, Status};

use crate::config::{format_duration, parse_duration};
use crate::export::Exporter;

/// Answers from the export, if there is one.
pub(super) struct EventLog {
    pub(super) exporter: Option<Exporter>,
}

impl EventLog {
    fn exporter(&self) -> Result<&Exporter, Status> {
        self.exporter.as_ref().ok_or_else(|| {
            Status::failed_precondition("events are not exported: --export-filename is not set")
        })
    }
}

#[tonic::async_trait]
impl EventLogService for EventLog {
    async fn get_event_log_params(
        &self,
        _: Request<GetEventLogParamsRequest>,
    ) -> Result<Response<GetEventLogParamsResponse>, Status> {
        let rotation = self.exporter()?.rotation();
        let clamp = |value| i32::try_from(value).unwrap_or(i32::MAX);
        let interval = i64::try_from(rotation.interval.as_nanos()).unwrap_or(i64::MAX);
        Ok(Response::new(GetEventLogParamsResponse {
            max_size: clamp(rotation.max_size_mb),
            rotation_interval: format_duration(interval),
            max_backups: clamp(rotation.max_backups),
        }))
    }

    async fn set_event_log_params(
        &self,
        request: Request<SetEventLogParamsRequest>,
    ) -> Result<Response<SetEventLogParamsResponse>, Status> {
        let exporter = self.exporter()?;
        let SetEventLogParamsRequest { max_size, rotation_interval, max_backups } =
            request.into_inner();
        let max_size = max_size.map(|value| unsigned("max_size", value)).transpose()?;
        let max_backups = max_backups.map(|value| unsigned("max_backups", value)).transpose()?;
        let interval = rotation_interval.map(|text| interval(&text)).transpose()?;
        exporter.set_rotation(|rotation| {
            rotation.max_size_mb = max_size.unwrap_or(rotation.max_size_mb);
            rotation.max_backups = max_backups.unwrap_or(rotation.max_backups);
            rotation.interval = interval.unwrap_or(rotation.interval);
        });
        Ok(Response::new(SetEventLogParamsResponse {}))
    }
}

fn unsigned(field: &str, value: i32) -> Result<u64, Status> {
    u64::try_from(value)
        .map_err(|_| Status::invalid_argument(format!("{field} is negative: {value}")))
}

fn interval(text: &str) -> Result<Duration, Status> {
    let nanoseconds = parse_duration(text).and_then(|value| u64::try_from(value).ok());
    nanoseconds.map(Duration::from_nanos).ok_or_else(|| {
        let wanted = "a duration such as 1h30m, or 0, is wanted";
        Status::invalid_argument(format!("rotation_interval is {text:?}; {wanted}"))
    })
}
