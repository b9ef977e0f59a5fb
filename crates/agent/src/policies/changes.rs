//! Changes of policies that are there: deleted, disabled, enabled, given another mode.

use std::sync::{Arc, MutexGuard};

use policy::checked::{Mode, Target};
use policy::{CheckedPolicy, PolicyKey};

use super::entries::{Entries, Entry};
use super::errors::{ChangeError, shown};
use super::loader::LoadError;
use super::records::{Record, RecordError, StoredMode};
use super::status::State;
use super::store::{Store, contained, internal};

impl Store {
    /// Takes a policy out of force and out of the list.
    ///
    /// # Errors
    /// If it could not be taken out of force, it is in the list, with the reason.
    pub fn delete(&self, key: &PolicyKey) -> Result<(), ChangeError> {
        let loaded = self.change(key, |entry| {
            let loaded = !matches!(entry.state, State::Disabled | State::Skipped);
            entry.state = State::Unloading;
            Ok(loaded)
        })?;
        let mut entries = self.unload(key, loaded)?;
        entries.list.remove(key);
        drop(entries);
        tracing::info!(policy = shown(key), domain = key.domain, "the policy was deleted");
        let forgotten = self.records(&key.domain).map(|records| records.remove(key));
        forgotten.transpose().map(drop).map_err(ChangeError::Record)
    }

    /// Takes a policy out of force and keeps it in the list. One that is disabled stays so.
    ///
    /// # Errors
    /// It is not in force; it names digests of programs; or it could not be taken out of force, and is in
    /// the list with the reason.
    pub fn disable(&self, key: &PolicyKey) -> Result<(), ChangeError> {
        let was_in_force = self.change(key, |entry| match entry.state {
            State::Disabled => Ok(false),
            State::Enabled(_) | State::Error(_) if has_digests(&entry.policy) => {
                Err("cannot be disabled: binaryDigests configured; delete it instead")
            }
            State::Enabled(_) | State::Error(_) => {
                entry.state = State::Unloading;
                Ok(true)
            }
            _ => Err("cannot be disabled: it is not in force"),
        })?;
        if was_in_force {
            let mut entries = self.unload(key, true)?;
            if let Some(entry) = entries.list.get_mut(key) {
                entry.state = State::Disabled;
            }
            drop(entries);
            tracing::info!(policy = shown(key), domain = key.domain, "the policy was disabled");
        }
        let disabled = |record| Record { enabled: false, ..record };
        self.store_change(key, disabled).map_err(ChangeError::Record)
    }

    /// Puts a disabled policy in force again, in the mode that it had. One that is in force stays so.
    ///
    /// # Errors
    /// It is neither; or it cannot be put in force, and stays disabled, with the reason.
    pub fn enable(&self, key: &PolicyKey) -> Result<(), ChangeError> {
        let disabled = self.change(key, |entry| match entry.state {
            State::Disabled => {
                entry.changing = true;
                Ok(Some(Arc::clone(&entry.policy)))
            }
            State::Enabled(_) => Ok(None),
            _ => Err("cannot be enabled: it is not disabled; delete it and add it again"),
        })?;
        if let Some(policy) = disabled {
            let named = (key.clone(), policy);
            let loaded = self.load(std::slice::from_ref(&named)).pop();
            let loaded = loaded.unwrap_or_else(|| Err(internal()));
            let mut entries = self.entries();
            let entry = entries.list.get_mut(key);
            let added = match (loaded, entry) {
                (Ok(added), Some(entry)) => {
                    entry.changing = false;
                    entry.trouble = None;
                    entry.state = State::Enabled(added.hooks.clone());
                    added
                }
                (Ok(added), None) => added,
                (Err(error), entry) => {
                    if let Some(entry) = entry {
                        entry.changing = false;
                        entry.trouble = Some(error.to_string());
                    }
                    return Err(ChangeError::Load(error));
                }
            };
            drop(entries);
            self.tell(key, &named.1, &added, false);
        }
        let enabled = |record| Record { enabled: true, ..record };
        self.store_change(key, enabled).map_err(ChangeError::Record)
    }

    /// Changes the mode of a policy in force, for all its hooks at one instant; or that in which a
    /// disabled one will be enabled.
    ///
    /// # Errors
    /// There is no such policy, or it has no enforcing actions.
    pub fn set_mode(&self, key: &PolicyKey, mode: Mode) -> Result<(), ChangeError> {
        let disabled = self.change(key, |entry| match entry.state {
            State::Disabled => Ok(true),
            State::Enabled(_) | State::Error(_) => Ok(false),
            _ => Err("is not in force: its mode cannot be set"),
        })?;
        let monitor_only = || LoadError::Failed(compiler::Error::MonitorOnly.to_string());
        if !disabled
            && !contained(|| self.loader().set_mode(key, mode)).map_err(ChangeError::Load)?
        {
            return Err(self.missing(key, &self.entries()));
        }
        if let Some(entry) = self.entries().list.get_mut(key) {
            if entry.policy.mode() == Mode::MonitorOnly {
                return Err(ChangeError::Load(monitor_only()));
            }
            // What it is put in force as when it was disabled in between.
            entry.policy = Arc::new(CheckedPolicy::clone(&entry.policy).in_mode(mode));
        }
        tracing::info!(policy = shown(key), domain = key.domain, ?mode, "the mode was set");
        let changed = |record| Record { mode: StoredMode::of(mode), ..record };
        self.store_change(key, changed).map_err(ChangeError::Record)
    }

    /// Changes an entry that nobody else is changing.
    fn change<T>(
        &self,
        key: &PolicyKey,
        change: impl FnOnce(&mut Entry) -> Result<T, &'static str>,
    ) -> Result<T, ChangeError> {
        let mut entries = self.entries();
        if !entries.list.contains_key(key) {
            return Err(self.missing(key, &entries));
        }
        match entries.list.get_mut(key) {
            Some(entry) if !entry.is_busy() => {
                change(entry).map_err(|reason| ChangeError::State { key: key.clone(), reason })
            }
            _ => Err(ChangeError::Busy(key.clone())),
        }
    }

    fn missing(&self, key: &PolicyKey, entries: &Entries) -> ChangeError {
        ChangeError::Missing { key: key.clone(), hint: entries.elsewhere(key) }
    }

    /// Takes a policy out of force, if it is loaded. If that fails its state says so.
    fn unload(
        &self,
        key: &PolicyKey,
        loaded: bool,
    ) -> Result<MutexGuard<'_, Entries>, ChangeError> {
        let removed = match loaded {
            true => contained(|| self.loader().remove(key)),
            false => Ok(()),
        };
        let mut entries = self.entries();
        if let Err(error) = removed {
            if let Some(entry) = entries.list.get_mut(key) {
                entry.state = State::Error(error.to_string());
            }
            return Err(ChangeError::Load(error));
        }
        Ok(entries)
    }

    /// Has the policy so after the next start too, if it is stored.
    fn store_change(
        &self,
        key: &PolicyKey,
        change: impl FnOnce(Record) -> Record,
    ) -> Result<(), RecordError> {
        let Some(records) = self.records(&key.domain) else { return Ok(()) };
        let Some(record) = records.read(key)? else { return Ok(()) };
        records.write(key, &change(record))
    }
}

/// Whether programs are verified when the policy is put in force, which another time might end otherwise.
fn has_digests(policy: &CheckedPolicy) -> bool {
    policy.hooks.iter().any(|hook| match &hook.target {
        Target::Uprobe(program) => !program.digests.is_empty(),
        _ => false,
    })
}
