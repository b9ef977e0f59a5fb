//! `tetra eventlog`: how the agent rotates the file that it exports events to.

use std::time::Duration;

use api::tetragon::event_log_service_client::EventLogServiceClient;
use api::tetragon::{GetEventLogParamsRequest, SetEventLogParamsRequest};
use clap::{Args, Subcommand};

use crate::duration;
use crate::error::Error;
use crate::server::Server;

/// Commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Eventlog {
    /// Print how the file is rotated
    Get,
    /// Change how the file is rotated; what is not given stays as it is
    Set(Parameters),
}

/// What can be set.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Parameters {
    /// Size from which on the file is rotated, in MB
    #[arg(long, value_name = "MB")]
    max_size: Option<i32>,
    /// How many rotated files are kept
    #[arg(long, value_name = "NUMBER")]
    max_backups: Option<i32>,
    /// Time after which the file is rotated; 0 for never
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    rotation_interval: Option<Duration>,
}

/// Asks the agent. Setting prints nothing.
pub(crate) async fn run(server: &Server, command: Eventlog) -> Result<String, Error> {
    match command {
        Eventlog::Get => {
            let answer = server
                .call_with(EventLogServiceClient::new, async |client| {
                    client.get_event_log_params(GetEventLogParamsRequest {}).await
                })
                .await?;
            Ok(format!(
                "Current logging parameters: max_size:{} max_backups:{} rotation_interval:{}\n",
                answer.max_size, answer.max_backups, answer.rotation_interval
            ))
        }
        Eventlog::Set(Parameters { max_size, max_backups, rotation_interval }) => {
            let rotation_interval = rotation_interval.map(|time| format!("{}ns", time.as_nanos()));
            let request = SetEventLogParamsRequest { max_size, rotation_interval, max_backups };
            let call = async |client: &mut EventLogServiceClient<_>| {
                client.set_event_log_params(request.clone()).await
            };
            server.call_with(EventLogServiceClient::new, call).await?;
            Ok(String::new())
        }
    }
}
