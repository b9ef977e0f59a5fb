//! Keeps the PodInfo of each pod.
//!
//! A PodInfo is owned by its pod, so that the cluster removes it with the pod. What fails is tried again
//! until it works or the pod is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kubernetes::Retries;
use serde_json::Value;

use crate::pod_info;
use crate::probes::Counters;

/// How often what failed is tried again.
const AGAIN_EVERY: Duration = Duration::from_secs(2);

/// Follows all pods without end.
pub async fn run(client: Client, counters: Arc<Counters>) {
    let pods: Api<Pod> = Api::all(client.clone());
    let stream = watcher::watcher(pods, watcher::Config::default()).backoff(Retries::default());
    let mut stream = std::pin::pin!(stream);
    let mut failed: HashMap<(String, String), Pod> = HashMap::new();
    let mut again = tokio::time::interval(AGAIN_EVERY);
    loop {
        tokio::select! {
            event = stream.next() => match event {
                Some(Ok(Event::InitApply(pod) | Event::Apply(pod))) => {
                    failed.remove(&key(&pod));
                    if !keep(&client, &pod, &counters).await {
                        failed.insert(key(&pod), pod);
                    }
                }
                Some(Ok(Event::Delete(pod))) => {
                    failed.remove(&key(&pod));
                }
                // What failed before it is listed again.
                Some(Ok(Event::Init)) => failed.clear(),
                Some(Ok(Event::InitDone)) => {}
                Some(Err(error)) => {
                    counters.watch_errors.inc();
                    tracing::warn!(%error, "the API server does not tell of pods; trying again");
                }
                None => return,
            },
            _ = again.tick(), if !failed.is_empty() => {
                let mut left = HashMap::new();
                for (key, pod) in failed.drain() {
                    if !keep(&client, &pod, &counters).await {
                        left.insert(key, pod);
                    }
                }
                failed = left;
            }
        }
    }
}

fn key(pod: &Pod) -> (String, String) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (text(&pod.metadata.namespace), text(&pod.metadata.name))
}

/// Makes or changes the PodInfo of a pod. Whether it is as it should be.
async fn keep(client: &Client, pod: &Pod, counters: &Counters) -> bool {
    let Some(wanted) = pod_info::of(pod) else { return true };
    match put(client, &wanted, counters).await {
        Ok(()) => true,
        Err(error) => {
            counters.pod_info_errors.inc();
            let (namespace, name) = key(pod);
            tracing::warn!(%error, "the PodInfo of {namespace}/{name} cannot be kept; trying again");
            false
        }
    }
}

async fn put(client: &Client, wanted: &Value, counters: &Counters) -> Result<(), kube::Error> {
    let kind = GroupVersionKind::gvk("cilium.io", "v1alpha1", "PodInfo");
    let resource = ApiResource::from_gvk_with_plural(&kind, "podinfo");
    let text = |key: &str| wanted["metadata"][key].as_str().unwrap_or_default();
    let (namespace, name) = (text("namespace"), text("name"));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let object = |value: &Value| {
        serde_json::from_value::<DynamicObject>(value.clone()).map_err(kube::Error::SerdeError)
    };
    let Some(there) = api.get_opt(name).await? else {
        api.create(&PostParams::default(), &object(wanted)?).await?;
        counters.pod_infos_created.inc();
        return Ok(());
    };
    let there = serde_json::to_value(&there).map_err(kube::Error::SerdeError)?;
    if pod_info::is_same(&there, wanted) {
        return Ok(());
    }
    let mut new = wanted.clone();
    new["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"].clone();
    api.replace(name, &PostParams::default(), &object(&new)?).await?;
    counters.pod_infos_changed.inc();
    Ok(())
}
