//! The objects, and what happened to them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::path::{Resource, Target};

/// What happened to an object.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// The version that it led to.
    pub(crate) version: u64,
    /// ADDED, MODIFIED or DELETED.
    pub(crate) kind: &'static str,
    /// Which kind of object.
    pub(crate) resource: Resource,
    /// The object afterwards; before it was deleted.
    pub(crate) object: Value,
    /// What it was before.
    pub(crate) before: Option<Value>,
}

/// Why a request is refused: HTTP status, reason, message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) u16, pub(crate) &'static str, pub(crate) String);

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Store {
    objects: BTreeMap<(Resource, String, String), Value>,
    /// Since `oldest`.
    history: Vec<Change>,
    oldest: u64,
    version: u64,
    created: u64,
}

/// Kinds that are there without a definition: group, version, plural, kind, namespaced.
pub(crate) const BUILT_IN: &[(&str, &str, &str, &str, bool)] = &[
    ("", "v1", "namespaces", "Namespace", false),
    ("", "v1", "nodes", "Node", false),
    ("", "v1", "pods", "Pod", true),
    ("", "v1", "services", "Service", true),
    ("", "v1", "events", "Event", true),
    ("", "v1", "configmaps", "ConfigMap", true),
    ("", "v1", "secrets", "Secret", true),
    ("", "v1", "serviceaccounts", "ServiceAccount", true),
    ("apps", "v1", "deployments", "Deployment", true),
    ("apps", "v1", "daemonsets", "DaemonSet", true),
    ("apps", "v1", "replicasets", "ReplicaSet", true),
    ("batch", "v1", "jobs", "Job", true),
    ("batch", "v1", "cronjobs", "CronJob", true),
    ("coordination.k8s.io", "v1", "leases", "Lease", true),
    ("events.k8s.io", "v1", "events", "Event", true),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false),
];

