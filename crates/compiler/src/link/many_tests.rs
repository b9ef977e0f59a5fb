//! What many policies at one place cost the verifier. They are loaded and not attached, so that this runs
//! where nothing can be attached to LSM hooks.

#![allow(clippy::unwrap_used)]

use super::attached::With;
use super::head::programs;
use super::{Attached, SharedMaps, pack, places};
use crate::base::{Base, CgroupOf, Options, Rings};
use crate::counters::Counters;
use crate::emit::map;
use crate::emit::program::{self, Position, Shape};
use crate::emit::section::Section;
use crate::follow::Followers;
use crate::plan::{Denial, HookPlan, Plan};
use crate::{Machine, load};
use kernel::btf::{Btf, KERNEL_BTF};
use kernel::features::ProgramKind;
use kernel::map::Map;
use kernel::program::{Program, TestRun};
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
    let directory = format!("/some/where/{}/", "n".repeat(number + 1));
    exec(machine, number, &[("Prefix", &directory)])
}

/// The same for programs whose path compares so with one of the values.
fn exec(
    machine: &Machine,
    number: usize,
    filters: &[(&str, &str)],
) -> (Arc<CheckedPolicy>, HookPlan) {
    let mut text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p{number}}}\nspec:\n  \
         tracepoints:\n  - subsystem: sched\n    event: sched_process_exec\n    raw: true\n    \
         args: [{{index: 2, type: linux_binprm}}]\n    selectors:\n"
    );
    for (operator, value) in filters {
        text.push_str(&format!(
            "    - matchArgs: [{{args: [0], operator: {operator}, values: ['{value}']}}]\n      \
             matchActions: [{{action: NoPost}}, {{action: Signal, argSig: 23}}]\n"
        ));
    }
    let policy = Arc::new(CheckedPolicy::read("test.yaml", &text).unwrap());
    let mut hook = (*Plan::new(policy.clone(), machine).unwrap().hooks[0]).clone();
    hook.denial = Some(Denial::Result);
    for action in hook.selectors.iter_mut().flat_map(|selector| &mut selector.actions) {
        if matches!(action.value, Action::Signal(_)) {
            action.value = Action::Override(errno(number));
        }
    }
    (policy, hook)
}

/// What the verifier goes through for policies, in all programs together.
fn verified(
    machine: &Arc<Machine>,
    base: &Base,
    policies: impl IntoIterator<Item = (Arc<CheckedPolicy>, HookPlan)>,
) -> u32 {
    let shared = SharedMaps::create(base).unwrap();
    let mut followers = Followers::new(machine.clone(), base).unwrap();
    let (mut sections, mut at) = (Vec::new(), None);
    for (number, (policy, hook)) in (1..).zip(policies) {
        let (place, role) = places(&hook).pop().unwrap();
        let policy = (&policy.key("static"), policy.clone());
        sections.push(Section::new(number, policy, Arc::new(hook), role, 0));
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
    programs.iter().map(|one| one.program().info().unwrap().verified_instructions).sum()
}

#[test]
fn policies_by_paths_at_one_place_cost_the_verifier_little_each() {
    // Measured on 6.18: 12,000 for the way up, 700 for each policy.
    const FIRST: u32 = 40_000;
    const EACH: u32 = 2_500;
    let Some((machine, base)) = machine() else { return };
    let cost =
        |count| verified(&machine, &base, (0..count).map(|number| no_exec(&machine, number)));
    for count in [1, 2, 10, 50] {
        let cost = cost(count);
        eprintln!("{count} policies: {cost}");
        assert!(cost < FIRST + EACH * count as u32, "{count} policies: {cost}");
    }
}

#[test]
fn what_is_compared_before_a_prefix_costs_the_verifier_little() {
    let Some((machine, base)) = machine() else { return };
    let directory = "/somewhere/deep-below/where-nobody-would-look/at-all/for/what-is-there";
    let mut filters = vec![("Postfix", "/of/a/name/that/goes/on/and/on/and/on")];
    let cost = |filters: &[_]| verified(&machine, &base, [exec(&machine, 0, filters)]);
    let without = cost(&filters);
    filters.extend([("SubString", "word"), ("Equal", directory), ("Prefix", directory)]);
    let with = cost(&filters);
    eprintln!("{without} without the prefix, {with} with it");
    // Measured on 6.18: 15,000; 107,000 when the section itself went up.
    assert!(with < 40_000, "{with}");
}

/// The errno with which a policy of this number denies: there are four.
fn errno(number: usize) -> i32 {
    -1 - (number % 4) as i32
}

/// Denies, or only counts, made-up calls with its number and those with [`ALL`].
fn by_number(machine: &Machine, number: usize, decides: bool) -> (Arc<CheckedPolicy>, HookPlan) {
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p{number}}}\nspec:\n  \
         tracepoints:\n  - subsystem: raw_syscalls\n    event: sys_enter\n    raw: true\n    \
         args: [{{index: 1, type: int64}}]\n    selectors:\n    \
         - matchArgs: [{{args: [0], operator: Equal, values: ['{number}', '{ALL}']}}]\n      \
         matchActions: [{{action: NoPost}}, {{action: Signal, argSig: 23}}]\n"
    );
    let policy = Arc::new(CheckedPolicy::read("test.yaml", &text).unwrap());
    let mut hook = (*Plan::new(policy.clone(), machine).unwrap().hooks[0]).clone();
    let actions = hook.selectors.iter_mut().map(|selector| &mut selector.actions);
    if decides {
        hook.denial = Some(Denial::Result);
        actions.flatten().for_each(|action| {
            if matches!(action.value, Action::Signal(_)) {
                action.value = Action::Override(errno(number));
            }
        });
    } else {
        actions.for_each(|actions| actions.retain(|one| matches!(one.value, Action::NoPost)));
    }
    (policy, hook)
}

