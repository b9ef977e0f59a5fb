//! What a policy compiles to, as text: for users who want to know, and for golden files.

use crate::base::CgroupOf;
use crate::emit::program;
use crate::emit::section::Section;
use crate::follow::Needs;
use crate::follow::scopes::Scopes;
use crate::link::{Place, places};
use crate::plan::Plan;
use crate::{Error, Machine};
use ebpf::{Module, Options, Program};
use std::collections::BTreeMap;

/// A program that a policy needs, as it would be if no other policy hooked the same place.
#[derive(Debug)]
pub struct Explained {
    /// Where it hangs: `fentry tcp_connect`.
    pub place: String,
    /// The program in the compiler's intermediate form.
    pub module: Module,
    /// Its instructions.
    pub program: Program,
}

/// Compiles the programs of a plan without loading them.
///
/// # Errors
/// As when loading, but for what the kernel would say.
pub fn explain(plan: &Plan, machine: &Machine) -> Result<Vec<Explained>, Error> {
    let mut by_place: BTreeMap<Place, Vec<Section>> = BTreeMap::new();
    for (number, hook) in plan.hooks.iter().enumerate() {
        for (place, role) in places(hook) {
            let section = Section::new(number as u32 + 1, plan.policy.clone(), hook.clone(), role);
            by_place.entry(place).or_default().push(section);
        }
    }
    let mut scopes = Scopes::new(CgroupOf::Unified);
    for restriction in Needs::of(by_place.values().flatten()).restrictions {
        scopes.add(restriction)?;
    }
    by_place
        .into_iter()
        .map(|(place, sections)| {
            let name = place.name();
            let code = program::program(&name, machine, place.shape(), true, &sections, &scopes)?;
            let module = code.module;
            let program = module
                .compile(&Options::default())
                .map_err(|error| Error::Program { program: name, error })?;
            Ok(Explained { place: place.to_string(), module, program })
        })
        .collect()
}
