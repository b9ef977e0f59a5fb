//! What the filters of sections need to be kept of processes.

use super::ancestry::Ancestry;
use super::scopes::Restriction;
use super::{enforcers, privileges, sockets};
use crate::emit::section::{Role, Section};
use policy::checked::{Action, Selector};
use std::collections::BTreeSet;

/// What is kept of processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Executables: [`super::image`].
    pub(crate) images: bool,
    /// Questions about ancestors.
    pub(crate) ancestries: BTreeSet<Ancestry>,
    /// Namespaces and capabilities that threads began with: names of storages, one for each policy
    /// that asks.
    pub(crate) privileges: BTreeSet<String>,
    /// What enforcers are told: names of maps, two for each policy that has one.
    pub(crate) enforcers: BTreeSet<(String, String)>,
    /// Owners of sockets: names of maps, one for each policy that tracks them.
    pub(crate) sockets: BTreeSet<String>,
    /// Restrictions to workloads, each once.
    pub(crate) restrictions: Vec<Restriction>,
}

impl Needs {
    /// What these sections need.
    pub(crate) fn of<'s>(sections: impl IntoIterator<Item = &'s Section>) -> Self {
        let mut needs = Self::default();
        for section in sections {
            needs.restrict(Restriction::of_policy(&section.policy));
            let own = &section.own;
            if section.role == Role::Enforce || section.hook.selectors.iter().any(notifies) {
                needs.enforcers.insert((enforcers::notices(own), enforcers::missed(own)));
            }
            if sockets::asked(section) {
                needs.sockets.insert(sockets::name(own));
            }
            for selector in &section.hook.selectors {
                needs.add(selector);
                if asks_for_changes(selector) {
                    needs.privileges.insert(privileges::name(own));
                }
            }
        }
        needs
    }

    /// Whether they need something that sections of other policies do not share.
    pub(crate) fn is_own(&self) -> bool {
        !self.ancestries.is_empty()
            || !self.privileges.is_empty()
            || !self.enforcers.is_empty()
            || !self.sockets.is_empty()
    }

    fn restrict(&mut self, restriction: Option<Restriction>) {
        self.restrictions.extend(restriction.filter(|new| !self.restrictions.contains(new)));
    }

    fn add(&mut self, selector: &Selector) {
        self.restrict(selector.workloads.as_ref().and_then(Restriction::of_scope));
        self.images |= !selector.binaries.is_empty() || !selector.parent_binaries.is_empty();
        let binaries = selector.binaries.iter().chain(&selector.parent_binaries);
        self.ancestries.extend(binaries.filter_map(Ancestry::of_binaries));
        self.ancestries.extend(selector.pids.iter().filter_map(Ancestry::of_pids));
    }
}

fn notifies(selector: &Selector) -> bool {
    let mut actions = selector.actions.iter().chain(&selector.return_actions);
    let notifies = |action: &Action| {
        matches!(action, Action::NotifyEnforcer { .. } | Action::CleanupEnforcerNotification)
    };
    actions.any(|action| notifies(&action.value))
}

fn asks_for_changes(selector: &Selector) -> bool {
    !selector.namespace_changes.is_empty() || !selector.capability_changes.is_empty()
}
