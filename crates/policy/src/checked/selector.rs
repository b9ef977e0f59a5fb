//! Selectors with their macros merged in.
//!
//! A part (matchArgs, matchActions, …) comes from the selector or from one of its macros, never from
//! two of them. Problems with a part are told where the part stands.

use super::action::{self, Action};
use super::argument::Argument;
use super::checker::{Checker, Place, Placed};
use super::filter::{self, Filter, Section, Values};
use super::hook::Facts;
use super::process::{
    self, BinaryFilter, CapabilityFilter, NamespaceChange, NamespaceFilter, PidFilter,
};
use super::scope::{self, Scope};
use crate::document::{self, Selector as Written};
use crate::problem::{Path, excerpt, hint};
use std::collections::{BTreeMap, HashSet};

/// Filters, all of which must hold, and what to do then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// Where it stands.
    pub place: Place,
    /// Its name in statistics; may be empty.
    pub label: String,
    /// Restriction to workloads.
    pub workloads: Option<Scope>,
    /// By process id.
    pub pids: Vec<PidFilter>,
    /// By executable.
    pub binaries: Vec<BinaryFilter>,
    /// By the parent's executable.
    pub parent_binaries: Vec<BinaryFilter>,
    /// By namespace.
    pub namespaces: Vec<NamespaceFilter>,
    /// By change of namespace.
    pub namespace_changes: Vec<NamespaceChange>,
    /// By capabilities.
    pub capabilities: Vec<CapabilityFilter>,
    /// By change of capabilities.
    pub capability_changes: Vec<CapabilityFilter>,
    /// By arguments and data.
    pub filters: Vec<Filter>,
    /// By return value.
    pub return_filters: Vec<Filter>,
    /// What to do at entry; empty: Post.
    pub actions: Vec<Placed<Action>>,
    /// What to do at return; empty: Post.
    pub return_actions: Vec<Placed<Action>>,
}

/// The macros of a policy and where they stand.
pub(crate) struct Macros<'a> {
    pub(crate) written: &'a BTreeMap<String, Written>,
    pub(crate) path: Path<'a>,
}

/// One list of a selector and where it stands.
struct Part<'a, T> {
    items: &'a [T],
    path: Path<'a>,
    key: &'static str,
}

impl<'a, T> Part<'a, T> {
    fn check<R>(
        &self,
        checker: &mut Checker<'_>,
        mut check: impl FnMut(&'a T, &Path<'_>, &mut Checker<'_>) -> R,
    ) -> Vec<R> {
        let path = self.path.key(self.key);
        self.items
            .iter()
            .enumerate()
            .map(|(index, item)| check(item, &path.index(index), checker))
            .collect()
    }
}

/// Where the parts of a selector come from: the selector, then its macros.
struct Sources<'a> {
    list: Vec<(&'a Written, Path<'a>)>,
}

impl<'a> Sources<'a> {
    fn part<T>(
        &self,
        key: &'static str,
        checker: &mut Checker<'_>,
        get: fn(&'a Written) -> &'a [T],
    ) -> Part<'a, T> {
        let found = self.one(key, checker, |written| {
            let items = get(written);
            (!items.is_empty()).then_some(items)
        });
        let (items, path) = found.unwrap_or((&[], self.list[0].1));
        Part { items, path, key }
    }

