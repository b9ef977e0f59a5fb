//! Policies as objects of the cluster.

use std::collections::HashSet;

use futures_util::StreamExt;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::retries::Retries;

/// Kinds of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// For the whole cluster.
    TracingPolicy,
    /// For the pods of one namespace.
    TracingPolicyNamespaced,
}

impl Kind {
    /// Name of the kind.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TracingPolicy => "TracingPolicy",
            Self::TracingPolicyNamespaced => "TracingPolicyNamespaced",
        }
    }

    /// Name in paths of the API.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::TracingPolicy => "tracingpolicies",
            Self::TracingPolicyNamespaced => "tracingpoliciesnamespaced",
        }
    }

    fn resource(self) -> ApiResource {
        let kind = GroupVersionKind::gvk("cilium.io", "v1alpha1", self.name());
        ApiResource::from_gvk_with_plural(&kind, self.plural())
    }
}

/// What tells policies of a kind apart: namespace, empty for those of the cluster, and name.
pub type Name = (String, String);

/// A policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Namespace and name.
    pub name: Name,
    /// Tells it from others that had the name.
    pub uid: String,
    /// Raised with every change of what it says.
    pub generation: i64,
    /// The policy as a document, without what the server keeps for itself.
    pub document: Value,
}

/// What is told of the policies of a kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// There is one, new or changed.
    Put(Object),
    /// It is gone.
    Gone(Name),
    /// These are all that there are; others are gone.
    All(HashSet<Name>),
}

/// Follows the policies of a kind as long as anybody receives what is told. The definition of the kind may
/// come later.
pub async fn follow(client: Client, kind: Kind, told: mpsc::Sender<Told>) {
    let api: Api<DynamicObject> = Api::all_with(client, &kind.resource());
    let stream = watcher::watcher(api, watcher::Config::default()).backoff(Retries::default());
    let mut stream = std::pin::pin!(stream);
    let mut listed: Option<HashSet<Name>> = None;
    let mut failing = false;
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed = Some(HashSet::new()),
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                let object = read(kind, object);
                if let Some(listed) = &mut listed {
                    listed.insert(object.name.clone());
                }
                send(&told, Told::Put(object)).await;
            }
            Ok(Event::InitDone) => {
                if failing {
                    tracing::info!("the API server tells of objects of kind {} again", kind.name());
                }
                failing = false;
                send(&told, Told::All(listed.take().unwrap_or_default())).await;
            }
            Ok(Event::Delete(object)) => send(&told, Told::Gone(name(&object))).await,
            Err(error) => {
                // Once for each time.
                if !failing {
                    match is_missing(&error) {
                        true => tracing::info!(
                            "the cluster has no definition of {} yet: the operator puts it in",
                            kind.name()
                        ),
                        false => tracing::warn!(
                            %error,
                            "the API server does not tell of objects of kind {}; trying again",
                            kind.name()
                        ),
                    }
                }
                failing = true;
            }
        }
        if told.is_closed() {
            return;
        }
    }
}

async fn send(told: &mpsc::Sender<Told>, what: Told) {
    // Nobody receives any more: `follow` ends.
    let _ = told.send(what).await;
}

fn is_missing(error: &watcher::Error) -> bool {
    matches!(
        error,
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404
    )
}

fn name(object: &DynamicObject) -> Name {
    let metadata = &object.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn read(kind: Kind, object: DynamicObject) -> Object {
    let name = name(&object);
    let metadata = object.metadata;
    let mut kept = json!({"name": name.1});
    if !name.0.is_empty() {
        kept["namespace"] = json!(name.0);
    }
    for (key, texts) in [("labels", metadata.labels), ("annotations", metadata.annotations)] {
        if let Some(texts) = texts.filter(|texts| !texts.is_empty()) {
            kept[key] = json!(texts);
        }
    }
    Object {
        name,
        uid: metadata.uid.unwrap_or_default(),
        generation: metadata.generation.unwrap_or_default(),
        document: json!({
            "apiVersion": "cilium.io/v1alpha1",
            "kind": kind.name(),
            "metadata": kept,
            "spec": object.data["spec"],
        }),
    }
}
