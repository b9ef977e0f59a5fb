//! Policies in the kernel, and what reads their records.
//!
//! Whoever loads policies and the pipeline thread share this. What loading needs, above all the kernel's
//! types, which take megabytes, is there only while there are policies, and a while longer: records of
//! the last one may be under way.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use compiler::base::Base;
use compiler::counters::Counters;
use compiler::keep::{Earlier, Keep};
use compiler::policies::{self, Policies};
use compiler::{Decoder, Machine};
use kernel::features::Feature;
use policy::checked::{Hook, Mode};
use policy::{CheckedPolicy, PolicyKey};

use super::earlier::Earliers;
use super::mappings::{Told, Watch};
use super::plan;
use crate::config::PolicyFiles;
use crate::policies::{Added, BySelector, LoadError, Loader, Measures, Named};
use crate::requests::{self, Requests};

/// How long what loading needs is kept without policies. In this time all that the last one wrote has
/// been read.
const KEPT: Duration = Duration::from_secs(10);

/// What is shared.
pub(super) struct KernelPolicies {
    /// `--btf`.
    pub(super) btf_file: Option<PathBuf>,
    /// `--allow-degraded-enforcement`.
    allow_degraded: bool,
    /// `--disable-kprobe-multi`.
    disable_kprobe_multi: bool,
    /// Where what is to stay in force is pinned.
    pins: Option<PathBuf>,
    /// What agents before this one left in force.
    pub(super) earlier: Earliers,
    /// What policies ask of the network.
    requests: Arc<Requests>,
    /// Takes what is told of executable mappings.
    mappings: SyncSender<Told>,
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
    policies: Policies,
    /// Tells of executable mappings, while one of them asks for that.
    watch: Option<Watch>,
    /// Keeps them in force when the agent ends.
    keep: Option<Keep>,
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
    /// `pins`: where what is to stay in force when the agent ends is pinned.
    pub(super) fn new(
        btf_file: Option<PathBuf>,
        files: &PolicyFiles,
        pins: Option<PathBuf>,
        earlier: Vec<Earlier>,
        requests: Arc<Requests>,
        mappings: SyncSender<Told>,
    ) -> Self {
        let earlier = Earliers::new(earlier);
        let (state, decoder) = Default::default();
        let PolicyFiles { allow_degraded, disable_kprobe_multi, .. } = *files;
        Self {
            btf_file,
            allow_degraded,
            disable_kprobe_multi,
            pins,
            earlier,
            requests,
            mappings,
            state,
            decoder,
        }
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
        self.earlier.end_due();
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
            let machine = Machine::running(Arc::new(btf));
            if self.disable_kprobe_multi {
                machine.features.forgo(Feature::KprobeMulti, "--disable-kprobe-multi");
            }
            let mut policies =
                Policies::new(Arc::new(machine), base).map_err(|error| failed(&error))?;
            if !self.allow_degraded {
                policies.refuse_degraded();
            }
            let keep = match &self.pins {
                Some(dir) => {
                    // Another name each time: no two agents, and no two of one, share a directory.
                    let since = kernel::clock::since_boot().as_nanos();
                    let keep = Keep::open(dir, &format!("{}-{since}", std::process::id()))
                        .map_err(|error| failed(&error))?;
                    policies.keep(keep.clone(), base).map_err(|error| failed(&error))?;
                    Some(keep)
                }
                None => None,
            };
            let decoder = policies.decoder();
            *self.decoder.lock().unwrap_or_else(PoisonError::into_inner) = Some(decoder);
            state.in_force = Some(InForce { policies, watch: None, keep, idle: None });
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

    /// Remembers what policies counted that are about to go.
    fn depart(&mut self, goes: impl Fn(&PolicyKey) -> bool) {
        match self.in_force.as_ref().map(InForce::measures) {
            Some(Ok(all)) => self.departed.extend(all.into_iter().filter(|(key, _)| goes(key))),
            Some(Err(error)) => {
                tracing::warn!(%error, "cannot read the last counters of policies");
            }
            None => {}
        }
    }
}

impl InForce {
    /// What was counted; not the memory and what each selector did, which takes longer to find out.
    fn measures(&self) -> Result<HashMap<PolicyKey, Measures>, compiler::Error> {
        let counters = self.policies.all_counters()?.into_iter();
        let measures = counters.map(|(key, counters)| {
            let measures = Measures {
                done: counters.total(),
                mode: self.policies.mode(&key),
                lost: counters.lost,
                no_memory: counters.no_scratch + counters.no_call,
                ..Measures::default()
            };
            (key, measures)
        });
        Ok(measures.collect())
    }

    fn all_measures(
        &self,
        requests: &Requests,
    ) -> Result<HashMap<PolicyKey, Measures>, compiler::Error> {
        let mut all = self.measures()?;
        for (key, measures) in &mut all {
            measures.memory = self.policies.memory_bytes(key)?.unwrap_or(0);
            measures.by_selector = self.by_selector(key)?;
            measures.missed_notifications = self.policies.missed_notifications(key)?;
            if let Some(plan) = self.policies.plan(key) {
                measures.requests = requests.counters(&plan.policy);
                measures.effects =
                    plan.policy.hooks.iter().map(|hook| plan.effects(hook)).collect();
                measures.ways = plan.policy.hooks.iter().map(|hook| plan.ways(hook)).collect();
            }
        }
        Ok(all)
    }

