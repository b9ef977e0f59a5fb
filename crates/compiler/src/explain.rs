//! What a policy compiles to, as text: for users who want to know, and for golden files.

use crate::base::CgroupOf;
use crate::emit::map::counter;
use crate::emit::program::{self, Position};
use crate::emit::section::Section;
use crate::emit::table::Table;
use crate::follow::Needs;
use crate::follow::scopes::Scopes;
use crate::link::{Place, enforcer_places, pack, places};
use crate::plan::Plan;
use crate::{Error, Machine};
use ebpf::{Module, Options, Program};
use std::collections::BTreeMap;

#[cfg(test)]
mod golden;

/// Bytes of an instruction (`struct bpf_insn`).
const INSTRUCTION: u64 = 8;

/// A program that policies need, as it would be if no others hooked the same place.
#[derive(Debug)]
pub struct Explained {
    /// Where it hangs: `fentry tcp_connect`.
    pub place: String,
    /// The program in the compiler's intermediate form.
    pub module: Module,
    /// Its instructions.
    pub program: Program,
    /// Memory of the kernel that it takes.
    pub memory: Memory,
}

/// Memory of the kernel that a program takes, in bytes: what is in it, without what the kernel keeps beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// Its instructions, before they are translated for the machine.
    pub instructions: u64,
    /// What it looks values up in.
    pub tables: u64,
    /// Its counters, on each CPU.
    pub counters_per_cpu: u64,
}

impl Memory {
    /// All of it, on a machine with so many CPUs.
    #[must_use]
    pub fn total(&self, cpus: u64) -> u64 {
        self.instructions + self.tables + self.counters_per_cpu * cpus
    }
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
            let policy = (&policy.key(""), policy.clone());
            let section = Section::new(number, policy, hook.clone(), role, number);
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
            let counters = sections.iter().map(|section| u64::from(section.counters()));
            let counters_per_cpu = counters.sum::<u64>() * counter::SIZE as u64;
            let tables = code.tables.iter().map(Table::bytes).sum();
            let module = code.module;
            let program = module
                .compile(&Options::default())
                .map_err(|error| Error::Program { program: name.clone(), error })?;
            let instructions = program.slots() as u64 * INSTRUCTION;
            let memory = Memory { instructions, tables, counters_per_cpu };
            explained.push(Explained { place: place.to_string(), module, program, memory });
        }
    }
    Ok(explained)
}
