//! The policy's own lines as the source lines of its programs, so that the verifier's log and
//! `bpftool prog dump` speak of the policy.

use super::Emitter;
use super::section::Section;
use ebpf::{LineId, Module};
use policy::Mark;
use policy::checked::{Place, Placed};
use std::collections::HashMap;

/// The lines of one section, by their places.
#[derive(Default)]
pub(crate) struct Lines(HashMap<Mark, LineId>);

impl Lines {
    /// Tells the module of the lines that a section's code comes from.
    pub(crate) fn declare(module: &mut Module, section: &Section) -> Self {
        let mut lines = HashMap::new();
        let hook = &section.hook;
        let mut places: Vec<&Place> = vec![&hook.place];
        places.extend(hook.args.iter().chain(&hook.data).chain(&hook.returned).map(|i| &i.place));
        for selector in &hook.selectors {
            places.push(&selector.place);
            places.extend(selector.pids.iter().map(|filter| &filter.place));
            places.extend(selector.binaries.iter().map(|filter| &filter.place));
            places.extend(selector.parent_binaries.iter().map(|filter| &filter.place));
            places.extend(selector.namespaces.iter().map(|filter| &filter.place));
            places.extend(selector.namespace_changes.iter().map(|filter| &filter.place));
            places.extend(selector.capabilities.iter().map(|filter| &filter.place));
            places.extend(selector.capability_changes.iter().map(|filter| &filter.place));
            places.extend(selector.filters.iter().map(|filter| &filter.place));
            places.extend(selector.return_filters.iter().map(|filter| &filter.place));
            let actions = selector.actions.iter().chain(&selector.return_actions);
            places.extend(actions.map(|Placed { place, .. }| place));
        }
        let policy = &section.policy;
        let text: Vec<&str> = policy.text.lines().collect();
        for place in places {
            let mark = place.mark;
            lines.entry(mark).or_insert_with(|| {
                let (line, column) = (mark.line as u32, mark.column as u32);
                let text = text.get(mark.line.saturating_sub(1)).copied().unwrap_or_default();
                module.line(policy.file.as_str(), line, column, text)
            });
        }
        Self(lines)
    }
}

impl Emitter<'_> {
    /// What follows comes from this place in the policy.
    pub(crate) fn at(&mut self, place: &Place) {
        if let Some(line) = self.lines.0.get(&place.mark) {
            self.b.set_line(Some(*line));
        }
    }
}
