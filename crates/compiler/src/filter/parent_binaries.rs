//! matchParentBinaries: the same as matchBinaries, on what the parent ran when it forked the process;
//! after an exec without a fork before it, on the image that was replaced.

use super::binaries::paths;
use crate::Error;
use crate::emit::Emitter;
use crate::follow::ancestry::at;
use crate::follow::image;
use ebpf::Block;
use policy::checked::BinaryFilter;

pub(crate) fn parent_binaries(
    e: &mut Emitter<'_>,
    filter: &BinaryFilter,
    otherwise: Block,
) -> Result<(), Error> {
    paths(e, filter, image::PARENT, at::PARENT, otherwise)
}
