//! `tetra info`: what the agent is, what its kernel can do, and how it is set up.

use api::google::Any;
use api::tetragon::{GetInfoRequest, GetInfoResponse};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::server::Server;

/// One JSON object.
pub(crate) async fn run(server: &Server) -> Result<String, Error> {
    let answer = server.call(async |client| client.get_info(GetInfoRequest {}).await).await?;
    Ok(serde_json::to_string_pretty(&Info::from(answer))? + "\n")
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    name: String,
    version: String,
    /// Features of the kernel; null where it could not be found out.
    probes: Map<String, Value>,
    /// Settings.
    conf: Map<String, Value>,
    build: Build,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Build {
    go_version: String,
    commit: String,
    time: String,
    modified: String,
}

impl From<GetInfoResponse> for Info {
    fn from(info: GetInfoResponse) -> Self {
        let build = info.build.unwrap_or_default();
        let value = |value: Option<Any>| value.map_or(Value::Null, |value| setting(&value));
        Self {
            name: info.name,
            version: info.version,
            probes: info.probes.into_iter().map(|p| (p.name, json!(p.enabled))).collect(),
            conf: info.conf.into_iter().map(|s| (s.key, value(s.value))).collect(),
            build: Build {
                go_version: build.go_version,
                commit: build.commit,
                time: build.time,
                modified: build.modified,
            },
        }
    }
}

/// A setting; this is not the JSON of protobuf, so that 64-bit numbers are numbers.
pub(crate) fn setting(value: &Any) -> Value {
    match value.to_json() {
        Ok(Value::String(text)) if value.type_url.ends_with("Int64Value") => {
            text.parse::<i64>().map_or(Value::String(text), |number| json!(number))
        }
        Ok(value) => value,
        Err(cause) => json!(format!("unreadable: {cause}")),
    }
}
