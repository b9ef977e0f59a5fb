//! The policies in force.
//!
//! Adding, replacing or removing a policy builds new programs for the places that it touches, beside
//! the old ones and without effect. Then all calls that begin go to the new ones: all hooks start,
//! change or end at one instant, and each call is seen by the policies of one instant. Only then do
//! the old programs go. A policy that cannot be loaded changes nothing.
//!
//! Calls that a replaced policy has seen begin are still seen to return, if they do within a minute.

use crate::admission::{admit, enforceable};
use crate::base::Base;
use crate::counters::Counters;
use crate::decode::{Announced, Decoder, Registry};
use crate::emit::section::{Role, Section};
use crate::follow::Followers;
pub use crate::follow::enforcers::Missed;
use crate::keep::{Keep, Pin};
use crate::link::{Place, Programs, enforcer_places, places};
use crate::lint;
use crate::modes::Modes;
use crate::plan::Plan;
use crate::{Error, Machine, protect};
use policy::checked::Mode;
use policy::evaluate::Workload;
use policy::{CheckedPolicy, PolicyKey, Problem, Problems};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How long the records of a removed policy can still be read.
const RETIRED: Duration = Duration::from_secs(60);

/// Why a policy was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// What it says cannot be had on this machine.
    #[error("{0}")]
    Plan(#[from] Problems),
    /// Its programs could not be put in place.
    #[error("{0}")]
    Load(#[from] Error),
}

/// A policy that was added.
#[derive(Debug)]
pub struct Added {
    /// What is worth knowing.
    pub notes: Vec<Problem>,
    /// Hooks, lists expanded.
    pub hooks: usize,
}

impl Added {
    fn of(plan: &Plan, machine: &Machine) -> Self {
        let mut notes = plan.notes.clone();
        notes.extend(plan.not_enforced());
        notes.extend(lint::lints(plan, &machine.btf));
        Self { notes, hooks: plan.hooks.len() }
    }
}

/// The policies in force.
#[derive(Debug)]
pub struct Policies {
    machine: Arc<Machine>,
    followers: Followers,
    loaded: BTreeMap<PolicyKey, Loaded>,
    programs: Programs,
    leaving: Vec<Leaving>,
    registry: Registry,
    /// The last number given to a section.
    numbers: u32,
    modes: Modes,
    allow_degraded: bool,
    /// What sections counted in programs that were since replaced.
    counted: HashMap<u32, Counters>,
    retired: VecDeque<(Instant, u32)>,
    keep: Option<Kept>,
}

/// Where what outlives the agent is pinned, and the base programs there.
#[derive(Debug)]
struct Kept {
    keep: Keep,
    _base: Vec<Pin>,
}

/// The return of a policy that was replaced, for calls that were under way.
#[derive(Debug, Clone)]
struct Leaving {
    since: Instant,
    place: Place,
    section: Section,
}

impl Leaving {
    fn pair(&self) -> (&Place, &Section) {
        (&self.place, &self.section)
    }
}

#[derive(Debug)]
struct Loaded {
    plan: Plan,
    /// Number of its mode, and the mode.
    mode: (u32, Mode),
    sections: Vec<(Place, Section)>,
}

impl Policies {
    /// No policies yet; they will be made for `machine`, whose base programs these are.
    pub fn new(machine: Arc<Machine>, base: &Base) -> Result<Self, Error> {
        Ok(Self {
            followers: Followers::new(machine.clone(), base)?,
            machine,
            loaded: BTreeMap::new(),
            programs: Programs::new(base)?,
            leaving: Vec::new(),
            registry: Registry::default(),
            numbers: 0,
            modes: Modes::default(),
            allow_degraded: true,
            counted: HashMap::new(),
            retired: VecDeque::new(),
            keep: None,
        })
    }

    /// From now on what is put in force stays so when the agent ends, however it ends: it is pinned. What
    /// is taken out of force is not left, nor is anything when this is dropped, but after
    /// [`Keep::leave`]. To be called before policies are added.
    ///
    /// # Errors
    /// The base programs cannot be pinned.
    pub fn keep(&mut self, keep: Keep, base: &Base) -> Result<(), Error> {
        let kept = Kept { _base: base.pin(&keep)?, keep: keep.clone() };
        self.followers.keep(keep.clone());
        self.programs.keep(keep);
        self.keep = Some(kept);
        Ok(())
    }

    /// From now on refuses policies, in [`Self::add`] and [`Self::add_all`], that are to enforce what cannot
    /// be enforced on this kernel, unless they say themselves that it is all right.
    pub fn refuse_degraded(&mut self) {
        self.allow_degraded = false;
    }

    fn plan_for(&self, policy: Arc<CheckedPolicy>) -> Result<Plan, Problems> {
        let plan = Plan::new(policy, &self.machine)?;
        admit(&plan, self.allow_degraded)?;
        Ok(plan)
    }

    /// Reads what the programs write.
    pub fn decoder(&self) -> Decoder {
        Decoder::new(self.registry.clone())
    }

    /// The policies in force.
    pub fn keys(&self) -> impl Iterator<Item = &PolicyKey> {
        self.loaded.keys()
    }

    /// The plan of a policy in force.
    pub fn plan(&self, key: &PolicyKey) -> Option<&Plan> {
        self.loaded.get(key).map(|loaded| &loaded.plan)
    }

    /// Puts a policy in force, all its hooks or none; in the place of the one of the same key, if
    /// there is one, without a gap.
    ///
    /// # Errors
    /// What was in force stays so.
    pub fn add(&mut self, key: PolicyKey, policy: Arc<CheckedPolicy>) -> Result<Added, AddError> {
        let plan = self.plan_for(policy)?;
        let added = Added::of(&plan, &self.machine);
        self.add_plan(key, plan)?;
        Ok(added)
    }

    /// The same for a policy that is planned already, for the machine of [`Self::new`].
    ///
    /// # Errors
    /// What was in force stays so.
    pub fn add_plan(&mut self, key: PolicyKey, plan: Plan) -> Result<(), Error> {
        let loaded = self.number(&key, plan)?;
        let (numbers, (mode, _)) = (numbers(&loaded), loaded.mode);
        let changed = self.change(BTreeMap::from([(key, Some(loaded))]));
        if changed.is_err() {
            self.retire(numbers);
            self.modes.give_back(mode);
        }
        changed
    }

    /// Puts many policies in force at one instant; those that cannot be are left out and told why.
    /// Much faster than one after the other when they share places.
    pub fn add_all(
        &mut self,
        policies: Vec<(PolicyKey, Arc<CheckedPolicy>)>,
    ) -> Vec<(PolicyKey, Result<Added, AddError>)> {
        let mut results = Vec::new();
        let mut planned = Vec::new();
        for (key, policy) in policies {
            match self.plan_for(policy) {
                Ok(plan) => {
                    let added = Added::of(&plan, &self.machine);
                    results.push((key.clone(), Ok(added)));
                    planned.push((key, plan));
                }
                Err(problems) => results.push((key, Err(AddError::Plan(problems)))),
            }
        }
        let mut changes = BTreeMap::new();
        for (key, plan) in &planned {
            // Without a number here there is none below either, which is where it is told.
            if let Ok(loaded) = self.number(key, plan.clone()) {
                changes.insert(key.clone(), Some(loaded));
            }
        }
        let all = changes.len() == planned.len();
        let numbers: Vec<u32> = changes.values().flatten().flat_map(numbers).collect();
        let modes: Vec<u32> = changes.values().flatten().map(|loaded| loaded.mode.0).collect();
        if all && self.change(changes).is_ok() {
            return results;
        }
        // One of them spoils it for all: find out which.
        self.retire(numbers);
        modes.into_iter().for_each(|mode| self.modes.give_back(mode));
        for (key, plan) in planned {
            if let Err(error) = self.add_plan(key.clone(), plan) {
                let result = results.iter_mut().find(|(of, _)| *of == key);
                if let Some((_, result)) = result {
                    *result = Err(AddError::Load(error));
                }
            }
        }
        results
    }

    /// Gives the hooks of a plan their numbers in records.
    fn number(&mut self, key: &PolicyKey, plan: Plan) -> Result<Loaded, Error> {
        let number = self.modes.take(RETIRED).ok_or(Error::TooManyPolicies)?;
        let mode = plan.mode();
        self.programs.set_mode(number, mode == Mode::Enforce);
        let mut sections = Vec::new();
        let hooks = plan.hooks.iter().map(|hook| (hook, places(hook)));
        let calls = plan.enforcers.iter().map(|call| (call, enforcer_places(call)));
        for (hook, places) in hooks.chain(calls) {
            self.numbers += 1;
            let announced = Announced {
                policy: plan.policy.clone(),
                hook: hook.clone(),
                awaits: places.iter().any(|(_, role)| *role == Role::Return),
            };
            self.announce(self.numbers, announced);
            for (place, role) in places {
                let (policy, hook) = ((key, plan.policy.clone()), hook.clone());
                let section = Section::new(self.numbers, policy, hook, role, number);
                sections.push((place, section));
            }
        }
        Ok(Loaded { plan, mode: (number, mode), sections })
    }

    /// The mode of a policy in force.
    pub fn mode(&self, key: &PolicyKey) -> Option<Mode> {
        self.loaded.get(key).map(|loaded| loaded.mode.1)
    }

    /// Changes the mode of a policy in force, for all its hooks at one instant. False: there is no
    /// policy of that key.
    ///
    /// # Errors
    /// [`Error::MonitorOnly`] for a policy without enforcing actions.
    pub fn set_mode(&mut self, key: &PolicyKey, mode: Mode) -> Result<bool, Error> {
        let Some(loaded) = self.loaded.get_mut(key) else { return Ok(false) };
        if loaded.mode.1 == Mode::MonitorOnly || mode == Mode::MonitorOnly {
            return Err(Error::MonitorOnly);
        }
        if mode == Mode::Enforce {
            protect::check(&loaded.plan).map_err(Error::NotEnforced)?;
            enforceable(&loaded.plan, self.allow_degraded).map_err(Error::NotEnforced)?;
        }
        loaded.mode.1 = mode;
        self.programs.set_mode(loaded.mode.0, mode == Mode::Enforce);
        Ok(true)
    }

    /// Takes a policy out of force. False: there is none of that key.
    ///
    /// # Errors
    /// What was in force stays so.
    pub fn remove(&mut self, key: &PolicyKey) -> Result<bool, Error> {
        if !self.loaded.contains_key(key) {
            return Ok(false);
        }
        self.change(BTreeMap::from([(key.clone(), None)]))?;
        Ok(true)
    }

    /// What a policy's hooks counted since it was added, in the order of [`Plan::hooks`].
    pub fn counters(&self, key: &PolicyKey) -> Result<Option<Vec<Counters>>, Error> {
        let Some(loaded) = self.loaded.get(key) else { return Ok(None) };
        let sums = self.sums()?;
        // Calls of enforcers come after the hooks.
        let numbers = numbers(loaded).into_iter().take(loaded.plan.hooks.len());
        Ok(Some(numbers.map(|n| sums.get(&n).cloned().unwrap_or_default()).collect()))
    }

    /// What a policy's enforcer was told since it was added and did not act upon.
    pub fn missed_notifications(&self, key: &PolicyKey) -> Result<Vec<Missed>, Error> {
        self.followers.missed(key)
    }

    /// What the hooks of each policy counted together since it was added.
    pub fn all_counters(&self) -> Result<HashMap<PolicyKey, Counters>, Error> {
        let sums = self.sums()?;
        let together = |loaded: &Loaded| {
            let mut sum = Counters::default();
            numbers(loaded).iter().filter_map(|n| sums.get(n)).for_each(|one| sum += one);
            sum
        };
        Ok(self.loaded.iter().map(|(key, loaded)| (key.clone(), together(loaded))).collect())
    }

    /// What each section counted, by its number.
    fn sums(&self) -> Result<HashMap<u32, Counters>, Error> {
        let mut sums = self.counted.clone();
        for (number, counters) in self.programs.counters()? {
            *sums.entry(number).or_default() += &counters;
        }
        Ok(sums)
    }

    /// Says what workload a cgroup belongs to, by its id in the hierarchy of the base programs; policies
    /// that are restricted to workloads go by that from now on. Cgroups that are made below it later
    /// belong there too, and are forgotten when they are gone; those that are there already have to be
    /// said each. Of a cgroup of which nothing is said the host is assumed: say [`Workload::Unknown`] of
    /// a container of which no more is known.
    ///
    /// # Errors
    /// The kernel refused a map's element, or a program the first time.
    pub fn set_workload(&mut self, cgroup: u64, workload: &Workload) -> Result<(), Error> {
        self.followers.set_workload(cgroup, workload)
    }

    /// Records of processes and cgroups that filters ask for and that could not be kept, since the start:
    /// for want of memory, or of room in a table. Of those processes the filters do not hold.
    pub fn lost_records(&self) -> Result<u64, Error> {
        self.followers.lost()
    }

    /// Times that the kernel did not run one of the programs because it was running on that CPU.
    pub fn missed_runs(&self) -> Result<u64, Error> {
        self.programs.missed_runs()
    }

    /// Bytes of kernel memory of the programs that a policy has a part in; shared ones by its share.
    pub fn memory_bytes(&self, key: &PolicyKey) -> Result<Option<u64>, Error> {
        let Some(loaded) = self.loaded.get(key) else { return Ok(None) };
        let mine = numbers(loaded);
        Ok(Some(self.programs.memory_bytes(|number| mine.contains(&number))?))
    }

    fn announce(&self, number: u32, announced: Announced) {
        let mut registry = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        registry.insert(number, Arc::new(announced));
    }

    /// Forgets sections, but not before their last records have been read.
    fn retire(&mut self, numbers: impl IntoIterator<Item = u32>) {
        let now = Instant::now();
        self.retired.extend(numbers.into_iter().map(|number| (now, number)));
        let mut registry = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        while let Some((_, number)) =
            self.retired.pop_front_if(|(since, _)| now.duration_since(*since) > RETIRED)
        {
            registry.remove(&number);
            self.counted.remove(&number);
        }
    }

    /// Replaces what is in force for some keys. What is kept of processes is there before it is needed.
    fn change(&mut self, changes: BTreeMap<PolicyKey, Option<Loaded>>) -> Result<(), Error> {
        let new = changes.values().flatten().flat_map(|loaded| &loaded.sections);
        let changed = match self.followers.follow(new.map(|(_, section)| section)) {
            Ok(()) => self.exchange(changes),
            Err(error) => Err(error),
        };
        let all = self.loaded.values().flat_map(|loaded| &loaded.sections);
        let all = all.map(|(_, section)| section);
        let leaving = self.leaving.iter().map(|leaving| &leaving.section);
        self.followers.keep_only(all.chain(leaving));
        changed
    }

    /// Exchanges the programs of all places that the changes are about.
    fn exchange(&mut self, mut changes: BTreeMap<PolicyKey, Option<Loaded>>) -> Result<(), Error> {
        let now = Instant::now();
        let expired = self.retired.iter().filter(|(since, _)| now.duration_since(*since) > RETIRED);
        let expired: BTreeSet<u32> = expired.map(|(_, number)| *number).collect();
        if !expired.is_empty() {
            self.programs.drop_calls(&expired)?;
        }
        let over = |leaving: &Leaving| now.duration_since(leaving.since) > RETIRED;
        let old = changes.keys().filter_map(|key| self.loaded.get(key));
        let new = changes.values().flatten();
        let ended = self.leaving.iter().filter(|leaving| over(leaving));
        let affected: BTreeSet<Place> = old
            .chain(new)
            .flat_map(|loaded| &loaded.sections)
            .map(|(place, _)| place)
            .chain(ended.map(|leaving| &leaving.place))
            .cloned()
            .collect();
        let mut leaving: Vec<Leaving> =
            self.leaving.iter().filter(|leaving| !over(leaving)).cloned().collect();
        for (key, new) in &changes {
            // Calls that the old policy has noted are still to be seen to return; not so when it is
            // removed.
            let (Some(_), Some(old)) = (new, self.loaded.get(key)) else { continue };
            for (place, section) in &old.sections {
                if section.role == Role::Return {
                    let (place, section) = (place.clone(), section.clone());
                    leaving.push(Leaving { since: now, place, section });
                }
            }
        }
        let mut wanted: BTreeMap<Place, Vec<Section>> =
            affected.into_iter().map(|place| (place, Vec::new())).collect();
        let staying = self.loaded.iter().filter(|(key, _)| !changes.contains_key(key));
        let sections = staying
            .map(|(_, loaded)| loaded)
            .chain(changes.values().flatten())
            .flat_map(|loaded| &loaded.sections)
            .map(|(place, section)| (place, section));
        for (place, section) in sections.chain(leaving.iter().map(Leaving::pair)) {
            if let Some(here) = wanted.get_mut(place)
                && !here.iter().any(|other| section.repeats(other))
            {
                here.push(section.clone());
            }
        }
        for (number, counters) in self.programs.exchange(wanted, &self.machine, &self.followers)? {
            *self.counted.entry(number).or_default() += &counters;
        }
        self.leaving = leaving;
        let old = changes.keys().filter_map(|key| self.loaded.get(key));
        let old: Vec<&Loaded> = old.collect();
        let modes: Vec<u32> = old.iter().map(|loaded| loaded.mode.0).collect();
        let retired: BTreeSet<u32> = old.into_iter().flat_map(numbers).collect();
        while let Some((key, new)) = changes.pop_first() {
            if let Some(Kept { keep, .. }) = &self.keep {
                keep.note(&key, new.is_some());
            }
            match new {
                Some(new) => self.loaded.insert(key, new),
                None => self.loaded.remove(&key),
            };
        }
        self.retire(retired);
        modes.into_iter().for_each(|mode| self.modes.give_back(mode));
        Ok(())
    }
}

fn numbers(loaded: &Loaded) -> BTreeSet<u32> {
    loaded.sections.iter().map(|(_, section)| section.number).collect()
}
