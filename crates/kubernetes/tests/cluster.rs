//! Against an API server.

#![allow(clippy::unwrap_used)] // as in tests, also in their helpers

use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use apiserver::Server;
use kubernetes::follow::{self, Change, Health};
use kubernetes::{Pods, definitions};
use serde_json::{Value, json};
use tokio::sync::watch;

const PODS: &str = "/api/v1/namespaces/shop/pods";

async fn client(server: &Server) -> kube::Client {
    let path =
        std::env::temp_dir().join(format!("kubeconfig-{}", server.url().replace(['/', ':'], "")));
    std::fs::write(&path, server.kubeconfig()).unwrap();
    let client = kubernetes::connect(Some(&path)).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    client
}

fn pod(name: &str, node: &str, container: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": [{"name": "main"}]},
        "status": {"containerStatuses": [{
            "name": "main", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
            "containerID": format!("containerd://{container}"),
        }]},
    })
}

fn id(number: usize) -> String {
    format!("{number:064x}").chars().rev().collect()
}

struct Followed {
    pods: Arc<RwLock<Pods>>,
    health: watch::Receiver<Health>,
    gone: Arc<Mutex<Vec<String>>>,
}

async fn followed(server: &Server) -> Followed {
    let pods = Arc::new(RwLock::new(Pods::new(100)));
    let (sender, health) = watch::channel(Health::default());
    let gone = Arc::new(Mutex::new(Vec::new()));
    let (known, seen, client) = (pods.clone(), gone.clone(), client(server).await);
    tokio::spawn(async move {
        let told = |change| {
            if let Change::Gone(pod) = change {
                seen.lock().unwrap().push(pod.name.clone());
            }
        };
        follow::pods(client, Some("here"), known, sender, told).await;
    });
    Followed { pods, health, gone }
}

impl Followed {
    fn of(&self, container: &str) -> Option<String> {
        let pods = self.pods.read().unwrap();
        pods.of_container(container).map(|found| found.pod.name.clone())
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..2000 {
            if holds(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not within 20 s: {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_the_node_are_known() {
    let server = Server::start().await.unwrap();
    server.put(PODS, &pod("first", "here", &id(1)));
    server.put(PODS, &pod("elsewhere", "there", &id(2)));
    let mut followed = followed(&server).await;
    assert!(follow::synced(&mut followed.health, Duration::from_secs(20)).await);
    assert_eq!((followed.of(&id(1)).as_deref(), followed.of(&id(2))), (Some("first"), None));
    server.put(PODS, &pod("second", "here", &id(3)));
    followed.until("a new pod", |all| all.of(&id(3)).is_some()).await;
    server.remove("/api/v1/namespaces/shop/pods/first");
    followed.until("a deleted pod", |all| all.gone.lock().unwrap().len() == 1).await;
    assert_eq!(followed.of(&id(1)).as_deref(), Some("first"), "its last events come late");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_nothing_is_heard_is_made_up_for() {
    let server = Server::start().await.unwrap();
    server.put(PODS, &pod("first", "here", &id(1)));
    let mut followed = followed(&server).await;
    assert!(follow::synced(&mut followed.health, Duration::from_secs(20)).await);
    server.fail_next(4, 500);
    server.disconnect();
    followed.until("a failure", |all| matches!(*all.health.borrow(), Health::Failing(_))).await;
    assert_eq!(followed.of(&id(1)).as_deref(), Some("first"), "what was known stays known");
    server.remove("/api/v1/namespaces/shop/pods/first");
    server.put(PODS, &pod("second", "here", &id(2)));
    server.forget_history();
    followed.until("the new pod", |all| all.of(&id(2)).is_some()).await;
    followed.until("the old one gone", |all| all.gone.lock().unwrap()[..] == ["first"]).await;
    followed.until("health", |all| *all.health.borrow() == Health::Synced).await;
}

/// 20 pods a second come and go.
#[tokio::test(flavor = "multi_thread")]
async fn churn_confuses_nobody() {
    const PODS_IN_ALL: usize = 500;
    let server = Server::start().await.unwrap();
    let followed = followed(&server).await;
    for number in 0..PODS_IN_ALL {
        server.put(PODS, &pod(&format!("p{number}"), "here", &id(number)));
        if number >= 20 {
            server.remove(&format!("{PODS}/p{}", number - 20));
        }
        if number % 100 == 50 {
            server.disconnect();
        }
        if number % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let last = id(PODS_IN_ALL - 1);
    followed.until("the last pod", |all| all.of(&last).is_some()).await;
    followed.until("the others gone", |all| all.pods.read().unwrap().len() == 20).await;
    let pods = followed.pods.read().unwrap();
    assert!(pods.remembered() <= 100, "{}", pods.remembered());
    for number in 0..PODS_IN_ALL {
        if let Some(found) = pods.of_container(&id(number)) {
            assert_eq!(found.pod.name, format!("p{number}"));
        }
    }
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn definition(version: &str, kind: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.cilium.io", "labels": {definitions::VERSION_LABEL: version}},
        "spec": {
            "group": "cilium.io", "scope": "Cluster",
            "names": {"kind": kind, "plural": "things", "singular": "thing"},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}},
            }],
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_renewed_and_never_made_older() {
    use definitions::Outcome::{Created, Kept, Renewed};
    let server = Server::start().await.unwrap();
    let client = client(&server).await;
    for (version, force, expected, then) in [
        ("1.8.9", false, Created, "1.8.9"),
        ("1.8.9", false, Kept, "1.8.9"),
        ("1.8.13", false, Renewed, "1.8.13"),
        ("1.7.0", false, Kept, "1.8.13"),
        ("1.7.0", true, Renewed, "1.7.0"),
    ] {
        let outcome = definitions::ensure(&client, &definition(version, "Thing"), force).await;
        assert_eq!(outcome.unwrap(), expected, "{version}");
        let there = server.get(&format!("{DEFINITIONS}/things.cilium.io")).unwrap();
        assert_eq!(there["metadata"]["labels"][definitions::VERSION_LABEL], then);
    }
    // Several at once.
    let wanted = definition("2.0.0", "Thing");
    let (one, other) = tokio::join!(
        definitions::ensure(&client, &wanted, false),
        definitions::ensure(&client, &wanted, false)
    );
    assert!(one.is_ok() && other.is_ok());
    server.fail_next(1, 403);
    let refused = definitions::ensure(&client, &wanted, false).await.unwrap_err().to_string();
    assert!(refused.contains("things.cilium.io"), "{refused}");
}
