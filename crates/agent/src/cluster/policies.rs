//! The cluster's policies, in force on this node.
//!
//! A policy that changes takes the place of what it was without a gap; where the new version cannot be put
//! in force the old one stays, and the list of policies says why. Only what a policy says counts: changes of
//! labels and the like do not touch it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kubernetes::policies::{self, Kind, Name, Object, Told};
use policy::PolicyKey;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::policies::{AddError, ChangeError, K8S, Origin, Store, Text};

/// How often what somebody else was just changing is tried again.
const AGAIN_EVERY: Duration = Duration::from_millis(500);

/// Follows the policies, as long as it lives.
pub struct Policies {
    tasks: Vec<JoinHandle<()>>,
}

impl Policies {
    /// Begins to follow them.
    pub fn start(client: &kubernetes::Client, store: &Arc<Store>) -> Self {
        let mut tasks = Vec::new();
        for kind in [Kind::TracingPolicy, Kind::TracingPolicyNamespaced] {
            let (sender, receiver) = mpsc::channel(64);
            tasks.push(tokio::spawn(policies::follow(client.clone(), kind, sender)));
            tasks.push(tokio::spawn(apply(Objects::new(kind, store.clone()), receiver)));
        }
        Self { tasks }
    }
}

impl Drop for Policies {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn apply(mut objects: Objects, mut receiver: mpsc::Receiver<Told>) {
    let mut again = tokio::time::interval(AGAIN_EVERY);
    loop {
        tokio::select! {
            told = receiver.recv() => match told {
                // Loading takes a moment.
                Some(told) => tokio::task::block_in_place(|| objects.take(told)),
                None => return,
            },
            _ = again.tick() => {
                if !objects.busy.is_empty() {
                    tokio::task::block_in_place(|| objects.retry());
                }
            }
        }
    }
}

/// The objects of a kind, and what became of them.
struct Objects {
    kind: Kind,
    store: Arc<Store>,
    known: HashMap<Name, Known>,
    /// What could not be done as somebody else was just changing the policy; `None`: it is to go.
    busy: BTreeMap<Name, Option<Object>>,
}

struct Known {
    uid: String,
    generation: i64,
    key: PolicyKey,
}

impl Objects {
    fn new(kind: Kind, store: Arc<Store>) -> Self {
        Self { kind, store, known: HashMap::new(), busy: BTreeMap::new() }
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Put(object) => self.put(object),
            Told::Gone(name) => self.remove(name),
            Told::All(names) => {
                let gone = self.known.keys().filter(|name| !names.contains(*name));
                let gone: Vec<Name> = gone.cloned().collect();
                gone.into_iter().for_each(|name| self.remove(name));
            }
        }
    }

    fn retry(&mut self) {
        for (name, object) in std::mem::take(&mut self.busy) {
            match object {
                Some(object) => self.put(object),
                None => self.remove(name),
            }
        }
    }

    fn put(&mut self, object: Object) {
        self.busy.remove(&object.name);
        let same = self.known.get(&object.name).is_some_and(|known| {
            (&known.uid, known.generation) == (&object.uid, object.generation)
        });
        if same {
            return;
        }
        let (namespace, name) = &object.name;
        let file = match namespace.as_str() {
            "" => format!("{}/{name}", self.kind.plural()),
            namespace => format!("{}/{namespace}/{name}", self.kind.plural()),
        };
        let key =
            PolicyKey { domain: K8S.to_owned(), namespace: namespace.clone(), name: name.clone() };
        let text = format!("{:#}", object.document);
        match self.store.put(K8S, &Text::new(Origin::Kubernetes, file.clone(), text)) {
            Ok(_) => {}
            Err(AddError::Busy(_)) => {
                self.busy.insert(object.name.clone(), Some(object));
                return;
            }
            Err(error) => {
                let known = self.known.contains_key(&object.name);
                let stays = if known { "; what it was before stays" } else { "" };
                tracing::error!(file, "the policy is not loaded{stays}: {error}");
                if known {
                    self.store.note_trouble(&key, &file, &error.to_string());
                }
            }
        }
        let Object { name, uid, generation, .. } = object;
        self.known.insert(name, Known { uid, generation, key });
    }

    fn remove(&mut self, name: Name) {
        self.busy.remove(&name);
        let Some(known) = self.known.get(&name) else { return };
        match self.store.delete(&known.key) {
            // Clients may have deleted it; one that could not be read was never there.
            Ok(()) | Err(ChangeError::Missing { .. }) => {}
            Err(ChangeError::Busy(_)) => {
                self.busy.insert(name, None);
                return;
            }
            Err(error) => tracing::error!(%error, "a policy that is gone from the cluster stays"),
        }
        self.known.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;
    use crate::policies::store_tests;

    fn object(name: &str, generation: i64, call: &str) -> Object {
        Object {
            name: (String::new(), name.to_owned()),
            uid: "u".to_owned(),
            generation,
            document: json!({
                "apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy",
                "metadata": {"name": name}, "spec": {"kprobes": [{"call": call}]},
            }),
        }
    }

    fn states(store: &Store) -> Vec<(String, String, bool)> {
        let list = store.list(None).into_iter();
        list.map(|policy| {
            (policy.name.clone(), policy.state().as_str_name().to_owned(), policy.error.is_empty())
        })
        .collect()
    }

    fn state(name: &str, state: &str, good: bool) -> (String, String, bool) {
        (name.to_owned(), format!("TP_STATE_{state}"), good)
    }

    #[test]
    fn policies_come_change_and_go() {
        let (store, _) = store_tests::store();
        let store = Arc::new(store);
        let mut objects = Objects::new(Kind::TracingPolicy, store.clone());
        objects.take(Told::Put(object("a", 1, "sys_mount")));
        objects.take(Told::Put(object("b", 1, "sys_mount")));
        assert_eq!(states(&store), [state("a", "ENABLED", true), state("b", "ENABLED", true)]);
        assert_eq!(store.list(None)[0].domain, "k8s");
        // The same once more, and a bad version: what is in force stays.
        objects.take(Told::Put(object("a", 1, "not looked at")));
        objects.take(Told::Put(object("b", 2, "no name")));
        assert_eq!(states(&store), [state("a", "ENABLED", true), state("b", "ENABLED", false)]);
        objects.take(Told::Put(object("b", 3, "sys_umount")));
        assert_eq!(states(&store)[1], state("b", "ENABLED", true));
        objects.take(Told::Gone((String::new(), "a".to_owned())));
        assert_eq!(states(&store), [state("b", "ENABLED", true)]);
        objects.take(Told::All(HashSet::new()));
        assert_eq!(states(&store), []);
        // One that never could be read, and its end.
        objects.take(Told::Put(object("c", 1, "no name")));
        objects.take(Told::Gone((String::new(), "c".to_owned())));
        assert_eq!(states(&store), []);
    }
}
