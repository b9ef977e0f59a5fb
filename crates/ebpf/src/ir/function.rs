//! A function: blocks of instructions over values in SSA form.
//!
//! Every value is 64 bits wide and defined once: by an instruction, or as a parameter of a block.
//! Blocks pass values to the parameters of the block they go to (there are no phi nodes). The
//! parameters of the first block, the entry, are the function's own.

use super::entity::{Block, FuncId, Inst, LineId, MapRef, Slot, Value};
use crate::insn::{AluOp, AtomicOp, ByteOrder, Cond, Size, Width};

/// Right operand: a value or a constant, which is sign-extended to the operation's width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A value.
    Value(Value),
    /// A constant.
    Imm(i32),
}

impl From<Value> for Operand {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl From<i32> for Operand {
    fn from(imm: i32) -> Self {
        Self::Imm(imm)
    }
}

/// A kernel function, by its BTF id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kfunc {
    /// BTF id of the function.
    pub btf_id: u32,
    /// 0 for vmlinux; else where in the load call's `fd_array` the module's BTF stands.
    pub btf_fd_index: u16,
}

/// What an instruction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Const(i64),
    Alu {
        width: Width,
        op: AluOp,
        a: Value,
        b: Operand,
    },
    Neg {
        width: Width,
        a: Value,
    },
    /// Sign extension of the low bits.
    Sext {
        size: Size,
        a: Value,
    },
    /// Zero extension of the low bits.
    Zext {
        size: Size,
        a: Value,
    },
    /// The low bits in another byte order, zero-extended.
    Swap {
        order: ByteOrder,
        size: Size,
        a: Value,
    },
    Load {
        size: Size,
        signed: bool,
        base: Base,
        off: i16,
    },
    Store {
        size: Size,
        base: Base,
        off: i16,
        value: Operand,
    },
    Atomic {
        op: AtomicOp,
        fetch: bool,
        size: Size,
        base: Base,
        off: i16,
        value: Value,
    },
    Xchg {
        size: Size,
        base: Base,
        off: i16,
        value: Value,
    },
    CmpXchg {
        size: Size,
        base: Base,
        off: i16,
        expected: Value,
        new: Value,
    },
    SlotAddr {
        slot: Slot,
        off: i16,
    },
    Map(MapRef),
    MapValue {
        map: MapRef,
        off: u32,
    },
    FuncAddr(FuncId),
    Call {
        callee: Callee,
        args: Vec<Value>,
    },
}

/// What a memory access is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    Value(Value),
    Slot(Slot),
}

/// What a call calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callee {
    Helper(u32),
    Kfunc(Kfunc),
    Func(FuncId),
}

/// A block to go to, and what it gets for its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) block: Block,
    pub(crate) args: Vec<Value>,
}

/// How a block ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Terminator {
    Jump(Target),
    Branch { width: Width, cond: Cond, a: Value, b: Operand, then: Target, otherwise: Target },
    Ret(Operand),
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueDef {
    Inst(Inst),
    Param(Block),
}

