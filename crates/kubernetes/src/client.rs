//! A client of the API server.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// Why there is no client, or a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is none.
    #[error("cannot use {path} to reach the API server: {cause}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// Neither inside a cluster nor a file.
    #[error(
        "no API server is known: this is no pod of a cluster, and there is no kubeconfig ({0}); name one \
         with --k8s-kubeconfig-path or in KUBECONFIG"
    )]
    NotConfigured(String),
    /// The server does not do what was asked.
    #[error("the API server: {0}")]
    Request(#[from] kube::Error),
}

/// A client: as the file says, if one is given, else as a pod's service account or the user's own
/// configuration say. Nothing is asked yet.
///
/// # Errors
/// When there is no configuration, or it is of no use.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, Error> {
    let config = match kubeconfig {
        Some(path) => {
            let wrong = |cause: String| Error::Kubeconfig { path: path.to_owned(), cause };
            let file = Kubeconfig::read_from(path).map_err(|cause| wrong(cause.to_string()))?;
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(file, &options).await;
            config.map_err(|cause| wrong(cause.to_string()))?
        }
        None => Config::infer().await.map_err(|cause| Error::NotConfigured(cause.to_string()))?,
    };
    Ok(Client::try_from(config)?)
}
