//! Building a function, one instruction after the other.
//!
//! Methods that add code add it to the current block, [`FunctionBuilder::switch_to`] changes which
//! that is. They cannot fail: the first mistake is kept and
//! [`finish`](FunctionBuilder::finish) returns it, so that programs read without error handling.
//!
//! ```
//! use ebpf::{Cond, FunctionBuilder, Size};
//!
//! // Counts the zero bytes of the eight that r1 points to.
//! let mut b = FunctionBuilder::new("zeros", 1);
//! let (count, at) = (b.var(), b.var());
//! let zero = b.iconst(0);
//! b.def(count, zero);
//! b.def(at, zero);
//! let (head, body, hit, next, end) =
//!     (b.create_block(), b.create_block(), b.create_block(), b.create_block(), b.create_block());
//! b.jump(head, &[]);
//!
//! b.switch_to(head);
//! let i = b.get(at);
//! b.brif(Cond::Ult, i, 8, body, end);
//!
//! b.switch_to(body);
//! let base = b.param(0);
//! let place = b.add(base, i);
//! let byte = b.load(Size::U8, place, 0);
//! b.brif(Cond::Eq, byte, 0, hit, next);
//!
//! b.switch_to(hit);
//! let old = b.get(count);
//! let new = b.add(old, 1);
//! b.def(count, new);
//! b.jump(next, &[]);
//!
//! b.switch_to(next);
//! let i = b.get(at);
//! let i = b.add(i, 1);
//! b.def(at, i);
//! b.jump(head, &[]);
//!
//! b.switch_to(end);
//! let result = b.get(count);
//! b.ret(result);
//! let function = b.finish()?;
//! # Ok::<(), ebpf::Error>(())
//! ```

use super::entity::{Block, FuncId, LineId, MapRef, Slot, Value, Var};
use super::function::{
    Base, Callee, Function, Kfunc, Op, Operand, SlotData, Target, Terminator, ValueDef,
};
use super::variable::Variables;
use super::{cfg, simplify, verify};
use crate::error::{Error, Place, Problem};
use crate::insn::{AluOp, AtomicOp, ByteOrder, Cond, Size, Width};

/// Builds one [`Function`].
#[derive(Debug)]
pub struct FunctionBuilder {
    func: Function,
    current: Block,
    line: Option<LineId>,
    vars: Variables,
    temporary: Option<Slot>,
    error: Option<Error>,
}

/// Blocks and parameters.
impl FunctionBuilder {
    /// Starts a function with `params` parameters (0 to 5), in its entry block. The name should be
    /// an identifier: it is shown by `bpftool` and in the verifier's log.
    pub fn new(name: impl Into<String>, params: usize) -> Self {
        let mut func = Function {
            name: name.into(),
            blocks: Vec::new(),
            insts: Vec::new(),
            values: Vec::new(),
            slots: Vec::new(),
        };
        let entry = func.new_block();
        for _ in 0..params {
            func.new_param(entry);
        }
        Self {
            func,
            current: entry,
            line: None,
            vars: Variables::default(),
            temporary: None,
            error: None,
        }
    }

    /// How many parameters the function has.
    pub fn params(&self) -> usize {
        self.func.params()
    }

    /// The function's parameter `index`, from 0.
    pub fn param(&mut self, index: usize) -> Value {
        match self.func.block(Function::ENTRY).params.get(index) {
            Some(&value) => value,
            None => {
                let params = self.func.params();
                self.fail(Problem::NoParam { index, params });
                self.poison()
            }
        }
    }

    /// How many parameters the function has.
    pub fn param_count(&self) -> usize {
        self.func.params()
    }

    /// A new block without parameters.
    pub fn create_block(&mut self) -> Block {
        self.func.new_block()
    }

    /// Gives `block` one more parameter, for which jumps to it must pass a value.
    pub fn append_param(&mut self, block: Block) -> Value {
        if block == Function::ENTRY || !self.has_block(block) {
            self.fail(if block == Function::ENTRY {
                Problem::EntryTarget
            } else {
                Problem::NoBlock(block)
            });
            return self.poison();
        }
        self.func.new_param(block)
    }

