//! Keeps the pods of a node as the API server says.
//!
//! While the server cannot be reached, what was known stays known. When it is back, everything is listed
//! again, and what went meanwhile is gone.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1;
use kube::Client;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;

use crate::pod::Pod;
use crate::pods::Pods;
use crate::retries::Retries;

/// Pods that are asked for at once.
const PAGE: u32 = 500;

/// What happened to a pod.
#[derive(Debug, Clone)]
pub enum Change {
    /// It is new, or another than before.
    Put(Arc<Pod>),
    /// It is gone.
    Gone(Arc<Pod>),
}

/// How it is going.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Health {
    /// Nothing was heard yet.
    #[default]
    Starting,
    /// All pods are known.
    Synced,
    /// The server cannot be reached, or does not answer as it should.
    Failing(String),
}

/// Follows the pods of a node, all nodes if none is named, without end. `told` is called for each change
/// after it was made.
pub async fn pods(
    client: Client,
    node: Option<&str>,
    pods: Arc<RwLock<Pods>>,
    health: watch::Sender<Health>,
    mut told: impl FnMut(Change),
) {
    let mut config = watcher::Config::default().page_size(PAGE);
    if let Some(node) = node {
        config = config.fields(&format!("spec.nodeName={node}"));
    }
    let api: Api<v1::Pod> = Api::all(client);
    let stream = watcher::watcher(api, config).backoff(Retries::default());
    let mut stream = std::pin::pin!(stream);
    let mut listed: Option<HashSet<(String, String)>> = None;
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed = Some(HashSet::new()),
            Ok(Event::InitApply(pod) | Event::Apply(pod)) => {
                let Some(pod) = Pod::new(&pod) else { continue };
                if let Some(listed) = &mut listed {
                    listed.insert((pod.namespace.clone(), pod.name.clone()));
                }
                let pod = write(&pods).put(pod);
                told(Change::Put(pod));
            }
            Ok(Event::InitDone) => {
                let there = listed.take().unwrap_or_default();
                let key = |pod: &Pod| (pod.namespace.clone(), pod.name.clone());
                let gone = write(&pods).retain(|pod| there.contains(&key(pod)));
                gone.into_iter().for_each(|pod| told(Change::Gone(pod)));
                health.send_replace(Health::Synced);
            }
            Ok(Event::Delete(pod)) => {
                let name = pod.metadata.name.unwrap_or_default();
                let namespace = pod.metadata.namespace.unwrap_or_default();
                let gone = write(&pods).remove(&namespace, &name);
                gone.into_iter().for_each(|pod| told(Change::Gone(pod)));
            }
            Err(error) => {
                let failing = Health::Failing(error.to_string());
                let before = health.send_replace(failing);
                // Once for each time that it goes away.
                if !matches!(before, Health::Failing(_)) {
                    tracing::warn!(%error, "the API server does not tell of pods; trying again");
                }
                continue;
            }
        }
        if listed.is_none() && matches!(*health.borrow(), Health::Failing(_)) {
            tracing::info!("the API server tells of pods again");
            health.send_replace(Health::Synced);
        }
    }
}

/// Waits until all pods are known, no longer than the limit. Whether they are.
pub async fn synced(health: &mut watch::Receiver<Health>, limit: Duration) -> bool {
    let synced = health.wait_for(|health| *health == Health::Synced);
    matches!(tokio::time::timeout(limit, synced).await, Ok(Ok(_)))
}

fn write(pods: &RwLock<Pods>) -> RwLockWriteGuard<'_, Pods> {
    pods.write().unwrap_or_else(PoisonError::into_inner)
}
