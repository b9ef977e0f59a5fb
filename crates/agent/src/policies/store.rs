//! All policies of the agent.
//!
//! A policy is told by its key: domain, namespace and name. Changes come one after the other; lists show
//! what is under way. A policy that could not be loaded stays in the list with the reason, until one of
//! the same key takes its place or it is deleted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::tetragon::TracingPolicyStatus;
use policy::checked::Mode;
use policy::{CheckedPolicy, PolicyKey, Problems};

use super::loader::{Added, LoadError, Loader, Measures, Named};
use super::records::{Record, RecordError, Records, StoredMode};
use super::status::{Shown, State};
use super::{STATIC, effects};

/// The domain that the agent keeps to itself.
const RESERVED: &str = "sensors";

/// A policy cannot be added.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AddError {
    /// It is wrong, or asks for what this kernel or this agent does not have.
    #[error("{0}")]
    Refused(Problems),
    /// The domain is not for users.
    #[error("the domain `{RESERVED}` is the agent's own: choose another one")]
    Domain,
    /// There is one of the same key.
    #[error("{}; delete it first", exists(.key, .file))]
    Exists {
        /// Its key.
        key: PolicyKey,
        /// Where the one that is there came from.
        file: String,
    },
    /// Loading failed.
    #[error(transparent)]
    Load(LoadError),
    /// It is to be stored and cannot be.
    #[error("{0}; the policy was not added")]
    Record(RecordError),
}

fn exists(key: &PolicyKey, file: &str) -> String {
    // Only the names of files say where a text came from.
    let from = if key.domain == STATIC { format!(", from {file}") } else { String::new() };
    format!("there is a policy `{}` in domain {} already{from}", shown(key), key.domain)
}

/// Name, with the namespace if there is one.
fn shown(key: &PolicyKey) -> String {
    match key.namespace.as_str() {
        "" => key.name.clone(),
        namespace => format!("{namespace}/{}", key.name),
    }
}

/// A policy cannot be deleted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeleteError {
    /// There is none of this key.
    #[error("there is no policy `{}` in domain {}{hint}", shown(.key), .key.domain)]
    Missing {
        /// The key.
        key: PolicyKey,
        /// Where there is one of that name.
        hint: String,
    },
    /// It is just being loaded or deleted.
    #[error("policy `{}` is just being changed: try again", shown(.0))]
    Busy(PolicyKey),
    /// It could not be taken out of force.
    #[error(transparent)]
    Load(LoadError),
    /// It was done, but what is stored of the policy cannot be changed.
    #[error("done, but the next start of the agent will not know: {0}")]
    Record(RecordError),
}

/// All policies.
pub struct Store {
    entries: Mutex<Entries>,
    loader: Mutex<Box<dyn Loader>>,
    /// Where policies of clients are stored.
    records: Option<Records>,
}

/// A policy as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What the text is called in messages.
    pub file: String,
    /// The text.
    pub text: String,
    /// The mode that the policy shall have; else that of the text.
    pub mode: Option<Mode>,
}

#[derive(Default)]
struct Entries {
    list: BTreeMap<PolicyKey, Entry>,
    last_id: u64,
    measures: HashMap<PolicyKey, Measures>,
}

struct Entry {
    id: u64,
    policy: Arc<CheckedPolicy>,
    state: State,
}

impl Store {
    /// No policies yet; `loader` will load them.
    pub fn new(loader: Box<dyn Loader>) -> Self {
        Self { entries: Mutex::default(), loader: Mutex::new(loader), records: None }
    }

    /// From now on stores what clients add.
    pub fn with_records(mut self, records: Records) -> Self {
        self.records = Some(records);
        self
    }

