//! Following the API server.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use kubernetes::Pods;
use kubernetes::follow::{self, Health};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Directory;
use crate::config::Config;

/// How long the start waits for the pods that run already.
const SYNCED_WITHIN: Duration = Duration::from_secs(5);

/// A node's view of its cluster, as long as it lives.
pub struct Cluster {
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
        let task = tokio::spawn(async move {
            follow::pods(client, Some(&node), pods, sender, |_| told.changed()).await;
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
        Ok(Self { directory, task })
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
