//! `tetra sensors`: what sensors were before policies were; agents answer that they are deprecated.

use api::tetragon::{
    DisableSensorRequest, EnableSensorRequest, ListSensorsRequest, RemoveSensorRequest,
};
use clap::Subcommand;

use crate::error::Error;
use crate::server::Server;

/// Commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Sensors {
    /// Print the sensors
    List,
    /// Enable a sensor
    Enable {
        /// Name
        sensor: String,
    },
    /// Disable a sensor
    Disable {
        /// Name
        sensor: String,
    },
    /// Remove a sensor
    Rm {
        /// Name
        sensor: String,
    },
}

/// Asks the agent.
#[expect(deprecated, reason = "old agents still know these calls")]
pub(crate) async fn run(server: &Server, command: Sensors) -> Result<String, Error> {
    match command {
        Sensors::List => {
            let call = async |client: &mut crate::server::Client| {
                client.list_sensors(ListSensorsRequest {}).await
            };
            let answer = server.call(call).await?;
            let line = |sensor: api::tetragon::SensorStatus| {
                let state = if sensor.enabled { "enabled" } else { "disabled" };
                format!("{} ({state}) {}\n", sensor.name, sensor.collection)
            };
            Ok(answer.sensors.into_iter().map(line).collect())
        }
        Sensors::Enable { sensor: name } => {
            let request = EnableSensorRequest { name: name.clone() };
            server.call(async |client| client.enable_sensor(request.clone()).await).await?;
            Ok(format!("sensor {name} enabled\n"))
        }
        Sensors::Disable { sensor: name } => {
            let request = DisableSensorRequest { name: name.clone() };
            server.call(async |client| client.disable_sensor(request.clone()).await).await?;
            Ok(format!("sensor {name} disabled\n"))
        }
        Sensors::Rm { sensor: name } => {
            let request = RemoveSensorRequest { name: name.clone() };
            server.call(async |client| client.remove_sensor(request.clone()).await).await?;
            Ok(format!("sensor {name} removed\n"))
        }
    }
}
