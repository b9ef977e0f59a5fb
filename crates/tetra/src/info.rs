//! `tetra info`: what the agent is, what its kernel can do, and how it is set up.

use api::tetragon::{GetInfoRequest, GetInfoResponse};
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::server::Server;

/// One JSON object with the keys Name, Version, Probes, Conf and Build.
pub(crate) async fn run(server: &Server) -> Result<String, Error> {
    let answer = server.call(async |client| client.get_info(GetInfoRequest {}).await).await?;
    Ok(serde_json::to_string_pretty(&object(&answer))? + "\n")
}

fn object(info: &GetInfoResponse) -> Value {
    let probes: Map<_, _> =
        info.probes.iter().map(|probe| (probe.name.clone(), json!(probe.enabled))).collect();
    let conf: Map<_, _> = info
        .conf
        .iter()
        .map(|setting| {
            let value = setting.value.as_ref().map_or(Value::Null, |value| {
                value.to_json().unwrap_or_else(|cause| json!(format!("unreadable: {cause}")))
            });
            (setting.key.clone(), value)
        })
        .collect();
    let build = info.build.clone().unwrap_or_default();
    json!({
        "Name": info.name,
        "Version": info.version,
        "Probes": probes,
        "Conf": conf,
        "Build": {
            "GoVersion": build.go_version,
            "Commit": build.commit,
            "Time": build.time,
            "Modified": build.modified,
        },
    })
}