    /// What was done for each hook of a policy, those that its lists stand for together.
    fn by_selector(&self, key: &PolicyKey) -> Result<BySelector, compiler::Error> {
        let Some(plan) = self.policies.plan(key) else { return Ok(Vec::new()) };
        let counters = self.policies.counters(key)?.unwrap_or_default();
        let mut all = vec![Counters::default(); plan.policy.hooks.len()];
        for (planned, counters) in plan.hooks.iter().zip(&counters) {
            let mut hooks = plan.policy.hooks.iter();
            if let Some(index) = hooks.position(|hook| hook.place == planned.place) {
                all[index] += counters;
            }
        }
        Ok(all.into_iter().map(|counters| counters.done).collect())
    }

    /// Places that each hook of a policy is attached to.
    fn places(&self, key: &PolicyKey, policy: &CheckedPolicy) -> Vec<usize> {
        let planned = self.policies.plan(key).map(|plan| &plan.hooks[..]).unwrap_or_default();
        let places = |hook: &Hook| planned.iter().filter(|plan| plan.place == hook.place).count();
        policy.hooks.iter().map(places).collect()
    }

    /// After a change: whether nothing is in force, and whether executable mappings are still asked for.
    fn note_change(&mut self) {
        let loader = |key| self.policies.plan(key).is_some_and(|plan| plan.policy.loader.is_some());
        if !self.policies.keys().any(loader) {
            self.watch = None;
        }
        let empty = self.policies.keys().next().is_none();
        self.idle = empty.then(Instant::now);
    }
}

/// Loads policies.
pub(super) struct KernelLoader(pub(super) Arc<KernelPolicies>);

impl Loader for KernelLoader {
    fn add(&mut self, policies: &[Named]) -> Vec<Result<Added, LoadError>> {
        let mut state = self.0.lock();
        let in_force = match self.0.in_force(&mut state) {
            Ok(in_force) => in_force,
            Err(error) => return policies.iter().map(|_| Err(error.clone())).collect(),
        };
        let asks = |(_, policy): &&Named| policy.loader.is_some();
        let mut failed = None;
        if in_force.watch.is_none() && policies.iter().any(|named| asks(&named)) {
            match Watch::begin(self.0.mappings.clone()) {
                Ok(watch) => in_force.watch = Some(watch),
                Err(error) => failed = Some(format!("loader: {error}")),
            }
        }
        let wanted = policies.iter().filter(|named| failed.is_none() || !asks(named));
        let results = in_force.policies.add_all(wanted.cloned().collect());
        in_force.note_change();
        let mut results: HashMap<_, _> = results.into_iter().collect();
        let outcome = |(key, policy): &Named| match results.remove(key) {
            None => Err(LoadError::Failed(failed.clone().unwrap_or_default())),
            Some(result) => match result {
                Ok(policies::Added { mut notes, .. }) => {
                    if !self.0.requests.are_sent() {
                        notes.extend(requests::not_sent(policy));
                    }
                    Ok(Added { hooks: in_force.places(key, policy), notes })
                }
                Err(policies::AddError::Plan(problems)) => Err(LoadError::Refused(problems)),
                Err(policies::AddError::Load(error)) => Err(LoadError::Failed(error.to_string())),
            },
        };
        policies.iter().map(outcome).collect()
    }

    fn remove(&mut self, key: &PolicyKey) -> Result<(), LoadError> {
        self.0.earlier.end();
        let mut state = self.0.lock();
        state.depart(|departing| departing == key);
        let Some(in_force) = &mut state.in_force else { return Ok(()) };
        let removed = in_force.policies.remove(key);
        in_force.note_change();
        removed.map(|_| ()).map_err(|error| LoadError::Failed(error.to_string()))
    }

    fn set_mode(&mut self, key: &PolicyKey, mode: Mode) -> Result<bool, LoadError> {
        self.0.earlier.end();
        let mut state = self.0.lock();
        let Some(in_force) = &mut state.in_force else { return Ok(false) };
        let set = in_force.policies.set_mode(key, mode);
        set.map_err(|error| LoadError::Failed(error.to_string()))
    }

    fn measures(&mut self) -> HashMap<PolicyKey, Measures> {
        let state = self.0.lock();
        let Some(in_force) = &state.in_force else { return HashMap::new() };
        in_force.all_measures(&self.0.requests).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the counters of policies");
            HashMap::new()
        })
    }

    fn close(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.depart(|_| true);
        if let Some(InForce { keep: Some(keep), policies, .. }) = &state.in_force {
            let policies = policies.keys().count();
            if policies > 0 {
                keep.leave();
                tracing::info!(policies, "policies stay in force without the agent");
            }
        }
        state.close();
    }
}
