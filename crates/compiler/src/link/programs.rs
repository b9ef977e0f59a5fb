//! The programs of all places, and how they are exchanged.
//!
//! New programs are made beside the old ones. Each place's switch ([`Head`]) then leads calls of the
//! next generation to them, and the next generation begins: one store. When no call of the old
//! generation runs any more, the switches lead there in either case, and the old programs go.

use super::attached::With;
use super::blame::blame;
use super::grace::Grace;
use super::head::{Lead, nothing};
use super::{Attached, Head, Pages, Place, SharedMaps, pack};
use crate::base::Base;
use crate::counters::Counters;
use crate::emit::map::{call, control};
use crate::emit::section::Section;
use crate::follow::Followers;
use crate::keep::Keep;
use crate::plan::Input;
use crate::{Error, Machine};
use kernel::program::Program;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

/// Places that are let go of at a time.
const AT_A_TIME: usize = 32;

/// The programs of all places.
#[derive(Debug)]
pub(crate) struct Programs {
    shared: SharedMaps,
    keep: Option<Keep>,
    grace: Grace,
    places: BTreeMap<Place, Occupied>,
    generation: u32,
    /// Places whose switches do not lead to the programs of now in every generation.
    unsettled: BTreeSet<Place>,
    /// Runs that places missed that are let go of.
    missed_runs: u64,
}

/// A place that is hooked.
#[derive(Debug)]
struct Occupied {
    head: Head,
    /// Does nothing, for when nothing is in force. It is made with the head: letting go loads no program.
    nothing: Program,
    now: InForce,
    /// What comes before the head; attached after it.
    pages: Option<Pages>,
}

/// What is in force at a place.
#[derive(Debug)]
enum InForce {
    /// Nothing: calls lead to a program that does nothing.
    Nothing,
    /// The head's own sections, and the programs that they go on to.
    Head(Vec<Attached>),
    /// Programs of which each leads to the next; at least one.
    Others(Vec<Attached>),
}

impl InForce {
    /// Where the switch has to lead; `nothing`: the place's program that does nothing.
    fn lead<'a>(&'a self, nothing: &'a Program) -> Lead<'a> {
        match self {
            Self::Nothing => Lead::To(nothing),
            Self::Head(_) => Lead::Own,
            Self::Others(programs) => {
                programs.first().map_or(Lead::Own, |first| Lead::To(first.program()))
            }
        }
    }

    /// The programs behind the switch.
    fn programs(&self) -> &[Attached] {
        match self {
            Self::Nothing => &[],
            Self::Head(programs) | Self::Others(programs) => programs,
        }
    }
}

/// A place that is to be hooked.
struct New {
    place: Place,
    sections: Vec<Section>,
    occupied: Occupied,
    /// What shall be in force there.
    next: InForce,
}

impl Occupied {
    /// The programs that are in force.
    fn in_force(&self) -> impl Iterator<Item = &Attached> {
        let own = matches!(self.now, InForce::Head(_)).then(|| self.head.own());
        own.into_iter().chain(self.now.programs())
    }
}

impl Programs {
    /// None yet.
    pub(crate) fn new(base: &Base) -> Result<Self, Error> {
        Ok(Self {
            shared: SharedMaps::create(base)?,
            keep: None,
            grace: Grace::new()?,
            places: BTreeMap::new(),
            generation: 0,
            unsettled: BTreeSet::new(),
            missed_runs: 0,
        })
    }

    /// From now on pins what is made, which stays when the agent ends.
    pub(crate) fn keep(&mut self, keep: Keep) {
        self.keep = Some(keep);
    }

