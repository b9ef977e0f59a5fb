//! Random policies on random calls: the program in the kernel and the reference evaluator agree on
//! which selector matches, and what is captured is what was given.
//!
//! - `DIFFERENTIAL_SEED`: the seed of the first policy; the same one makes the same policies and calls
//! - `DIFFERENTIAL_CASES`: how many calls to try; without it as many as fit into the time
//! - `DIFFERENTIAL_TYPES`: the only types of arguments to try, separated by commas
//!
//! What fails is made as small as it can be before it is shown.

#![allow(clippy::unwrap_used)]

mod arena;
mod breadth;
mod campaign;
mod files;
#[path = "../harness/mod.rs"]
mod harness;
mod laboratory;
mod objects;
mod packet;
mod process;
#[cfg(target_arch = "x86_64")] // the program is made of its instructions
mod programs;
mod real;

use campaign::Tried;
use kernel::features::Feature;
use laboratory::Laboratory;
use policy::document::TypeName;
use real::Given;

#[test]
fn every_operator_of_every_type_has_values_that_match_and_that_just_do_not() {
    let Some(mut laboratory) = Laboratory::new() else { return };
    breadth::run(&mut laboratory, None);
    let Some(root) = files::Root::enter() else { return };
    breadth::run(&mut laboratory, Some(&root));
}

#[test]
fn random_policies_mean_what_the_evaluator_says() {
    let Some(mut laboratory) = Laboratory::new() else { return };
    let made: Vec<TypeName> =
        TypeName::ALL.iter().copied().filter(|kind| real::can_be_made(*kind)).collect();
    campaign::run(&mut laboratory, &Tried::function(&made), Given::new);
}

#[test]
fn random_policies_on_objects_mean_what_the_evaluator_says() {
    // With and without pointers of types that the verifier is told.
    let laboratories = [Laboratory::new(), Laboratory::lacking(Feature::RdonlyCast)];
    for mut laboratory in laboratories.into_iter().flatten() {
        let made = laboratory.objects();
        campaign::run(&mut laboratory, &Tried::function(&made), Given::new);
    }
}

#[test]
fn random_policies_on_system_calls_mean_what_the_evaluator_says() {
    let Some(mut laboratory) = Laboratory::new() else { return };
    let kinds = [TypeName::Syscall64, TypeName::Int64];
    let hook = "tracepoints: [{subsystem: raw_syscalls, event: tried, raw: true";
    let tried = Tried { hook, returns: false, ..Tried::function(&kinds) };
    campaign::run(&mut laboratory, &tried, Given::new);
}

#[test]
fn random_policies_on_files_mean_what_the_evaluator_says() {
    let Some(mut laboratory) = Laboratory::new() else { return };
    use TypeName as T;
    let kinds = [T::Fd, T::File, T::Path, T::Dentry, T::Kiocb, T::LinuxBinprm, T::Int];
    let Some(root) = files::Root::enter() else { return };
    campaign::run(&mut laboratory, &Tried::function(&kinds), |words, call, event| {
        let (event, files) = root.open(Some(words), call, event);
        Given { files, ..Given::new(words, call, event) }
    });
}

#[cfg(target_arch = "x86_64")]
#[test]
fn random_policies_on_programs_mean_what_the_evaluator_says() {
    use policy::checked::ValueKind;
    use programs::{ARGUMENTS, Programs};
    let Some(harness) = harness::Harness::with(Feature::Uprobe) else { return };
    let mut programs = Programs::new(harness);
    let made: Vec<TypeName> = TypeName::ALL
        .iter()
        .copied()
        .filter(|kind| real::can_be_made(*kind) || *kind == TypeName::BpfAttr)
        .filter(|kind| *kind != TypeName::DataLoc)
        .collect();
    let narrow: Vec<TypeName> = made
        .iter()
        .copied()
        .filter(|kind| matches!(kind.kind(), ValueKind::Integer(width) if width.bits == 32))
        .collect();
    let function = programs.function();
    let tried = Tried { hook: &function, kinds: &made, most: ARGUMENTS, returns: true };
    campaign::run(&mut programs, &tried, Given::new);
    for (name, kinds) in [("registers", &made), ("memory", &made), ("narrow", &narrow)] {
        let hook = programs.probe(name);
        let tried = Tried { hook: &hook, kinds, most: ARGUMENTS, returns: false };
        campaign::run(&mut programs, &tried, Given::new);
    }
}
