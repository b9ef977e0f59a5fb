//! The list of policies.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use policy::{CheckedPolicy, PolicyKey};

use super::loader::Measures;
use super::status::State;

/// All policies, by key.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) list: BTreeMap<PolicyKey, Entry>,
    last_id: u64,
    /// What was last measured.
    pub(super) measures: HashMap<PolicyKey, Measures>,
}

/// A policy.
pub(super) struct Entry {
    pub(super) id: u64,
    /// What is in force, or was to be; in the mode that it was given last.
    pub(super) policy: Arc<CheckedPolicy>,
    pub(super) state: State,
    /// It is being replaced, or put in force again.
    pub(super) changing: bool,
    /// Why something else that was to take its place did not.
    pub(super) trouble: Option<String>,
}

impl Entry {
    /// Whether somebody is just changing it.
    pub(super) fn is_busy(&self) -> bool {
        self.changing || matches!(self.state, State::Loading | State::Unloading)
    }
}

impl Entries {
    /// Puts a policy at the list's end, in the place of one that is not in force.
    pub(super) fn insert(&mut self, key: PolicyKey, policy: Arc<CheckedPolicy>, state: State) {
        self.last_id += 1;
        let entry = Entry { id: self.last_id, policy, state, changing: false, trouble: None };
        self.list.insert(key, entry);
    }

    /// What to tell of policies of the same name with another key, or of a similar name.
    pub(super) fn elsewhere(&self, key: &PolicyKey) -> String {
        let others = self.list.keys().filter(|other| other.name == key.name && *other != key);
        let places: Vec<_> = others
            .map(|other| match other.namespace.as_str() {
                "" => format!("domain {}", other.domain),
                namespace => format!("domain {}, namespace {namespace}", other.domain),
            })
            .collect();
        if !places.is_empty() {
            return format!("; there is one in {}", places.join("; "));
        }
        let names = self.list.keys().filter(|other| other.domain == key.domain);
        policy::did_you_mean(&key.name, names.map(|other| other.name.as_str()))
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
    }
}
