//! The HTTP API: policies, events and health as JSON, for clients that do not speak gRPC.
//!
//! It answers below `/v1` on the sockets of the gRPC server, to the same clients: who may connect may do
//! everything. What it answers has the fields of the protobuf messages, in their JSON form.
//!
//! A web page must not reach it through the browser of whoever looks at it: see [`guard`].

mod events;
mod failure;
mod guard;
mod openapi;
mod policies;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;

use crate::config::{Listen, Settings};
use crate::hub::Hub;
use crate::policies::Store;
use crate::source::Inspect;
use failure::Failure;
use guard::Hosts;

/// What the API answers from.
pub(super) struct Http {
    pub(super) hub: Arc<Hub>,
    pub(super) inspect: Arc<dyn Inspect>,
    pub(super) policies: Arc<Store>,
    pub(super) settings: Arc<Settings>,
}

impl Http {
    /// Adds the API to the routes of the gRPC services. `listen`: where the server listens.
    pub(super) fn beside(self, grpc: Router, listen: &Listen) -> Router {
        let hosts = Arc::new(Hosts::of(listen));
        let guarded = move |request, next| guard::guard(Arc::clone(&hosts), request, next);
        grpc.merge(self.router()).layer(axum::middleware::from_fn(guarded))
    }

    fn router(self) -> Router {
        Router::new()
            .route("/v1/policies", get(policies::list).post(policies::add))
            .route(
                "/v1/policies/{name}",
                get(policies::show)
                    .put(policies::put)
                    .patch(policies::change)
                    .delete(policies::delete),
            )
            .route("/v1/events", get(events::stream).post(events::stream_asked))
            .route("/v1/health", get(state::health))
            .route("/v1/config", get(state::config))
            .route("/v1/openapi.json", get(openapi::document))
            .route("/v1", get(unknown))
            .route("/v1/{*rest}", get(unknown).fallback(unknown))
            .method_not_allowed_fallback(not_allowed)
            .with_state(Arc::new(self))
    }
}

async fn unknown() -> Failure {
    Failure::new(
        StatusCode::NOT_FOUND,
        "there is nothing here; /v1/openapi.json says what there is",
    )
}

async fn not_allowed(method: Method) -> Failure {
    let text = format!("{method} cannot be done here; /v1/openapi.json says what can");
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, text)
}

/// An answer in JSON.
fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let mut text = match serde_json::to_vec(value) {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            return status_only(StatusCode::INTERNAL_SERVER_ERROR);
        }
    };
    text.push(b'\n');
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn status_only(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
