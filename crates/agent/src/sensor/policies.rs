//! Policies in the kernel, and what reads their records.
//!
//! Whoever loads policies and the pipeline thread share this. What loading needs, above all the kernel's
//! types, which take megabytes, is there only while there are policies, and a while longer: records of
//! the last one may be under way.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use compiler::base::Base;
use compiler::plan::Plan;
use compiler::policies::Policies;
use compiler::{Decoder, Machine};
use policy::{CheckedPolicy, PolicyKey};

use super::plan;
use crate::policies::{Added, LoadError, Loader, Measures};

/// How long what loading needs is kept without policies. In this time all that the last one wrote has
/// been read.
const KEPT: Duration = Duration::from_secs(10);

/// What is shared.
#[derive(Default)]
pub(super) struct KernelPolicies {
    /// `--btf`.
    pub(super) btf_file: Option<PathBuf>,
    state: Mutex<State>,
    /// A decoder for the pipeline thread, which takes it before it reads the first record.
    decoder: Mutex<Option<Decoder>>,
}

#[derive(Default)]
struct State {
    base: Option<Arc<Base>>,
    closed: bool,
    in_force: Option<InForce>,
    /// What was last measured of policies that are no more in force; not taken in yet.
    departed: Vec<(PolicyKey, Measures)>,
    /// Times that the kernel did not run programs, of those before.
    missed_runs: u64,
}

struct InForce {
    machine: Arc<Machine>,
    policies: Policies,
    /// Since when there has been no policy.
    idle: Option<Instant>,
}

/// What the pipeline takes in now and then.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) departed: Vec<(PolicyKey, Measures)>,
    pub(super) measures: HashMap<PolicyKey, Measures>,
    pub(super) missed_runs: u64,
}

impl KernelPolicies {
    pub(super) fn new(btf_file: Option<PathBuf>) -> Self {
        Self { btf_file, ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on policies can be loaded.
    pub(super) fn ready(&self, base: Arc<Base>) {
        self.lock().base = Some(base);
    }

    /// A decoder, when there is a new one.
    pub(super) fn decoder(&self) -> Option<Decoder> {
        self.decoder.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What was measured. `None` while a policy is being loaded, which can take a moment. Gives up what
    /// is not needed any more.
    pub(super) fn take(&self) -> Result<Option<Taken>, compiler::Error> {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        state.drop_idle();
        let mut taken = Taken { missed_runs: state.missed_runs, ..Taken::default() };
        if let Some(in_force) = &state.in_force {
            taken.measures = in_force.measures()?;
            taken.missed_runs += in_force.policies.missed_runs()?;
        }
        taken.departed = std::mem::take(&mut state.departed);
        Ok(Some(taken))
    }

    fn in_force<'a>(&self, state: &'a mut State) -> Result<&'a mut InForce, LoadError> {
        if state.closed {
            return Err(LoadError::NotReady("any more: the agent is stopping"));
        }
        let base = state.base.as_ref().ok_or(LoadError::NotReady("yet: the agent is starting"))?;
        if state.in_force.is_none() {
            let failed = |error: &dyn std::fmt::Display| LoadError::Failed(error.to_string());
            let btf = plan::btf(self.btf_file.as_deref()).map_err(|error| failed(&error))?;
            let machine = Arc::new(Machine::running(Arc::new(btf)));
            let policies = Policies::new(machine.clone(), base).map_err(|error| failed(&error))?;
            let decoder = policies.decoder();
            *self.decoder.lock().unwrap_or_else(PoisonError::into_inner) = Some(decoder);
            state.in_force = Some(InForce { machine, policies, idle: None });
        }
        state.in_force.as_mut().ok_or(LoadError::NotReady("now"))
    }
}

impl State {
    fn drop_idle(&mut self) {
        let due = |since: Instant| since.elapsed() >= KEPT;
        if self.in_force.as_ref().is_some_and(|kept| kept.idle.is_some_and(due)) {
            self.close();
            kernel::memory::release();
        }
    }

    /// Gives up what loading needs, with all policies.
    fn close(&mut self) {
        match self.in_force.take().map(|in_force| in_force.policies.missed_runs()) {
            Some(Ok(missed)) => self.missed_runs += missed,
            Some(Err(error)) => tracing::warn!(%error, "cannot read the last counters of programs"),
            None => {}
        }
    }

    /// Remembers what a policy counted that is about to go.
    fn departs(&mut self, key: &PolicyKey) {
        let measures = self.in_force.as_ref().map(|in_force| in_force.measure(key));
        match measures {
            Some(Ok(Some(measures))) => self.departed.push((key.clone(), measures)),
            Some(Err(error)) => {
                tracing::warn!(policy = key.name, %error, "cannot read a policy's last counters");
            }
            Some(Ok(None)) | None => {}
        }
    }
}

impl InForce {
    fn measure(&self, key: &PolicyKey) -> Result<Option<Measures>, compiler::Error> {
        let Some(hooks) = self.policies.counters(key)? else { return Ok(None) };
        let mut measures = Measures {
            memory: self.policies.memory_bytes(key)?.unwrap_or(0),
            ..Measures::default()
        };
        for counters in hooks {
            measures.posted += counters.posted;
            measures.lost += counters.lost;
            measures.no_memory += counters.no_scratch + counters.no_call;
        }
        Ok(Some(measures))
    }

    fn measures(&self) -> Result<HashMap<PolicyKey, Measures>, compiler::Error> {
        let mut all = HashMap::new();
        for key in self.policies.keys() {
            if let Some(measures) = self.measure(key)? {
                all.insert(key.clone(), measures);
            }
        }
        Ok(all)
    }

    fn note_idle(&mut self) {
        let empty = self.policies.keys().next().is_none();
        self.idle = empty.then(Instant::now);
    }
}

/// Loads policies.
pub(super) struct KernelLoader(pub(super) Arc<KernelPolicies>);

impl Loader for KernelLoader {
    fn add(&mut self, key: &PolicyKey, policy: &Arc<CheckedPolicy>) -> Result<Added, LoadError> {
        let mut state = self.0.lock();
        let in_force = self.0.in_force(&mut state)?;
        let added = add(in_force, key, policy);
        in_force.note_idle();
        added
    }

    fn remove(&mut self, key: &PolicyKey) -> Result<(), LoadError> {
        let mut state = self.0.lock();
        state.departs(key);
        let Some(in_force) = &mut state.in_force else { return Ok(()) };
        let removed = in_force.policies.remove(key);
        in_force.note_idle();
        removed.map(|_| ()).map_err(|error| LoadError::Failed(error.to_string()))
    }

    fn measures(&mut self) -> HashMap<PolicyKey, Measures> {
        let state = self.0.lock();
        let Some(in_force) = &state.in_force else { return HashMap::new() };
        in_force.measures().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the counters of policies");
            HashMap::new()
        })
    }

    fn close(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        let keys: Vec<_> =
            state.in_force.iter().flat_map(|in_force| in_force.policies.keys().cloned()).collect();
        keys.iter().for_each(|key| state.departs(key));
        state.close();
    }
}

fn add(
    in_force: &mut InForce,
    key: &PolicyKey,
    policy: &Arc<CheckedPolicy>,
) -> Result<Added, LoadError> {
    let plan = Plan::new(policy.clone(), &in_force.machine).map_err(LoadError::Refused)?;
    let added = Added { hooks: plan.hooks.len(), notes: plan.notes.clone() };
    in_force
        .policies
        .add_plan(key.clone(), plan)
        .map_err(|error| LoadError::Failed(error.to_string()))?;
    Ok(added)
}
