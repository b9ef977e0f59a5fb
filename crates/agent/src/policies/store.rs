//! All policies of the agent.
//!
//! A policy is told by its key: domain, namespace and name. Changes come one after the other; lists show
//! what is under way. A policy that could not be loaded stays in the list with the reason, until one of
//! the same key takes its place or it is deleted. One that is to take the place of another is put in
//! force before that goes; if it cannot be, the other stays in force, and the list says why.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::tetragon::TracingPolicyStatus;
use compiler::policies::Missed;
use policy::evaluate::applies_to_node;
use policy::{CheckedPolicy, PolicyKey, Problems};

use super::entries::{Entries, Entry};
use super::errors::{AddError, shown};
use super::loader::{Added, LoadError, Loader, Named};
use super::records::{Record, Records, StoredMode};
use super::rego::Rules;
use super::status::{Shown, State};
use super::text::{Origin, Text};
use super::{REGO, STATIC, effects};

/// A domain that the agent keeps to itself; clients of other agents know it.
const RESERVED: &str = "sensors";

/// All policies.
pub struct Store {
    pub(super) entries: Mutex<Entries>,
    pub(super) loader: Mutex<Box<dyn Loader>>,
    /// Where policies of clients are stored.
    records: Option<Records>,
    /// What says which policies may be loaded.
    rules: Option<Arc<Rules>>,
    /// Labels of this node, if they are known.
    node_labels: Option<BTreeMap<String, String>>,
}

/// What is to become of a policy of the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existing {
    /// It stays, and the new one is refused.
    Stays,
    /// The new one takes its place.
    GivesWay,
}

/// A policy that has its place in the list.
struct Entered {
    key: PolicyKey,
    policy: Arc<CheckedPolicy>,
    way: Way,
    /// Why it is not to be put in force.
    refused: Option<LoadError>,
}

/// How a policy comes to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// There was none of its key in force.
    New,
    /// Instead of one that is in force.
    Instead,
    /// It is not to be in force.
    Aside,
}

impl Store {
    /// No policies yet; `loader` will load them.
    pub fn new(loader: Box<dyn Loader>) -> Self {
        let (entries, loader) = (Mutex::default(), Mutex::new(loader));
        Self { entries, loader, records: None, rules: None, node_labels: None }
    }

    /// From now on stores what clients add.
    pub fn with_records(mut self, records: Records) -> Self {
        self.records = Some(records);
        self
    }

    /// From now on loads only what these rules admit.
    pub fn with_rules(mut self, rules: Arc<Rules>) -> Self {
        self.rules = Some(rules);
        self
    }

    /// From now on puts only those policies in force whose `nodeSelector` selects these labels.
    pub fn with_node_labels(mut self, labels: BTreeMap<String, String>) -> Self {
        self.node_labels = Some(labels);
        self
    }

    /// Where policies of this domain are stored.
    pub(super) fn records(&self, domain: &str) -> Option<&Records> {
        self.records.as_ref().filter(|_| domain != STATIC && domain != REGO)
    }

    pub(super) fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn loader(&self) -> MutexGuard<'_, Box<dyn Loader>> {
        self.loader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a policy and puts it in force.
    ///
    /// # Errors
    /// Nothing of it is in force. If it was read but not loaded, it is in the list, with the reason.
    pub fn add(&self, domain: &str, text: &Text) -> Result<PolicyKey, AddError> {
        let key = one(self.enter_all(domain, std::slice::from_ref(text), Existing::Stays))?;
        self.record(&key, text).inspect_err(|_| {
            // If it cannot be taken back either, it is in the list.
            let _ = self.delete(&key);
        })?;
        Ok(key)
    }

    /// The same, in the place of the policy of the same key if there is one, without a gap. One that is
    /// disabled is replaced by one that is.
    ///
    /// # Errors
    /// What was in force stays so, and the list says what was wrong with the new one.
    pub fn put(&self, domain: &str, text: &Text) -> Result<PolicyKey, AddError> {
        let key = one(self.enter_all(domain, std::slice::from_ref(text), Existing::GivesWay))?;
        self.record(&key, text)?;
        Ok(key)
    }

    /// Adds many policies, which are not stored. Those that can be put in force are, at one instant. One
    /// result for each, in their order.
    pub fn add_all(&self, domain: &str, texts: &[Text]) -> Vec<Result<PolicyKey, AddError>> {
        self.enter_all(domain, texts, Existing::Stays)
    }

    /// Has the policy there after the next start, if its domain is stored.
    fn record(&self, key: &PolicyKey, text: &Text) -> Result<(), AddError> {
        let Some(records) = self.records(&key.domain) else { return Ok(()) };
        let disabled =
            self.entries().list.get(key).is_some_and(|entry| entry.state == State::Disabled);
        let mode = text.mode.and_then(StoredMode::of);
        let record = Record { yaml: text.text.clone(), enabled: !disabled, mode };
        records.write(key, &record).map_err(AddError::Record)
    }

