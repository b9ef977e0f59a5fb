//! A program for a place, with its counters.

use super::blame::blame;
use super::head::programs;
use super::{Place, SharedMaps};
use crate::emit::map::{self, counter};
use crate::emit::program::{self, Position};
use crate::emit::section::Section;
use crate::emit::table::Table;
use crate::follow::Followers;
use crate::{Error, Machine, load};
use kernel::map::{Map, MapSpec, MapType};
use kernel::program::Program;

/// A program for a place: the one that hangs there, or one that a switch or the program before leads to.
#[derive(Debug)]
pub(crate) struct Attached {
    /// Its sections, by their numbers.
    pub(crate) sections: Vec<u32>,
    program: Program,
    counters: Map,
    tables: Vec<Map>,
    /// Leads to the next program.
    next: Option<Map>,
}

/// What programs are made with.
#[derive(Clone, Copy)]
pub(crate) struct With<'a> {
    /// The kernel.
    pub(crate) machine: &'a Machine,
    /// The maps of all programs.
    pub(crate) shared: &'a SharedMaps,
    /// What is kept of processes.
    pub(crate) followers: &'a Followers,
}

/// What a section counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records sent.
    pub posted: u64,
    /// Records that the full ring did not take.
    pub lost: u64,
    /// Matches for which there was no memory to put a record together.
    pub no_scratch: u64,
    /// Matches whose return could not be awaited.
    pub no_call: u64,
}

impl Counters {
    /// The map of the counters of a program with so many sections.
    pub(crate) fn map(sections: usize) -> Result<Map, Error> {
        Ok(Map::create(&MapSpec {
            name: map::COUNTERS,
            map_type: MapType::PERCPU_ARRAY,
            key_size: 4,
            value_size: counter::SIZE as u32,
            max_entries: sections as u32,
            ..MapSpec::default()
        })?)
    }

    /// What the section at an index counted, on all CPUs.
    pub(crate) fn read(map: &Map, index: usize) -> Result<Self, Error> {
        let values = map.lookup_per_cpu(&(index as u32).to_ne_bytes())?;
        let sum = |offset: i16| {
            values.as_ref().and_then(|values| values.sum_u64(offset as usize)).unwrap_or(0)
        };
        Ok(Self {
            posted: sum(counter::POSTED),
            lost: sum(counter::LOST),
            no_scratch: sum(counter::NO_SCRATCH),
            no_call: sum(counter::NO_CALL),
        })
    }
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.posted += other.posted;
        self.lost += other.lost;
        self.no_scratch += other.no_scratch;
        self.no_call += other.no_call;
    }
}

impl Attached {
    /// Makes and loads the program of these sections, which begins with a switch over `targets` and
    /// leads to `next` in the end. Errors name the hook that they are about.
    pub(crate) fn new(
        place: &Place,
        sections: &[Section],
        targets: Option<&Map>,
        next: Option<&Self>,
        with: With<'_>,
    ) -> Result<Self, Error> {
        Self::load(place, sections, targets, next, with)
            .map_err(|error| blame(place, sections, error))
    }

    fn load(
        place: &Place,
        sections: &[Section],
        targets: Option<&Map>,
        next: Option<&Self>,
        with: With<'_>,
    ) -> Result<Self, Error> {
        let With { machine, shared, followers } = with;
        let position = Position { first: targets.is_some(), goes_on: next.is_some() };
        let (name, scopes) = (place.name(), &followers.scopes);
        let code = program::program(&name, machine, place.shape(), position, sections, scopes)?;
        let tables = code.tables.iter().map(Table::create).collect::<Result<Vec<_>, _>>()?;
        let counters = Counters::map(sections.len())?;
        let mut maps = shared.all().to_vec();
        maps.push(&counters);
        maps.extend(&tables);
        maps.extend(followers.maps());
        let next = match next {
            Some(next) => {
                let array = programs(map::NEXT, 1)?;
                array.update_program(0, &next.program)?;
                Some(array)
            }
            None => None,
        };
        maps.extend(&next);
        maps.extend(targets);
        let program =
            load::program(&code.module, place.kind(), place.target(&machine.btf)?, &maps)?;
        let sections = sections.iter().map(|section| section.number).collect();
        Ok(Self { sections, program, counters, tables, next })
    }

    /// What each section counted, by its number.
    pub(crate) fn counters(&self) -> Result<Vec<(u32, Counters)>, Error> {
        let mut all = Vec::new();
        for (index, number) in self.sections.iter().enumerate() {
            all.push((*number, Counters::read(&self.counters, index)?));
        }
        Ok(all)
    }

    /// The program.
    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// Bytes of kernel memory of the program and its own maps.
    pub(crate) fn memory_bytes(&self) -> Result<u64, Error> {
        let own = self.program.memory_bytes()? + self.counters.memory_bytes()?;
        self.tables
            .iter()
            .chain(&self.next)
            .try_fold(own, |sum, table| Ok(sum + table.memory_bytes()?))
    }
}
