//! Dividing the sections of a place into programs.
//!
//! A program is left by a tail call to the next one, unless it denies the call: the next one's result would be
//! the call's. So sections that only watch come first, and see all calls; those that decide come after
//! them, and see what none in an earlier program has denied.

use super::Place;
use crate::act;
use crate::emit::fold;
use crate::emit::program::{self, Sample};
use crate::emit::section::{Role, Section};
use crate::follow::scopes::Scopes;
use crate::{Error, Machine};
use std::collections::BTreeMap;

/// Functions for sections in one program, at most: the kernel takes 256 functions in all, and verifies
/// a program whole.
const FUNCTIONS_MAX: usize = 64;

/// Sections by the system call that they are for.
type ByCall = Vec<(Option<u64>, Vec<Section>)>;

/// Divides the sections of a place into programs; those that can be made one stay together.
pub(crate) fn pack(
    sections: Vec<Section>,
    place: &Place,
    machine: &Machine,
    scopes: &Scopes,
) -> Result<Vec<Vec<Section>>, Error> {
    if sections.len() <= FUNCTIONS_MAX {
        let mut sections = sections;
        sections.sort_by_key(|section| section.role == Role::Enforce);
        return Ok(if sections.is_empty() { Vec::new() } else { vec![sections] });
    }
    // What enforcers are told comes before what they do.
    let (enforcers, sections): (Vec<_>, Vec<_>) =
        sections.into_iter().partition(|section| section.role == Role::Enforce);
    let mut groups: BTreeMap<Sample, Vec<Section>> = BTreeMap::new();
    for section in sections {
        let sample = match section.sample.get() {
            Some(sample) => sample.clone(),
            None => {
                let sample = program::sample(machine, place.shape(), &section, scopes)?;
                section.sample.get_or_init(|| sample).clone()
            }
        };
        groups.entry(sample).or_default().push(section);
    }
    let (mut programs, mut current, mut functions) = (Vec::new(), Vec::new(), 0);
    let mut parts = Vec::new();
    // Of the same shape, whatever the system call.
    let mut alike: BTreeMap<Option<ebpf::Shape>, ByCall> = BTreeMap::new();
    for ((key, shape), group) in groups {
        alike.entry(shape).or_default().push((key, group));
    }
    for (shape, groups) in alike {
        let keys = groups.iter().flat_map(|(key, group)| group.iter().map(|_| *key));
        if let Some(layers) = fold::layers(keys).filter(|_| shape.is_some()) {
            let all: Vec<Section> = groups.into_iter().flat_map(|(_, group)| group).collect();
            parts.push((all, layers));
            continue;
        }
        for (_, group) in groups {
            match shape.is_some() && group.len() >= fold::LEAST {
                true => parts.push((group, 1)),
                false => parts.extend(group.into_iter().map(|section| (vec![section], 1))),
            }
        }
    }
    parts.sort_by_key(|(part, _)| part.iter().any(act::decides));
    parts.extend(enforcers.into_iter().map(|section| (vec![section], 1)));
    for (part, needed) in parts {
        if functions + needed > FUNCTIONS_MAX {
            programs.push(std::mem::take(&mut current));
            functions = 0;
        }
        current.extend(part);
        functions += needed;
    }
    programs.push(current);
    Ok(programs)
}