#[derive(Clone, Debug)]
pub(crate) struct InstData {
    pub(crate) op: Op,
    pub(crate) result: Option<Value>,
    pub(crate) line: Option<LineId>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct BlockData {
    pub(crate) params: Vec<Value>,
    pub(crate) insts: Vec<Inst>,
    pub(crate) end: Option<Terminator>,
    /// Line of `end`.
    pub(crate) line: Option<LineId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotData {
    /// Bytes.
    pub(crate) size: u32,
    /// Bytes, a power of two up to 8.
    pub(crate) align: u32,
}

/// A function that the IR verifier has passed; made by
/// [`FunctionBuilder::finish`](super::FunctionBuilder::finish).
#[derive(Clone, Debug)]
pub struct Function {
    pub(crate) name: String,
    /// The first is the entry.
    pub(crate) blocks: Vec<BlockData>,
    pub(crate) insts: Vec<InstData>,
    pub(crate) values: Vec<ValueDef>,
    pub(crate) slots: Vec<SlotData>,
}

impl Function {
    /// The block that a call enters.
    pub(crate) const ENTRY: Block = Block::new(0);

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many parameters it takes.
    pub fn params(&self) -> usize {
        self.blocks.first().map_or(0, |entry| entry.params.len())
    }

    pub(crate) fn block(&self, block: Block) -> &BlockData {
        &self.blocks[block.index()]
    }

    pub(crate) fn block_mut(&mut self, block: Block) -> &mut BlockData {
        &mut self.blocks[block.index()]
    }

    pub(crate) fn inst(&self, inst: Inst) -> &InstData {
        &self.insts[inst.index()]
    }

    /// The instruction that defines `value`, unless it is a parameter.
    pub(crate) fn def(&self, value: Value) -> Option<&Op> {
        match self.values[value.index()] {
            ValueDef::Inst(inst) => Some(&self.inst(inst).op),
            ValueDef::Param(_) => None,
        }
    }

    /// The number that `value` is, if an instruction says so.
    pub(crate) fn constant(&self, value: Value) -> Option<i64> {
        match self.def(value) {
            Some(&Op::Const(number)) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn new_block(&mut self) -> Block {
        self.blocks.push(BlockData::default());
        Block::new(self.blocks.len() - 1)
    }

    pub(crate) fn new_param(&mut self, block: Block) -> Value {
        self.values.push(ValueDef::Param(block));
        let value = Value::new(self.values.len() - 1);
        self.block_mut(block).params.push(value);
        value
    }

    /// Adds an instruction without placing it in a block, and its result if it has one.
    pub(crate) fn new_inst(&mut self, op: Op, line: Option<LineId>) -> (Inst, Option<Value>) {
        let inst = Inst::new(self.insts.len());
        let result = op.has_result().then(|| {
            self.values.push(ValueDef::Inst(inst));
            Value::new(self.values.len() - 1)
        });
        self.insts.push(InstData { op, result, line });
        (inst, result)
    }

    pub(crate) fn block_ids(&self) -> impl Iterator<Item = Block> + use<> {
        (0..self.blocks.len()).map(Block::new)
    }
}

impl Op {
    pub(crate) fn has_result(&self) -> bool {
        !matches!(self, Self::Store { .. } | Self::Atomic { fetch: false, .. })
    }

    /// Whether it may go when nobody uses its result. A load may: the verifier has proved that it
    /// cannot fault, or the kernel handles the fault.
    pub(crate) fn is_pure(&self) -> bool {
        !matches!(
            self,
            Self::Store { .. }
                | Self::Atomic { .. }
                | Self::Xchg { .. }
                | Self::CmpXchg { .. }
                | Self::Call { .. }
        )
    }

    /// The values it uses.
    pub(crate) fn uses(&self) -> impl Iterator<Item = Value> {
        let (fixed, rest): ([Option<Value>; 3], &[Value]) = match self {
            Self::Const(_)
            | Self::SlotAddr { .. }
            | Self::Map(_)
            | Self::MapValue { .. }
            | Self::FuncAddr(_) => ([None; 3], &[]),
            Self::Alu { a, b, .. } => ([Some(*a), b.value(), None], &[]),
            Self::Neg { a, .. }
            | Self::Sext { a, .. }
            | Self::Zext { a, .. }
            | Self::Swap { a, .. } => ([Some(*a), None, None], &[]),
            Self::Load { base, .. } => ([base.value(), None, None], &[]),
            Self::Store { base, value, .. } => ([base.value(), value.value(), None], &[]),
            Self::Atomic { base, value, .. } | Self::Xchg { base, value, .. } => {
                ([base.value(), Some(*value), None], &[])
            }
            Self::CmpXchg { base, expected, new, .. } => {
                ([base.value(), Some(*expected), Some(*new)], &[])
            }
            Self::Call { args, .. } => ([None; 3], args),
        };
        fixed.into_iter().flatten().chain(rest.iter().copied())
    }

    /// Calls `f` with every value used, to be replaced in place.
    pub(crate) fn each_use_mut(&mut self, mut f: impl FnMut(&mut Value)) {
        match self {
            Self::Const(_)
            | Self::SlotAddr { .. }
            | Self::Map(_)
            | Self::MapValue { .. }
            | Self::FuncAddr(_) => {}
            Self::Alu { a, b, .. } => {
                f(a);
                b.each_use_mut(&mut f);
            }
            Self::Neg { a, .. }
            | Self::Sext { a, .. }
            | Self::Zext { a, .. }
            | Self::Swap { a, .. } => f(a),
            Self::Load { base, .. } => base.each_use_mut(&mut f),
            Self::Store { base, value, .. } => {
                base.each_use_mut(&mut f);
                value.each_use_mut(&mut f);
            }
            Self::Atomic { base, value, .. } | Self::Xchg { base, value, .. } => {
                base.each_use_mut(&mut f);
                f(value);
            }
            Self::CmpXchg { base, expected, new, .. } => {
                base.each_use_mut(&mut f);
                f(expected);
                f(new);
            }
            Self::Call { args, .. } => args.iter_mut().for_each(f),
        }
    }
}

impl Operand {
    pub(crate) fn value(self) -> Option<Value> {
        match self {
            Self::Value(value) => Some(value),
            Self::Imm(_) => None,
        }
    }

    pub(crate) fn each_use_mut(&mut self, f: &mut impl FnMut(&mut Value)) {
        if let Self::Value(value) = self {
            f(value);
        }
    }
}

impl Base {
    pub(crate) fn value(self) -> Option<Value> {
        match self {
            Self::Value(value) => Some(value),
            Self::Slot(_) => None,
        }
    }

    fn each_use_mut(&mut self, f: &mut impl FnMut(&mut Value)) {
        if let Self::Value(value) = self {
            f(value);
        }
    }
}

impl Terminator {
    /// Where it may go, in the order then, otherwise.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Target> {
        let (first, second) = match self {
            Self::Jump(target) => (Some(target), None),
            Self::Branch { then, otherwise, .. } => (Some(then), Some(otherwise)),
            Self::Ret(_) => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// Where it may go, to be changed in place.
    pub(crate) fn targets_mut(&mut self) -> impl Iterator<Item = &mut Target> {
        let (first, second) = match self {
            Self::Jump(target) => (Some(target), None),
            Self::Branch { then, otherwise, .. } => (Some(then), Some(otherwise)),
            Self::Ret(_) => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// The values that the terminator itself uses, not those it passes to its targets.
    pub(crate) fn own_uses(&self) -> impl Iterator<Item = Value> + use<> {
        let uses = match self {
            Self::Jump(_) => [None; 2],
            Self::Branch { a, b, .. } => [Some(*a), b.value()],
            Self::Ret(value) => [value.value(), None],
        };
        uses.into_iter().flatten()
    }

    /// Calls `f` with every value used, arguments of targets included, to be replaced in place.
    pub(crate) fn each_use_mut(&mut self, mut f: impl FnMut(&mut Value)) {
        match self {
            Self::Jump(_) => {}
            Self::Branch { a, b, .. } => {
                f(a);
                b.each_use_mut(&mut f);
            }
            Self::Ret(value) => value.each_use_mut(&mut f),
        }
        for target in self.targets_mut() {
            target.args.iter_mut().for_each(&mut f);
        }
    }
}
