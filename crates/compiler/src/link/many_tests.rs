//! What many policies at one place cost the verifier. They are loaded and not attached, so that this runs
//! where nothing can be attached to LSM hooks.

#![allow(clippy::unwrap_used)]

use super::attached::With;
use super::{Attached, SharedMaps, pack, places};
use crate::Machine;
use crate::base::{Base, CgroupOf, Options, Rings};
use crate::emit::section::Section;
use crate::follow::Followers;
use crate::plan::{Denial, HookPlan, Plan};
use kernel::btf::{Btf, KERNEL_BTF};
use policy::CheckedPolicy;
use policy::checked::Action;
use std::sync::Arc;
use std::time::Instant;

/// The running kernel; nothing where it lets no programs in.
fn machine() -> Option<(Arc<Machine>, Base)> {
    let btf = Arc::new(Btf::from_file(KERNEL_BTF).ok()?);
    let cgroup = CgroupOf::controller(&btf, None).unwrap();
    let options = Options { cgroup, environment: false, data_max: 4096 };
    let base = Base::load(&btf, &options, Rings { base: 1 << 16, observation: 1 << 16 });
    let Ok(base) = base else {
        eprintln!("skipped: {}", base.unwrap_err());
        return None;
    };
    Some((Arc::new(Machine::running(btf)), base))
}

/// Denies executing what is in a directory, as if the tracepoint were an LSM hook.
fn no_exec(machine: &Machine, number: usize) -> (Arc<CheckedPolicy>, HookPlan) {
    // Of different lengths, so that no two functions have one shape.
    let name = "n".repeat(number + 1);
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p{number}}}\nspec:\n  \
         tracepoints:\n  - subsystem: sched\n    event: sched_process_exec\n    raw: true\n    \
         args: [{{index: 2, type: linux_binprm}}]\n    selectors:\n    \
         - matchArgs: [{{args: [0], operator: Prefix, values: ['/some/where/{name}/']}}]\n      \
         matchActions: [{{action: NoPost}}, {{action: Signal, argSig: 23}}]\n"
    );
    let policy = Arc::new(CheckedPolicy::read("test.yaml", &text).unwrap());
    let mut hook = (*Plan::new(policy.clone(), machine).unwrap().hooks[0]).clone();
    hook.denial = Some(Denial::Result);
    for action in hook.selectors.iter_mut().flat_map(|selector| &mut selector.actions) {
        if matches!(action.value, Action::Signal(_)) {
            action.value = Action::Override(-13);
        }
    }
    (policy, hook)
}

/// What the verifier goes through for so many of them, in all programs together.
fn verified(machine: &Arc<Machine>, base: &Base, count: usize) -> Vec<u32> {
    let shared = SharedMaps::create(base).unwrap();
    let mut followers = Followers::new(machine.clone(), base).unwrap();
    let (mut sections, mut at) = (Vec::new(), None);
    for number in 0..count {
        let (policy, hook) = no_exec(machine, number);
        let (place, role) = places(&hook).pop().unwrap();
        sections.push(Section::new(number as u32 + 1, policy, Arc::new(hook), role, 0));
        at = Some(place);
    }
    followers.follow(sections.iter()).unwrap();
    let place = at.unwrap();
    let with = With { machine, shared: &shared, followers: &followers, keep: None };
    let chunks = pack(sections, &place, machine, &followers.scopes).unwrap();
    let mut programs: Vec<Attached> = Vec::new();
    for chunk in chunks.iter().rev() {
        let started = Instant::now();
        let program = Attached::new(&place, chunk, None, programs.first(), with).unwrap();
        eprintln!("{} sections in {:.1?}", chunk.len(), started.elapsed());
        programs.insert(0, program);
    }
    programs.iter().map(|one| one.program().info().unwrap().verified_instructions).collect()
}

#[test]
fn policies_by_paths_at_one_place_cost_the_verifier_little_each() {
    let Some((machine, base)) = machine() else { return };
    for count in [1, 2, 4, 8, 16, 50] {
        let verified: u32 = verified(&machine, &base, count).iter().sum();
        eprintln!("{count}: {verified}");
    }
}
