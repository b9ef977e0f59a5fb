//! matchPIDs.
//!
//! In: the process's id is one of these; NotIn: none of these. `followForks` asks the same of its
//! ancestors as well: In holds when one of them all is listed, NotIn when none is.
//!
//! With `isNamespacePID` ids are those in the process's own pid namespace, 0 for processes of the
//! host's. Only ancestors in the same pid namespace are followed then.

use super::event::{Image, Process};
use crate::checked::PidFilter;

/// Whether a filter by process id holds.
pub(super) fn holds(filter: &PidFilter, process: &Process) -> bool {
    let own = &process.image;
    let followed = process.ancestors.iter().filter(|ancestor| {
        filter.follow_forks && (!filter.in_namespace || ancestor.pid_namespace == own.pid_namespace)
    });
    let id = |image: &Image| if filter.in_namespace { image.pid_in_namespace } else { image.pid };
    let listed =
        std::iter::once(own).chain(followed).any(|image| filter.values.contains(&id(image)));
    listed != filter.negated
}
