//! The programs of all places, and how they are exchanged.
//!
//! New programs are made beside the old ones. Each place's switch ([`Switch`]) then leads calls of the
//! next generation to them, and the next generation begins: one store. When no call of the old
//! generation runs any more, the switches lead there in either case, and the old programs go.

use super::grace::Grace;
use super::{Attached, Place, SharedMaps, Switch, pack};
use crate::base::Base;
use crate::emit::map::{call, control};
use crate::emit::section::Section;
use crate::follow::Followers;
use crate::link::attached::Counters;
use crate::{Error, Machine};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

/// The programs of all places.
#[derive(Debug)]
pub(crate) struct Programs {
    shared: SharedMaps,
    grace: Grace,
    places: BTreeMap<Place, Occupied>,
    generation: u32,
    /// Places whose switches do not lead to the programs of now in every generation.
    unsettled: BTreeSet<Place>,
}

/// A place that is hooked.
#[derive(Debug)]
struct Occupied {
    switch: Switch,
    /// The programs, of which each leads to the next; none yet when the place is new.
    programs: Vec<Attached>,
}

impl Programs {
    /// None yet.
    pub(crate) fn new(base: &Base) -> Result<Self, Error> {
        Ok(Self {
            shared: SharedMaps::create(base)?,
            grace: Grace::new()?,
            places: BTreeMap::new(),
            generation: 0,
            unsettled: BTreeSet::new(),
        })
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
        let mut made = Vec::new();
        for (place, sections) in wanted {
            let chunks = pack(sections, &place, machine, &followers.scopes)?;
            let mut programs: Vec<Attached> = Vec::new();
            // From the last to the first, since each leads to the next.
            for chunk in chunks.iter().rev() {
                let next = programs.first();
                let program = Attached::new(&place, chunk, next, machine, &self.shared, followers)?;
                programs.insert(0, program);
            }
            made.push((place, programs));
        }
        let next = self.generation.wrapping_add(1);
        self.unsettled.extend(made.iter().map(|(place, _)| place.clone()));
        if let Err(error) = self.prepare(next, &made, machine) {
            // What cannot be undone now is undone before the next change.
            let _ = self.settle();
            return Err(error);
        }
        // Release: who sees the generation sees where its switches lead.
        let words = self.shared.control_memory.u32s();
        words[control::GENERATION as usize / 4].store(next, Ordering::Release);
        self.generation = next;
        let mut replaced = Vec::new();
        for (place, programs) in made {
            if let Some(occupied) = self.places.get_mut(&place) {
                replaced.extend(std::mem::replace(&mut occupied.programs, programs));
            }
        }
        // The new programs are in force; what is left is done before the next change at the latest.
        let _ = self.settle();
        let mut counted = Vec::new();
        for old in replaced {
            counted.extend(old.counters().unwrap_or_default());
        }
        Ok(counted)
    }

    /// Lets calls of the next generation lead to the new programs.
    fn prepare(
        &mut self,
        next: u32,
        made: &[(Place, Vec<Attached>)],
        machine: &Machine,
    ) -> Result<(), Error> {
        for (place, programs) in made {
            if let Some(occupied) = self.places.get(place) {
                occupied.switch.lead(next, programs)?;
            } else if !programs.is_empty() {
                let switch = Switch::new(place, machine, &self.shared)?;
                switch.lead(next, programs)?;
                let occupied = Occupied { switch, programs: Vec::new() };
                self.places.insert(place.clone(), occupied);
            }
        }
        Ok(())
    }

    /// Lets calls lead to the programs of now in whatever generation. Where there are none the switch
    /// goes.
    fn settle(&mut self) -> Result<(), Error> {
        if self.unsettled.is_empty() {
            return Ok(());
        }
        self.grace.wait()?;
        let other = self.generation.wrapping_add(1);
        while let Some(place) = self.unsettled.first().cloned() {
            match self.places.get(&place) {
                Some(occupied) if occupied.programs.is_empty() => {
                    self.places.remove(&place);
                }
                Some(occupied) => occupied.switch.lead(other, &occupied.programs)?,
                None => {}
            }
            self.unsettled.remove(&place);
        }
        Ok(())
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
        for attached in self.places.values().flat_map(|occupied| &occupied.programs) {
            all.extend(attached.counters()?);
        }
        Ok(all)
    }

    /// Times that the kernel did not run one because it was running on that CPU already.
    pub(crate) fn missed_runs(&self) -> Result<u64, Error> {
        self.places.values().map(|occupied| occupied.switch.missed_runs()).sum()
    }

    /// Bytes of kernel memory of the places that sections have a part in, by their share.
    pub(crate) fn memory_bytes(&self, is_mine: impl Fn(u32) -> bool) -> Result<u64, Error> {
        let mut sum = 0;
        for Occupied { switch, programs } in self.places.values() {
            for (index, attached) in programs.iter().enumerate() {
                let mine = attached.sections.iter().filter(|number| is_mine(**number)).count();
                if mine > 0 {
                    let switch = if index == 0 { switch.memory_bytes()? } else { 0 };
                    let whole = attached.memory_bytes()? + switch;
                    sum += whole * mine as u64 / attached.sections.len() as u64;
                }
            }
        }
        Ok(sum)
    }
}
