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
mod campaign;
mod files;
#[path = "../harness/mod.rs"]
mod harness;
mod laboratory;
mod objects;
mod packet;
mod process;
mod real;

use campaign::FUNCTION;
use kernel::features::Feature;
use laboratory::Laboratory;
use policy::document::TypeName;
use real::Given;

#[test]
fn random_policies_mean_what_the_evaluator_says() {
    let Some(mut laboratory) = Laboratory::new() else { return };
    let made: Vec<TypeName> =
        TypeName::ALL.iter().copied().filter(|kind| real::can_be_made(*kind)).collect();
    campaign::run(&mut laboratory, FUNCTION, &made, Given::new);
}

#[test]
fn random_policies_on_objects_mean_what_the_evaluator_says() {
    // With and without pointers of types that the verifier is told.
    let laboratories = [Laboratory::new(), Laboratory::lacking(Feature::RdonlyCast)];
    for mut laboratory in laboratories.into_iter().flatten() {
        let made = laboratory.objects();
        campaign::run(&mut laboratory, FUNCTION, &made, Given::new);
    }
}

#[test]
fn random_policies_on_system_calls_mean_what_the_evaluator_says() {
    let Some(mut laboratory) = Laboratory::new() else { return };
    let kinds = [TypeName::Syscall64, TypeName::Int64];
    let hook = "tracepoints: [{subsystem: raw_syscalls, event: tried, raw: true";
    campaign::run(&mut laboratory, hook, &kinds, Given::new);
}

#[test]
fn random_policies_on_files_mean_what_the_evaluator_says() {
    let Some(mut laboratory) = Laboratory::new() else { return };
    use TypeName as T;
    let kinds = [T::Fd, T::File, T::Path, T::Dentry, T::Kiocb, T::LinuxBinprm, T::Int];
    let Some(root) = files::Root::enter() else { return };
    campaign::run(&mut laboratory, FUNCTION, &kinds, |words, call, event| {
        let (event, files) = root.open(words, call, event);
        Given { files, ..Given::new(words, call, event) }
    });
}
