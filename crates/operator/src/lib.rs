//! `tetragon-operator`: puts the definitions of policies into a cluster and renews them, and keeps a
//! `PodInfo` for each pod where that is asked for.
//!
//! - [`settings`]: flags, environment and directories of settings
//! - [`pod_info`]: the `PodInfo` of a pod, and the definition of its kind
//! - [`controller`]: keeps them
//! - [`leader`]: one of several replicas works
//! - [`serve`]: all of it, until it is told to end
//! - [`probes`]: what kubelet and Prometheus ask

pub mod controller;
pub mod leader;
pub mod pod_info;
pub mod probes;
mod serve;
pub mod settings;

pub use serve::serve;