    /// Where policies of this domain are stored.
    fn records(&self, domain: &str) -> Option<&Records> {
        self.records.as_ref().filter(|_| domain != STATIC)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loader(&self) -> MutexGuard<'_, Box<dyn Loader>> {
        self.loader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a policy and puts it in force. `file` is its text's name in messages.
    ///
    /// # Errors
    /// Nothing of it is in force. If it was read but not loaded, it is in the list, with the reason.
    pub fn add(&self, domain: &str, file: &str, text: &str) -> Result<PolicyKey, AddError> {
        let [file, text] = [file, text].map(str::to_owned);
        let mut results = self.add_all(domain, &[Text { file, text: text.clone(), mode: None }]);
        let key = results.pop().unwrap_or_else(|| Err(AddError::Load(internal())))?;
        if let Some(records) = self.records(domain) {
            let record = Record { yaml: text, enabled: true, mode: None };
            if let Err(error) = records.write(&key, &record) {
                // If it cannot be taken back either, it is in the list.
                let _ = self.delete(&key);
                return Err(AddError::Record(error));
            }
        }
        Ok(key)
    }

    /// The same for many policies, which are not stored. Those that can be put in force are, at one
    /// instant. One result for each, in their order.
    pub fn add_all(&self, domain: &str, texts: &[Text]) -> Vec<Result<PolicyKey, AddError>> {
        let entered: Vec<Result<Named, AddError>> =
            texts.iter().map(|text| self.enter(domain, text)).collect();
        let wanted: Vec<Named> = entered.iter().flatten().cloned().collect();
        let mut loaded = self.load(&wanted).into_iter();
        entered
            .into_iter()
            .map(|entered| {
                let (key, policy) = entered?;
                let loaded = loaded.next().unwrap_or_else(|| Err(internal()));
                self.settle(key, &policy, loaded)
            })
            .collect()
    }

    /// Reads a policy and puts it into the list, if its key is free.
    fn enter(&self, domain: &str, text: &Text) -> Result<Named, AddError> {
        if domain == RESERVED {
            return Err(AddError::Domain);
        }
        let Text { file, text, mode } = text;
        let read = || CheckedPolicy::read(file, text).map_err(LoadError::Refused);
        let policy = contained(read).map_err(AddError::from)?;
        let policy = Arc::new(match mode {
            Some(mode) => policy.in_mode(*mode),
            None => policy,
        });
        let key = policy.key(domain);
        let mut entries = self.entries();
        let present = entries.list.get(&key).filter(|e| !matches!(e.state, State::LoadError(_)));
        if let Some(present) = present {
            return Err(AddError::Exists { key, file: present.policy.file.clone() });
        }
        entries.last_id += 1;
        let entry =
            Entry { id: entries.last_id, policy: Arc::clone(&policy), state: State::Loading };
        entries.list.insert(key.clone(), entry);
        Ok((key, policy))
    }

    /// Puts policies in force, all that can be at one instant.
    fn load(&self, policies: &[Named]) -> Vec<Result<Added, LoadError>> {
        let refused: Vec<Option<LoadError>> =
            policies.iter().map(|(_, policy)| refusal(policy)).collect();
        let wanted: Vec<Named> = policies
            .iter()
            .zip(&refused)
            .filter(|(_, refused)| refused.is_none())
            .map(|(named, _)| named.clone())
            .collect();
        let mut loaded = self.load_contained(&wanted).into_iter();
        let result = |refused: Option<LoadError>| match refused {
            Some(error) => Err(error),
            None => loaded.next().unwrap_or_else(|| Err(internal())),
        };
        refused.into_iter().map(result).collect()
    }

    /// A bug that a policy brings to light is told of that policy only.
    fn load_contained(&self, policies: &[Named]) -> Vec<Result<Added, LoadError>> {
        if policies.is_empty() {
            // The loader would get ready, with megabytes of types, for nothing.
            return Vec::new();
        }
        match (contained(|| Ok(self.loader().add(policies))), policies) {
            (Ok(results), _) => results,
            (Err(bug), [_]) => vec![Err(bug)],
            (Err(_), _) => policies.chunks(1).flat_map(|one| self.load_contained(one)).collect(),
        }
    }

    /// Notes what became of a policy.
    fn settle(
        &self,
        key: PolicyKey,
        policy: &CheckedPolicy,
        loaded: Result<Added, LoadError>,
    ) -> Result<PolicyKey, AddError> {
        let mut entries = self.entries();
        let entry = entries.list.get_mut(&key);
        match loaded {
            Ok(added) => {
                tell(&key, policy, &added);
                if let Some(entry) = entry {
                    entry.state = State::Enabled(added.hooks);
                }
                Ok(key)
            }
            Err(error) => {
                if let Some(entry) = entry {
                    entry.state = State::LoadError(error.to_string());
                }
                Err(error.into())
            }
        }
    }

    /// Takes a policy out of force and out of the list.
    ///
    /// # Errors
    /// If it could not be taken out of force, it is in the list, with the reason.
    pub fn delete(&self, key: &PolicyKey) -> Result<(), DeleteError> {
        {
            let mut entries = self.entries();
            let hint = entries.elsewhere(key);
            let Some(entry) = entries.list.get_mut(key) else {
                return Err(DeleteError::Missing { key: key.clone(), hint });
            };
            if matches!(entry.state, State::Loading | State::Unloading) {
                return Err(DeleteError::Busy(key.clone()));
            }
            entry.state = State::Unloading;
        }
        let removed = contained(|| self.loader().remove(key));
        let mut entries = self.entries();
        match removed {
            Ok(()) => {
                entries.list.remove(key);
                drop(entries);
                tracing::info!(policy = shown(key), domain = key.domain, "the policy was deleted");
                let forgotten = self.records(&key.domain).map(|records| records.remove(key));
                forgotten.transpose().map(drop).map_err(DeleteError::Record)
            }
            Err(error) => {
                if let Some(entry) = entries.list.get_mut(key) {
                    entry.state = State::Error(error.to_string());
                }
                Err(DeleteError::Load(error))
            }
        }
    }

    /// Changes the mode of a policy in force, for all its hooks at one instant.
    ///
    /// # Errors
    /// There is no such policy in force, or it has no enforcing actions.
    pub fn set_mode(&self, key: &PolicyKey, mode: Mode) -> Result<(), DeleteError> {
        let missing =
            || DeleteError::Missing { key: key.clone(), hint: self.entries().elsewhere(key) };
        if !self.entries().list.contains_key(key) {
            return Err(missing());
        }
        match contained(|| self.loader().set_mode(key, mode)).map_err(DeleteError::Load)? {
            true => {
                tracing::info!(policy = shown(key), domain = key.domain, ?mode, "the mode was set");
                self.store_mode(key, mode).map_err(DeleteError::Record)
            }
            false => Err(missing()),
        }
    }

    /// Has the policy in this mode after the next start too, if it is stored.
    fn store_mode(&self, key: &PolicyKey, mode: Mode) -> Result<(), RecordError> {
        let Some(records) = self.records(&key.domain) else { return Ok(()) };
        let Some(record) = records.read(key)? else { return Ok(()) };
        records.write(key, &Record { mode: StoredMode::of(mode), ..record })
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
                let Entry { id, policy, state, .. } = entry;
                Shown { id: *id, key, policy, state, measures }.status()
            })
            .collect();
        list.sort_by_key(|status| status.id);
        list
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
}

