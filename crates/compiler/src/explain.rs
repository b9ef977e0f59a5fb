//! What a policy compiles to, as text: for users who want to know, and for golden files.

use crate::base::CgroupOf;
use crate::emit::program::{self, Position};
use crate::emit::section::Section;
use crate::follow::Needs;
use crate::follow::scopes::Scopes;
use crate::link::{Place, enforcer_places, pack, places};
use crate::plan::Plan;
use crate::{Error, Machine};
use ebpf::{Module, Options, Program};
use std::collections::BTreeMap;

#[cfg(test)]
mod golden;

/// A program that policies need, as it would be if no others hooked the same place.
#[derive(Debug)]
pub struct Explained {
    /// Where it hangs: `fentry tcp_connect`.
    pub place: String,
    /// The program in the compiler's intermediate form.
    pub module: Module,
    /// Its instructions.
    pub program: Program,
}

/// Compiles the programs of policies that are in force together, without loading them. Of several
/// programs at one place, each goes on to the next.
///
/// # Errors
/// As when loading, but for what the kernel would say.
pub fn explain(plans: &[Plan], machine: &Machine) -> Result<Vec<Explained>, Error> {
    let mut by_place: BTreeMap<Place, Vec<Section>> = BTreeMap::new();
    let hooks = plans.iter().flat_map(|plan| {
        let hooks = plan.hooks.iter().map(|hook| (hook, places(hook)));
        let calls = plan.enforcers.iter().map(|call| (call, enforcer_places(call)));
        hooks.chain(calls).map(|(hook, places)| (&plan.policy, hook, places))
    });
    for (number, (policy, hook, places)) in (1..).zip(hooks) {
        for (place, role) in places {
            let section = Section::new(number, policy.clone(), hook.clone(), role, number);
            by_place.entry(place).or_default().push(section);
        }
    }
    let mut scopes = Scopes::new(CgroupOf::Unified);
    for restriction in Needs::of(by_place.values().flatten()).restrictions {
        scopes.add(restriction)?;
    }
    let mut explained = Vec::new();
    for (place, sections) in by_place {
        let name = place.name();
        let programs = pack(sections, &place, machine, &scopes)?;
        for (index, sections) in programs.iter().enumerate() {
            let position = Position { first: index == 0, goes_on: index + 1 < programs.len() };
            let shape = place.shape();
            let code = program::program(&name, machine, shape, position, sections, &scopes)?;
            let module = code.module;
            let program = module
                .compile(&Options::default())
                .map_err(|error| Error::Program { program: name.clone(), error })?;
            explained.push(Explained { place: place.to_string(), module, program });
        }
    }
    Ok(explained)
}
