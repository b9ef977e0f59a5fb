//! `PodInfo`: what others want to know of a pod by its address, without being told of every change of it.

use k8s_openapi::api::core::v1::Pod;
use kubernetes::workload;
use serde_json::{Value, json};

/// Group, version and kind.
pub const API_VERSION: &str = "cilium.io/v1alpha1";

/// The PodInfo of a pod; nothing as long as the pod has no address or node, and when it goes.
#[must_use]
pub fn of(pod: &Pod) -> Option<Value> {
    let metadata = &pod.metadata;
    if metadata.deletion_timestamp.is_some() {
        return None;
    }
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (name, namespace) = (filled(&metadata.name)?, filled(&metadata.namespace)?);
    let uid = filled(&metadata.uid)?;
    let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    let node = filled(&spec.node_name)?;
    let address = filled(&status.pod_ip)?;
    let addresses = status.pod_ips.as_deref().filter(|addresses| !addresses.is_empty())?;
    let addresses: Vec<Value> = addresses.iter().map(|address| json!({"IP": address.ip})).collect();
    let workload = workload::of(pod);
    let mut object = json!({
        "apiVersion": API_VERSION,
        "kind": "PodInfo",
        "metadata": {
            "name": name, "namespace": namespace,
            // It goes with the pod.
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid,
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {"hostNetwork": spec.host_network.unwrap_or(false), "nodeName": node},
        "status": {"podIP": address, "podIPs": addresses},
        "workloadObject": {"name": workload.name, "namespace": namespace},
        "workloadType": {"apiVersion": api_version(&workload.kind), "kind": workload.kind},
    });
    for (key, value) in [("labels", &metadata.labels), ("annotations", &metadata.annotations)] {
        if let Some(value) = value {
            object["metadata"][key] = json!(value);
        }
    }
    Some(object)
}

/// Whether what is there says the same.
#[must_use]
pub fn is_same(there: &Value, wanted: &Value) -> bool {
    let metadata = |key: &str| {
        let empty =
            |value: &Value| value.is_null() || value.as_object().is_some_and(|map| map.is_empty());
        let (there, wanted) = (&there["metadata"][key], &wanted["metadata"][key]);
        there == wanted || (empty(there) && empty(wanted))
    };
    ["labels", "annotations", "ownerReferences"].into_iter().all(metadata)
        && ["spec", "status", "workloadObject", "workloadType"]
            .into_iter()
            .all(|key| there[key] == wanted[key])
}

fn api_version(kind: &str) -> &'static str {
    match kind {
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" => "apps/v1",
        "Job" | "CronJob" => "batch/v1",
        "DeploymentConfig" => "apps.openshift.io/v1",
        "Pod" | "ReplicationController" => "v1",
        _ => "",
    }
}

/// The definition of its kind.
#[must_use]
pub fn definition() -> Value {
    let text = |about: &str| json!({"type": "string", "description": about});
    let schema = json!({
        "type": "object",
        "description": "What is known of a pod by its addresses.",
        "properties": {
            "apiVersion": text("Version of the schema of this object."),
            "kind": text("Kind of object."),
            "metadata": {"type": "object"},
            "spec": {
                "type": "object",
                "properties": {
                    "hostNetwork": {"type": "boolean", "description": "Whether it uses the node's network."},
                    "nodeName": text("Node on which it runs."),
                },
            },
            "status": {
                "type": "object",
                "properties": {
                    "podIP": text("Its first address."),
                    "podIPs": {
                        "type": "array",
                        "description": "All its addresses.",
                        "items": {"type": "object", "properties": {"IP": text("An address.")}},
                    },
                },
            },
            "workloadObject": {
                "type": "object",
                "properties": {
                    "name": text("Name of what made it."),
                    "namespace": text("Its namespace."),
                },
            },
            "workloadType": {
                "type": "object",
                "properties": {
                    "apiVersion": text("Group and version of what made it."),
                    "kind": text("Its kind."),
                },
            },
        },
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "podinfo.cilium.io",
            "labels": {kubernetes::definitions::VERSION_LABEL: policy::crd::SCHEMA_VERSION},
        },
        "spec": {
            "group": "cilium.io",
            "names": {
                "kind": "PodInfo", "listKind": "PodInfoList", "plural": "podinfo",
                "singular": "podinfo", "shortNames": ["tgpi"], "categories": ["tetragon"],
            },
            "scope": "Namespaced",
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({
            "metadata": {
                "name": "web-5d4-x", "namespace": "shop", "uid": "u", "generateName": "web-5d4-",
                "labels": {"pod-template-hash": "5d4"},
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4", "uid": "r",
                    "controller": true,
                }],
            },
            "spec": {"nodeName": "n", "containers": []},
            "status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]},
        })
    }

    fn of_json(pod: Value) -> Option<Value> {
        of(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn of_a_pod() {
        let info = of_json(pod()).unwrap();
        assert_eq!(info["status"]["podIPs"][1]["IP"], "fd00::1");
        assert_eq!(info["workloadObject"], json!({"name": "web", "namespace": "shop"}));
        assert_eq!(info["workloadType"], json!({"apiVersion": "apps/v1", "kind": "Deployment"}));
        assert_eq!(info["spec"], json!({"hostNetwork": false, "nodeName": "n"}));
        assert_eq!(info["metadata"]["ownerReferences"][0]["uid"], "u");
        let mut stored = info.clone();
        stored["metadata"]["resourceVersion"] = json!("7");
        stored["metadata"]["annotations"] = json!({});
        assert!(is_same(&stored, &info));
        stored["spec"]["hostNetwork"] = json!(true);
        assert!(!is_same(&stored, &info));
    }

    #[test]
    fn not_before_all_is_known() {
        for path in ["/metadata/uid", "/spec/nodeName", "/status/podIP", "/status/podIPs"] {
            let mut pod = pod();
            *pod.pointer_mut(path).unwrap() = Value::Null;
            assert_eq!(of_json(pod), None, "{path}");
        }
        let mut pod = pod();
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-31T12:00:00Z");
        assert_eq!(of_json(pod), None);
    }
}