impl From<LoadError> for AddError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Refused(problems) => Self::Refused(problems),
            other => Self::Load(other),
        }
    }
}

/// A bug that one policy brings to light must not end the agent, nor keep it from the other policies.
fn contained<T>(work: impl FnOnce() -> Result<T, LoadError>) -> Result<T, LoadError> {
    let work = std::panic::AssertUnwindSafe(work);
    std::panic::catch_unwind(work).unwrap_or_else(|_| Err(internal()))
}

fn internal() -> LoadError {
    let text = "internal error: please report it with the policy and the agent's log";
    LoadError::Failed(text.to_owned())
}

/// Why the policy is not to be loaded, if so.
fn refusal(policy: &CheckedPolicy) -> Option<LoadError> {
    let list = effects::refused(policy);
    let problems = Problems { file: policy.file.clone(), list, omitted: 0 };
    (!problems.list.is_empty()).then_some(LoadError::Refused(problems))
}

/// Logs that a policy is in force, and what is worth knowing of it.
fn tell(key: &PolicyKey, policy: &CheckedPolicy, added: &Added) {
    for note in &added.notes {
        tracing::warn!("policy {}: {}", shown(key), note.line(&policy.file));
    }
    for told in effects::not_judged(policy) {
        tracing::warn!("policy {}: {told}", shown(key));
    }
    tracing::info!(
        policy = shown(key),
        domain = key.domain,
        places = added.hooks.iter().sum::<usize>(),
        "the policy is in force"
    );
}

impl Entries {
    /// What to tell of policies of the same name with another key, or of a similar name.
    fn elsewhere(&self, key: &PolicyKey) -> String {
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
