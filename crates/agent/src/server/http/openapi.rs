//! `/v1/openapi.json`: what the API answers, for people and programs that make clients.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

/// The document.
pub(super) async fn document() -> Response {
    super::json(StatusCode::OK, &openapi())
}

/// OpenAPI 3.1. Tests hold it against what is answered.
pub(super) fn openapi() -> Value {
    let policy = json!({"$ref": "#/components/schemas/TracingPolicyStatus"});
    let query = |name: &str, description: &str| json!({"name": name, "in": "query", "description": description, "schema": {"type": "string"}});
    let domain = query("domain", "Where the policy comes from: http unless another one is given");
    let namespace = query("namespace", "Namespace; none for policies of the whole cluster");
    let name =
        json!({"name": "name", "in": "path", "required": true, "schema": {"type": "string"}});
    let text = json!({
        "required": true,
        "description": "A TracingPolicy in YAML or JSON",
        "content": {"application/yaml": {"schema": {"type": "string"}},
                    "application/json": {"schema": {"type": "object"}}},
    });
    let answer = |description: &str, schema: &Value| json!({"description": description, "content": {"application/json": {"schema": schema}}});
    let events = json!({
        "description": "One event a line, until the client leaves or the agent ends",
        "content": {"application/x-ndjson": {"schema": {"type": "object"}}},
    });
    let error = json!({"$ref": "#/components/responses/Error"});
    let health = json!({"$ref": "#/components/schemas/GetHealthStatusResponse"});
    let one = [&name, &domain, &namespace];
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tetragon",
            "version": crate::VERSION,
            "description": "Policies, events and health of one agent. Fields are those of the \
                            protobuf API in its JSON form; what has its default is left out.",
        },
        "paths": {
            "/v1/policies": {
                "get": {
                    "summary": "List policies",
                    "parameters": [query("domain", "Only those of this domain"),
                                   query("namespace", "Only those of this namespace")],
                    "responses": {"200": answer("All policies, in the order in which they came",
                        &json!({"type": "object", "properties":
                            {"policies": {"type": "array", "items": policy}}})),
                        "default": error},
                },
                "post": {
                    "summary": "Add a policy, all of it or nothing",
                    "parameters": [domain],
                    "requestBody": text,
                    "responses": {"201": answer("It is in force", &policy), "default": error},
                },
            },
            "/v1/policies/{name}": {
                "get": {
                    "summary": "Show a policy",
                    "parameters": [name, query("domain", "Domain, if several have that name"),
                                   namespace],
                    "responses": {"200": answer("The policy", &policy), "default": error},
                },
                "put": {
                    "summary": "Add a policy, or replace the one of that name without a gap",
                    "parameters": one,
                    "requestBody": text,
                    "responses": {"200": answer("The new version is in force", &policy),
                                  "201": answer("It is in force", &policy), "default": error},
                },
                "patch": {
                    "summary": "Set the mode of a policy, disable or enable it",
                    "parameters": one,
                    "requestBody": {"required": true, "content": {"application/json": {"schema":
                        {"type": "object", "additionalProperties": false, "properties": {
                            "mode": {"enum": ["enforce", "monitor"]},
                            "enable": {"type": "boolean"},
                        }}}}},
                    "responses": {"200": answer("As it is now", &policy), "default": error},
                },
                "delete": {
                    "summary": "Delete a policy",
                    "parameters": one,
                    "responses": {"204": {"description": "It is gone"}, "default": error},
                },
            },
            "/v1/events": {
                "get": {
                    "summary": "Listen to events",
                    "parameters": [
                        query("event_types", "Types, separated by commas: PROCESS_EXEC,PROCESS_EXIT"),
                        query("policy_names", "Policies, separated by commas"),
                    ],
                    "responses": {"200": events, "default": error},
                },
                "post": {
                    "summary": "Listen to events that a GetEventsRequest asks for",
                    "requestBody": {"required": true,
                        "content": {"application/json": {"schema": {"type": "object"}}}},
                    "responses": {"200": events, "default": error},
                },
            },
            "/v1/health": {"get": {
                "summary": "Say whether the agent works",
                "responses": {"200": answer("It does", &health),
                              "503": answer("It does not", &health)},
            }},
            "/v1/config": {"get": {
                "summary": "Show every setting, and where it was found",
                "responses": {"200": answer("Settings", &json!({"type": "object", "properties":
                    {"settings": {"type": "array", "items": {"type": "object", "properties": {
                        "name": {"type": "string"}, "value": {}, "default": {},
                        "source": {"type": "string"}, "effect": {"type": "boolean"},
                    }}}}}))},
            }},
            "/v1/openapi.json": {"get": {
                "summary": "Show this document",
                "responses": {"200": answer("The document", &json!({"type": "object"}))},
            }},
        },
        "components": {"responses": {"Error": answer("What went wrong",
            &json!({"$ref": "#/components/schemas/Error"}))}, "schemas": schemas()},
    })
}

fn schemas() -> Value {
    let text = json!({"type": "string"});
    let long = json!({"type": "string", "format": "int64"});
    let number = json!({"type": "integer"});
    let object = json!({"type": "object"});
    json!({
        "Error": {"type": "object", "properties": {"error": {"type": "object", "properties": {
            "code": text, "message": text,
            "problems": {"type": "array", "items": {"type": "object", "properties": {
                "line": number, "column": number, "path": text, "message": text,
            }}},
        }}}},
        "GetHealthStatusResponse": {"type": "object", "properties": {
            "health_status": {"type": "array", "items": {"type": "object", "properties": {
                "event": text, "status": text, "details": text,
            }}},
        }},
        "TracingPolicyStatus": {"type": "object", "properties": {
            "id": long, "name": text, "namespace": text, "info": text,
            "sensors": {"type": "array", "items": text},
            "enabled": {"type": "boolean", "deprecated": true},
            "filter_id": long, "error": text,
            "state": {"enum": ["TP_STATE_UNKNOWN", "TP_STATE_ENABLED", "TP_STATE_DISABLED",
                "TP_STATE_LOAD_ERROR", "TP_STATE_ERROR", "TP_STATE_LOADING", "TP_STATE_UNLOADING",
                "TP_STATE_SKIPPED", "TP_STATE_PARTIALLY_ENABLED"]},
            "kernel_memory_bytes": long,
            "mode": {"enum": ["TP_MODE_UNKNOWN", "TP_MODE_ENFORCE", "TP_MODE_MONITOR",
                "TP_MODE_MONITOR_ONLY"]},
            "stats": object, "domain": text,
            "hook_statuses": {"type": "array", "items": object},
        }},
    })
}
