//! The pods of this node, as events show them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use api::google::Timestamp;
use api::tetragon as wire;
use kubernetes::follow::Health;
use kubernetes::{Found, Pods, exec_probe};
use tokio::sync::watch;

/// Pods by container, and whether what is not there may still come.
#[derive(Debug)]
pub struct Directory {
    pods: Arc<RwLock<Pods>>,
    health: watch::Receiver<Health>,
    /// Raised with every change of a pod.
    changes: AtomicU64,
    annotations: bool,
    missed: AtomicU64,
}

impl Directory {
    /// Over these pods. `annotations`: events carry those of pods.
    pub fn new(
        pods: Arc<RwLock<Pods>>,
        health: watch::Receiver<Health>,
        annotations: bool,
    ) -> Self {
        Self { pods, health, changes: AtomicU64::new(0), annotations, missed: AtomicU64::new(0) }
    }

    /// A pod changed.
    pub fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// How often pods changed.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether a pod that is not known yet may become known: not while the API server cannot be reached.
    pub fn may_come(&self) -> bool {
        !matches!(*self.health.borrow(), Health::Failing(_))
    }

    /// Pods that are known, and containers of deleted ones that are remembered.
    pub fn len(&self) -> (usize, usize) {
        let pods = self.pods.read().unwrap_or_else(PoisonError::into_inner);
        (pods.len(), pods.remembered())
    }

    /// An event was sent without the pod of its process.
    pub fn count_missed(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    /// Events that were sent without the pods of their processes.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// The pod of a process in this container, if it is known. `pid`: the process's id in the container.
    pub fn pod(
        &self,
        container: &str,
        pid: u32,
        binary: &str,
        arguments: &str,
    ) -> Option<wire::Pod> {
        let found = {
            let pods = self.pods.read().unwrap_or_else(PoisonError::into_inner);
            pods.of_container(container)?
        };
        Some(self.shown(&found, pid, binary, arguments))
    }

    fn shown(&self, found: &Found, pid: u32, binary: &str, arguments: &str) -> wire::Pod {
        let (pod, container) = (&found.pod, found.container());
        let is_probe = |command: &Vec<String>| exec_probe::is_probe(command, binary, arguments);
        let started = container.started.as_deref();
        let started = started.and_then(|time| {
            serde_json::from_value::<Timestamp>(serde_json::Value::from(time)).ok()
        });
        wire::Pod {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            container: Some(wire::Container {
                id: container.id.clone(),
                name: container.name.clone(),
                image: Some(wire::Image {
                    id: container.image_id.clone(),
                    name: container.image.clone(),
                }),
                start_time: started,
                pid: (pid != 0).then_some(pid),
                maybe_exec_probe: container.probes.iter().any(is_probe),
                security_context: Some(wire::SecurityContext { privileged: container.privileged }),
            }),
            pod_labels: pod.labels.clone().into_iter().collect(),
            workload: pod.workload.name.clone(),
            workload_kind: pod.workload.kind.clone(),
            pod_annotations: match self.annotations {
                true => pod.annotations.clone().into_iter().collect(),
                false => Default::default(),
            },
        }
    }
}
