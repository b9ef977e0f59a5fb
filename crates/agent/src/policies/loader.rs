//! What puts policies in force.

use std::collections::HashMap;
use std::sync::Arc;

use compiler::counters::Done;
use compiler::plan::Effect;
use compiler::policies::Missed;
use policy::checked::Mode;
use policy::{CheckedPolicy, Policy, PolicyKey, Problem, Problems};

use super::BySelector;
use crate::requests;

/// Puts policies in force and takes them out of it.
pub trait Loader: Send {
    /// Puts policies in force, of each all hooks or none; in the place of the one of the same key, if
    /// there is one, without a gap. One result for each, in their order: where it is an error, what was
    /// in force stays so.
    fn add(&mut self, policies: &[Named]) -> Vec<Result<Added, LoadError>>;

    /// Takes a policy out of force; one that is not in force is left alone.
    ///
    /// # Errors
    /// It stays in force.
    fn remove(&mut self, key: &PolicyKey) -> Result<(), LoadError>;

    /// Changes the mode of a policy in force. False: there is none of that key.
    ///
    /// # Errors
    /// It has no enforcing actions.
    fn set_mode(&mut self, key: &PolicyKey, mode: Mode) -> Result<bool, LoadError>;

    /// What is measured of each policy in force.
    fn measures(&mut self) -> HashMap<PolicyKey, Measures>;

    /// Takes all policies out of force.
    fn close(&mut self);
}

/// A policy and its key.
pub type Named = (PolicyKey, Arc<CheckedPolicy>);

/// A policy was put in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Places that each of its hooks is attached to, in the policy's order: several for a list, none where
    /// the function does not exist and that is ignored.
    pub hooks: Vec<usize>,
    /// What is worth knowing.
    pub notes: Vec<Problem>,
}

/// A policy cannot be put in force, or not be taken out of it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// It asks for what this kernel, or this agent, does not have.
    #[error("{0}")]
    Refused(Problems),
    /// The kernel did not do what it was asked to.
    #[error("{0}")]
    Failed(String),
    /// The rules of `--policy-rego-dir` do not admit it.
    #[error("denied by the rules of --policy-rego-dir: {0}")]
    Denied(String),
    /// Nothing can be loaded yet, or any more.
    #[error("policies cannot be loaded {0}")]
    NotReady(&'static str),
}

/// What is measured of a policy in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// What was done about matches.
    pub done: Done,
    /// The same by hook and selector, where it is asked for.
    pub by_selector: BySelector,
    /// The mode.
    pub mode: Option<Mode>,
    /// What became of requests.
    pub requests: requests::Counters,
    /// Events that the full ring did not take.
    pub lost: u64,
    /// Events for which the kernel side had no memory.
    pub no_memory: u64,
    /// What its enforcing actions become on this kernel, for each of its hooks.
    pub effects: Vec<Vec<Effect>>,
    /// How each of its hooks is attached: ways and numbers of places.
    pub ways: Vec<Vec<(&'static str, usize)>>,
    /// What its enforcer was told and did not act upon.
    pub missed_notifications: Vec<Missed>,
    /// Bytes of kernel memory.
    pub memory: u64,
}

/// Names of the kinds of hooks that a policy has, as lists of policies show them.
pub(super) fn sensors(policy: &Policy) -> Vec<String> {
    use policy::checked::Target;
    let mut names: Vec<String> = Vec::new();
    if policy.loader.is_some() {
        names.push("__loader__".to_owned());
    }
    for hook in &policy.hooks {
        let name = match hook.target {
            Target::Kprobe(_) => "generic_kprobe",
            Target::Fentry(_) => "generic_fentry",
            Target::Tracepoint { .. } => "generic_tracepoint",
            Target::Lsm(_) => "generic_lsm",
            Target::Uprobe(_) => "generic_uprobe",
            Target::Usdt { .. } => "generic_usdt",
        };
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}
