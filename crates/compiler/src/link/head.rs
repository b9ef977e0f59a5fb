//! The program that hangs at a place. It begins with a switch: a few instructions that read the
//! generation and pass the call on, by tail call, to the program that an array has for the generation's
//! parity. Which program sees a call is so decided once: of two of which one replaces the other,
//! exactly one sees each call, and all places change over at one instant. Programs that looked at the
//! generation each for themselves would at times both see the call during which it changes, or neither.
//!
//! Where the array has none, the call is for the head's own sections, which follow the switch: what is
//! there from the start and never replaced costs no jump. Once replaced, the head's own sections are
//! not come back to; they stay in memory as long as the place is hooked.
//!
//! Tail calls with a constant index are jumps that the kernel patches when the array of programs is
//! written (`bpf_arch_poke_desc_update()`), not indirect ones.

use super::attached::With;
use super::{Attached, Place};
use crate::emit::section::Section;
use crate::emit::{map, program};
use crate::keep::{Keep, KeptLink, Pin};
use crate::{Error, load};
use kernel::map::{Map, MapSpec, MapType};
use kernel::program::Program;

/// What hangs at a place. Dropped, it is detached.
#[derive(Debug)]
pub(crate) struct Head {
    own: Attached,
    /// `None`: there is no switch.
    targets: Option<Map>,
    /// Keeps that from being emptied.
    _pin: Option<Pin>,
    link: Option<KeptLink>,
}

/// Where calls go.
pub(crate) enum Lead<'a> {
    /// To the head's own sections.
    Own,
    /// To a program.
    To(&'a Program),
}

impl Head {
    /// Makes the program of these sections, which leads to `next` in the end. It is not attached yet.
    pub(crate) fn new(
        place: &Place,
        sections: &[Section],
        next: Option<&Attached>,
        with: With<'_>,
    ) -> Result<Self, Error> {
        let targets = match place.is_fixed() {
            true => None,
            false => Some(programs(map::TARGETS, 2)?),
        };
        let pinned = targets.as_ref().zip(with.keep);
        let pin = pinned.map(|(targets, keep)| keep.map(targets, &place.name())).transpose()?;
        let own = Attached::new(place, sections, targets.as_ref(), next, with)?;
        Ok(Self { own, targets, _pin: pin, link: None })
    }

    /// Attaches it; from now on it stays when the agent ends, if it is to.
    pub(crate) fn attach(&mut self, place: &Place, keep: Option<&Keep>) -> Result<(), Error> {
        let link = place.attach(self.own.program())?;
        self.link = Some(KeptLink::new(link, &place.name(), keep)?);
        Ok(())
    }

    /// Where calls in generations of this number's parity go; at first to its own sections.
    pub(crate) fn lead(&self, generation: u32, to: &Lead<'_>) -> Result<(), Error> {
        let index = generation & 1;
        match (&self.targets, to) {
            (Some(targets), Lead::To(program)) => targets.update_program(index, program)?,
            (Some(targets), Lead::Own) => {
                targets.delete(&index.to_ne_bytes())?;
            }
            (None, _) => {}
        }
        Ok(())
    }

    /// The program with its own sections.
    pub(crate) fn own(&self) -> &Attached {
        &self.own
    }

    /// Times that the kernel did not run it because it was running on that CPU already.
    pub(crate) fn missed_runs(&self) -> Result<u64, Error> {
        Ok(self.own.program().statistics()?.recursion_misses)
    }

    /// Bytes of kernel memory that it takes.
    pub(crate) fn memory_bytes(&self) -> Result<u64, Error> {
        let targets = self.targets.as_ref().map_or(Ok(0), Map::memory_bytes)?;
        Ok(self.own.memory_bytes()? + targets)
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        // Before the array of programs, without which calls would be for the head's own sections again.
        if let Some(link) = self.link.take() {
            link.detach();
        }
    }
}

/// A program at a place to which calls can lead when nobody is to see them.
pub(crate) fn nothing(place: &Place, with: With<'_>) -> Result<Program, Error> {
    let module = program::nothing(&place.name())?;
    load::program(&module, place.kind(), place.target(&with.machine.btf)?, &[])
}

/// An array of programs.
pub(super) fn programs(name: &str, entries: u32) -> Result<Map, Error> {
    Ok(Map::create(&MapSpec {
        name,
        map_type: MapType::PROG_ARRAY,
        key_size: 4,
        value_size: 4,
        max_entries: entries,
        ..MapSpec::default()
    })?)
}
