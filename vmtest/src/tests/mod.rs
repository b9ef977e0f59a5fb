//! The tests, in the order in which they run.

mod arguments;
mod bootstrap;
mod cgroup;
mod commands;
mod crates;
mod credentials;
mod exec;
mod exit;
mod faults;
mod fields;
mod intro;
mod limits;
mod loss;
mod policies;
mod smoke;
mod storm;

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
        fields::TESTS,
        cgroup::TESTS,
        commands::TESTS,
        faults::TESTS,
        loss::TESTS,
        policies::TESTS,
        intro::TESTS,
        crate::bench::TESTS,
        storm::TESTS,
        limits::TESTS,
    ]
    .into_iter()
    .flatten()
}