    fn one<R>(
        &self,
        key: &'static str,
        checker: &mut Checker<'_>,
        get: impl Fn(&'a Written) -> Option<R>,
    ) -> Option<(R, Path<'a>)> {
        let mut found: Option<(R, Path<'a>)> = None;
        for (written, path) in &self.list {
            match (get(written), &found) {
                (Some(part), None) => found = Some((part, *path)),
                (Some(_), Some((_, first))) => {
                    let message = format!("{key} is given by {path} too: keep one of them");
                    checker.error(&first.key(key), message);
                }
                (None, _) => {}
            }
        }
        found
    }
}

/// Checks what holds for macros by themselves.
pub(crate) fn check_macros(macros: &Macros<'_>, checker: &mut Checker<'_>) {
    for (name, written) in macros.written {
        if !written.macros.is_empty() {
            let path = macros.path.key(name);
            checker.error(&path.key("macros"), "a macro cannot use macros: merge them by hand");
        }
    }
}

pub(crate) fn check_all(
    written: &[Written],
    macros: &Macros<'_>,
    facts: &Facts<'_>,
    values: &Values<'_>,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Vec<Selector> {
    let mut labels = HashSet::new();
    let mut selectors = Vec::new();
    for (index, selector) in written.iter().enumerate() {
        let path = path.index(index);
        if !selector.label.is_empty() && !labels.insert(selector.label.as_str()) {
            let message = format!(
                "another selector of this hook has the label `{}`: statistics could not tell them \
                 apart",
                excerpt(&selector.label)
            );
            checker.error(&path.key("label"), message);
        }
        selectors.push(check(selector, macros, facts, values, &path, checker));
    }
    selectors
}

fn check(
    written: &Written,
    macros: &Macros<'_>,
    facts: &Facts<'_>,
    values: &Values<'_>,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Selector {
    let mut list = vec![(written, *path)];
    let macros_at = path.key("macros");
    for (index, name) in written.macros.iter().enumerate() {
        let at = macros_at.index(index);
        if written.macros.iter().take(index).any(|earlier| earlier == name) {
            checker.error(&at, format!("macro `{}` is named twice", excerpt(name)));
            continue;
        }
        match macros.written.get(name) {
            Some(fragment) => list.push((fragment, macros.path.key(name))),
            None => {
                let known: Vec<&str> = macros.written.keys().map(String::as_str).collect();
                let message = format!(
                    "there is no macro `{}` in spec.selectorsMacros: {}",
                    excerpt(name),
                    hint(name, &known)
                );
                checker.error(&at, message);
            }
        }
    }
    let sources = Sources { list };
    let mut labels = sources.list.iter().map(|(written, _)| written.label.as_str());
    let label = labels.find(|label| !label.is_empty()).unwrap_or_default().to_owned();
    let workloads = sources
        .one("matchWorkloads", checker, |written| written.workloads.as_ref())
        .map(|(workloads, path)| check_workloads(workloads, &path, checker));

    let pids = sources.part("matchPIDs", checker, |written| &written.pids);
    let binaries = sources.part("matchBinaries", checker, |written| &written.binaries);
    let parents = sources.part("matchParentBinaries", checker, |written| &written.parent_binaries);
    let namespaces = sources.part("matchNamespaces", checker, |written| &written.namespaces);
    let namespace_changes =
        sources.part("matchNamespaceChanges", checker, |written| &written.namespace_changes);
    let capabilities = sources.part("matchCapabilities", checker, |written| &written.capabilities);
    let capability_changes =
        sources.part("matchCapabilityChanges", checker, |written| &written.capability_changes);
    let args = sources.part("matchArgs", checker, |written| &written.args);
    let data = sources.part("matchData", checker, |written| &written.data);
    let return_args = sources.part("matchReturnArgs", checker, |written| &written.return_args);
    let actions = sources.part("matchActions", checker, |written| &written.actions);
    let return_actions =
        sources.part("matchReturnActions", checker, |written| &written.return_actions);

    for (given, part_path, key) in [
        (!return_args.items.is_empty(), return_args.path, return_args.key),
        (!return_actions.items.is_empty(), return_actions.path, return_actions.key),
    ] {
        if given && values.return_kind.is_none() {
            let message = if facts.kind.has_return() {
                format!("{key} needs the hook's `return: true` and `returnArg`")
            } else {
                format!("{} have no return: remove {key}", facts.kind.plural())
            };
            checker.error(&part_path.key(key), message);
        }
    }
    let mut filters = args.check(checker, |written, path, checker| {
        filter::check(written, Section::Args, values, path, checker)
    });
    filters.extend(data.check(checker, |written, path, checker| {
        filter::check(written, Section::Data, values, path, checker)
    }));
    let return_filters = return_args.check(checker, |written, path, checker| {
        filter::check(written, Section::Return, values, path, checker)
    });
    Selector {
        place: checker.place(path),
        label,
        workloads,
        pids: pids.check(checker, process::check_pids),
        binaries: flat(binaries.check(checker, process::check_binaries)),
        parent_binaries: flat(parents.check(checker, process::check_binaries)),
        namespaces: namespaces.check(checker, process::check_namespace),
        namespace_changes: namespace_changes.check(checker, process::check_namespace_change),
        capabilities: capabilities.check(checker, process::check_capabilities),
        capability_changes: capability_changes.check(checker, process::check_capabilities),
        filters: flat(filters),
        return_filters: flat(return_filters),
        actions: check_actions(&actions, facts, values.args, checker),
        return_actions: check_actions(&return_actions, facts, values.args, checker),
    }
}

fn flat<T>(checked: Vec<Option<T>>) -> Vec<T> {
    checked.into_iter().flatten().collect()
}

fn check_actions(
    part: &Part<'_, document::Action>,
    facts: &Facts<'_>,
    args: &[Argument],
    checker: &mut Checker<'_>,
) -> Vec<Placed<Action>> {
    let mut overridden = false;
    let actions = flat(part.check(checker, |written, path, checker| {
        let value = action::check(written, facts, args, path, checker)?;
        if matches!(value, Action::Override(_) | Action::SetRegisters(_)) {
            if overridden {
                checker.error(path, "a selector overrides once: remove one of the overrides");
            }
            overridden = true;
        }
        if part.key == "matchReturnActions"
            && matches!(value, Action::TrackSock(_) | Action::UntrackSock(_))
        {
            checker.error(
                path,
                "argSock is an argument, which is gone when the function returns: move the action \
                 to matchActions, or write returnArgAction for the socket that is returned",
            );
        }
        Some(Placed { place: checker.place(path), value })
    }));
    if actions.iter().any(|action: &Placed<Action>| action.value == Action::NoPost) {
        for action in &actions {
            if let Action::GetUrl(_) | Action::DnsLookup(_) = action.value {
                let message =
                    "the request is made when the event arrives: with NoPost there is none";
                checker.report.note(action.place.mark, &part.path.key(part.key), message);
            }
        }
    }
    actions
}

fn check_workloads(
    written: &document::Workloads,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Scope {
    let written = scope::Written {
        pods: written.pods.as_ref(),
        containers: written.containers.as_ref(),
        host: written.host.is_some(),
    };
    scope::check(&written, &path.key("matchWorkloads"), checker)
}