    fn enter_all(
        &self,
        domain: &str,
        texts: &[Text],
        existing: Existing,
    ) -> Vec<Result<PolicyKey, AddError>> {
        let entered: Vec<Result<Entered, AddError>> =
            texts.iter().map(|text| self.enter(domain, text, existing)).collect();
        let wanted: Vec<Named> = entered
            .iter()
            .flatten()
            .filter(|entered| entered.refused.is_none() && entered.way != Way::Aside)
            .map(|entered| (entered.key.clone(), Arc::clone(&entered.policy)))
            .collect();
        let mut loaded = self.load(&wanted).into_iter();
        let settle = |entered: Result<Entered, AddError>| {
            let mut entered = entered?;
            let result = match (entered.refused.take(), entered.way) {
                (Some(error), _) => Err(error),
                (None, Way::Aside) => Ok(None),
                (None, _) => loaded.next().unwrap_or_else(|| Err(internal())).map(Some),
            };
            self.settle(entered, result)
        };
        entered.into_iter().map(settle).collect()
    }

    /// Reads a policy and gives it its place in the list.
    fn enter(&self, domain: &str, text: &Text, existing: Existing) -> Result<Entered, AddError> {
        let made_by_rules = text.origin == Origin::Rego;
        if domain == RESERVED || (domain == REGO && !made_by_rules) {
            return Err(AddError::Domain(domain.to_owned()));
        }
        let read = || CheckedPolicy::read(&text.file, &text.text).map_err(LoadError::Refused);
        let policy = contained(read).map_err(AddError::from)?;
        let policy = Arc::new(match text.mode {
            Some(mode) => policy.in_mode(mode),
            None => policy,
        });
        let refused = self.refusal(&policy, domain, text.origin);
        let (key, aside) = (policy.key(domain), !text.enabled || !self.is_for_this_node(&policy));
        let mut entries = self.entries();
        let way = match entries.list.get_mut(&key) {
            Some(Entry {
                state: State::LoadError(_) | State::Skipped, changing: false, ..
            })
            | None => None,
            Some(present) => match (existing, present.is_busy(), &present.state) {
                (Existing::Stays, ..) => {
                    return Err(AddError::Exists { key, file: present.policy.file.clone() });
                }
                (_, true, _) => return Err(AddError::Busy(key)),
                (_, _, State::Disabled) => {
                    present.changing = true;
                    Some(Way::Aside)
                }
                _ if aside => {
                    return Err(AddError::Load(LoadError::Failed(
                        "its nodeSelector does not select this node any more: delete the policy, \
                         or have it select the node"
                            .to_owned(),
                    )));
                }
                _ => {
                    present.changing = true;
                    Some(Way::Instead)
                }
            },
        };
        let way = way.unwrap_or_else(|| {
            let state = match (text.enabled, aside) {
                (false, _) => State::Disabled,
                (true, true) => State::Skipped,
                (true, false) => State::Loading,
            };
            entries.insert(key.clone(), Arc::clone(&policy), state);
            if aside { Way::Aside } else { Way::New }
        });
        Ok(Entered { key, policy, way, refused })
    }

    fn is_for_this_node(&self, policy: &CheckedPolicy) -> bool {
        self.node_labels.as_ref().is_none_or(|labels| applies_to_node(policy, labels))
    }

    /// Why the policy is not to be loaded, if so.
    fn refusal(&self, policy: &CheckedPolicy, domain: &str, origin: Origin) -> Option<LoadError> {
        if let Some(rules) = &self.rules
            && let Err(denied) = rules.judge(policy, domain, origin)
        {
            return Some(LoadError::Denied(denied));
        }
        let list = effects::refused(policy);
        let problems = Problems { file: policy.file.clone(), list, omitted: 0 };
        (!problems.list.is_empty()).then_some(LoadError::Refused(problems))
    }

    /// Puts policies in force, all that can be at one instant. A bug that a policy brings to light is
    /// told of that policy only.
    pub(super) fn load(&self, policies: &[Named]) -> Vec<Result<Added, LoadError>> {
        if policies.is_empty() {
            // The loader would get ready, with megabytes of types, for nothing.
            return Vec::new();
        }
        match (contained(|| Ok(self.loader().add(policies))), policies) {
            (Ok(results), _) => results,
            (Err(bug), [_]) => vec![Err(bug)],
            (Err(_), _) => policies.chunks(1).flat_map(|one| self.load(one)).collect(),
        }
    }

    /// Notes what became of a policy; it was loaded where it was to be.
    fn settle(
        &self,
        entered: Entered,
        result: Result<Option<Added>, LoadError>,
    ) -> Result<PolicyKey, AddError> {
        let Entered { key, policy, way, .. } = entered;
        let mut entries = self.entries();
        let Some(entry) = entries.list.get_mut(&key) else { return Ok(key) };
        let replaced = entry.changing;
        entry.changing = false;
        match result {
            Ok(added) => {
                entry.trouble = None;
                entry.policy = Arc::clone(&policy);
                if let Some(added) = added {
                    self.tell(&key, &policy, &added, replaced);
                    entry.state = State::Enabled(added.hooks);
                }
                Ok(key)
            }
            Err(error) => {
                match way {
                    Way::New => entry.state = State::LoadError(error.to_string()),
                    Way::Aside if !replaced => entry.state = State::LoadError(error.to_string()),
                    _ => entry.trouble = Some(trouble(&policy.file, &error.to_string())),
                }
                Err(error.into())
            }
        }
    }

