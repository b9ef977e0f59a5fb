//! Containers whose pods are not known.
//!
//! A container's first events are often faster than the API server's word of it, so events wait for the
//! pod; but not for long, and not each anew: some containers belong to no pod, or their pods are never told
//! of. So the time is the container's, from when it was first seen without its pod.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cluster::Directory;

/// Containers that are remembered, at most.
const CONTAINERS_MAX: usize = 8192;

/// Since when containers lack their pods.
#[derive(Debug)]
pub(super) struct Podless {
    limit: Duration,
    since: HashMap<Arc<str>, Instant>,
    /// Changes of pods that were looked at.
    seen: u64,
}

impl Podless {
    /// Events wait so long for the pod of their container.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, since: HashMap::new(), seen: 0 }
    }

    /// Whether pods changed since this was asked last, and any container lacks its pod.
    pub(super) fn changed(&mut self, changes: u64) -> bool {
        let changed = changes != self.seen && !self.since.is_empty();
        self.seen = changes;
        changed
    }

    /// Whether an event should wait for the pod of this container, which is not known.
    pub(super) fn awaits(
        &mut self,
        container: &Arc<str>,
        directory: &Directory,
        now: Instant,
    ) -> bool {
        if self.since.len() >= CONTAINERS_MAX && !self.since.contains_key(container) {
            self.since.clear();
        }
        let since = *self.since.entry(container.clone()).or_insert(now);
        directory.may_come() && now.saturating_duration_since(since) < self.limit
    }

    /// Its pod is known.
    pub(super) fn found(&mut self, container: &Arc<str>) {
        if !self.since.is_empty() {
            self.since.remove(container);
        }
    }
}
