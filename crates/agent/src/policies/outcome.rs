//! What became of policies that were read together, as the log says it.

/// What became of policies that were read together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Policies in force.
    pub loaded: usize,
    /// Texts whose policies are not.
    pub failed: usize,
}

impl Outcome {
    /// Logs why a policy is not in force.
    pub(super) fn fail(&mut self, file: &str, error: &str) {
        self.failed += 1;
        tracing::error!(file, "the policy is not loaded");
        told(error);
    }
}

/// One line for each problem, as they were made.
pub(super) fn told(error: &str) {
    error.lines().for_each(|line| tracing::error!("{line}"));
}
