//! `/v1/events`: events as lines of JSON, until the client leaves.

use std::convert::Infallible;
use std::sync::Arc;

use api::tetragon::{EventType, Filter, GetEventsRequest};
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use tokio_stream::StreamExt as _;

use super::{Failure, Http};
use crate::server::connection::Peer;
use crate::server::events::EventStream;

/// Largest request, in bytes.
const MAX_SIZE: usize = 1 << 20;

/// Which events are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Which {
    /// Names of types, separated by commas: `PROCESS_EXEC,PROCESS_EXIT`.
    event_types: String,
    /// Names of policies.
    policy_names: String,
}

/// Those of the query.
pub(super) async fn stream(
    State(http): State<Arc<Http>>,
    peer: Option<Extension<Peer>>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Response, Failure> {
    let wrong = |text: String| Failure::new(StatusCode::BAD_REQUEST, text);
    let Query(which) = which.map_err(|error| wrong(error.body_text()))?;
    let list = |text: &str| -> Vec<String> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(str::to_owned).collect()
    };
    let mut filter = Filter { policy_names: list(&which.policy_names), ..Filter::default() };
    for name in list(&which.event_types) {
        let kind = EventType::from_str_name(&name)
            .ok_or_else(|| wrong(format!("event_types: there is no type {name:?}")))?;
        filter.event_set.push(kind.into());
    }
    let all = filter == Filter::default();
    let allow_list = if all { Vec::new() } else { vec![filter] };
    let request = GetEventsRequest { allow_list, ..GetEventsRequest::default() };
    open(&http, peer, &request)
}

/// Those that the body asks for, as `GetEvents` is asked.
pub(super) async fn stream_asked(
    State(http): State<Arc<Http>>,
    peer: Option<Extension<Peer>>,
    body: Body,
) -> Result<Response, Failure> {
    let wrong = |text: String| Failure::new(StatusCode::BAD_REQUEST, text);
    let body = axum::body::to_bytes(body, MAX_SIZE)
        .await
        .map_err(|_| Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "the body has more than 1 MiB"))?;
    let request = serde_json::from_slice(&body)
        .map_err(|error| wrong(format!("a GetEventsRequest is wanted: {error}")))?;
    open(&http, peer, &request)
}

fn open(
    http: &Http,
    peer: Option<Extension<Peer>>,
    request: &GetEventsRequest,
) -> Result<Response, Failure> {
    let peer = peer.map(|Extension(peer)| peer);
    let events = EventStream::open(&http.hub, peer.as_ref(), request)?;
    let lines = events.filter_map(|event| {
        let mut line = match serde_json::to_vec(&event.ok()?) {
            Ok(line) => line,
            Err(error) => {
                tracing::error!(%error, "an event cannot be written as JSON");
                return None;
            }
        };
        line.push(b'\n');
        Some(Ok::<_, Infallible>(Bytes::from(line)))
    });
    let mut response = Response::new(Body::from_stream(lines));
    let kind = header::HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
