//! Tests of values: what operators compile to.
//!
//! [`test`] is the one place that knows which file a comparison of a kind of value is in. Each of them
//! ends the current block: it goes on at `yes`, `no` or `unknown`.

mod arithmetic;
mod automaton;
mod capability;
mod components;
mod expression;
mod file_type;
mod integer;
mod leaf;
mod network;
mod path;
mod prefixes;
pub(crate) mod ranges;
mod search;
mod syscall;
mod text;

pub(crate) use path::{asks_for_topmost, nothing_climbed};
pub(crate) use text::is_of_bytes;

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
    let unsupported = || Error::Unsupported(format!("{:?} of {}", test.comparison, input.kind));
    match (input.kind.kind(), &test.comparison) {
        (_, Comparison::FileType(types)) => file_type::test(e, input, types, to),
        (_, Comparison::CapabilitiesGained { before }) => {
            let before = hook.args.get(*before).ok_or_else(unsupported)?;
            capability::gained(e, before, input, to)
        }
        (ValueKind::Integer(width), comparison) => integer::test(e, input, width, comparison, to),
        (ValueKind::CapabilitySet, comparison) => capability::set(e, input, comparison, to),
        (ValueKind::Capability, comparison) => capability::number(e, input, comparison, to),
        (ValueKind::Syscall, Comparison::Syscalls { numbers, lists }) => {
            syscall::test(e, input, numbers, lists, to)
        }
        (ValueKind::Text, comparison) => text::test(e, position, input, comparison, to),
        (ValueKind::Path | ValueKind::File, comparison) => {
            path::test(e, position, input, comparison, to)
        }
        (ValueKind::Socket | ValueKind::SocketBuffer | ValueKind::SocketAddress, comparison)
        | (ValueKind::UnixAddress, comparison @ Comparison::Family(_)) => {
            network::test(e, input, comparison, to)
        }
        (ValueKind::UnixAddress, comparison) => text::test(e, position, input, comparison, to),
        _ => Err(unsupported()),
    }
}

/// A test over several values of a hook.
pub(crate) fn expression(
    e: &mut Emitter<'_>,
    hook: &HookPlan,
    test: &Test,
    to: Targets,
) -> Result<(), Error> {
    match &test.comparison {
        Comparison::Cel(condition) => {
            expression::test(e, hook, condition, to.negated(test.negated))
        }
        other => Err(Error::Unsupported(format!("{other:?} of several values"))),
    }
}

/// Positions in `args` of the texts that a test over several values reads.
pub(crate) fn expression_texts(test: &Test) -> Vec<usize> {
    match &test.comparison {
        Comparison::Cel(condition) => expression::texts(condition).into_iter().collect(),
        _ => Vec::new(),
    }
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
