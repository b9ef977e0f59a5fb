//! Pods of processes: when events wait for them, and how long.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use api::tetragon as wire;
use compiler::base::record::Identity;
use kubernetes::Pods;
use kubernetes::follow::Health;
use kubernetes::pod::{Container, Pod};
use kubernetes::workload::Workload;
use tokio::sync::watch;

use super::PipelineConfig;
use super::tests::{CONTAINER, Harness, id, into_exec, into_exit, no_proc};
use crate::cluster::Directory;

struct Cluster {
    pods: Arc<RwLock<Pods>>,
    health: watch::Sender<Health>,
    directory: Arc<Directory>,
    h: Harness,
    init: Identity,
}

/// How long events wait.
const LIMIT: Duration = Duration::from_secs(30);

impl Cluster {
    fn new() -> Self {
        let pods = Arc::new(RwLock::new(Pods::new(10)));
        let (health, told) = watch::channel(Health::Synced);
        let directory = Arc::new(Directory::new(pods.clone(), told, false));
        let config = PipelineConfig { directory: Some(directory.clone()), ..no_proc() };
        let mut h = Harness::new(config);
        let init = h.init();
        Self { pods, health, directory, h, init }
    }

    fn put(&mut self, name: &str) {
        let container = Container {
            id: format!("containerd://{CONTAINER}"),
            name: "main".to_owned(),
            image: "busybox:1".to_owned(),
            image_id: "docker.io/library/busybox@sha256:1".to_owned(),
            started: Some("2026-01-31T12:00:00Z".to_owned()),
            privileged: true,
            probes: vec![vec!["program".to_owned()]],
        };
        let pod = Pod {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            uid: name.to_owned(),
            labels: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
            annotations: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            workload: Workload { name: "web".to_owned(), kind: "Deployment".to_owned() },
            containers: vec![container],
        };
        self.pods.write().unwrap().put(pod);
        self.directory.changed();
    }

    fn exec(&mut self, process: Identity) {
        self.h.exec_with(process, Identity::default(), self.init, |record| {
            record.cgroup_id = 50;
            record.cgroup_name = CONTAINER.as_bytes().to_vec();
            record.filename = b"/bin/program".to_vec();
            record.args = Vec::new();
            record.nspid = 7;
        });
    }

    fn pods_of_execs(&mut self) -> Vec<Option<String>> {
        let execs = self.h.execs().into_iter();
        execs.map(|exec| exec.process.unwrap().pod.map(|pod| pod.name)).collect()
    }
}

#[test]
fn an_event_waits_for_its_pod() {
    let mut cluster = Cluster::new();
    let process = id(10, 2);
    cluster.exec(process);
    cluster.h.exit(process, cluster.init, 0);
    cluster.h.pass(Duration::from_millis(300));
    assert_eq!(cluster.h.events(), [], "neither the exec, nor what came behind it");
    cluster.put("web-1");
    cluster.h.pass(Duration::from_millis(300));
    let mut events = cluster.h.events();
    assert_eq!(events.len(), 2);
    let exit = into_exit(events.pop().unwrap());
    let exec = into_exec(events.pop().unwrap());
    let pod = exec.process.unwrap().pod.unwrap();
    assert_eq!((pod.namespace.as_str(), pod.name.as_str()), ("shop", "web-1"));
    assert_eq!((pod.workload.as_str(), pod.workload_kind.as_str()), ("web", "Deployment"));
    assert_eq!(pod.pod_labels["app"], "web");
    assert!(pod.pod_annotations.is_empty(), "they are not asked for");
    let container = pod.container.unwrap();
    assert_eq!((container.name.as_str(), container.pid), ("main", Some(7)));
    assert_eq!(container.id, format!("containerd://{CONTAINER}"));
    assert_eq!(container.image.unwrap().name, "busybox:1");
    assert!(container.maybe_exec_probe && container.security_context.unwrap().privileged);
    assert_eq!(exit.process.unwrap().pod.unwrap().name, "web-1");
    assert_eq!(cluster.directory.missed(), 0);
}

#[test]
fn a_known_pod_is_not_waited_for() {
    let mut cluster = Cluster::new();
    cluster.put("web-1");
    cluster.exec(id(10, 2));
    assert_eq!(cluster.pods_of_execs(), [Some("web-1".to_owned())]);
    // The last events of a deleted one.
    cluster.pods.write().unwrap().remove("shop", "web-1");
    cluster.exec(id(11, 3));
    assert_eq!(cluster.pods_of_execs(), [Some("web-1".to_owned())]);
}

#[test]
fn a_container_without_a_pod_is_waited_for_once() {
    let mut cluster = Cluster::new();
    cluster.exec(id(10, 2));
    for _ in 0..20 {
        cluster.h.pass(Duration::from_secs(2));
    }
    assert_eq!(cluster.pods_of_execs(), [None]);
    cluster.exec(id(11, 3));
    assert_eq!(cluster.pods_of_execs(), [None], "after {LIMIT:?} nobody waits any more");
    assert_eq!(cluster.directory.missed(), 2);
    cluster.put("late");
    cluster.exec(id(12, 4));
    assert_eq!(cluster.pods_of_execs(), [Some("late".to_owned())]);
}

#[test]
fn nobody_waits_while_the_server_cannot_be_reached() {
    let mut cluster = Cluster::new();
    cluster.exec(id(10, 2));
    cluster.health.send_replace(Health::Failing("gone".to_owned()));
    cluster.exec(id(11, 3));
    assert_eq!(cluster.pods_of_execs(), [None], "the second one; the first one waits already");
    cluster.h.pass(Duration::from_secs(3));
    assert_eq!(cluster.pods_of_execs(), [None]);
    cluster.health.send_replace(Health::Synced);
    cluster.put("web-1");
    cluster.exec(id(12, 4));
    assert_eq!(cluster.pods_of_execs(), [Some("web-1".to_owned())]);
}

#[test]
fn the_host_has_no_pod() {
    let mut cluster = Cluster::new();
    cluster.h.exec(id(10, 2), Identity::default(), cluster.init);
    let exec: wire::ProcessExec = cluster.h.exec_event();
    assert_eq!(exec.process.unwrap().pod, None);
    assert_eq!(cluster.directory.missed(), 0);
}
