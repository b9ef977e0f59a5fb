//! matchBinaries. In, Prefix and Postfix: the path of the process's executable is, begins with or ends
//! with one of the values; NotIn, NotPrefix, NotPostfix: with none. Where the path is not known, as for
//! threads of the kernel, neither holds; a path that is too long for a path is none of the values, and
//! what it begins and ends with is not known.

use super::paths::{Misses, compare};
use crate::Error;
use crate::emit::Emitter;
use crate::follow::image::{self, Side};
use ebpf::Block;
use policy::checked::{BinaryFilter, PathComparison};

pub(crate) fn binaries(
    e: &mut Emitter<'_>,
    filter: &BinaryFilter,
    otherwise: Block,
) -> Result<(), Error> {
    paths(e, filter, image::OWN, otherwise)
}

/// The filter on one of the two paths of a process.
pub(super) fn paths(
    e: &mut Emitter<'_>,
    filter: &BinaryFilter,
    side: Side,
    otherwise: Block,
) -> Result<(), Error> {
    if filter.follow_children {
        return Err(Error::Unsupported("followChildren".to_owned()));
    }
    let on = e.b.create_block();
    let (yes, no) = if filter.negated { (otherwise, on) } else { (on, otherwise) };
    let too_long = if filter.comparison == PathComparison::Exact { no } else { otherwise };
    let path = e.image(side, Misses { unknown: otherwise, too_long })?;
    compare(&mut e.b, path, filter.comparison, &filter.values, yes);
    e.b.jump(no, &[]);
    e.b.switch_to(on);
    Ok(())
}