/// A call that all policies deny.
const ALL: usize = 9999;

/// Programs that follow each other, with what they count: so that made-up calls can be made.
fn chain(machine: &Machine, with: With<'_>, chunks: &[Vec<Section>]) -> Vec<(Program, Map)> {
    let mut made: Vec<(Program, Map)> = Vec::new();
    for chunk in chunks.iter().rev() {
        let position = Position { first: false, goes_on: !made.is_empty() };
        let (shape, scopes) = (Shape::Words { returned: None }, &with.followers.scopes);
        let code = program::program("chain", machine, shape, position, chunk, scopes).unwrap();
        let tables: Vec<Map> = code.tables.iter().map(|one| one.create().unwrap()).collect();
        let counters = Counters::map(chunk.iter().map(Section::counters).sum()).unwrap();
        let next = programs(map::NEXT, 1).unwrap();
        if let Some((program, _)) = made.first() {
            next.update_program(0, program).unwrap();
        }
        let mut maps = with.shared.all().to_vec();
        maps.extend([&counters, &next]);
        maps.extend(&tables);
        maps.extend(with.followers.maps());
        let program = load::program(&code.module, ProgramKind::RawTracepoint, None, &maps).unwrap();
        // What is next stays as long as its array.
        std::mem::forget(next);
        made.insert(0, (program, counters));
    }
    made
}

#[test]
fn what_one_of_many_policies_denies_is_denied() {
    // More than go into one program.
    const POLICIES: usize = 150;
    // Some of them deny nothing.
    let decides = |number: usize| !number.is_multiple_of(5);
    let Some((machine, base)) = machine() else { return };
    let shared = SharedMaps::create(&base).unwrap();
    let mut followers = Followers::new(machine.clone(), &base).unwrap();
    let (mut sections, mut at) = (Vec::new(), None);
    for number in 0..POLICIES {
        let (policy, hook) = by_number(&machine, number, decides(number));
        let (place, role) = places(&hook).pop().unwrap();
        let policy = (&policy.key("static"), policy.clone());
        sections.push(Section::new(number as u32 + 1, policy, Arc::new(hook), role, 0));
        at = Some(place);
    }
    shared.set_mode(0, true);
    followers.follow(sections.iter()).unwrap();
    let with = With { machine: &machine, shared: &shared, followers: &followers, keep: None };
    let chunks = pack(sections, &at.unwrap(), &machine, &followers.scopes).unwrap();
    assert!(chunks.len() > 1, "{} programs", chunks.len());
    let programs = chain(&machine, with, &chunks);
    let call = |number: usize| {
        let context: Vec<u8> = [0, number as u64].into_iter().flat_map(u64::to_ne_bytes).collect();
        let run = TestRun { context: &context, ..TestRun::default() };
        programs[0].0.test_run(&run).unwrap().returned.cast_signed()
    };
    for number in 0..POLICIES {
        let expected = if decides(number) { errno(number) } else { 0 };
        assert_eq!(call(number), expected, "policy {number}");
    }
    assert_eq!(call(POLICIES), 0, "nobody denies it");
    // The first one's error counts, and whoever only watches sees what is denied.
    assert_eq!(call(ALL), errno(1));
    for (chunk, (_, counters)) in chunks.iter().zip(&programs) {
        let mut first = 0;
        for section in chunk {
            let counted = Counters::read(counters, first, section.counters()).unwrap();
            first += section.counters();
            let number = section.number as usize - 1;
            if !decides(number) {
                assert_eq!(counted.total().silent, 2, "policy {number}");
            }
        }
    }
}
