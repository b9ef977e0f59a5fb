//! The paths whose topmost components the filters of a program ask for.
//!
//! The way up from a file to the root is the same for all policies at a hook. So it is gone once in each
//! call: the program lends its sections memory, where the first that asks leaves what it found
//! ([`kept`](crate::climb::kept)). And the verifier looks at it once, in a function of its own, where
//! the loop of a section for itself would be looked at in each of them.

use super::section::{self, Section};
use crate::plan::Input;

/// The values that are asked about, each once.
pub(crate) struct Paths {
    inputs: Vec<Input>,
    /// The way is gone in a function of its own, and what it found is kept: several filters ask, or others
    /// compare bytes. Each of those comparisons has as many ends as words, and the verifier would look at a
    /// loop behind them from every end (a prefix behind an equal path of 80 bytes: 300,000 instructions).
    pub(crate) kept: bool,
}

impl Paths {
    /// Those of a program of these sections.
    pub(super) fn of<'s>(sections: impl IntoIterator<Item = &'s Section>) -> Self {
        let mut inputs: Vec<Input> = Vec::new();
        let mut filters = 0;
        for section in sections {
            filters += section::comparing_bytes(section);
            for input in section::climbing(section) {
                if !inputs.iter().any(|known| known.is_same_value(input)) {
                    inputs.push(input.clone());
                }
            }
        }
        Self { inputs, kept: filters > 1 }
    }

    /// What says of a way up that it was this value's; never 0.
    pub(crate) fn code(&self, input: &Input) -> Option<i32> {
        let index = self.inputs.iter().position(|known| known.is_same_value(input))?;
        i32::try_from(index + 1).ok()
    }
}