impl Store {
    /// The version of everything.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// All kinds: built in and defined.
    pub(crate) fn kinds(&self) -> Vec<(Resource, String, bool)> {
        let built_in = BUILT_IN.iter().map(|&(group, version, plural, kind, namespaced)| {
            (Resource::new(group, version, plural), kind.to_owned(), namespaced)
        });
        let definitions = self
            .objects
            .iter()
            .filter(|((resource, ..), _)| resource.plural == "customresourcedefinitions");
        let defined = definitions.flat_map(|(_, object)| {
            let spec = &object["spec"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
            let kind = text(&spec["names"]["kind"]);
            let namespaced = spec["scope"] == "Namespaced";
            let versions = spec["versions"].as_array().cloned().unwrap_or_default();
            versions.into_iter().map(move |version| {
                let version = version["name"].as_str().unwrap_or_default();
                (Resource::new(&group, version, &plural), kind.clone(), namespaced)
            })
        });
        built_in.chain(defined).collect()
    }

    /// Kind of the objects of a resource.
    pub(crate) fn kind(&self, resource: &Resource) -> Result<String, Refusal> {
        let kinds = self.kinds();
        let found = kinds.into_iter().find(|(known, ..)| known == resource);
        found.map(|(_, kind, _)| kind).ok_or_else(|| {
            Refusal(404, "NotFound", "the server could not find the requested resource".to_owned())
        })
    }

    /// One object.
    pub(crate) fn get(&self, target: &Target) -> Result<&Value, Refusal> {
        self.kind(&target.resource)?;
        self.objects.get(&key(target)).ok_or_else(|| not_found(target))
    }

    /// All objects of a resource and, if one is given, of a namespace, in order of namespace and name.
    pub(crate) fn list(&self, target: &Target) -> Result<Vec<&Value>, Refusal> {
        self.kind(&target.resource)?;
        let all = self.objects.iter().filter(|((resource, namespace, _), _)| {
            *resource == target.resource
                && target.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
        });
        Ok(all.map(|(_, object)| object).collect())
    }

    /// Puts a new object in.
    pub(crate) fn create(&mut self, target: &Target, mut object: Value) -> Result<Value, Refusal> {
        let kind = self.kind(&target.resource)?;
        let invalid = |text: &str| Refusal(422, "Invalid", text.to_owned());
        self.created += 1;
        let number = self.created;
        let metadata = object["metadata"].as_object_mut();
        let metadata = metadata.ok_or_else(|| invalid("metadata is missing"))?;
        if let (None, Some(prefix)) = (metadata.get("name"), metadata.get("generateName")) {
            let name = format!("{}{number:05}", prefix.as_str().unwrap_or_default());
            metadata.insert("name".to_owned(), json!(name));
        }
        let name = metadata.get("name").and_then(Value::as_str).map(str::to_owned);
        let name = name.ok_or_else(|| invalid("metadata.name is missing"))?;
        if let Some(namespace) = &target.namespace {
            metadata.insert("namespace".to_owned(), json!(namespace));
        }
        metadata.insert("uid".to_owned(), json!(format!("00000000-0000-0000-0000-{number:012}")));
        metadata.insert("generation".to_owned(), json!(1));
        metadata.insert("creationTimestamp".to_owned(), json!("2026-01-31T12:00:00Z"));
        object["kind"] = json!(kind);
        object["apiVersion"] = json!(target.resource.api_version());
        if kind == "CustomResourceDefinition" {
            object["status"] = established(&object);
        }
        let target = Target { name: Some(name), ..target.clone() };
        if self.objects.contains_key(&key(&target)) {
            let Target { resource, name, .. } = &target;
            let name = name.as_deref().unwrap_or_default();
            let message = format!("{} {name:?} already exists", resource.plural);
            return Err(Refusal(409, "AlreadyExists", message));
        }
        Ok(self.put("ADDED", &target, object))
    }

    /// Puts another object in the place of one. `part`: only that of it is taken.
    pub(crate) fn replace(&mut self, target: &Target, mut object: Value) -> Result<Value, Refusal> {
        let before = self.get(target)?.clone();
        let wanted = &object["metadata"]["resourceVersion"];
        if wanted.is_string() && *wanted != before["metadata"]["resourceVersion"] {
            let message =
                "the object has been modified; please apply your changes to the latest version";
            return Err(Refusal(409, "Conflict", message.to_owned()));
        }
        if let Some(part) = &target.part {
            let part = part.clone();
            let new = object[&part].take();
            object = before.clone();
            object[part] = new;
        } else {
            for key in ["namespace", "uid", "creationTimestamp"] {
                object["metadata"][key] = before["metadata"][key].clone();
            }
            object["status"] = before["status"].clone();
            object["kind"] = before["kind"].clone();
            object["apiVersion"] = before["apiVersion"].clone();
            let generation = before["metadata"]["generation"].as_u64().unwrap_or(1);
            let grown = u64::from(object["spec"] != before["spec"]);
            object["metadata"]["generation"] = json!(generation + grown);
            if object["kind"] == "CustomResourceDefinition" {
                object["status"] = established(&object);
            }
        }
        let unchanged = |mut object: Value| {
            object["metadata"]["resourceVersion"] = Value::Null;
            object
        };
        if unchanged(object.clone()) == unchanged(before.clone()) {
            return Ok(before);
        }
        Ok(self.put("MODIFIED", target, object))
    }

    /// Takes an object out, and what it owns.
    pub(crate) fn delete(&mut self, target: &Target) -> Result<Value, Refusal> {
        self.get(target)?;
        let Some(mut object) = self.objects.remove(&key(target)) else {
            return Err(not_found(target));
        };
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.history.push(Change {
            version: self.version,
            kind: "DELETED",
            resource: target.resource.clone(),
            object: object.clone(),
            before: Some(object.clone()),
        });
        let uid = &object["metadata"]["uid"];
        let owned: Vec<Target> = self
            .objects
            .iter()
            .filter(|(_, other)| {
                let owners = other["metadata"]["ownerReferences"].as_array();
                owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == *uid))
            })
            .map(|((resource, namespace, name), _)| Target {
                resource: resource.clone(),
                namespace: (!namespace.is_empty()).then(|| namespace.clone()),
                name: Some(name.clone()),
                part: None,
            })
            .collect();
        for target in owned {
            let _ = self.delete(&target);
        }
        Ok(object)
    }

    /// What happened after a version, or that this is forgotten.
    pub(crate) fn since(&self, version: u64) -> Result<&[Change], Refusal> {
        if version < self.oldest {
            let message = format!("too old resource version: {version} ({})", self.oldest);
            return Err(Refusal(410, "Expired", message));
        }
        let first = self.history.partition_point(|change| change.version <= version);
        Ok(&self.history[first..])
    }

    /// Forgets what happened.
    pub(crate) fn forget(&mut self) {
        self.history.clear();
        self.oldest = self.version + 1;
        self.version += 1;
    }

    fn put(&mut self, kind: &'static str, target: &Target, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let before = self.objects.insert(key(target), object.clone());
        self.history.push(Change {
            version: self.version,
            kind,
            resource: target.resource.clone(),
            object: object.clone(),
            before,
        });
        object
    }
}

fn key(target: &Target) -> (Resource, String, String) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (target.resource.clone(), text(&target.namespace), text(&target.name))
}

fn not_found(target: &Target) -> Refusal {
    let name = target.name.as_deref().unwrap_or_default();
    Refusal(404, "NotFound", format!("{} {name:?} not found", target.resource.plural))
}

/// The status of a definition that is accepted at once.
fn established(definition: &Value) -> Value {
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "True", "reason": "NoConflicts", "message": "",
            "lastTransitionTime": "2026-01-31T12:00:00Z",
        })
    };
    json!({
        "acceptedNames": definition["spec"]["names"],
        "conditions": [condition("NamesAccepted"), condition("Established")],
        "storedVersions": ["v1alpha1"],
    })
}
