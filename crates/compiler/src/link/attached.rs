//! A program for a place, with its counters.

use super::blame::blame;
use super::head::programs;
use super::{Place, SharedMaps};
use crate::counters::Counters;
use crate::emit::map;
use crate::emit::program::{self, Position};
use crate::emit::section::Section;
use crate::emit::table::Table;
use crate::follow::Followers;
use crate::keep::{Keep, Pin};
use crate::{Error, Machine, load};
use kernel::map::Map;
use kernel::program::Program;

/// A program for a place: the one that hangs there, or one that a switch or the program before leads to.
#[derive(Debug)]
pub(crate) struct Attached {
    /// Its sections, by their numbers, with how many elements of counters each has.
    sections: Vec<(u32, u32)>,
    program: Program,
    counters: Map,
    tables: Vec<Map>,
    /// Leads to the next program.
    next: Option<Map>,
    /// Keeps that from being emptied.
    _pin: Option<Pin>,
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
    /// Where what outlives the agent is pinned.
    pub(crate) keep: Option<&'a Keep>,
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
        let With { machine, shared, followers, keep } = with;
        let position = Position { first: targets.is_some(), goes_on: next.is_some() };
        let (name, scopes) = (place.name(), &followers.scopes);
        let code = program::program(&name, machine, place.shape(), position, sections, scopes)?;
        let tables = code.tables.iter().map(Table::create).collect::<Result<Vec<_>, _>>()?;
        let counters = Counters::map(sections.iter().map(Section::counters).sum())?;
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
        let pin = next.as_ref().zip(keep).map(|(next, keep)| keep.map(next, &name)).transpose()?;
        maps.extend(&next);
        maps.extend(targets);
        let program =
            load::program(&code.module, place.kind(), place.target(&machine.btf)?, &maps)?;
        let sections = sections.iter().map(|one| (one.number, one.counters())).collect();
        Ok(Self { sections, program, counters, tables, next, _pin: pin })
    }

    /// What each section counted, by its number.
    pub(crate) fn counters(&self) -> Result<Vec<(u32, Counters)>, Error> {
        let mut all = Vec::new();
        let mut first = 0;
        for (number, elements) in &self.sections {
            all.push((*number, Counters::read(&self.counters, first, *elements)?));
            first += elements;
        }
        Ok(all)
    }

    /// The numbers of its sections.
    pub(crate) fn numbers(&self) -> impl ExactSizeIterator<Item = u32> {
        self.sections.iter().map(|(number, _)| *number)
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
