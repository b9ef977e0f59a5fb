//! What is kept of a pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{self, ContainerStatus, ExecAction, Probe};

use crate::workload::{self, Workload};

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Unique identifier.
    pub uid: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// What made it.
    pub workload: Workload,
    /// Its containers that have an identifier: those that are started for good first, then those that are
    /// started before them, then those that are added for looking into it.
    pub containers: Vec<Container>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Identifier with its runtime, `containerd://0123…`.
    pub id: String,
    /// Name.
    pub name: String,
    /// The image as the pod asks for it.
    pub image: String,
    /// The image as the runtime identifies it: name and digest.
    pub image_id: String,
    /// When it was started, as the API has it (RFC 3339); nothing unless it runs.
    pub started: Option<String>,
    /// Whether it may do everything.
    pub privileged: bool,
    /// What its liveness and readiness probes execute.
    pub probes: Vec<Vec<String>>,
}

impl Container {
    /// The identifier without its runtime.
    #[must_use]
    pub fn bare_id(&self) -> &str {
        self.id.rsplit_once("://").map_or(&self.id, |(_, id)| id)
    }

    /// The image's name without tag and digest, as the runtime resolved it: `docker.io/library/busybox`.
    /// Nothing where the runtime tells only a digest.
    #[must_use]
    pub fn repository(&self) -> Option<&str> {
        let id = self.image_id.rsplit_once("://").map_or(self.image_id.as_str(), |(_, id)| id);
        let (name, digest) = id.split_once('@')?;
        (!digest.contains('@')).then_some(name)
    }
}

impl Pod {
    /// What is kept; nothing of a pod without a name.
    #[must_use]
    pub fn new(pod: &v1::Pod) -> Option<Self> {
        let metadata = &pod.metadata;
        let status = pod.status.as_ref();
        let statuses = |list: fn(&v1::PodStatus) -> &Option<Vec<ContainerStatus>>| {
            status.and_then(|status| list(status).as_deref()).unwrap_or_default().iter()
        };
        let all = statuses(|status| &status.container_statuses)
            .chain(statuses(|status| &status.init_container_statuses))
            .chain(statuses(|status| &status.ephemeral_container_statuses));
        let containers = all.filter_map(|status| container(pod, status)).collect();
        Some(Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone()?,
            uid: metadata.uid.clone().unwrap_or_default(),
            labels: metadata.labels.clone().unwrap_or_default(),
            annotations: metadata.annotations.clone().unwrap_or_default(),
            workload: workload::of(pod),
            containers,
        })
    }
}

fn container(pod: &v1::Pod, status: &ContainerStatus) -> Option<Container> {
    let id = status.container_id.clone().filter(|id| !id.is_empty())?;
    let spec = pod.spec.as_ref();
    let plain = spec.map_or(&[][..], |spec| &spec.containers[..]);
    let plain = plain.iter().find(|container| container.name == status.name);
    let security = plain.and_then(|container| container.security_context.as_ref());
    let security = security.or_else(|| {
        let init = spec?.init_containers.as_deref().unwrap_or_default();
        let found = init.iter().find(|container| container.name == status.name);
        found.and_then(|container| container.security_context.as_ref())
    });
    let security = security.or_else(|| {
        let ephemeral = spec?.ephemeral_containers.as_deref().unwrap_or_default();
        let found = ephemeral.iter().find(|container| container.name == status.name);
        found.and_then(|container| container.security_context.as_ref())
    });
    let command = |probe: Option<&Probe>| -> Option<Vec<String>> {
        let ExecAction { command } = probe?.exec.as_ref()?;
        command.clone()
    };
    let probes = plain.map_or_else(Vec::new, |container| {
        let probes = [container.liveness_probe.as_ref(), container.readiness_probe.as_ref()];
        probes.into_iter().filter_map(command).collect()
    });
    let running = status.state.as_ref().and_then(|state| state.running.as_ref());
    let started = running.and_then(|running| running.started_at.as_ref());
    Some(Container {
        id,
        name: status.name.clone(),
        image: status.image.clone(),
        image_id: status.image_id.clone(),
        started: started
            .and_then(|time| serde_json::to_value(time).ok()?.as_str().map(str::to_owned)),
        privileged: security.and_then(|security| security.privileged).unwrap_or(false),
        probes,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_kept() {
        let pod: v1::Pod = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "labels": {"a": "b"}},
            "spec": {
                "containers": [{
                    "name": "main", "securityContext": {"privileged": true},
                    "livenessProbe": {"exec": {"command": ["check", "-l"]}},
                    "readinessProbe": {"httpGet": {"port": 80}},
                    "startupProbe": {"exec": {"command": ["other"]}},
                }],
                "initContainers": [{"name": "before"}],
            },
            "status": {
                "containerStatuses": [{
                    "name": "main", "image": "busybox:1", "imageID": "docker.io/library/busybox@sha256:12",
                    "containerID": "containerd://0123", "ready": true, "restartCount": 0,
                    "state": {"running": {"startedAt": "2026-01-31T12:00:00Z"}},
                }],
                "initContainerStatuses": [
                    {"name": "before", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
                     "containerID": "cri-o://45", "state": {"terminated": {"exitCode": 0}}},
                    {"name": "waits", "image": "i", "imageID": "", "ready": false, "restartCount": 0},
                ],
            },
        }))
        .unwrap();
        let pod = Pod::new(&pod).unwrap();
        assert_eq!((pod.namespace.as_str(), pod.workload.kind.as_str()), ("shop", "Pod"));
        let [main, before] = &pod.containers[..] else { panic!("{pod:?}") };
        assert_eq!((main.bare_id(), before.bare_id()), ("0123", "45"));
        assert_eq!(main.repository(), Some("docker.io/library/busybox"));
        assert_eq!(before.repository(), None);
        assert_eq!(main.started.as_deref(), Some("2026-01-31T12:00:00Z"));
        assert!(main.privileged && !before.privileged && before.started.is_none());
        assert_eq!(main.probes, [["check", "-l"]]);
    }
}
