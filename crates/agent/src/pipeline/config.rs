//! What the pipeline is told.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cgroups::Hierarchy;
use crate::cluster::Directory;
use crate::config::AncestorsOfHits;
use crate::procfs::HostNamespaces;
use crate::redaction::Redaction;

/// What the pipeline is told at its start. The default is what the flags' defaults give, for a node
/// without a name.
#[derive(Clone, Debug)]
pub struct PipelineConfig {
    /// Name of the node, part of every exec_id.
    pub node_name: String,
    /// `--cluster-name`.
    pub cluster_name: String,
    /// `--procfs`.
    pub procfs: PathBuf,
    /// Namespaces of the host; see [`Procfs::host`](crate::procfs::Procfs::host).
    pub host: HostNamespaces,
    /// Hierarchy that the kernel side takes cgroup ids from.
    pub hierarchy: Hierarchy,
    /// `--disable-process-cache`: keep no table. Events then have no parent, exits only a pid.
    pub disable_process_cache: bool,
    /// `--process-cache-size`, in entries.
    pub process_cache_size: usize,
    /// `--process-cache-gc-interval`.
    pub process_cache_gc_interval: Duration,
    /// `--event-cache-retries`.
    pub event_cache_retries: u32,
    /// `--event-cache-retry-delay`.
    pub event_cache_retry_delay: Duration,
    /// `--enable-ancestors` has `base`.
    pub ancestors: bool,
    /// What else `--enable-ancestors` has; without `base` it does nothing.
    pub ancestors_of_hits: AncestorsOfHits,
    /// `--enable-process-cred`.
    pub credentials: bool,
    /// `--enable-process-ns`.
    pub namespaces: bool,
    /// `--enable-process-environment-variables`.
    pub environment: bool,
    /// `--filter-environment-variables`; empty keeps all.
    pub environment_only: HashSet<String>,
    /// `--username-metadata=unix`.
    pub usernames: bool,
    /// `--enable-cgidmap`: the whole container identifier in `docker`.
    pub full_container_id: bool,
    /// Whom containers belong to, with `--enable-k8s-api`.
    pub directory: Option<Arc<Directory>>,
    /// `--redaction-filters`.
    pub redaction: Redaction,
    /// `--exec-data-max-size`: most bytes of arguments, and as many of environment, of one process.
    pub max_text: u64,
    /// `--expose-stack-addresses`.
    pub expose_stack_addresses: bool,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            cluster_name: String::new(),
            procfs: PathBuf::from("/proc"),
            host: HostNamespaces::default(),
            hierarchy: Hierarchy { id: 0, controller: None, mount: None },
            disable_process_cache: false,
            process_cache_size: 65_536,
            process_cache_gc_interval: Duration::from_secs(30),
            event_cache_retries: 15,
            event_cache_retry_delay: Duration::from_secs(2),
            ancestors: false,
            ancestors_of_hits: AncestorsOfHits::default(),
            credentials: false,
            namespaces: false,
            environment: false,
            environment_only: HashSet::new(),
            usernames: false,
            full_container_id: false,
            directory: None,
            redaction: Redaction::default(),
            max_text: 256 << 10,
            expose_stack_addresses: false,
        }
    }
}
