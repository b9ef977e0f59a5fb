//! What the filters of sections need to be kept of processes.

use crate::emit::section::Section;
use policy::checked::Selector;

/// What is kept of processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Executables: [`super::image`].
    pub(crate) images: bool,
}

impl Needs {
    /// What these sections need.
    pub(crate) fn of<'s>(sections: impl IntoIterator<Item = &'s Section>) -> Self {
        let mut needs = Self::default();
        for section in sections {
            for selector in &section.hook.selectors {
                needs.add(selector);
            }
        }
        needs
    }

    fn add(&mut self, selector: &Selector) {
        self.images |= !selector.binaries.is_empty() || !selector.parent_binaries.is_empty();
    }
}
