//! The tests, in the order in which they run.

mod smoke;

use crate::test::Test;

/// All tests.
pub(crate) fn all() -> impl Iterator<Item = &'static Test> {
    [smoke::TESTS].into_iter().flatten()
}
