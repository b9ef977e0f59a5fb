//! Dividing the sections of a place into programs.

use super::Place;
use crate::emit::fold;
use crate::emit::program::{self, Sample};
use crate::emit::section::Section;
use crate::follow::scopes::Scopes;
use crate::{Error, Machine};
use std::collections::BTreeMap;

/// Functions for sections in one program, at most: the kernel takes 256 functions in all, and verifies
/// a program whole.
const FUNCTIONS_MAX: usize = 64;

/// Divides the sections of a place into programs; those that can be made one stay together.
pub(crate) fn pack(
    sections: Vec<Section>,
    place: &Place,
    machine: &Machine,
    scopes: &Scopes,
) -> Result<Vec<Vec<Section>>, Error> {
    if sections.len() <= FUNCTIONS_MAX {
        return Ok(if sections.is_empty() { Vec::new() } else { vec![sections] });
    }
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
    for ((_, shape), group) in groups {
        let folded = shape.is_some() && group.len() >= fold::LEAST;
        let parts = if folded { vec![group] } else { group.into_iter().map(|s| vec![s]).collect() };
        for part in parts {
            if functions == FUNCTIONS_MAX {
                programs.push(std::mem::take(&mut current));
                functions = 0;
            }
            current.extend(part);
            functions += 1;
        }
    }
    programs.push(current);
    Ok(programs)
}
