//! matchBinaries. In, Prefix and Postfix: the path of the process's executable is, begins with or ends
//! with one of the values; NotIn, NotPrefix, NotPostfix: with none. Where the path is not known, as for
//! threads of the kernel, neither holds; a path that is too long for a path is none of the values, and
//! what it begins and ends with is not known. With `followChildren` one match among all that the process
//! descends from is enough for In and too many for NotIn.

use super::paths::{Misses, compare};
use crate::Error;
use crate::emit::Emitter;
use crate::follow::ancestry::{Ancestry, at};
use crate::follow::image::{self, Side};
use ebpf::Block;
use policy::checked::{BinaryFilter, PathComparison};

pub(crate) fn binaries(
    e: &mut Emitter<'_>,
    filter: &BinaryFilter,
    otherwise: Block,
) -> Result<(), Error> {
    paths(e, filter, image::OWN, at::MATCHED, otherwise)
}

/// The filter on one of the two paths of a process; `ancestry`: the answer that goes with it.
pub(super) fn paths(
    e: &mut Emitter<'_>,
    filter: &BinaryFilter,
    side: Side,
    ancestry: i16,
    otherwise: Block,
) -> Result<(), Error> {
    let on = e.b.create_block();
    let (yes, no) = if filter.negated { (otherwise, on) } else { (on, otherwise) };
    let too_long = if filter.comparison == PathComparison::Exact { no } else { otherwise };
    if let Some(asked) = Ancestry::of_binaries(filter) {
        // Whoever matches by itself is in there, whatever is known of the others.
        e.ancestry(&asked, ancestry, yes, otherwise)?;
        e.image(side, Misses { unknown: otherwise, too_long: no })?;
        e.b.jump(no, &[]);
        e.b.switch_to(on);
        return Ok(());
    }
    let path = e.image(side, Misses { unknown: otherwise, too_long })?;
    compare(&mut e.b, path, filter.comparison, &filter.values, yes);
    e.b.jump(no, &[]);
    e.b.switch_to(on);
    Ok(())
}
