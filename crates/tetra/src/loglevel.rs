//! `tetra loglevel`: how much the agent logs.

use api::tetragon::{
    ConfigFlag, GetDebugRequest, LogLevel, SetDebugRequest, get_debug_response, set_debug_request,
    set_debug_response,
};

use crate::error::Error;
use crate::server::Server;

fn name(level: i32) -> String {
    LogLevel::try_from(level).map_or_else(|_| level.to_string(), |l| l.as_str_name().to_owned())
}

/// The level, as a line.
pub(crate) async fn get(server: &Server) -> Result<String, Error> {
    let request = GetDebugRequest { flag: ConfigFlag::LogLevel as i32, arg: None };
    let answer = server.call(async |client| client.get_debug(request).await).await?;
    match answer.arg {
        Some(get_debug_response::Arg::Level(level)) => {
            Ok(format!("Current log level: {}\n", name(level)))
        }
        _ => Err(server.lacks("GetDebug", "the level")),
    }
}

/// Sets the level; what the agent made of it, as a line.
pub(crate) async fn set(server: &Server, level: LogLevel) -> Result<String, Error> {
    let request = SetDebugRequest {
        flag: ConfigFlag::LogLevel as i32,
        arg: Some(set_debug_request::Arg::Level(level as i32)),
    };
    let answer = server.call(async |client| client.set_debug(request).await).await?;
    match answer.arg {
        Some(set_debug_response::Arg::Level(level)) => {
            Ok(format!("Log level set to: {}\n", name(level)))
        }
        None => Err(server.lacks("SetDebug", "the level")),
    }
}
