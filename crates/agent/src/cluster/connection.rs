//! Following the API server.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use kubernetes::follow::{self, Health};
use kubernetes::{Client, Pods};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Directory, Policies};
use crate::config::Config;
use crate::policies::Store;

/// How long the start waits for the pods that run already.
const SYNCED_WITHIN: Duration = Duration::from_secs(5);

/// How long the start waits for the labels of the node.
const LABELS_WITHIN: Duration = Duration::from_secs(5);

/// A node's view of its cluster, as long as it lives.
pub struct Cluster {
    client: Client,
    directory: Arc<Directory>,
    task: JoinHandle<()>,
}

impl Cluster {
    /// Begins to follow the pods of this node, and waits a moment for those that run already. A server
    /// that does not answer keeps nothing from starting: events have no pods until it does.
    ///
    /// # Errors
    /// When it is not known how to reach it.
    pub async fn start(config: &Config) -> Result<Self, kubernetes::Error> {
        let settings = &config.kubernetes;
        let client = kubernetes::connect(settings.kubeconfig.as_deref()).await?;
        let pods = Arc::new(RwLock::new(Pods::new(settings.deleted_pods)));
        let (sender, mut health) = watch::channel(Health::default());
        let directory = Directory::new(pods.clone(), health.clone(), settings.annotations);
        let directory = Arc::new(directory);
        let (told, node) = (directory.clone(), config.node_name.clone());
        let pods_of = client.clone();
        let task = tokio::spawn(async move {
            follow::pods(pods_of, Some(&node), pods, sender, |_| told.changed()).await;
        });
        if follow::synced(&mut health, SYNCED_WITHIN).await {
            let (pods, _) = directory.len();
            tracing::info!(node = config.node_name, pods, "the pods of this node are known");
        } else {
            tracing::warn!(
                node = config.node_name,
                "the API server does not tell of this node's pods yet: events come without them until it does"
            );
        }
        Ok(Self { client, directory, task })
    }

    /// The labels of this node, by which policies say where they apply; nothing when the server does not
    /// tell in time: policies then apply whatever they say.
    pub async fn node_labels(&self, node: &str) -> Option<BTreeMap<String, String>> {
        let asked = kubernetes::node_labels(&self.client, node);
        let why = match tokio::time::timeout(LABELS_WITHIN, asked).await {
            Ok(Ok(labels)) => return Some(labels),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {LABELS_WITHIN:?}"),
        };
        tracing::warn!(
            node,
            why,
            "the labels of this node are not known: nodeSelector of policies is not judged"
        );
        None
    }

    /// Puts the cluster's policies in force, as long as what this gives lives.
    pub fn follow_policies(&self, store: &Arc<Store>) -> Policies {
        Policies::start(&self.client, store)
    }

    /// The pods.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.task.abort();
    }
}
