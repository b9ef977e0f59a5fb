//! The tests, in the order in which they run.

mod arguments;
mod authoring;
mod bad_policies;
mod bootstrap;
mod cgroup;
mod commands;
mod crates;
mod credentials;
mod enforcement;
mod evasion;
mod exec;
mod exit;
mod faults;
mod field;
mod fields;
mod functions;
mod intro;
mod keep;
mod large;
mod limits;
mod loader;
mod loss;
mod lsm;
mod policies;
mod programs;
mod requests;
mod smoke;
mod sources;
mod storm;
mod tracepoints;
mod verbs;

use crate::test::Test;

/// All tests.
pub(crate) fn all() -> impl Iterator<Item = &'static Test> {
    [
        smoke::TESTS,
        crates::TESTS,
        exec::TESTS,
        arguments::TESTS,
        exit::TESTS,
        bootstrap::TESTS,
        credentials::TESTS,
        field::TESTS,
        fields::TESTS,
        cgroup::TESTS,
        commands::TESTS,
        verbs::TESTS,
        authoring::TESTS,
        faults::TESTS,
        loss::TESTS,
        policies::TESTS,
        sources::TESTS,
        requests::TESTS,
        enforcement::TESTS,
        keep::TESTS,
        evasion::TESTS,
        bad_policies::TESTS,
        functions::TESTS,
        programs::TESTS,
        tracepoints::TESTS,
        lsm::TESTS,
        intro::TESTS,
        crate::bench::TESTS,
        storm::TESTS,
        limits::TESTS,
        large::TESTS,
        loader::TESTS,
    ]
    .into_iter()
    .flatten()
}