    /// Puts these sections in the place of all that are at these places now, at one instant. Gives what
    /// the old programs have counted, by section.
    ///
    /// # Errors
    /// Everything is as it was.
    pub(crate) fn exchange(
        &mut self,
        wanted: BTreeMap<Place, Vec<Section>>,
        machine: &Machine,
        followers: &Followers,
    ) -> Result<Vec<(u32, Counters)>, Error> {
        self.settle()?;
        let (shared, keep) = (&self.shared, self.keep.as_ref());
        let with = With { machine, shared, followers, keep };
        let (mut changed, mut new, mut reading) = (Vec::new(), Vec::new(), Vec::new());
        self.no_clash(&wanted)?;
        for (place, sections) in wanted {
            if place.is_fixed() && !sections.is_empty() && self.places.contains_key(&place) {
                continue;
            }
            let needed = Pages::needed(&place, &sections, with);
            let known = self.places.get(&place).is_some_and(|occupied| occupied.pages.is_some());
            if known || !needed.is_empty() {
                reading.push((place.clone(), needed, sections.clone()));
            }
            let chunks = pack(sections, &place, machine, &followers.scopes)?;
            let occupied = self.places.contains_key(&place);
            let own = if occupied { None } else { chunks.first() };
            let mut programs: Vec<Attached> = Vec::new();
            // From the last to the first, since each leads to the next.
            for chunk in chunks.iter().skip(usize::from(own.is_some())).rev() {
                let program = Attached::new(&place, chunk, None, programs.first(), with)?;
                programs.insert(0, program);
            }
            if let Some(own) = own {
                let head = Head::new(&place, own, programs.first(), with)?;
                let nothing = nothing(&place, with)?;
                let occupied = Occupied { head, nothing, now: InForce::Nothing, pages: None };
                let sections = chunks.concat();
                new.push(New { place, sections, occupied, next: InForce::Head(programs) });
            } else if occupied {
                let next = match programs.is_empty() {
                    true => InForce::Nothing,
                    false => InForce::Others(programs),
                };
                changed.push((place, next));
            }
        }
        let next = self.generation.wrapping_add(1);
        let prepared = self.prepare(next, changed, new).and_then(|coming| {
            let Self { places, shared, keep, .. } = self;
            bring_in(places, reading, With { machine, shared, followers, keep: keep.as_ref() })?;
            Ok(coming)
        });
        let coming = match prepared {
            Ok(coming) => coming,
            Err(error) => {
                // What cannot be undone now is undone before the next change.
                let _ = self.settle();
                return Err(error);
            }
        };
        // Release: who sees the generation sees where its switches lead.
        let words = self.shared.control_memory.u32s();
        words[control::GENERATION as usize / 4].store(next, Ordering::Release);
        self.generation = next;
        let mut replaced = Vec::new();
        for (place, next) in coming {
            if let Some(occupied) = self.places.get_mut(&place) {
                let before = std::mem::replace(&mut occupied.now, next);
                replaced.push((place, before));
            }
        }
        // The new programs are in force; what is left is done before the next change at the latest.
        let gone = self.settle().unwrap_or_default();
        let mut counted = Vec::new();
        for (place, before) in replaced {
            let head = gone.get(&place).or_else(|| self.places.get(&place)).map(|at| at.head.own());
            let own = head.filter(|_| matches!(before, InForce::Head(_)));
            for program in before.programs().iter().chain(own) {
                counted.extend(program.counters().unwrap_or_default());
            }
        }
        let_go(gone.into_values());
        Ok(counted)
    }

    /// Refuses places of which one spoils what happens at the other.
    fn no_clash(&self, wanted: &BTreeMap<Place, Vec<Section>>) -> Result<(), Error> {
        let gone = |place: &Place| wanted.get(place).is_some_and(Vec::is_empty);
        let staying = self.places.keys().filter(|place| !gone(place));
        let coming = wanted.iter().filter(|(_, sections)| !sections.is_empty());
        let all: BTreeSet<&Place> = staying.chain(coming.map(|(place, _)| place)).collect();
        for place in all.iter().filter(|place| place.is_fixed()) {
            if let Some(other) = all.iter().find(|other| place.clashes(other)) {
                return Err(Error::Clash { place: place.to_string(), other: other.to_string() });
            }
        }
        Ok(())
    }

    /// Lets calls of the next generation lead to the new programs. Gives what will then be in force.
    fn prepare(
        &mut self,
        next: u32,
        changed: Vec<(Place, InForce)>,
        new: Vec<New>,
    ) -> Result<Vec<(Place, InForce)>, Error> {
        let mut coming = Vec::new();
        for New { place, sections, mut occupied, next: next_there } in new {
            occupied.head.lead(self.generation, &occupied.now.lead(&occupied.nothing))?;
            let attached = occupied.head.attach(&place, self.keep.as_ref());
            attached.map_err(|error| blame(&place, &sections, error))?;
            self.places.insert(place.clone(), occupied);
            self.unsettled.insert(place.clone());
            coming.push((place, next_there));
        }
        for (place, next_there) in changed {
            self.unsettled.insert(place.clone());
            if let Some(occupied) = self.places.get(&place) {
                occupied.head.lead(next, &next_there.lead(&occupied.nothing))?;
            }
            coming.push((place, next_there));
        }
        Ok(coming)
    }

