//! The restrictions to workloads of the policies in force, by number.

use super::workloads::WORDS;
use crate::Error;
use crate::base::CgroupOf;
use policy::Policy;
use policy::checked::Scope;
use policy::evaluate::{Workload, includes};

/// A restriction to workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Restriction {
    /// To pods of this namespace.
    pub(crate) namespace: Option<String>,
    /// To these workloads.
    pub(crate) scope: Scope,
}

impl Restriction {
    /// That of a policy; `None`: it is about everything.
    pub(crate) fn of_policy(policy: &Policy) -> Option<Self> {
        let namespace = policy.namespace.clone();
        let restricted = namespace.is_some() || policy.scope.is_restricted();
        restricted.then(|| Self { namespace, scope: policy.scope.clone() })
    }

    /// That of a selector.
    pub(crate) fn of_scope(scope: &Scope) -> Option<Self> {
        scope.is_restricted().then(|| Self { namespace: None, scope: scope.clone() })
    }

    /// Whether a workload is among those that are meant.
    pub(crate) fn includes(&self, workload: &Workload) -> bool {
        let here = self.namespace.as_ref().is_none_or(|namespace| match workload {
            Workload::Container(container) => container.namespace == *namespace,
            Workload::Host | Workload::Unknown => false,
        });
        here && includes(&self.scope, workload)
    }
}

/// The numbers of restrictions, and what a task's workload is told by.
#[derive(Debug)]
pub(crate) struct Scopes {
    /// The hierarchy of cgroups that says what container a task is in.
    pub(crate) cgroup: CgroupOf,
    /// Restrictions by number; free numbers are `None`.
    restrictions: Vec<Option<Restriction>>,
}

impl Scopes {
    /// None yet.
    pub(crate) fn new(cgroup: CgroupOf) -> Self {
        Self { cgroup, restrictions: Vec::new() }
    }

    /// The number of a restriction.
    pub(crate) fn number(&self, restriction: &Restriction) -> Option<u32> {
        let position = |known: &Option<Restriction>| known.as_ref() == Some(restriction);
        self.restrictions.iter().position(position).map(|number| number as u32)
    }

    /// Gives a restriction a number, unless it has one. True: it is new.
    pub(crate) fn add(&mut self, restriction: Restriction) -> Result<bool, Error> {
        if self.number(&restriction).is_some() {
            return Ok(false);
        }
        match self.restrictions.iter().position(Option::is_none) {
            Some(free) => self.restrictions[free] = Some(restriction),
            None if self.restrictions.len() < 64 * WORDS => {
                self.restrictions.push(Some(restriction));
            }
            None => return Err(Error::TooManyScopes),
        }
        Ok(true)
    }

    /// Frees the numbers of all others.
    pub(crate) fn keep_only(&mut self, needed: &[Restriction]) {
        for slot in &mut self.restrictions {
            if slot.as_ref().is_some_and(|known| !needed.contains(known)) {
                *slot = None;
            }
        }
    }

    /// The set of restrictions that include a workload: bit n of word n / 64 for number n.
    pub(crate) fn including(&self, workload: &Workload) -> [u64; WORDS] {
        let mut words = [0; WORDS];
        for (number, restriction) in self.restrictions.iter().enumerate() {
            if restriction.as_ref().is_some_and(|known| known.includes(workload)) {
                words[number / 64] |= 1 << (number % 64);
            }
        }
        words
    }
}