    /// Adds the following code to the end of `block`.
    pub fn switch_to(&mut self, block: Block) {
        if self.has_block(block) {
            self.current = block;
        } else {
            self.fail(Problem::NoBlock(block));
        }
    }

    /// The block that code is added to.
    pub fn current(&self) -> Block {
        self.current
    }

    /// Whether the current block has ended: nothing can be added to it any more.
    pub fn is_ended(&self) -> bool {
        self.func.block(self.current).end.is_some()
    }

    /// The source line of the following code.
    pub fn set_line(&mut self, line: Option<LineId>) {
        self.line = line;
    }

    /// Checks the function and returns it, or the first mistake.
    pub fn finish(mut self) -> Result<Function, Error> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        verify::targets(&self.func)?;
        self.vars.finish(&mut self.func)?;
        cfg::remove_unreachable(&mut self.func);
        simplify::remove_trivial_params(&mut self.func);
        verify::function(&self.func)?;
        Ok(self.func)
    }
}

/// Constants and arithmetic.
impl FunctionBuilder {
    /// A number. Costs nothing where an instruction can take it as an immediate.
    pub fn iconst(&mut self, number: i64) -> Value {
        self.value(Op::Const(number))
    }

    /// `a op b` on 64 bits.
    pub fn alu(&mut self, op: AluOp, a: Value, b: impl Into<Operand>) -> Value {
        self.value(Op::Alu { width: Width::W64, op, a, b: b.into() })
    }

    /// `a op b` on the low 32 bits; the result's high half is zero.
    pub fn alu32(&mut self, op: AluOp, a: Value, b: impl Into<Operand>) -> Value {
        self.value(Op::Alu { width: Width::W32, op, a, b: b.into() })
    }

    /// `a + b`, wrapping.
    pub fn add(&mut self, a: Value, b: impl Into<Operand>) -> Value {
        self.alu(AluOp::Add, a, b)
    }

    /// `a - b`, wrapping.
    pub fn sub(&mut self, a: Value, b: impl Into<Operand>) -> Value {
        self.alu(AluOp::Sub, a, b)
    }

    /// `a * b`, wrapping.
    pub fn mul(&mut self, a: Value, b: impl Into<Operand>) -> Value {
        self.alu(AluOp::Mul, a, b)
    }

    /// `a / b`, unsigned; 0 when `b` is 0.
    pub fn div(&mut self, a: Value, b: impl Into<Operand>) -> Value {
        self.alu(AluOp::Div, a, b)
    }

    /// `a % b`, unsigned; `a` when `b` is 0.
    pub fn rem(&mut self, a: Value, b: impl Into<Operand>) -> Value {
        self.alu(AluOp::Mod, a, b)
    }

    /// `a / b`, signed, rounded to zero; 0 when `b` is 0.
    pub fn sdiv(&mut self, a: Value, b: impl Into<Operand>) -> Value {
        self.alu(AluOp::SDiv, a, b)
    }

    /// `a % b`, signed, with the sign of `a`; `a` when `b` is 0.
    pub fn srem(&mut self, a: Value, b: impl Into<Operand>) -> Value {
        self.alu(AluOp::SMod, a, b)
    }

    /// `a & b`.
    pub fn and(&mut self, a: Value, b: impl Into<Operand>) -> Value {
        self.alu(AluOp::And, a, b)
    }

    /// `a | b`.
    pub fn or(&mut self, a: Value, b: impl Into<Operand>) -> Value {
        self.alu(AluOp::Or, a, b)
    }

    /// `a ^ b`.
    pub fn xor(&mut self, a: Value, b: impl Into<Operand>) -> Value {
        self.alu(AluOp::Xor, a, b)
    }

