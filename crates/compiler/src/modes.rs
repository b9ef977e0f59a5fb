//! Numbers of policies' modes: where in the control map each policy's word is.
//!
//! A number is not given again before programs of its policy that still run, and returns that they await,
//! can no longer read it.

use crate::emit::map::control;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The numbers.
#[derive(Debug, Default)]
pub(crate) struct Modes {
    /// How many were ever given.
    given: u32,
    /// Given back, and when.
    back: VecDeque<(Instant, u32)>,
}

impl Modes {
    /// A number; `None`: there are none left.
    pub(crate) fn take(&mut self, rest: Duration) -> Option<u32> {
        let rested = |(since, _): &mut (Instant, u32)| since.elapsed() > rest;
        if let Some((_, number)) = self.back.pop_front_if(rested) {
            return Some(number);
        }
        if self.given == control::MODES_MAX {
            return None;
        }
        self.given += 1;
        Some(self.given - 1)
    }

    /// Gives a number back.
    pub(crate) fn give_back(&mut self, number: u32) {
        self.back.push_back((Instant::now(), number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rest_before_they_are_given_again() {
        let mut modes = Modes::default();
        assert_eq!((modes.take(Duration::MAX), modes.take(Duration::MAX)), (Some(0), Some(1)));
        modes.give_back(0);
        assert_eq!(modes.take(Duration::MAX), Some(2));
        assert_eq!(modes.take(Duration::ZERO), Some(0));
        for _ in 3..control::MODES_MAX {
            assert!(modes.take(Duration::ZERO).is_some());
        }
        assert_eq!(modes.take(Duration::ZERO), None);
    }
}
