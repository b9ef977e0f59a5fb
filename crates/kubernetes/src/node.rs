//! The node itself.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::Api;

use crate::client::Error;

/// The labels of a node.
///
/// # Errors
/// When the server does not tell of it.
pub async fn node_labels(client: &Client, name: &str) -> Result<BTreeMap<String, String>, Error> {
    let node = Api::<Node>::all(client.clone()).get(name).await?;
    Ok(node.metadata.labels.unwrap_or_default())
}