    /// `a << b`; `b` is taken modulo 64.
    pub fn shl(&mut self, a: Value, b: impl Into<Operand>) -> Value {
        self.alu(AluOp::Shl, a, b)
    }

    /// `a >> b`, filling with zeros; `b` is taken modulo 64.
    pub fn lshr(&mut self, a: Value, b: impl Into<Operand>) -> Value {
        self.alu(AluOp::Lshr, a, b)
    }

    /// `a >> b`, filling with the sign; `b` is taken modulo 64.
    pub fn ashr(&mut self, a: Value, b: impl Into<Operand>) -> Value {
        self.alu(AluOp::Ashr, a, b)
    }

    /// `-a`.
    pub fn neg(&mut self, a: Value) -> Value {
        self.value(Op::Neg { width: Width::W64, a })
    }

    /// The low `size` bytes of `a`, sign-extended.
    pub fn sext(&mut self, a: Value, size: Size) -> Value {
        if size == Size::U64 { a } else { self.value(Op::Sext { size, a }) }
    }

    /// The low `size` bytes of `a`, zero-extended.
    pub fn zext(&mut self, a: Value, size: Size) -> Value {
        if size == Size::U64 { a } else { self.value(Op::Zext { size, a }) }
    }

    /// The low `size` bytes of `a` (U16 to U64), from the machine's order to big endian or back.
    pub fn to_be(&mut self, a: Value, size: Size) -> Value {
        self.value(Op::Swap { order: ByteOrder::Big, size, a })
    }

    /// The low `size` bytes of `a` (U16 to U64), from the machine's order to little endian or back.
    pub fn to_le(&mut self, a: Value, size: Size) -> Value {
        self.value(Op::Swap { order: ByteOrder::Little, size, a })
    }

    /// The low `size` bytes of `a` (U16 to U64) in reverse order.
    pub fn bswap(&mut self, a: Value, size: Size) -> Value {
        self.value(Op::Swap { order: ByteOrder::Swap, size, a })
    }
}

/// Memory.
impl FunctionBuilder {
    /// `*(base + off)`, zero-extended.
    pub fn load(&mut self, size: Size, base: Value, off: i16) -> Value {
        self.value(Op::Load { size, signed: false, base: Base::Value(base), off })
    }

    /// `*(base + off)`, sign-extended.
    pub fn load_sext(&mut self, size: Size, base: Value, off: i16) -> Value {
        let signed = size != Size::U64;
        self.value(Op::Load { size, signed, base: Base::Value(base), off })
    }

    /// `*(base + off) = value`, its low bytes.
    pub fn store(&mut self, size: Size, base: Value, off: i16, value: impl Into<Operand>) {
        self.effect(Op::Store { size, base: Base::Value(base), off, value: value.into() });
    }

    /// `*(base + off) op= value`, atomically; U32 or U64.
    pub fn atomic(
        &mut self,
        op: AtomicOp,
        size: Size,
        base: Value,
        off: i16,
        value: impl Into<Operand>,
    ) {
        let (base, value) = (Base::Value(base), self.materialize(value));
        self.effect(Op::Atomic { op, fetch: false, size, base, off, value });
    }

    /// `*(base + off) op= value`, atomically; returns the old value. U32 or U64.
    ///
    /// Not for memory of this function's stack: Linux 6.18 does not follow results of atomics back to
    /// stack slots (`backtrack_insn`), and can take a branch on such a result for known.
    pub fn atomic_fetch(
        &mut self,
        op: AtomicOp,
        size: Size,
        base: Value,
        off: i16,
        value: impl Into<Operand>,
    ) -> Value {
        let (base, value) = (Base::Value(base), self.materialize(value));
        self.value(Op::Atomic { op, fetch: true, size, base, off, value })
    }

    /// `*(base + off) = value`, atomically; returns the old value. U32 or U64.
    pub fn xchg(&mut self, size: Size, base: Value, off: i16, value: impl Into<Operand>) -> Value {
        let (base, value) = (Base::Value(base), self.materialize(value));
        self.value(Op::Xchg { size, base, off, value })
    }

