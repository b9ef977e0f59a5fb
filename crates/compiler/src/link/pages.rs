//! What brings in the memory that the programs of a place are going to read ([`emit::fault_in`]).
//!
//! [`emit::fault_in`]: crate::emit::fault_in

use super::Place;
use super::attached::With;
use crate::emit::section::Section;
use crate::emit::{fault_in, program};
use crate::keep::KeptLink;
use crate::plan::Input;
use crate::{Error, load};
use kernel::features::{Feature, ProgramKind};
use kernel::program::Program;

/// A program that comes before those of a place. Dropped, it is detached.
#[derive(Debug)]
pub(crate) struct Pages {
    program: Program,
    /// What it reads.
    inputs: Vec<Input>,
    _link: KeptLink,
}

impl Pages {
    /// What these sections read in memory that has to be brought in, each once; nothing where programs
    /// do not wait for memory.
    pub(crate) fn needed(place: &Place, sections: &[Section], with: With<'_>) -> Vec<Input> {
        let mut needed: Vec<Input> = Vec::new();
        let Some(kind) = kind(place) else { return needed };
        let of_syscall = kind == ProgramKind::FentrySleepable;
        for input in sections.iter().flat_map(|section| fault_in::inputs(section, of_syscall)) {
            let known = needed.iter().any(|known| known.is_same_value(input));
            if !known {
                needed.push(input.clone());
            }
        }
        let has = |feature| with.machine.features.probe(feature).is_yes();
        let waits = || match of_syscall {
            // Programs may sleep where errors can be injected, and only there can they take the place of
            // system calls (`bpf_check_attach_target()` in kernel/bpf/verifier.c).
            true => has(Feature::SleepableTracing) && has(Feature::FmodRetSyscall),
            false => has(Feature::SleepableUprobe),
        };
        if !needed.is_empty() && !waits() {
            needed.clear();
        }
        needed
    }

    /// Whether it reads just this.
    pub(crate) fn reads(&self, inputs: &[Input]) -> bool {
        let same = |(own, other): (&Input, &Input)| own.is_same_value(other);
        self.inputs.len() == inputs.len() && self.inputs.iter().zip(inputs).all(same)
    }

    /// Attaches it, before what is attached to the place already. `sections`: those that need it.
    pub(crate) fn new(
        place: &Place,
        inputs: Vec<Input>,
        sections: &[Section],
        with: With<'_>,
    ) -> Result<Option<Self>, Error> {
        let (Some(kind), Some(section)) = (kind(place), sections.first()) else { return Ok(None) };
        let scopes = &with.followers.scopes;
        let name = format!("{}_in", place.name());
        let module =
            program::fault_in(&name, with.machine, place.shape(), section, &inputs, scopes)?;
        let target = place.target(&with.machine.btf)?;
        let program = load::program(&module, kind, target, &with.shared.all())?;
        let link = KeptLink::new(place.attach(&program)?, &name, with.keep)?;
        Ok(Some(Self { program, inputs, _link: link }))
    }

    /// Bytes of kernel memory that it takes.
    pub(crate) fn memory_bytes(&self) -> Result<u64, Error> {
        Ok(self.program.memory_bytes()?)
    }
}

/// The kind of program that may wait at a place.
fn kind(place: &Place) -> Option<ProgramKind> {
    match place.kind() {
        ProgramKind::Uprobe => Some(ProgramKind::UprobeSleepable),
        ProgramKind::UprobeMulti => Some(ProgramKind::UprobeMultiSleepable),
        _ => match place {
            Place::Fentry { syscall: true, .. } | Place::Modify { syscall: true, .. } => {
                Some(ProgramKind::FentrySleepable)
            }
            _ => None,
        },
    }
}
