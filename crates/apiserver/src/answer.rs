//! Answers.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use serde_json::{Value, json};

use crate::store::{Refusal, Store};

/// An object, with a status.
pub(crate) fn object(status: u16, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A refusal, as a Status.
pub(crate) fn refusal(refusal: &Refusal) -> Response<Body> {
    object(refusal.0, &status(refusal))
}

/// A refusal as an object.
pub(crate) fn status(Refusal(code, reason, message): &Refusal) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

/// What `/api`, `/apis`, `/apis/GROUP/VERSION` and the like say of the API.
pub(crate) fn discovery(store: &Store, path: &str) -> Option<Value> {
    let kinds = store.kinds();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (group, version) = match parts.as_slice() {
        ["version"] => {
            return Some(json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0"}));
        }
        ["api"] => return Some(json!({"kind": "APIVersions", "versions": ["v1"]})),
        ["apis"] => {
            let mut groups: Vec<(&str, &str)> = kinds
                .iter()
                .map(|(resource, ..)| (resource.group.as_str(), resource.version.as_str()))
                .filter(|(group, _)| !group.is_empty())
                .collect();
            groups.sort_unstable();
            groups.dedup();
            let group = |(name, version): (&str, &str)| {
                let version =
                    json!({"groupVersion": format!("{name}/{version}"), "version": version});
                json!({"name": name, "versions": [version], "preferredVersion": version})
            };
            let groups: Vec<Value> = groups.into_iter().map(group).collect();
            return Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}));
        }
        ["api", version] => ("", *version),
        ["apis", group, version] => (*group, *version),
        _ => return None,
    };
    let here = kinds.iter().filter(|(resource, ..)| {
        (resource.group.as_str(), resource.version.as_str()) == (group, version)
    });
    let resources: Vec<Value> = here
        .map(|(resource, kind, namespaced)| {
            json!({
                "name": resource.plural, "singularName": kind.to_lowercase(), "kind": kind,
                "namespaced": namespaced,
                "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
            })
        })
        .collect();
    (!resources.is_empty()).then(|| {
        let name = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name,
            "resources": resources,
        })
    })
}

/// Objects that come one by one.
pub(crate) fn stream(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
