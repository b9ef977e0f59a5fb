//! What a cluster says: of the pods on a node, their containers, and who made them.
//!
//! - [`connect`]: a client of the API server, from a file or from inside the cluster
//! - [`pod`]: what is kept of a pod
//! - [`Pods`]: the pods of a node, found by their containers
//! - [`follow`]: keeps them as the API server says
//! - [`policies`]: follows the cluster's policies
//! - [`node_labels`]: those of a node
//! - [`workload`]: whose pod it is: a Deployment's, a CronJob's, ...
//! - [`exec_probe`]: whether a process is a container's health check
//! - [`definitions`]: custom resource definitions, put in and renewed

mod client;
pub mod definitions;
pub mod exec_probe;
pub mod follow;
mod node;
pub mod pod;
mod pods;
pub mod policies;
mod retries;
pub mod workload;

pub use client::{Error, connect};
pub use kube::Client;
pub use node::node_labels;
pub use pods::{Found, Pods};
pub use retries::Retries;