    /// If `*(base + off) == expected`, it becomes `new`, atomically; returns the old value. U32 or
    /// U64.
    pub fn cmpxchg(
        &mut self,
        size: Size,
        base: Value,
        off: i16,
        expected: impl Into<Operand>,
        new: impl Into<Operand>,
    ) -> Value {
        let (base, expected) = (Base::Value(base), self.materialize(expected));
        let new = self.materialize(new);
        self.value(Op::CmpXchg { size, base, off, expected, new })
    }

    /// A piece of this function's stack: 1 to 512 bytes, aligned to 1, 2, 4 or 8. Nothing is in it
    /// at first; the kernel refuses programs that read what they have not written.
    pub fn slot(&mut self, size: u32, align: u32) -> Slot {
        self.func.slots.push(SlotData { size, align });
        Slot::new(self.func.slots.len() - 1)
    }

    /// A piece of this function's stack for what is used at once: the key of a lookup, what a helper
    /// reads into. All pieces that come from here are the same one, so what is in it lasts until the
    /// next is asked for.
    pub fn temporary(&mut self, size: u32, align: u32) -> Slot {
        let Some(slot) = self.temporary else {
            let slot = self.slot(size, align);
            self.temporary = Some(slot);
            return slot;
        };
        let data = &mut self.func.slots[slot.index()];
        data.size = data.size.max(size);
        data.align = data.align.max(align);
        slot
    }

    /// Address of byte `off` of a slot.
    pub fn slot_addr(&mut self, slot: Slot, off: i16) -> Value {
        self.value(Op::SlotAddr { slot, off })
    }

    /// Writes the low bytes of `value` at byte `off` of a slot.
    pub fn slot_store(&mut self, size: Size, slot: Slot, off: i16, value: impl Into<Operand>) {
        self.effect(Op::Store { size, base: Base::Slot(slot), off, value: value.into() });
    }

    /// Reads at byte `off` of a slot, zero-extended.
    pub fn slot_load(&mut self, size: Size, slot: Slot, off: i16) -> Value {
        self.value(Op::Load { size, signed: false, base: Base::Slot(slot), off })
    }

    /// The map itself, as helpers take it.
    pub fn map(&mut self, map: MapRef) -> Value {
        self.value(Op::Map(map))
    }

    /// Address of byte `off` in the only value of an array map with one element.
    pub fn map_value(&mut self, map: MapRef, off: u32) -> Value {
        self.value(Op::MapValue { map, off })
    }
}

/// Calls.
impl FunctionBuilder {
    /// Calls a helper by its number.
    pub fn call(&mut self, helper_id: u32, args: &[Value]) -> Value {
        self.value(Op::Call { callee: Callee::Helper(helper_id), args: args.to_vec() })
    }

    /// Calls a kernel function.
    pub fn call_kfunc(&mut self, kfunc: Kfunc, args: &[Value]) -> Value {
        self.value(Op::Call { callee: Callee::Kfunc(kfunc), args: args.to_vec() })
    }

    /// Calls a function of the same module.
    pub fn call_func(&mut self, func: FuncId, args: &[Value]) -> Value {
        self.value(Op::Call { callee: Callee::Func(func), args: args.to_vec() })
    }

    /// Address of a function of the same module, for helpers that call back.
    pub fn func_addr(&mut self, func: FuncId) -> Value {
        self.value(Op::FuncAddr(func))
    }
}

/// Ends of blocks.
impl FunctionBuilder {
    /// Goes to `block`, passing `args` for its parameters.
    pub fn jump(&mut self, block: Block, args: &[Value]) {
        self.end(Terminator::Jump(target(block, args)));
    }

