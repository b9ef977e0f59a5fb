//! What the filters of sections need to be kept of processes.

use super::ancestry::Ancestry;
use super::privileges;
use crate::emit::section::Section;
use policy::checked::Selector;
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
}

impl Needs {
    /// What these sections need.
    pub(crate) fn of<'s>(sections: impl IntoIterator<Item = &'s Section>) -> Self {
        let mut needs = Self::default();
        for section in sections {
            for selector in &section.hook.selectors {
                needs.add(selector);
                if asks_for_changes(selector) {
                    needs.privileges.insert(privileges::name(&section.policy));
                }
            }
        }
        needs
    }

    fn add(&mut self, selector: &Selector) {
        self.images |= !selector.binaries.is_empty() || !selector.parent_binaries.is_empty();
        let binaries = selector.binaries.iter().chain(&selector.parent_binaries);
        self.ancestries.extend(binaries.filter_map(Ancestry::of_binaries));
        self.ancestries.extend(selector.pids.iter().filter_map(Ancestry::of_pids));
    }
}

fn asks_for_changes(selector: &Selector) -> bool {
    !selector.namespace_changes.is_empty() || !selector.capability_changes.is_empty()
}
