//! matchBinaries and matchParentBinaries.
//!
//! In, Prefix and Postfix: the executable's path is, begins with or ends with one of the values; NotIn,
//! NotPrefix, NotPostfix: with none. When the path is not known neither holds.
//!
//! `followChildren`: the same is asked of all ancestors, and one that matches is enough. Of ancestors
//! that are not known nothing is known that would match. For matchParentBinaries everything is asked of
//! the parent, and of what the parent descends from.

use super::event::{Image, Process};
use super::truth::{any, holds as answered};
use crate::checked::{BinaryFilter, PathComparison};

/// matchBinaries.
pub(super) fn holds(filter: &BinaryFilter, process: &Process) -> bool {
    lineage(filter, &process.image, &process.ancestors)
}

/// matchParentBinaries.
pub(super) fn parent_holds(filter: &BinaryFilter, process: &Process) -> bool {
    match process.ancestors.split_first() {
        Some((parent, ancestors)) => lineage(filter, parent, ancestors),
        None => false,
    }
}

fn lineage(filter: &BinaryFilter, image: &Image, ancestors: &[Image]) -> bool {
    let followed = if filter.follow_children { ancestors } else { &[] };
    let inherited = followed.iter().any(|ancestor| matches(filter, ancestor) == Some(true));
    answered(any([matches(filter, image), Some(inherited)]), filter.negated)
}

fn matches(filter: &BinaryFilter, image: &Image) -> Option<bool> {
    let path = image.binary.as_deref().filter(|path| !path.is_empty())?;
    Some(filter.values.iter().any(|value| match filter.comparison {
        PathComparison::Exact => path == value,
        PathComparison::Prefix => path.starts_with(value),
        PathComparison::Postfix => path.ends_with(value),
    }))
}
