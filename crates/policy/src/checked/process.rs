//! Filters by the process: its id, executable, namespaces and capabilities.

use super::capability;
use super::checker::{Checker, Place};
use crate::document::{
    BinaryFilter as WrittenBinary, BinaryOperator, CapabilityFilter as WrittenCapability,
    CapabilitySet, NamespaceChange as WrittenChange, NamespaceFilter as WrittenNamespace,
    NamespaceKind, PidFilter as WrittenPid, SetOperator,
};
use crate::problem::{Path, excerpt, hint};
use crate::text::integer;

/// Filter by process id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PidFilter {
    /// Where it stands.
    pub place: Place,
    /// Whether the id must be none of these.
    pub negated: bool,
    /// The ids.
    pub values: Vec<u32>,
    /// Ids in the process's own pid namespace.
    pub in_namespace: bool,
    /// Descendants as well.
    pub follow_forks: bool,
}

/// Filter by executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryFilter {
    /// Where it stands.
    pub place: Place,
    /// Whether none may match.
    pub negated: bool,
    /// How paths are compared.
    pub comparison: PathComparison,
    /// Paths, or parts of them; never empty.
    pub values: Vec<Vec<u8>>,
    /// Descendants of a matching process as well.
    pub follow_children: bool,
}

/// How paths are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PathComparison {
    /// The whole path.
    Exact,
    /// Its beginning.
    Prefix,
    /// Its end.
    Postfix,
}

/// Filter by namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceFilter {
    /// Where it stands.
    pub place: Place,
    /// Which namespace.
    pub kind: NamespaceKind,
    /// Whether it must be none of these.
    pub negated: bool,
    /// The namespaces.
    pub values: Vec<NamespaceId>,
}

/// A namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NamespaceId {
    /// That of process 1.
    Host,
    /// By inode number.
    Inode(u32),
}

/// Filter by change of namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceChange {
    /// Where it stands.
    pub place: Place,
    /// Whether another than these must have changed.
    pub negated: bool,
    /// The kinds.
    pub kinds: Vec<NamespaceKind>,
}

/// Filter by capabilities, or by their change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapabilityFilter {
    /// Where it stands.
    pub place: Place,
    /// Which set.
    pub set: CapabilitySet,
    /// Whether none of the mask may be set (or others than the mask changed).
    pub negated: bool,
    /// The capabilities; capability n is bit n.
    pub mask: u64,
    /// Only processes outside of the host's user namespace.
    pub outside_host_user_namespace: bool,
}

pub(crate) fn check_pids(
    written: &WrittenPid,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> PidFilter {
    if written.values.is_empty() {
        checker.error(&path.key("values"), format!("`{}` needs values", written.operator));
    }
    PidFilter {
        place: checker.place(path),
        negated: written.operator == SetOperator::NotIn,
        values: written.values.clone(),
        in_namespace: written.is_namespace_pid,
        follow_forks: written.follow_forks,
    }
}

/// `None` for a filter without values, which filters nothing.
pub(crate) fn check_binaries(
    written: &WrittenBinary,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Option<BinaryFilter> {
    use BinaryOperator as O;
    let (negated, comparison) = match written.operator {
        O::In => (false, PathComparison::Exact),
        O::NotIn => (true, PathComparison::Exact),
        O::Prefix => (false, PathComparison::Prefix),
        O::NotPrefix => (true, PathComparison::Prefix),
        O::Postfix => (false, PathComparison::Postfix),
        O::NotPostfix => (true, PathComparison::Postfix),
    };
    let values_at = path.key("values");
    if written.follow_children && comparison != PathComparison::Exact {
        let message =
            format!("followChildren goes with In and NotIn, not with {}", written.operator);
        checker.error(&path.key("followChildren"), message);
    }
    let values = checker.each(&written.values, &values_at, |value| {
        if value.is_empty() {
            return Err("an empty value says nothing: remove it".to_owned());
        }
        // The kernel resolves paths of executables from their root.
        if comparison != PathComparison::Postfix && !value.starts_with('/') {
            return Err(format!(
                "`{}` never matches: paths of executables begin with /",
                excerpt(value)
            ));
        }
        Ok(value.as_bytes().to_vec())
    });
    if written.values.is_empty() {
        checker.note(&values_at, "there are no values, so this filters nothing");
        return None;
    }
    let follow_children = written.follow_children;
    Some(BinaryFilter { place: checker.place(path), negated, comparison, values, follow_children })
}

pub(crate) fn check_namespace(
    written: &WrittenNamespace,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> NamespaceFilter {
    let at = path.key("values");
    if written.values.is_empty() {
        checker.error(&at, format!("`{}` needs values", written.operator));
    }
    let values = checker.each(&written.values, &at, |value| {
        if value == "host_ns" {
            return Ok(NamespaceId::Host);
        }
        integer(value)
            .and_then(|inode| u32::try_from(inode).ok())
            .map(NamespaceId::Inode)
            .ok_or_else(|| {
                format!(
                    "`{}` is no namespace: write host_ns, or the inode number as in \
                     /proc/PID/ns",
                    excerpt(value)
                )
            })
    });
    NamespaceFilter {
        place: checker.place(path),
        kind: written.namespace,
        negated: written.operator == SetOperator::NotIn,
        values,
    }
}

pub(crate) fn check_namespace_change(
    written: &WrittenChange,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> NamespaceChange {
    let at = path.key("values");
    if written.values.is_empty() {
        checker.error(&at, format!("`{}` needs values", written.operator));
    }
    let kinds = checker.each(&written.values, &at, |value| {
        let mut kinds = NamespaceKind::ALL.iter();
        kinds.find(|kind| kind.name().eq_ignore_ascii_case(value)).copied().ok_or_else(|| {
            let names: Vec<&str> = NamespaceKind::ALL.iter().map(|kind| kind.name()).collect();
            format!("`{}` is no kind of namespace: {}", excerpt(value), hint(value, &names))
        })
    });
    let negated = written.operator == SetOperator::NotIn;
    NamespaceChange { place: checker.place(path), negated, kinds }
}

pub(crate) fn check_capabilities(
    written: &WrittenCapability,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> CapabilityFilter {
    let at = path.key("values");
    if written.values.is_empty() {
        checker.error(&at, format!("`{}` needs values", written.operator));
    }
    let numbers = checker.each(&written.values, &at, capability::number);
    CapabilityFilter {
        place: checker.place(path),
        set: written.kind,
        negated: written.operator == SetOperator::NotIn,
        mask: numbers.into_iter().fold(0, |mask, number| mask | 1 << number),
        outside_host_user_namespace: written.is_namespace_capability,
    }
}
