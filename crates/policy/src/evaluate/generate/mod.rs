//! Random policies and events, for tests that compare the evaluator with programs.
//!
//! Everything follows from the seed. A policy comes as a [`Draft`], which displays as YAML, so that
//! reading and checking are part of the test; it passes every check. Events are made for a policy's own
//! values: equal to them, one off, a byte longer or shorter, in the last or the next network.
//!
//! ```
//! use policy::CheckedPolicy;
//! use policy::document::TypeName;
//! use policy::evaluate::Selectors;
//! use policy::evaluate::generate::{Call, Generator};
//!
//! let mut generator = Generator::new(7);
//! let call = Call {
//!     hook: "kprobes: [{call: f".to_owned(),
//!     args: vec![TypeName::Int, TypeName::String],
//!     returned: None,
//!     max_data: false,
//! };
//! let draft = generator.policy(&call);
//! let policy = CheckedPolicy::read("draft", &draft.to_string()).unwrap();
//! let hook = &policy.hooks[0];
//! let selectors = Selectors::new(&hook.selectors, &policy.lists, |_| None).unwrap();
//! let event = generator.event(hook);
//! let matched = selectors.evaluate(&event);
//! # let _ = matched;
//! ```

mod around;
mod draft;
mod filter;
mod random;
mod value;

pub use draft::{Call, Draft};

use crate::checked::Hook;
use crate::evaluate::{Event, Namespaces, Process};
use random::Random;

/// Makes policies and events.
#[derive(Debug, Clone)]
pub struct Generator {
    random: Random,
}

impl Generator {
    /// All that it makes follows from the seed and the order of the calls.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed) }
    }

    /// A policy with one hook on such a call: up to four selectors of up to three filters each.
    pub fn policy(&mut self, call: &Call) -> Draft {
        draft::draw(&mut self.random, call, None)
    }

    /// Likewise, with filters by process whose values are near those of this one: its ids,
    /// executables, namespaces and capabilities. `host` are the namespaces of process 1.
    pub fn policy_around(&mut self, call: &Call, process: &Process, host: &Namespaces) -> Draft {
        draft::draw(&mut self.random, call, Some((process, host)))
    }

    /// A call of a hook, near what its filters ask about. The process is for the caller to put in. Values
    /// that are not numbers are [`Value::Fault`](super::Value::Fault) now and then.
    pub fn event(&mut self, hook: &Hook) -> Event {
        value::event(&mut self.random, hook)
    }
}
