//! The pods of a node, found by their containers.
//!
//! Containers are found by the beginning of their identifiers, since events have no more of it where a
//! cgroup's name was cut. Pods that were deleted stay for a while: their last events come late.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::pod::{Container, Pod};

/// A container and its pod.
#[derive(Debug, Clone)]
pub struct Found {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Place of the container in it.
    place: usize,
}

impl Found {
    /// The container.
    #[must_use]
    pub fn container(&self) -> &Container {
        &self.pod.containers[self.place]
    }
}

/// Pods.
#[derive(Debug)]
pub struct Pods {
    /// By namespace and name.
    pods: HashMap<(String, String), Arc<Pod>>,
    /// Containers by their whole identifiers, which others may begin like.
    containers: BTreeMap<String, Found>,
    /// Containers of pods that are gone, likewise.
    gone: BTreeMap<String, Found>,
    /// The keys of those, in the order in which they went.
    order: VecDeque<String>,
    gone_max: usize,
}

/// Shorter beginnings of identifiers name nobody.
const LEAST: usize = 15;

impl Pods {
    /// None yet. `gone_max`: how many containers of deleted pods are remembered.
    #[must_use]
    pub fn new(gone_max: usize) -> Self {
        Self {
            pods: HashMap::new(),
            containers: BTreeMap::new(),
            gone: BTreeMap::new(),
            order: VecDeque::new(),
            gone_max,
        }
    }

    /// Takes over a pod as it is now. Containers that it has no longer are remembered.
    pub fn put(&mut self, pod: Pod) -> Arc<Pod> {
        let key = (pod.namespace.clone(), pod.name.clone());
        let pod = Arc::new(pod);
        if let Some(before) = self.pods.insert(key, pod.clone()) {
            self.forget(&before, &pod);
        }
        for (place, container) in pod.containers.iter().enumerate() {
            let found = Found { pod: pod.clone(), place };
            self.containers.insert(container.bare_id().to_owned(), found);
        }
        pod
    }

    /// A pod is gone.
    pub fn remove(&mut self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let pod = self.pods.remove(&(namespace.to_owned(), name.to_owned()))?;
        for container in &pod.containers {
            self.bury(container.bare_id(), &pod);
        }
        Some(pod)
    }

    /// All but these are gone; gives those that went. For after a time in which nothing was heard.
    pub fn retain(&mut self, there: impl Fn(&Pod) -> bool) -> Vec<Arc<Pod>> {
        let gone: Vec<Arc<Pod>> = self.pods.values().filter(|pod| !there(pod)).cloned().collect();
        for pod in &gone {
            self.remove(&pod.namespace, &pod.name);
        }
        gone
    }

    /// The container whose identifier begins like this, among those of deleted pods if need be. Nothing
    /// where several do: a wrong pod would be worse than none.
    #[must_use]
    pub fn of_container(&self, id: &str) -> Option<Found> {
        if id.len() < LEAST {
            return None;
        }
        only(&self.containers, id).or_else(|| only(&self.gone, id))
    }

    /// All pods.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.values()
    }

    /// How many pods there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// How many containers of deleted pods are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.gone.len()
    }

    /// Containers that a pod had and has no longer; all of them, if it is another pod of the same name.
    fn forget(&mut self, before: &Arc<Pod>, now: &Pod) {
        for container in &before.containers {
            let id = container.bare_id();
            if !now.containers.iter().any(|other| other.bare_id() == id) {
                self.bury(id, before);
            }
        }
    }

    fn bury(&mut self, id: &str, pod: &Arc<Pod>) {
        // Another pod may have it by now.
        let own = self.containers.get(id).is_some_and(|found| found.pod.uid == pod.uid);
        let Some(found) = own.then(|| self.containers.remove(id)).flatten() else { return };
        if self.gone.insert(id.to_owned(), found).is_none() {
            self.order.push_back(id.to_owned());
        }
        while self.order.len() > self.gone_max {
            if let Some(oldest) = self.order.pop_front() {
                self.gone.remove(&oldest);
            }
        }
    }
}

fn only(containers: &BTreeMap<String, Found>, id: &str) -> Option<Found> {
    let mut alike = containers.range(id.to_owned()..);
    let (_, found) = alike.next().filter(|(whole, _)| whole.starts_with(id))?;
    let second = alike.next().is_some_and(|(whole, _)| whole.starts_with(id));
    // The whole one is meant, though another is longer.
    let whole = found.container().bare_id() == id;
    (whole || !second).then(|| found.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Workload;

    fn pod(name: &str, uid: &str, ids: &[&str]) -> Pod {
        let container = |id: &&str| Container {
            id: format!("containerd://{id}"),
            name: "c".to_owned(),
            image: String::new(),
            image_id: String::new(),
            started: None,
            privileged: false,
            probes: Vec::new(),
        };
        Pod {
            namespace: "ns".to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            workload: Workload { name: name.to_owned(), kind: "Pod".to_owned() },
            containers: ids.iter().map(container).collect(),
        }
    }

    fn name(pods: &Pods, id: &str) -> Option<String> {
        pods.of_container(id).map(|found| found.pod.name.clone())
    }

    const A: &str = "aaaaaaaaaaaaaaaaaaaa1";
    const B: &str = "aaaaaaaaaaaaaaaaaaaa2";
    const C: &str = "ccccccccccccccccccccc";

    #[test]
    fn found_by_the_beginning_of_an_identifier() {
        let mut pods = Pods::new(10);
        pods.put(pod("a", "1", &[A]));
        pods.put(pod("b", "2", &[B, C]));
        assert_eq!(name(&pods, A).as_deref(), Some("a"));
        assert_eq!(name(&pods, &C[..15]).as_deref(), Some("b"));
        assert_eq!(name(&pods, &A[..20]), None, "two begin like this");
        assert_eq!((name(&pods, &C[..14]), name(&pods, "dddddddddddddddd")), (None, None));
        assert_eq!(pods.of_container(C).unwrap().container().bare_id(), C);
    }

    #[test]
    fn deleted_ones_are_remembered_for_a_while() {
        let mut pods = Pods::new(2);
        pods.put(pod("a", "1", &[A]));
        pods.remove("ns", "a");
        assert_eq!((name(&pods, A).as_deref(), pods.is_empty()), (Some("a"), true));
        for (number, id) in [B, C].into_iter().enumerate() {
            pods.put(pod("x", &number.to_string(), &[id]));
            pods.remove("ns", "x");
        }
        assert_eq!((name(&pods, A), name(&pods, B).as_deref()), (None, Some("x")));
        assert_eq!(pods.remembered(), 2);
    }

    #[test]
    fn a_container_that_was_started_again() {
        let mut pods = Pods::new(10);
        pods.put(pod("a", "1", &[A]));
        pods.put(pod("a", "1", &[C]));
        assert_eq!((name(&pods, A).as_deref(), name(&pods, C).as_deref()), (Some("a"), Some("a")));
        assert_eq!((pods.len(), pods.remembered()), (1, 1));
    }

    #[test]
    fn another_pod_of_the_same_name() {
        let mut pods = Pods::new(10);
        pods.put(pod("a", "1", &[A]));
        pods.put(pod("a", "2", &[C]));
        assert_eq!(pods.of_container(A).unwrap().pod.uid, "1");
        assert_eq!(pods.of_container(C).unwrap().pod.uid, "2");
        let gone = pods.retain(|pod| pod.uid != "2");
        assert_eq!((gone.len(), pods.is_empty()), (1, true));
        assert_eq!(pods.of_container(C).unwrap().pod.uid, "2");
    }
}