    /// Goes to `then` if `a cond b` on 64 bits, else to `otherwise`.
    #[allow(clippy::too_many_arguments)] // a comparison and two targets with arguments
    pub fn branch(
        &mut self,
        cond: Cond,
        a: Value,
        b: impl Into<Operand>,
        then: Block,
        then_args: &[Value],
        otherwise: Block,
        otherwise_args: &[Value],
    ) {
        let (then, otherwise) = (target(then, then_args), target(otherwise, otherwise_args));
        let width = Width::W64;
        self.end(Terminator::Branch { width, cond, a, b: b.into(), then, otherwise });
    }

    /// Goes to `then` if `a cond b` on the low 32 bits, else to `otherwise`.
    #[allow(clippy::too_many_arguments)] // as branch()
    pub fn branch32(
        &mut self,
        cond: Cond,
        a: Value,
        b: impl Into<Operand>,
        then: Block,
        then_args: &[Value],
        otherwise: Block,
        otherwise_args: &[Value],
    ) {
        let (then, otherwise) = (target(then, then_args), target(otherwise, otherwise_args));
        let width = Width::W32;
        self.end(Terminator::Branch { width, cond, a, b: b.into(), then, otherwise });
    }

    /// [`branch`](Self::branch) to blocks without parameters.
    pub fn brif(
        &mut self,
        cond: Cond,
        a: Value,
        b: impl Into<Operand>,
        then: Block,
        otherwise: Block,
    ) {
        self.branch(cond, a, b, then, &[], otherwise, &[]);
    }

    /// Returns `value`.
    pub fn ret(&mut self, value: impl Into<Operand>) {
        self.end(Terminator::Ret(value.into()));
    }
}

/// Variables: values that change. [`finish`](FunctionBuilder::finish) turns them into block
/// parameters.
impl FunctionBuilder {
    /// A new variable, not set yet.
    pub fn var(&mut self) -> Var {
        self.vars.create()
    }

    /// Sets a variable, from here on.
    pub fn def(&mut self, var: Var, value: Value) {
        if self.is_ended() {
            self.fail(Problem::BlockEnded);
        } else if self.vars.has(var) {
            self.vars.set(self.current, var, value);
        } else {
            self.fail(Problem::NoVar(var));
        }
    }

    /// The variable's value here. Every path to here must have set it.
    pub fn get(&mut self, var: Var) -> Value {
        if !self.vars.has(var) {
            self.fail(Problem::NoVar(var));
            return self.poison();
        }
        self.vars.get(&mut self.func, self.current, var)
    }
}

fn target(block: Block, args: &[Value]) -> Target {
    Target { block, args: args.to_vec() }
}

impl FunctionBuilder {
    fn has_block(&self, block: Block) -> bool {
        block.index() < self.func.blocks.len()
    }

    /// Keeps the first mistake.
    fn fail(&mut self, problem: Problem) {
        if self.error.is_none() {
            self.error = Some(Error::Ir {
                function: self.func.name.clone(),
                place: Place::Block(self.current),
                problem,
            });
        }
    }

    /// A value to go on with after a mistake.
    fn poison(&mut self) -> Value {
        self.func.values.push(ValueDef::Param(self.current));
        Value::new(self.func.values.len() - 1)
    }

    fn add_inst(&mut self, op: Op) -> Option<Value> {
        if self.is_ended() {
            self.fail(Problem::BlockEnded);
        }
        let (inst, result) = self.func.new_inst(op, self.line);
        self.func.block_mut(self.current).insts.push(inst);
        result
    }

    fn value(&mut self, op: Op) -> Value {
        match self.add_inst(op) {
            Some(value) => value,
            None => self.poison(),
        }
    }

    fn effect(&mut self, op: Op) {
        self.add_inst(op);
    }

    fn end(&mut self, end: Terminator) {
        if self.is_ended() {
            self.fail(Problem::BlockEnded);
            return;
        }
        let line = self.line;
        let block = self.func.block_mut(self.current);
        block.end = Some(end);
        block.line = line;
    }

    fn materialize(&mut self, operand: impl Into<Operand>) -> Value {
        match operand.into() {
            Operand::Value(value) => value,
            Operand::Imm(imm) => self.iconst(imm.into()),
        }
    }
}
