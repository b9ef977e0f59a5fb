//! What earlier agents left in force, and its end.
//!
//! It goes a while after what this agent has to put in force is: a system call that had begun before may
//! have been judged by the earlier agent's programs alone, which have to be there when it comes to where
//! it is denied. A change of policies ends it at once: nobody wants the earlier policies then.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use compiler::keep::Earlier;

/// How long system calls may take from their entry to where they are denied, which they do before
/// they wait for anything but locks.
const GRACE: Duration = Duration::from_secs(5);

/// What earlier agents left in force.
#[derive(Default)]
pub(super) struct Earliers(Mutex<State>);

#[derive(Default)]
struct State {
    left: Vec<Earlier>,
    /// When it goes; `None`: not yet.
    due: Option<Instant>,
}

impl Earliers {
    pub(super) fn new(left: Vec<Earlier>) -> Self {
        Self(Mutex::new(State { left, due: None }))
    }

    /// What this agent is to put in force is.
    pub(super) fn replaced(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.due = Some(Instant::now() + GRACE);
    }

    /// Ends it, if it is time.
    pub(super) fn end_due(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.due.is_some_and(|due| Instant::now() >= due) {
            state.end();
        }
    }

    /// Ends it now, unless this agent has not put in force yet what it is to.
    pub(super) fn end(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.due.is_some() {
            state.end();
        }
    }
}

impl State {
    fn end(&mut self) {
        for earlier in self.left.drain(..) {
            let (name, policies) = (earlier.name(), earlier.policies().unwrap_or_default());
            match earlier.remove() {
                Ok(()) => tracing::info!(
                    name,
                    policies = policies.join(", "),
                    "what an earlier agent had left in force was replaced"
                ),
                Err(error) => tracing::error!(
                    name,
                    %error,
                    "what an earlier agent left in force cannot be removed, and stays so"
                ),
            }
        }
    }
}
