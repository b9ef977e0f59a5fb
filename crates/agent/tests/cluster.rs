//! The agent's view of a cluster, against an API server.

#![allow(clippy::unwrap_used)] // as in tests, also in their helpers

use std::time::{Duration, Instant};

use agent::cluster::Cluster;
use agent::config::{Config, KubernetesConfig};
use apiserver::Server;
use serde_json::json;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const PODS: &str = "/api/v1/namespaces/shop/pods";

fn config(server: &Server, directory: &tempfile::TempDir) -> Config {
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig()).unwrap();
    let kubernetes = KubernetesConfig {
        enabled: true,
        kubeconfig: Some(kubeconfig),
        deleted_pods: 10,
        annotations: true,
        policies: true,
    };
    Config { node_name: "here".to_owned(), kubernetes, ..Config::default() }
}

fn put(server: &Server) {
    let pod = json!({
        "metadata": {
            "name": "web-5d4-x", "generateName": "web-5d4-", "annotations": {"a": "b"},
            "labels": {"pod-template-hash": "5d4"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4", "uid": "r",
                "controller": true,
            }],
        },
        "spec": {"nodeName": "here", "containers": [{"name": "main"}]},
        "status": {"containerStatuses": [{
            "name": "main", "image": "busybox", "imageID": "x", "ready": true, "restartCount": 0,
            "containerID": format!("containerd://{ID}"),
            "state": {"running": {"startedAt": "2026-01-31T12:00:00Z"}},
        }]},
    });
    server.put(PODS, &pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_known_at_the_start() {
    let server = Server::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    put(&server);
    let cluster = Cluster::start(&config(&server, &directory)).await.unwrap();
    let pod = cluster.directory().pod(&ID[..31], 1, "/bin/sh", "").unwrap();
    assert_eq!((pod.name.as_str(), pod.workload.as_str()), ("web-5d4-x", "web"));
    assert_eq!(pod.pod_annotations["a"], "b");
    let started = pod.container.unwrap().start_time.unwrap();
    assert_eq!(started.to_string(), "2026-01-31T12:00:00Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_keeps_nothing_from_starting() {
    let server = Server::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let config = config(&server, &directory);
    server.fail_next(u64::MAX, 500);
    let began = Instant::now();
    let cluster = Cluster::start(&config).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(!cluster.directory().may_come(), "nobody waits for pods");
    put(&server);
    server.fail_next(0, 0);
    for _ in 0..2000 {
        if cluster.directory().pod(ID, 1, "/bin/sh", "").is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not known within 20 s of the server's return");
}

/// As the operator puts it in.
fn define(server: &Server) {
    let definition = policy::crd::definition(policy::crd::Kind::TracingPolicy);
    server.put("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition);
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_told_of_when_their_definition_has_come() {
    use kubernetes::policies::{Kind, Told, follow};
    const POLICIES: &str = "/apis/cilium.io/v1alpha1/tracingpolicies";
    let server = Server::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let config = config(&server, &directory);
    let client = kubernetes::connect(config.kubernetes.kubeconfig.as_deref()).await.unwrap();
    let (sender, mut receiver) = tokio::sync::mpsc::channel(8);
    tokio::spawn(follow(client, Kind::TracingPolicy, sender));
    let mut next = async || {
        let next = tokio::time::timeout(Duration::from_secs(20), receiver.recv());
        next.await.unwrap().unwrap()
    };
    define(&server);
    assert_eq!(next().await, Told::All(Default::default()));
    let spec = json!({"kprobes": [{"call": "sys_mount"}]});
    let object = json!({
        "metadata": {"name": "mounts", "managedFields": [], "labels": {"a": "b"}}, "spec": spec,
    });
    server.put(POLICIES, &object);
    let Told::Put(object) = next().await else { panic!() };
    assert_eq!((object.name.1.as_str(), object.generation), ("mounts", 1));
    assert_eq!(object.document["metadata"], json!({"name": "mounts", "labels": {"a": "b"}}));
    policy::CheckedPolicy::read("x", &object.document.to_string()).unwrap();
    server.remove(&format!("{POLICIES}/mounts"));
    assert_eq!(next().await, Told::Gone((String::new(), "mounts".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_that_is_none_is_told() {
    let kubernetes = KubernetesConfig {
        enabled: true,
        kubeconfig: Some("/no/such".into()),
        ..KubernetesConfig::default()
    };
    let error = Cluster::start(&Config { kubernetes, ..Config::default() }).await.err().unwrap();
    assert!(error.to_string().contains("/no/such"), "{error}");
}
