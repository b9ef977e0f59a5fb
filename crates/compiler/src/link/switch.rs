//! What hangs at a place: a few instructions that pass each call on to a program, by tail call. Which
//! one is decided by the generation, which is read once per call: of two programs of which one replaces
//! the other, exactly one sees each call, and all places change over at one instant. Programs that
//! looked at the generation each for themselves would at times both see the call during which it
//! changes, or neither.
//!
//! Tail calls with a constant index are jumps that the kernel patches when the array of programs is
//! written (`bpf_arch_poke_desc_update()`), not indirect ones.

use super::{Attached, Place, SharedMaps};
use crate::emit::{map, program};
use crate::{Error, Machine, load};
use kernel::link::Link;
use kernel::map::{Map, MapSpec, MapType};
use kernel::program::Program;

/// What hangs at a place. Dropped, it is detached.
#[derive(Debug)]
pub(crate) struct Switch {
    program: Program,
    targets: Map,
    _link: Link,
}

impl Switch {
    /// Attaches it; it leads nowhere yet.
    pub(crate) fn new(
        place: &Place,
        machine: &Machine,
        shared: &SharedMaps,
    ) -> Result<Self, Error> {
        let targets = targets(map::TARGETS, 2)?;
        let module = program::switch(&place.name())?;
        let mut maps = shared.all().to_vec();
        maps.push(&targets);
        let program = load::program(&module, place.kind(), place.target(&machine.btf)?, &maps)?;
        let link = place.attach(&program)?;
        Ok(Self { program, targets, _link: link })
    }

    /// Where calls in generations of this number's parity lead: to the first of the programs.
    pub(crate) fn lead(&self, generation: u32, programs: &[Attached]) -> Result<(), Error> {
        let index = generation & 1;
        match programs.first() {
            Some(first) => self.targets.update_program(index, first.program())?,
            None => {
                self.targets.delete(&index.to_ne_bytes())?;
            }
        }
        Ok(())
    }

    /// Times that the kernel did not run it because it was running on that CPU already.
    pub(crate) fn missed_runs(&self) -> Result<u64, Error> {
        Ok(self.program.statistics()?.recursion_misses)
    }

    /// Bytes of kernel memory that it takes.
    pub(crate) fn memory_bytes(&self) -> Result<u64, Error> {
        Ok(self.program.memory_bytes()? + self.targets.memory_bytes()?)
    }
}

/// An array of programs.
pub(super) fn targets(name: &str, entries: u32) -> Result<Map, Error> {
    Ok(Map::create(&MapSpec {
        name,
        map_type: MapType::PROG_ARRAY,
        key_size: 4,
        value_size: 4,
        max_entries: entries,
        ..MapSpec::default()
    })?)
}