    /// Lets calls lead to the programs of now in whatever generation. Places where there are none are
    /// let go of; gives them.
    fn settle(&mut self) -> Result<BTreeMap<Place, Occupied>, Error> {
        let mut gone = BTreeMap::new();
        if self.unsettled.is_empty() {
            return Ok(gone);
        }
        self.grace.wait()?;
        let other = self.generation.wrapping_add(1);
        while let Some(place) = self.unsettled.first().cloned() {
            match self.places.get(&place) {
                Some(Occupied { now: InForce::Nothing, head, .. }) => {
                    self.missed_runs += head.missed_runs().unwrap_or_default();
                    gone.extend(self.places.remove_entry(&place));
                }
                Some(occupied) => {
                    occupied.head.lead(other, &occupied.now.lead(&occupied.nothing))?
                }
                None => {}
            }
            self.unsettled.remove(&place);
        }
        Ok(gone)
    }

    /// Sets whether a policy's actions take effect, from the next match on; `number`: that of its mode.
    pub(crate) fn set_mode(&self, number: u32, enforce: bool) {
        self.shared.set_mode(number, enforce);
    }

    /// Drops what was noted of calls for these sections, of which no program is left.
    pub(crate) fn drop_calls(&self, sections: &BTreeSet<u32>) -> Result<(), Error> {
        let calls = &self.shared.calls;
        for key in calls.keys()? {
            let section = key.get(call::SECTION as usize..).and_then(|rest| rest.first_chunk());
            if section.is_some_and(|bytes| sections.contains(&u32::from_ne_bytes(*bytes))) {
                calls.delete(&key)?;
            }
        }
        Ok(())
    }

    /// What each section counted in the programs of now.
    pub(crate) fn counters(&self) -> Result<Vec<(u32, Counters)>, Error> {
        let mut all = Vec::new();
        for attached in self.places.values().flat_map(Occupied::in_force) {
            all.extend(attached.counters()?);
        }
        Ok(all)
    }

    /// Times that the kernel did not run one because it was running on that CPU already, since the
    /// start; those that are gone included.
    pub(crate) fn missed_runs(&self) -> Result<u64, Error> {
        let heads = self.places.values().map(|occupied| &occupied.head);
        heads.map(Head::missed_runs).try_fold(self.missed_runs, |sum, missed| Ok(sum + missed?))
    }

    /// Bytes of kernel memory of the places that sections have a part in, by their share.
    pub(crate) fn memory_bytes(&self, is_mine: impl Fn(u32) -> bool) -> Result<u64, Error> {
        let mut sum = 0;
        for occupied in self.places.values() {
            // The head is in memory whatever is in force; what is replaced in it is everyone's.
            let pages = occupied.pages.as_ref().map_or(Ok(0), Pages::memory_bytes)?;
            let mut head = occupied.head.memory_bytes()? + pages;
            for attached in occupied.in_force() {
                let own = std::ptr::eq(attached, occupied.head.own());
                let whole =
                    std::mem::take(&mut head) + if own { 0 } else { attached.memory_bytes()? };
                let mine = attached.numbers().filter(|number| is_mine(*number)).count();
                sum += whole * mine as u64 / attached.numbers().len() as u64;
            }
        }
        Ok(sum)
    }
}

/// Has memory brought in that the programs at these places are going to read.
fn bring_in(
    places: &mut BTreeMap<Place, Occupied>,
    reading: Vec<(Place, Vec<Input>, Vec<Section>)>,
    with: With<'_>,
) -> Result<(), Error> {
    for (place, needed, sections) in reading {
        let Some(occupied) = places.get_mut(&place) else { continue };
        let known = occupied.pages.as_ref().is_some_and(|pages| pages.reads(&needed));
        if needed.is_empty() {
            occupied.pages = None;
        } else if !known {
            occupied.pages = Pages::new(&place, needed, &sections, with)?;
        }
    }
    Ok(())
}

impl Drop for Programs {
    fn drop(&mut self) {
        let_go(std::mem::take(&mut self.places).into_values());
    }
}

/// Detaches what hangs at places. Each uprobe that goes waits until no CPU is at it any more, some 50 ms:
/// many wait at the same time.
fn let_go(places: impl Iterator<Item = Occupied>) {
    let mut shares: Vec<Vec<Occupied>> = Vec::new();
    shares.resize_with(AT_A_TIME, Vec::new);
    for (index, occupied) in places.enumerate() {
        shares[index % AT_A_TIME].push(occupied);
    }
    std::thread::scope(|scope| {
        for share in shares.into_iter().filter(|share| !share.is_empty()) {
            // Without another thread, this one drops them.
            let _ = std::thread::Builder::new().spawn_scoped(scope, move || drop(share));
        }
    });
}
