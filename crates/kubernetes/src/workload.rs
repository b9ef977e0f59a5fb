//! Whose pod it is.
//!
//! A pod names the object that made it; often that was made by another one, whose name is in its own: the
//! ReplicaSet of a Deployment, the Job of a CronJob. So no further object has to be asked for.

use k8s_openapi::api::core::v1::Pod;

/// What made a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload {
    /// Name.
    pub name: String,
    /// Kind, such as `Deployment`; `Pod` for one that nothing made.
    pub kind: String,
}

/// Label of a Deployment's pods: what the names of its ReplicaSets end with.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// Label of the pods of OpenShift's DeploymentConfigs.
const DEPLOYMENT_CONFIG: &str = "deploymentconfig";

/// The workload of a pod: itself, unless its name was made up for something that controls it.
#[must_use]
pub fn of(pod: &Pod) -> Workload {
    let metadata = &pod.metadata;
    let own =
        || Workload { name: metadata.name.clone().unwrap_or_default(), kind: "Pod".to_owned() };
    if metadata.generate_name.as_deref().is_none_or(str::is_empty) {
        return own();
    }
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    let Some(owner) = owners.iter().find(|owner| owner.controller == Some(true)) else {
        return own();
    };
    let label = |name: &str| metadata.labels.as_ref()?.get(name).map(String::as_str);
    let above = match owner.kind.as_str() {
        "ReplicaSet" => label(TEMPLATE_HASH)
            .and_then(|hash| owner.name.strip_suffix(hash)?.strip_suffix('-'))
            .map(|name| (name, "Deployment")),
        "ReplicationController" => label(DEPLOYMENT_CONFIG).map(|name| (name, "DeploymentConfig")),
        "Job" => cron_job(&owner.name).map(|name| (name, "CronJob")),
        _ => None,
    };
    let (name, kind) = above.unwrap_or((&owner.name, &owner.kind));
    Workload { name: name.to_owned(), kind: kind.to_owned() }
}

/// The name of a CronJob from that of its Job, which has the minute behind it: eight digits in 2026, ten
/// when it was seconds.
fn cron_job(job: &str) -> Option<&str> {
    let (name, minute) = job.rsplit_once('-')?;
    let digits = minute.bytes().all(|byte| byte.is_ascii_digit());
    (digits && (8..=10).contains(&minute.len()) && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload(kind: &str, owner: &str, labels: &[(&str, &str)]) -> (String, String) {
        let labels: std::collections::BTreeMap<_, _> = labels.iter().copied().collect();
        let pod = json!({"metadata": {
            "name": "pod-1", "generateName": "pod-", "labels": labels,
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "1"},
                {"apiVersion": "v1", "kind": kind, "name": owner, "uid": "2", "controller": true},
            ],
        }});
        let Workload { name, kind } = of(&serde_json::from_value(pod).unwrap());
        (name, kind)
    }

    #[test]
    fn what_made_it() {
        let hash = [(TEMPLATE_HASH, "5d4")];
        for (kind, owner, labels, expected) in [
            ("ReplicaSet", "web-5d4", &hash[..], ("web", "Deployment")),
            ("ReplicaSet", "web-6e5", &hash, ("web-6e5", "ReplicaSet")),
            ("ReplicaSet", "web", &[], ("web", "ReplicaSet")),
            (
                "ReplicationController",
                "a-1",
                &[(DEPLOYMENT_CONFIG, "a")],
                ("a", "DeploymentConfig"),
            ),
            ("ReplicationController", "a-1", &[], ("a-1", "ReplicationController")),
            ("Job", "backup-28123456", &[], ("backup", "CronJob")),
            ("Job", "backup-1234567890", &[], ("backup", "CronJob")),
            ("Job", "backup-1234567", &[], ("backup-1234567", "Job")),
            ("Job", "backup-12345678901", &[], ("backup-12345678901", "Job")),
            ("StatefulSet", "db", &[], ("db", "StatefulSet")),
            ("DaemonSet", "log", &[], ("log", "DaemonSet")),
        ] {
            let (name, kind_of) = workload(kind, owner, labels);
            assert_eq!((name.as_str(), kind_of.as_str()), expected, "{kind} {owner}");
        }
    }

    #[test]
    fn a_pod_of_its_own() {
        let of = |metadata| {
            let pod = serde_json::from_value(json!({"metadata": metadata})).unwrap();
            let Workload { name, kind } = of(&pod);
            (name, kind)
        };
        let own = ("a".to_owned(), "Pod".to_owned());
        assert_eq!(of(json!({"name": "a"})), own);
        assert_eq!(of(json!({"name": "a", "generateName": "a-"})), own);
        // Static pods belong to their node, and are named by hand.
        let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1", "controller": true}]);
        assert_eq!(of(json!({"name": "a", "ownerReferences": owner})), own);
    }
}
