//! The operator against an API server.

#![allow(clippy::unwrap_used)] // as in tests, also in their helpers

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use apiserver::Server;
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const PODS: &str = "/api/v1/namespaces/shop/pods";
const INFOS: &str = "/apis/cilium.io/v1alpha1/namespaces/shop/podinfo";

/// The running executable; killed when dropped.
struct Operator(Child);

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(server: &Server, directory: &tempfile::TempDir, flags: &[&str]) -> Command {
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tetragon-operator"));
    command.args(["serve", "--kube-config"]).arg(kubeconfig);
    command.args(["--health-probe-bind-address=0"]).args(flags).stderr(Stdio::null());
    command
}

fn start(server: &Server, directory: &tempfile::TempDir, flags: &[&str]) -> Operator {
    Operator(command(server, directory, flags).spawn().unwrap())
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 20 s: {what}");
}

fn pod(name: &str, address: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"nodeName": "n", "containers": []},
        "status": {"podIP": address, "podIPs": [{"ip": address}]},
    })
}

fn port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The answer's status line and body.
fn ask(port: u16, path: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.lines().next()?.to_owned(), body.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_of_policies_are_put_in() {
    let server = Server::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let port = port();
    server.delay(Duration::from_millis(100));
    let flag = format!("--health-probe-bind-address=127.0.0.1:{port}");
    let _operator = start(&server, &directory, &[&flag]);
    until("health", || ask(port, "/healthz").is_some()).await;
    until("readiness", || ask(port, "/readyz").is_some_and(|(status, _)| status.contains("200")))
        .await;
    let names: Vec<String> = server
        .list(DEFINITIONS)
        .iter()
        .map(|definition| definition["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["tracingpolicies.cilium.io", "tracingpoliciesnamespaced.cilium.io"]);
    let path = "/apis/cilium.io/v1alpha1/tracingpolicies";
    server.put(path, &json!({"metadata": {"name": "p"}, "spec": {"kprobes": []}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_info_for_each_pod() {
    let server = Server::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    server.put(PODS, &pod("first", "10.0.0.1"));
    let waiting = json!({"metadata": {"name": "waits"}, "spec": {"containers": []}});
    server.put(PODS, &waiting);
    let port = port();
    let flags = ["--skip-pod-info-crd=false", &format!("--metrics-bind-address=127.0.0.1:{port}")];
    let _operator = start(&server, &directory, &flags);
    let info = |name: &str| server.get(&format!("{INFOS}/{name}"));
    until("the first", || info("first").is_some()).await;
    let first = info("first").unwrap();
    assert_eq!(first["status"]["podIPs"][0]["IP"], "10.0.0.1");
    assert_eq!(first["metadata"]["labels"]["app"], "first");
    assert!(info("waits").is_none());
    server.put(PODS, &pod("waits", "10.0.0.2"));
    until("the one that waited", || info("waits").is_some()).await;
    // What fails is tried again.
    server.fail_next(2, 500);
    server.put(PODS, &pod("second", "10.0.0.3"));
    until("the second", || info("second").is_some()).await;
    let mut changed = pod("first", "10.0.0.1");
    changed["metadata"]["labels"]["app"] = json!("other");
    server.put(PODS, &changed);
    until("the change", || info("first").unwrap()["metadata"]["labels"]["app"] == "other").await;
    server.remove(&format!("{PODS}/first"));
    assert!(info("first").is_none(), "it goes with the pod");
    let (_, text) = ask(port, "/metrics").unwrap();
    assert!(text.contains("tetragon_operator_podinfo_created_total 3"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_works_until_it_is_gone() {
    let server = Server::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let flags = [
        "--skip-pod-info-crd=false",
        "--leader-election",
        "--leader-election-namespace=kube-system",
        "--leader-election-lease-duration=5s",
        "--leader-election-renew-deadline=4s",
        "--leader-election-retry-period=500ms",
    ];
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    let lease = format!("{leases}/tetragon-operator-resource-lock");
    let holder = || Some(server.get(&lease)?["spec"]["holderIdentity"].as_str()?.to_owned());
    let first = start(&server, &directory, &flags);
    until("a holder", || holder().is_some()).await;
    let before = holder().unwrap();
    assert!(before.ends_with(&format!("_{}", first.0.id())), "{before}");
    let second = start(&server, &directory, &flags);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(holder().as_deref(), Some(before.as_str()), "it is renewed");
    drop(first);
    until("another holder", || holder().is_some_and(|now| now != before)).await;
    assert!(holder().unwrap().ends_with(&format!("_{}", second.0.id())));
    server.put(PODS, &pod("late", "10.0.0.9"));
    until("its work", || server.get(&format!("{INFOS}/late")).is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_told() {
    let server = Server::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let failure = |flags: &[&str]| {
        let output = command(&server, &directory, flags).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let text = failure(&["--kube-config=/no/such"]);
    assert!(text.contains("cannot use /no/such"), "{text}");
    let text = failure(&["--health-probe-bind-address=nowhere"]);
    assert!(text.contains("cannot listen at nowhere"), "{text}");
    let text = failure(&["--leader-election", "--skip-pod-info-crd=false"]);
    assert!(text.contains("--leader-election-namespace"), "{text}");
}
