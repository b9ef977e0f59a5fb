//! Tests of paths, most of which need no path.
//!
//! - Prefix: the topmost components, found by walking up ([`components`](super::components))
//! - Equal, Postfix: the last component rules most files out ([`leaf`](super::leaf)); only for the
//!   others is the path built
//! - everything else looks at the path that is built, once, in the record
//!
//! What is decided without the path is what the captured path would say: from the root of the current
//! process, across mounts, with " (deleted)" behind what is not linked any more. A file without a path
//! (a pipe, a socket) matches no test, negated ones included.

use super::{components::Prefixes, leaf::Leaves, text};
use crate::Error;
use crate::emit::record::{Bytes, Position};
use crate::emit::{Emitter, Targets};
use crate::plan::Input;
use crate::value::path::at;
use crate::walk::extent;
use ebpf::{Cond, Size};
use policy::checked::Comparison;

/// Tests the path of the value at a position.
pub(crate) fn test(
    e: &mut Emitter<'_>,
    position: Position,
    input: &Input,
    comparison: &Comparison,
    to: Targets,
) -> Result<(), Error> {
    match comparison {
        Comparison::Prefix(values) => {
            if let Some(prefixes) = Prefixes::new(values) {
                let fault = e.fault_to(to.unknown);
                let loaded = e.load(input, fault)?;
                let object = e.object(input.kind, loaded, fault)?;
                return prefixes.test(e, object, to);
            }
        }
        Comparison::Equal(_) | Comparison::Postfix(_) => {
            if let Some(leaves) = Leaves::new(comparison) {
                let fault = e.fault_to(to.unknown);
                let loaded = e.load(input, fault)?;
                let object = e.object(input.kind, loaded, fault)?;
                let build = e.b.create_block();
                leaves.test(e, object, build, to)?;
                e.b.switch_to(build);
            }
        }
        _ => {}
    }
    built(e, position, input, comparison, to)
}

/// Tests the path that is built in the record.
///
/// Of a path longer than 4096 bytes only the end is there. It equals no value, and what is in its end
/// is in it; by what it begins, or that it contains something nowhere, cannot be told.
fn built(
    e: &mut Emitter<'_>,
    position: Position,
    input: &Input,
    comparison: &Comparison,
    to: Targets,
) -> Result<(), Error> {
    let item = e.text(position, input, to.unknown)?;
    let path = Bytes {
        start: e.b.add(item.start, i32::from(at::PATH)),
        length: e.b.sub(item.length, i32::from(at::PATH)),
    };
    e.unless(Cond::Sle, path.length, 0, to.unknown);
    let extent = e.b.load(Size::U16, item.start, at::EXTENT);
    let [whole, part, end] = [(); 3].map(|()| e.b.create_block());
    e.b.brif(Cond::Eq, extent, extent::WHOLE, whole, part);
    e.b.switch_to(part);
    e.b.brif(Cond::Eq, extent, extent::END, end, to.unknown);
    e.b.switch_to(end);
    match comparison {
        Comparison::Equal(_) => e.b.jump(to.no, &[]),
        Comparison::Prefix(_) => e.b.jump(to.unknown, &[]),
        Comparison::Postfix(_) => text::compare(e, path, comparison, to)?,
        _ => text::compare(e, path, comparison, Targets { no: to.unknown, ..to })?,
    }
    e.b.switch_to(whole);
    text::compare(e, path, comparison, to)
}
