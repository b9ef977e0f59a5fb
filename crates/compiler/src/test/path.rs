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
use crate::climb::{self, kept};
use crate::emit::emitter::Climbed;
use crate::emit::record::{Bytes, Position};
use crate::emit::{Emitter, Targets};
use crate::flow::choose;
use crate::plan::Input;
use crate::read::Base;
use crate::value::path::at;
use crate::walk::{WINDOW, end, extent};
use ebpf::{Block, Cond, FunctionBuilder, Size, Slot, Value};
use policy::checked::{Comparison, ValueKind};

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
                if let Some((climbed, code)) = e.climbed.zip(e.paths.code(input)) {
                    let levels = prefixes.levels();
                    let found = e.topmost(input, climbed, code, levels, to.unknown)?;
                    return prefixes.compare(e, &found, to);
                }
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

/// Whether a test asks for the topmost components of a path.
pub(crate) fn asks_for_topmost(input: &Input, comparison: &Comparison) -> bool {
    let Comparison::Prefix(values) = comparison else { return false };
    matches!(input.kind.kind(), ValueKind::Path | ValueKind::File)
        && Prefixes::new(values).is_some()
}

/// Memory for what is kept of the way up, with nothing in it yet.
pub(crate) fn nothing_climbed(b: &mut FunctionBuilder) -> Slot {
    let memory = b.slot(kept::SIZE as u32, 8);
    b.slot_store(Size::U64, memory, kept::OF, 0);
    memory
}

impl Climbed {
    fn address(self, b: &mut FunctionBuilder) -> Value {
        match self {
            Self::Own(memory) => b.slot_addr(memory, 0),
            Self::Lent(memory) => memory,
        }
    }
}

impl Emitter<'_> {
    /// Where several filters ask for topmost components, they are kept in one place: in the caller's
    /// memory, where other sections find them too, if it lends some.
    pub(crate) fn declare_climbed(&mut self) {
        self.climbed = Some(match self.lent {
            Some(memory) => Climbed::Lent(memory),
            None => Climbed::Own(nothing_climbed(&mut self.b)),
        });
    }

    /// The topmost components of the path of a value, the topmost first; 0 where there are fewer. Goes to
    /// `unknown` when there is no path. `code`: what stands for the value ([`Paths`](crate::emit::Paths)).
    fn topmost(
        &mut self,
        input: &Input,
        climbed: Climbed,
        code: i32,
        count: usize,
        unknown: Block,
    ) -> Result<Vec<Base>, Error> {
        let memory = climbed.address(&mut self.b);
        let of = self.b.load(Size::U64, memory, kept::OF);
        let (up, have) = (self.b.create_block(), self.b.create_block());
        self.b.brif(Cond::Eq, of, code, have, up);
        self.b.switch_to(up);
        let fault = self.fault_to(unknown);
        let loaded = self.load(input, fault)?;
        let object = self.object(input.kind, loaded, fault)?;
        let memory = climbed.address(&mut self.b);
        // The kernel wants all of it initialized (up to 6.3).
        for at in (climb::at::MOUNT..climb::at::SIZE).step_by(8) {
            self.b.store(Size::U64, memory, kept::MEMORY + at, 0);
        }
        self.b.store(Size::U64, memory, kept::MEMORY + climb::at::DENTRY, object.dentry.value());
        if let Some(mount) = object.mount {
            self.b.store(Size::U64, memory, kept::MEMORY + climb::at::MOUNT, mount.value());
        }
        let ended = climb::call(&mut self.b, &self.functions, memory);
        let memory = climbed.address(&mut self.b);
        self.b.store(Size::U64, memory, kept::ENDED, ended);
        self.b.store(Size::U64, memory, kept::OF, code);
        self.b.jump(have, &[]);
        self.b.switch_to(have);
        let memory = climbed.address(&mut self.b);
        let ended = self.b.load(Size::U64, memory, kept::ENDED);
        self.require(Cond::Eq, ended, end::ROOT, unknown);
        let passed = self.b.load(Size::U64, memory, kept::MEMORY + climb::at::COUNT);
        let mut found = Vec::new();
        for nth in 1..=count as i32 {
            let dentry = choose(
                &mut self.b,
                Cond::Uge,
                passed,
                nth,
                |b| {
                    let index = b.sub(passed, nth);
                    let index = b.and(index, WINDOW as i32 - 1);
                    let offset = b.shl(index, 3);
                    let at = b.add(memory, offset);
                    b.load(Size::U64, at, kept::MEMORY + climb::at::WINDOW)
                },
                |b| b.iconst(0),
            );
            found.push(Base::Address(dentry));
        }
        Ok(found)
    }
}

impl Emitter<'_> {
    /// The path of the value at a position, built in the record, and its [`extent`]. Goes to `unknown` when
    /// there is none.
    fn built(
        &mut self,
        position: Position,
        input: &Input,
        unknown: Block,
    ) -> Result<(Bytes, Value), Error> {
        let item = self.text(position, input, unknown)?;
        let path = Bytes {
            start: self.b.add(item.start, i32::from(at::PATH)),
            length: self.b.sub(item.length, i32::from(at::PATH)),
        };
        self.unless(Cond::Sle, path.length, 0, unknown);
        let extent = self.b.load(Size::U16, item.start, at::EXTENT);
        Ok((path, extent))
    }

    /// All of the path of the value at a position. Goes to `unknown` when it is not known.
    pub(super) fn whole_path(
        &mut self,
        position: Position,
        input: &Input,
        unknown: Block,
    ) -> Result<Bytes, Error> {
        let (path, extent) = self.built(position, input, unknown)?;
        self.require(Cond::Eq, extent, extent::WHOLE, unknown);
        Ok(path)
    }
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
    let (path, extent) = e.built(position, input, to.unknown)?;
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
