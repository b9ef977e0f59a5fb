//! Tests of a file's type, which needs no path.

use crate::Error;
use crate::emit::{Emitter, Targets};
use crate::plan::Input;
use ebpf::Cond;
use policy::checked::FileType;

/// `S_IFMT`
const MASK: i32 = 0o170_000;

/// The bits of a type (`S_IFSOCK` and so on).
fn bits(kind: FileType) -> i32 {
    match kind {
        FileType::Socket => 0o140_000,
        FileType::Link => 0o120_000,
        FileType::Regular => 0o100_000,
        FileType::Block => 0o060_000,
        FileType::Directory => 0o040_000,
        FileType::Character => 0o020_000,
        FileType::Fifo => 0o010_000,
    }
}

/// Goes to `unknown` for what has no inode.
pub(crate) fn test(
    e: &mut Emitter<'_>,
    input: &Input,
    types: &[FileType],
    to: Targets,
) -> Result<(), Error> {
    let fault = e.fault_to(to.unknown);
    let loaded = e.load(input, fault)?;
    let object = e.object(input.kind, loaded, fault)?;
    let mode = e.mode(object.dentry)?;
    e.unless(Cond::Eq, mode, 0, to.unknown);
    let kind = e.b.and(mode, MASK);
    for wanted in types {
        e.unless(Cond::Eq, kind, bits(*wanted), to.yes);
    }
    e.b.jump(to.no, &[]);
    Ok(())
}