    /// Has the list say of a policy that stays as it is that what was to take its place cannot even be
    /// read, or is another policy.
    pub(crate) fn note_trouble(&self, key: &PolicyKey, file: &str, error: &str) {
        if let Some(entry) = self.entries().list.get_mut(key) {
            entry.trouble = Some(trouble(file, error));
        }
    }

    /// What the rules have against policies that are in force.
    pub fn judge_again(&self) -> Vec<(PolicyKey, String)> {
        let Some(rules) = &self.rules else { return Vec::new() };
        let in_force: Vec<Named> = {
            let entries = self.entries();
            let in_force = entries.list.iter();
            let in_force = in_force.filter(|(_, entry)| matches!(entry.state, State::Enabled(_)));
            in_force.map(|(key, entry)| (key.clone(), Arc::clone(&entry.policy))).collect()
        };
        let origin = |key: &PolicyKey| match key.domain.as_str() {
            STATIC => Origin::File,
            REGO => Origin::Rego,
            super::K8S => Origin::Kubernetes,
            super::HTTP => Origin::Http,
            _ => Origin::Grpc,
        };
        let judged = in_force.into_iter().filter_map(|(key, policy)| {
            let denied = rules.judge(&policy, &key.domain, origin(&key)).err()?;
            Some((key, denied))
        });
        judged.collect()
    }

    /// All policies, or those of a domain, in the order in which they came.
    pub fn list(&self, domain: Option<&str>) -> Vec<TracingPolicyStatus> {
        // Whoever asks while a policy is being loaded sees what was measured before.
        if let Ok(mut loader) = self.loader.try_lock() {
            let measures = loader.measures();
            self.entries().measures = measures;
        }
        let entries = self.entries();
        let chosen = entries.list.iter().filter(|(key, _)| domain.is_none_or(|d| key.domain == d));
        let mut list: Vec<_> = chosen
            .map(|(key, entry)| {
                let measures = entries.measures.get(key).cloned().unwrap_or_default();
                let Entry { id, policy, state, trouble, .. } = entry;
                let trouble = trouble.as_deref();
                Shown { id: *id, key, policy, state, trouble, measures }.status()
            })
            .collect();
        list.sort_by_key(|status| status.id);
        list
    }

    /// What the enforcers of policies were told and did not act upon, as [`list`](Self::list) found it last.
    pub fn missed_notifications(&self) -> Vec<(PolicyKey, Missed)> {
        let entries = self.entries();
        let missed = entries.measures.iter().flat_map(|(key, measures)| {
            measures.missed_notifications.iter().map(|missed| (key.clone(), missed.clone()))
        });
        let mut missed: Vec<_> = missed.collect();
        missed.sort_by(|(a, one), (b, other)| {
            (a, &one.call, one.reason).cmp(&(b, &other.call, other.reason))
        });
        missed
    }

    /// The domains that have policies, in alphabetical order.
    pub fn domains(&self) -> Vec<String> {
        let entries = self.entries();
        let domains: BTreeSet<_> = entries.list.keys().map(|key| key.domain.clone()).collect();
        domains.into_iter().collect()
    }

    /// Takes all policies out of force, for good.
    pub fn close(&self) {
        self.loader().close();
    }

    /// Logs that a policy is in force, and what is worth knowing of it.
    pub(super) fn tell(
        &self,
        key: &PolicyKey,
        policy: &CheckedPolicy,
        added: &Added,
        replaced: bool,
    ) {
        for note in &added.notes {
            tracing::warn!("policy {}: {}", shown(key), note.line(&policy.file));
        }
        for told in effects::not_judged(policy, self.node_labels.is_some()) {
            tracing::warn!("policy {}: {told}", shown(key));
        }
        let (policy, domain) = (shown(key), &key.domain);
        let places = added.hooks.iter().sum::<usize>();
        match replaced {
            false => tracing::info!(policy, domain, places, "the policy is in force"),
            true => tracing::info!(policy, domain, places, "the policy's new version is in force"),
        }
    }
}

fn trouble(file: &str, error: &str) -> String {
    format!("an earlier version stays, as {file} cannot be loaded: {error}")
}

/// The result of what was done for one policy.
fn one(mut results: Vec<Result<PolicyKey, AddError>>) -> Result<PolicyKey, AddError> {
    results.pop().unwrap_or_else(|| Err(AddError::Load(internal())))
}

/// A bug that one policy brings to light must not end the agent, nor keep it from the other policies.
pub(super) fn contained<T>(work: impl FnOnce() -> Result<T, LoadError>) -> Result<T, LoadError> {
    let work = std::panic::AssertUnwindSafe(work);
    std::panic::catch_unwind(work).unwrap_or_else(|_| Err(internal()))
}

pub(super) fn internal() -> LoadError {
    let text = "internal error: please report it with the policy and the agent's log";
    LoadError::Failed(text.to_owned())
}
