//! One function of a policy's program under construction.

use super::Paths;
use super::context::Context;
use super::lines::Lines;
use super::map::Maps;
use super::record::{Position, Text};
use super::scratch::Functions;
use super::table::Tables;
use crate::Machine;
use crate::act::track::Owner;
use crate::follow::scopes::Scopes;
use crate::helper;
use crate::read::Reader;
use ebpf::{Block, Cond, FuncId, Function, FunctionBuilder, Operand, Slot, Value, Var};
use policy::CheckedPolicy;
use std::collections::HashMap;

/// A function under construction with what its parts need.
pub(crate) struct Emitter<'k> {
    /// The function.
    pub(crate) b: FunctionBuilder,
    /// Reads of kernel structures.
    pub(crate) read: Reader<'k>,
    /// The machine it is for.
    pub(crate) machine: &'k Machine,
    /// The policy.
    pub(crate) policy: &'k CheckedPolicy,
    /// What stands for it in the names of what is kept for it alone.
    pub(crate) own: &'k str,
    /// Its maps.
    pub(crate) maps: Maps,
    /// Functions it can call.
    pub(crate) functions: Functions,
    /// Where the hook's arguments are.
    pub(crate) context: Context,
    /// Whether arguments are those of a system call by a 32-bit caller.
    pub(crate) compat: bool,
    /// Whether reads of the process's memory may wait for it.
    pub(crate) waits: bool,
    /// The program's context itself.
    pub(crate) raw_context: Value,
    /// Number of the section's first counters in its program.
    pub(crate) index: u32,
    /// Records are digested.
    pub(crate) digests: bool,
    /// The program's result, where it decides about the call.
    pub(crate) verdict: Option<Var>,
    /// Where the section ends: everything jumps here in the end.
    pub(crate) leave: Block,
    /// The scratch area, or 0 ([`Self::scratch`]).
    pub(super) scratch: Var,
    /// Its bit.
    pub(super) scratch_bit: Var,
    /// The scratch area, where it was taken for all that is emitted now.
    pub(super) held: Option<Value>,
    /// Bytes of the record so far; items are appended behind.
    pub(crate) length: Var,
    /// Texts that were read for filters.
    pub(super) texts: HashMap<Position, Text>,
    /// Where names are compared, [`NAME_SLOT`] bytes.
    pub(crate) names: Option<Slot>,
    /// The paths whose topmost components filters of the program ask for.
    pub(crate) paths: &'k Paths,
    /// Memory of the caller where those are kept, [`kept::SIZE`](crate::climb::kept::SIZE) bytes, if it
    /// lends some.
    pub(crate) lent: Option<Value>,
    /// Where they are kept, where several filters ask for them.
    pub(crate) climbed: Option<Climbed>,
    /// Whom the section's socket belongs to, where that was looked up.
    pub(crate) owner: Option<Owner>,
    /// While a buffer is captured at return: where it is.
    pub(crate) returned_buffer: Option<Value>,
    /// What arguments were that actions may have set since.
    pub(super) before_set: Vec<super::operand::BeforeSet>,
    /// Number of the run in which a file is being measured, once that was asked for.
    pub(crate) measured_in: Option<Var>,
    /// The policy's lines.
    pub(super) lines: Lines,
    /// Numbers of restrictions to workloads.
    pub(crate) scopes: &'k Scopes,
    /// Its tables.
    pub(super) tables: Tables<'k>,
}

/// Size of [`Emitter::names`].
pub(crate) const NAME_SLOT: usize = 64;

/// Where topmost components are kept from one filter to the next ([`kept`](crate::climb::kept)).
#[derive(Clone, Copy)]
pub(crate) enum Climbed {
    /// In the function's own part of the stack.
    Own(Slot),
    /// In its caller's.
    Lent(Value),
}

/// Where a test goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Targets {
    /// It holds.
    pub(crate) yes: Block,
    /// It does not.
    pub(crate) no: Block,
    /// That cannot be told: a value could not be read, or is of a kind that the test is not about.
    pub(crate) unknown: Block,
}

impl Targets {
    /// Those of the negated test.
    pub(crate) fn negated(self, negated: bool) -> Self {
        if negated { Self { yes: self.no, no: self.yes, ..self } } else { self }
    }
}

impl Emitter<'_> {
    /// Goes on here when the comparison holds, else at `otherwise`.
    pub(crate) fn require(
        &mut self,
        cond: Cond,
        left: Value,
        right: impl Into<Operand>,
        otherwise: Block,
    ) {
        let on = self.b.create_block();
        self.b.brif(cond, left, right, on, otherwise);
        self.b.switch_to(on);
    }

    /// Goes to `then` when the comparison holds, else goes on here.
    pub(crate) fn unless(
        &mut self,
        cond: Cond,
        left: Value,
        right: impl Into<Operand>,
        then: Block,
    ) {
        let on = self.b.create_block();
        self.b.brif(cond, left, right, then, on);
        self.b.switch_to(on);
    }

    /// Goes to `otherwise` always; what follows is not reached.
    pub(crate) fn never(&mut self, otherwise: Block) {
        self.b.jump(otherwise, &[]);
        let unreached = self.b.create_block();
        self.b.switch_to(unreached);
    }

    /// The part of the stack in which names are compared.
    pub(crate) fn name_slot(&mut self) -> Slot {
        let b = &mut self.b;
        *self.names.get_or_insert_with(|| b.slot(NAME_SLOT as u32, 8))
    }

    /// Adds a function to the program.
    pub(crate) fn function(&mut self, name: &str, function: Function) -> FuncId {
        let id = self.tables.module.declare(name, function.params());
        self.tables.module.define(id, function);
        id
    }

    /// The current task, as a pointer whose type the verifier knows.
    pub(crate) fn current(&mut self) -> Value {
        self.b.call(helper::GET_CURRENT_TASK_BTF, &[])
    }

    /// Adds one to a counter of the section ([`map::counter`](super::map::counter)).
    pub(crate) fn count(&mut self, counter: i16) {
        self.count_of(0, counter);
    }
}
