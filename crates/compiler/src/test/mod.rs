//! Tests of values: what operators compile to.
//!
//! [`test`] is the one place that knows which file a comparison of a kind of value is in. Each of them
//! ends the current block: it goes on at `yes`, `no` or `unknown`.

mod components;
mod file_type;
mod integer;
mod leaf;
mod path;
mod search;
mod text;

use crate::Error;
use crate::emit::record::Position;
use crate::emit::{Emitter, Targets};
use crate::plan::{HookPlan, Input};
use policy::checked::{Comparison, Test, ValueKind};
use policy::document::TypeName;

/// Tests the value at a position.
pub(crate) fn test(
    e: &mut Emitter<'_>,
    position: Position,
    input: &Input,
    hook: &HookPlan,
    test: &Test,
    to: Targets,
) -> Result<(), Error> {
    let to = to.negated(test.negated);
    let _ = hook;
    match (&test.comparison, input.kind.kind()) {
        (
            Comparison::Integers(_)
            | Comparison::Greater(_)
            | Comparison::Less(_)
            | Comparison::Mask(_),
            kind,
        ) => integer::test(e, input, kind, &test.comparison, to),
        (Comparison::FileType(types), _) => file_type::test(e, input, types, to),
        (comparison, ValueKind::Path | ValueKind::File) => {
            path::test(e, position, input, comparison, to)
        }
        (comparison, ValueKind::Text) => text::test(e, position, input, comparison, to),
        _ => Err(Error::Unsupported(format!("{:?} of {}", test.comparison, input.kind))),
    }
}

/// A test over several values of a hook.
pub(crate) fn expression(
    _: &mut Emitter<'_>,
    _: &HookPlan,
    test: &Test,
    _: Targets,
) -> Result<(), Error> {
    Err(Error::Unsupported(format!("{:?}", test.comparison)))
}

/// Whether filters of this input read it as a text into the record.
pub(crate) fn reads_text(input: &Input) -> bool {
    use ValueKind as K;
    matches!(input.kind.kind(), K::Text | K::UnixAddress | K::Path | K::File)
}

/// How dear tests of a type are: those of low cost come first.
pub(crate) fn cost(kind: TypeName) -> u32 {
    match kind.kind() {
        ValueKind::Integer(_) | ValueKind::Syscall | ValueKind::Capability => 0,
        ValueKind::CapabilitySet | ValueKind::Socket | ValueKind::SocketBuffer => 1,
        ValueKind::SocketAddress => 2,
        ValueKind::File | ValueKind::Path => 3,
        _ => 4,
    }
}
