//! Namespaces: matchNamespaces and matchNamespaceChanges.

use super::event::Event;
use super::truth::{any, holds as answered};
use crate::checked::{NamespaceChange, NamespaceFilter, NamespaceId};
use crate::document::NamespaceKind;

/// matchNamespaces. In: the process's namespace of that kind is one of these; NotIn: none of these.
/// On a kernel without that kind neither holds.
pub(super) fn holds(filter: &NamespaceFilter, event: &Event) -> bool {
    let own = event.process.namespaces.get(&filter.kind);
    let answers = filter.values.iter().map(|value| {
        let wanted = match value {
            NamespaceId::Host => event.host.get(&filter.kind)?,
            NamespaceId::Inode(inode) => inode,
        };
        Some(own? == wanted)
    });
    answered(any(answers), filter.negated)
}

/// matchNamespaceChanges, against what is recorded. In: a namespace of one of these kinds differs.
/// NotIn: one of another kind does, whether or not listed ones differ too. Without a record there is no
/// telling.
pub(super) fn changed(filter: &NamespaceChange, event: &Event) -> bool {
    let Some(recorded) = &event.process.recorded_namespaces else { return false };
    let differs = |kind: &NamespaceKind| {
        let (before, now) = (recorded.get(kind), event.process.namespaces.get(kind));
        before.zip(now).is_some_and(|(before, now)| before != now)
    };
    let mut kinds = NamespaceKind::ALL.iter();
    kinds.any(|kind| filter.kinds.contains(kind) != filter.negated && differs(kind))
}

/// Whether the process is known to be in another user namespace than process 1.
pub(super) fn outside_host_user_namespace(event: &Event) -> bool {
    let kind = &NamespaceKind::User;
    let known = event.process.namespaces.get(kind).zip(event.host.get(kind));
    known.is_some_and(|(own, host)| own != host)
}
