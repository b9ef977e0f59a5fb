//! The API as clients see it, over HTTP/1.1 on the sockets of the server.

use std::time::Duration;

use axum::http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpStream, UnixStream};

use super::openapi::openapi;
use crate::policies::store_tests;
use crate::server::tests::{Lab, exec, exit, until};

type Sender = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

async fn connect(lab: &Lab) -> Sender {
    let stream = TcpStream::connect(lab.server.address()).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap());
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.uri(path).body(Full::from(body.to_owned())).unwrap()
}

async fn send(lab: &Lab, request: Request<Full<Bytes>>) -> (u16, Value) {
    let response = connect(lab).await.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let value = match body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&body).unwrap(),
    };
    (status, value)
}

async fn ask(lab: &Lab, method: &str, path: &str, body: &str) -> (u16, Value) {
    send(lab, request(method, path, &[], body)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_are_added_shown_changed_and_deleted() {
    let lab = Lab::plain("127.0.0.1:0").await;
    let (status, added) = ask(&lab, "POST", "/v1/policies", &store_tests::text("one")).await;
    assert_eq!(status, 201, "{added}");
    assert_eq!(added["state"], "TP_STATE_ENABLED");
    assert_eq!((&added["name"], &added["domain"]), (&json!("one"), &json!("http")));
    let as_json = json!({
        "apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": "two"},
        "spec": {"kprobes": [{"call": "sys_mount"}]},
    });
    let (status, _) = ask(&lab, "POST", "/v1/policies?domain=mine", &as_json.to_string()).await;
    assert_eq!(status, 201);
    let (status, list) = ask(&lab, "GET", "/v1/policies", "").await;
    let names = |list: &Value| -> Vec<String> {
        let list = list["policies"].as_array().cloned().unwrap_or_default();
        list.iter().map(|policy| policy["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((status, names(&list)), (200, vec!["one".to_owned(), "two".to_owned()]));
    let (_, mine) = ask(&lab, "GET", "/v1/policies?domain=mine", "").await;
    assert_eq!(names(&mine), ["two"]);
    let (status, two) = ask(&lab, "GET", "/v1/policies/two", "").await;
    assert_eq!((status, &two["domain"]), (200, &json!("mine")));

    let (status, replaced) = ask(&lab, "PUT", "/v1/policies/one", &store_tests::text("one")).await;
    assert_eq!((status, &replaced["id"]), (200, &added["id"]));
    let (status, new) = ask(&lab, "PUT", "/v1/policies/new", &store_tests::text("new")).await;
    assert_eq!((status, &new["name"]), (201, &json!("new")));
    let (status, other) = ask(&lab, "PUT", "/v1/policies/one", &store_tests::text("other")).await;
    assert_eq!(status, 400, "{other}");

    let (status, off) = ask(&lab, "PATCH", "/v1/policies/one", r#"{"enable":false}"#).await;
    assert_eq!((status, &off["state"]), (200, &json!("TP_STATE_DISABLED")));
    let (status, on) = ask(&lab, "PATCH", "/v1/policies/one", r#"{"enable":true}"#).await;
    assert_eq!((status, &on["state"]), (200, &json!("TP_STATE_ENABLED")));
    for body in ["{}", "", r#"{"mode":"loud"}"#, r#"{"enabled":true}"#] {
        let (status, error) = ask(&lab, "PATCH", "/v1/policies/one", body).await;
        assert_eq!(status, 400, "{body}: {error}");
    }
    let (status, _) = ask(&lab, "DELETE", "/v1/policies/one", "").await;
    assert_eq!(status, 204);
    let (status, gone) = ask(&lab, "DELETE", "/v1/policies/two", "").await;
    assert_eq!(status, 404);
    let message = gone["error"]["message"].as_str().unwrap();
    assert_eq!(message, "there is no policy `two` in domain http; there is one in domain mine");
    let (status, _) = ask(&lab, "DELETE", "/v1/policies/two?domain=mine", "").await;
    assert_eq!(status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_with_its_place() {
    let lab = Lab::plain("127.0.0.1:0").await;
    let text = store_tests::text("p").replace("call:", "cal:");
    let (status, error) = ask(&lab, "POST", "/v1/policies", &text).await;
    assert_eq!((status, &error["error"]["code"]), (400, &json!("invalid_argument")));
    let problems = error["error"]["problems"].as_array().unwrap();
    let places: Vec<_> =
        problems.iter().map(|problem| (&problem["line"], &problem["path"])).collect();
    assert!(places.contains(&(&json!(4), &json!("spec.kprobes[0].cal"))), "{places:?}");
    for (path, body, expected, code) in [
        ("/v1/policies", store_tests::text("refused"), 400, "invalid_argument"),
        ("/v1/policies", store_tests::text("failing"), 422, "failed_precondition"),
        ("/v1/policies", " \n".to_owned(), 400, "invalid_argument"),
        ("/v1/policies?domain=sensors", store_tests::text("p"), 400, "invalid_argument"),
        ("/v1/policies?domian=x", store_tests::text("p"), 400, "invalid_argument"),
        ("/v1/policy", String::new(), 404, "not_found"),
        ("/v1/health", String::new(), 405, "unimplemented"),
        ("/v1/events", "{".to_owned(), 400, "invalid_argument"),
        ("/tetragon.FineGuidanceSensors/GetVersion", String::new(), 404, "not_found"),
    ] {
        let (status, error) = ask(&lab, "POST", path, &body).await;
        assert_eq!((status, &error["error"]["code"]), (expected, &json!(code)), "{path}: {error}");
    }
    ask(&lab, "POST", "/v1/policies", &store_tests::text("p")).await;
    let (status, error) = ask(&lab, "POST", "/v1/policies", &store_tests::text("p")).await;
    assert_eq!((status, &error["error"]["code"]), (409, &json!("already_exists")));
    // What `curl -d @file` makes of a text.
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let bent = store_tests::text("q").replace('\n', "");
    let (status, error) = send(&lab, request("POST", "/v1/policies", &form, &bent)).await;
    let message = error["error"]["message"].as_str().unwrap();
    assert!(status == 400 && message.contains("--data-binary"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_pages_are_kept_out() {
    let lab = Lab::plain("127.0.0.1:0").await;
    for headers in [
        &[("origin", "https://page.example")][..],
        &[("host", "page.example:54321")],
        &[("sec-fetch-site", "cross-site")],
    ] {
        let (status, error) = send(&lab, request("GET", "/v1/policies", headers, "")).await;
        assert_eq!((status, &error["error"]["code"]), (403, &json!("permission_denied")));
    }
    // Over the unix socket the name does not matter, as no page gets there.
    let stream = UnixStream::connect(lab.dir.path().join("s")).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = request("GET", "/v1/health", &[("host", "agent")], "");
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_as_lines_until_the_client_leaves() {
    let lab = Lab::plain("127.0.0.1:0").await;
    let asked = json!({"allow_list": [{"event_set": ["PROCESS_EXEC"]}]}).to_string();
    for (method, path, body) in
        [("GET", "/v1/events?event_types=PROCESS_EXEC", ""), ("POST", "/v1/events", asked.as_str())]
    {
        let mut sender = connect(&lab).await;
        let response = sender.send_request(request(method, path, &[], body)).await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        lab.hub.publish(exit());
        lab.hub.publish(exec(7));
        let mut body = response.into_body();
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(frame.ends_with(b"\n"));
        let event: Value = serde_json::from_slice(&frame).unwrap();
        assert_eq!(event["process_exec"]["process"]["pid"], 7, "{event}");
        assert_eq!(lab.hub.listeners(), 1);
        drop((body, sender));
        until(|| lab.hub.listeners() == 0).await;
    }
    let (status, error) = ask(&lab, "GET", "/v1/events?event_types=PROCESS_EXECS", "").await;
    assert_eq!((status, &error["error"]["code"]), (400, &json!("invalid_argument")));
    // It ends with the agent.
    let mut sender = connect(&lab).await;
    let response = sender.send_request(request("GET", "/v1/events", &[], "")).await.unwrap();
    lab.hub.close();
    let end = tokio::time::timeout(Duration::from_secs(5), response.into_body().collect());
    assert!(end.await.unwrap().unwrap().to_bytes().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_settings() {
    let lab = Lab::plain("127.0.0.1:0").await;
    let (status, health) = ask(&lab, "GET", "/v1/health", "").await;
    let running = &health["health_status"][0];
    assert_eq!((status, &running["status"]), (200, &json!("HEALTH_STATUS_RUNNING")));
    let (status, config) = ask(&lab, "GET", "/v1/config", "").await;
    let expected = json!({
        "name": "cluster-name", "value": "c", "default": "", "source": "command line",
        "effect": true,
    });
    assert_eq!((status, &config["settings"][0]), (200, &expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_says_what_is_answered() {
    let lab = Lab::plain("127.0.0.1:0").await;
    let (status, served) = ask(&lab, "GET", "/v1/openapi.json", "").await;
    assert_eq!((status, &served), (200, &openapi()));
    let paths = served["paths"].as_object().unwrap();
    let methods = ["get", "post", "put", "patch", "delete"];
    for (path, operations) in paths {
        let place = path.replace("{name}", "missing");
        for method in methods {
            let said = operations.get(method).is_some();
            let asked = request(&method.to_uppercase(), &place, &[], "");
            let mut sender = connect(&lab).await;
            let response = sender.send_request(asked).await.unwrap();
            let answered = response.status().as_u16() != 405;
            assert_eq!(said, answered, "{method} {path}");
        }
        let query = |operation: &Value| operation["parameters"].as_array().cloned();
        for parameter in operations.as_object().unwrap().values().filter_map(query).flatten() {
            let name = parameter["name"].as_str().unwrap();
            assert!(parameter["in"] == "query" || path.contains(&format!("{{{name}}}")));
        }
    }
    // Every reference leads somewhere.
    let text = served.to_string();
    for reference in text.split("\"#/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(served.pointer(&format!("/{reference}")).is_some(), "{reference}");
    }
    // What a policy is answered with is described.
    let known = &served["components"]["schemas"]["TracingPolicyStatus"]["properties"];
    let (_, policy) = ask(&lab, "POST", "/v1/policies", &store_tests::text("p")).await;
    for field in policy.as_object().unwrap().keys() {
        assert!(known.get(field).is_some(), "{field}");
    }
}
