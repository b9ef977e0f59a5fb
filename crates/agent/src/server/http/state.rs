//! `/v1/health` and `/v1/config`

use std::sync::Arc;

use api::tetragon::{GetHealthStatusResponse, HealthStatus, HealthStatusResult, HealthStatusType};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json as value;

use super::{Failure, Http, json};
use crate::config::{Value, table};
use crate::server::sensors::blocking;

/// Whether the agent works; 503 if it does not.
pub(super) async fn health(State(http): State<Arc<Http>>) -> Result<Response, Failure> {
    let inspect = Arc::clone(&http.inspect);
    let (code, status, details) = match blocking(move || inspect.check()).await? {
        Ok(()) => (StatusCode::OK, HealthStatusResult::HealthStatusRunning, "running".to_owned()),
        Err(error) => {
            (StatusCode::SERVICE_UNAVAILABLE, HealthStatusResult::HealthStatusError, error)
        }
    };
    let status =
        HealthStatus { event: HealthStatusType::Status.into(), status: status.into(), details };
    Ok(json(code, &GetHealthStatusResponse { health_status: vec![status] }))
}

/// Every setting: what is in effect, and where it was found.
pub(super) async fn config(State(http): State<Arc<Http>>) -> Response {
    let settings: Vec<_> = http
        .settings
        .iter()
        .map(|(name, setting, source)| {
            let flag = table::find(name);
            value!({
                "name": name,
                "value": plain(setting),
                "default": flag.map(|flag| plain(&flag.kind.default_value())),
                "source": source.to_string(),
                "effect": flag.is_some_and(|flag| flag.kind.acts()),
            })
        })
        .collect();
    json(StatusCode::OK, &value!({ "settings": settings }))
}

fn plain(setting: &Value) -> serde_json::Value {
    match setting {
        Value::Bool(setting) => value!(setting),
        Value::Int(setting) => value!(setting),
        Value::Uint(setting) => value!(setting),
        Value::Str(setting) => value!(setting),
        Value::Strings(setting) => value!(setting),
        Value::Duration(_) => value!(setting.to_string()),
    }
}
