//! IR to instructions over virtual registers.
//!
//! Numbers and addresses (of slots, maps, functions) are made anew at every use: that is one or two
//! instructions, as much as a reload from the stack would be, and it leaves the few registers that
//! survive calls to what cannot be made anew.

use regalloc2::{Block as VBlockId, Inst as VInstId, InstRange, Operand as VOperand, VReg};

use super::Options;
use super::vcode::{ARGUMENTS, Address, At, VBlock, VCode, VOp, preg};
use crate::insn::{AluOp, Cond, Reg, Size, Width};
use crate::ir::cfg::Cfg;
use crate::ir::function::{Base, Function, Op, Operand, Terminator};
use crate::ir::{Block, LineId, Slot, Value};

pub(super) fn lower(func: &Function, options: &Options) -> VCode {
    let cfg = Cfg::new(func);
    let mut lowering = Lowering {
        func,
        options,
        code: VCode::default(),
        vregs: vec![None; func.values.len()],
        slots: vec![0; func.slots.len()],
        uses: count_uses(func),
        line: None,
    };
    lowering.place_slots(&cfg);
    let mut number = vec![VBlockId::invalid(); func.blocks.len()];
    for (index, block) in cfg.order.iter().enumerate() {
        number[block.index()] = VBlockId::new(index);
    }
    for &block in &cfg.order {
        lowering.block(block, &cfg, &number);
    }
    lowering.ask_for_compared();
    lowering.code
}

struct Lowering<'a> {
    func: &'a Function,
    options: &'a Options,
    code: VCode,
    /// Registers of values that are not made anew at each use.
    vregs: Vec<Option<VReg>>,
    /// Where each slot starts, relative to the frame pointer.
    slots: Vec<i32>,
    /// How often each value is used.
    uses: Vec<u32>,
    line: Option<LineId>,
}

impl Lowering<'_> {
    /// Gives the slots that are used their places, from the frame pointer down.
    fn place_slots(&mut self, cfg: &Cfg) {
        let mut used = vec![false; self.func.slots.len()];
        for &block in &cfg.order {
            for &inst in &self.func.block(block).insts {
                if let Some(slot) = slot_of(&self.func.inst(inst).op) {
                    used[slot.index()] = true;
                }
            }
        }
        let mut depth = 0u32;
        let mut sizes = Vec::new();
        for (index, slot) in self.func.slots.iter().enumerate() {
            if used[index] {
                depth = (depth + slot.size).next_multiple_of(slot.align);
                self.slots[index] = -(depth.cast_signed());
                sizes.push((slot.size, Slot::new(index)));
            }
        }
        sizes.sort_by(|a, b| b.cmp(a));
        let largest: Vec<String> =
            sizes.iter().take(3).map(|(size, slot)| format!("{slot} has {size}")).collect();
        self.code.slot_bytes = depth;
        self.code.largest_slots = largest.join(", ");
    }

    fn block(&mut self, block: Block, cfg: &Cfg, number: &[VBlockId]) {
        let data = self.func.block(block);
        let start = self.code.insts.len();
        let mut params = Vec::new();
        if block == Function::ENTRY {
            let defs: Vec<VOperand> = data
                .params
                .iter()
                .zip(ARGUMENTS)
                .map(|(&param, reg)| VOperand::reg_fixed_def(self.own(param), preg(reg)))
                .collect();
            self.code.push(VOp::Params, None, &defs);
        } else {
            params.extend(data.params.iter().map(|&param| self.own(param)));
        }
        for &inst in &data.insts {
            let data = self.func.inst(inst);
            self.line = data.line;
            self.inst(&data.op, data.result);
        }
        self.line = data.line;
        let mut args = Vec::new();
        let mut succs = Vec::new();
        if let Some(end) = &data.end {
            for target in end.targets() {
                succs.push(number[target.block.index()]);
                args.push(target.args.iter().map(|&arg| self.get(arg)).collect());
            }
            self.end(end);
        }
        let preds = cfg.preds[block.index()].iter().map(|pred| number[pred.index()]).collect();
        let insts = InstRange::new(VInstId::new(start), VInstId::new(self.code.insts.len()));
        self.code.blocks.push(VBlock { insts, params, succs, preds, args });
    }

    /// The register that holds `value` from its definition on.
    fn own(&mut self, value: Value) -> VReg {
        *self.vregs[value.index()].get_or_insert_with(|| self.code.new_vreg())
    }

    /// A register that holds `value` here.
    fn get(&mut self, value: Value) -> VReg {
        match self.func.def(value).and_then(|op| self.made_anew(op)) {
            Some(op) => {
                let vreg = self.code.new_vreg();
                self.push(op, &[VOperand::reg_def(vreg)]);
                vreg
            }
            None => self.own(value),
        }
    }

    /// The instruction that makes a number or an address out of nothing.
    fn made_anew(&self, op: &Op) -> Option<VOp> {
        Some(match *op {
            Op::Const(number) => match (i32::try_from(number), u32::try_from(number)) {
                (Ok(imm), _) => VOp::MovImm { width: Width::W64, imm },
                (_, Ok(imm)) => VOp::MovImm { width: Width::W32, imm: imm.cast_signed() },
                _ => VOp::Address(Address::Number(number.cast_unsigned())),
            },
            Op::SlotAddr { slot, off } => VOp::FrameAddr(self.slots[slot.index()] + i32::from(off)),
            Op::Map(map) => VOp::Address(Address::Map(map)),
            Op::MapValue { map, off } => VOp::Address(Address::MapValue(map, off)),
            Op::FuncAddr(func) => VOp::Address(Address::Func(func)),
            _ => return None,
        })
    }

    fn push(&mut self, op: VOp, operands: &[VOperand]) {
        self.code.push(op, self.line, operands);
    }

    /// Right operand: an immediate, or a register that is added to `operands`.
    fn operand(&mut self, operand: Operand, operands: &mut Vec<VOperand>) -> Option<i32> {
        match operand {
            Operand::Imm(imm) => Some(imm),
            Operand::Value(value) => {
                operands.push(VOperand::reg_use(self.get(value)));
                None
            }
        }
    }

    /// Memory operand: the base register, if any, is added to `operands`.
    fn at(&mut self, base: Base, off: i16, operands: &mut Vec<VOperand>) -> At {
        match base {
            Base::Value(value) => {
                operands.push(VOperand::reg_use(self.get(value)));
                At { frame: false, off }
            }
            // Slots start above -512 or the frame is too large, which allocation reports.
            Base::Slot(slot) => {
                At { frame: true, off: (self.slots[slot.index()] + i32::from(off)) as i16 }
            }
        }
    }

    fn inst(&mut self, op: &Op, result: Option<Value>) {
        if self.made_anew(op).is_some() {
            return;
        }
        let mut operands = Vec::with_capacity(6);
        match *op {
            Op::Alu { width, op, a, b } => {
                let (a, b) = self.cheaper_order(op, a, b);
                operands.push(VOperand::reg_use(self.get(a)));
                let imm = self.operand(b, &mut operands);
                self.reuse(result, 0, &mut operands);
                self.push(VOp::Alu { width, op, imm }, &operands);
            }
            Op::Neg { width, a } => self.in_place(VOp::Neg { width }, a, result),
            Op::Swap { order, size, a } => self.in_place(VOp::Swap { order, size }, a, result),
            Op::Zext { size, a } => self.zext(size, a, result),
            Op::Sext { size, a } => self.sext(size, a, result),
            Op::Load { size, signed, base, off } => {
                let at = self.at(base, off, &mut operands);
                self.define(result, &mut operands);
                self.push(VOp::Load { size, signed, at }, &operands);
            }
            Op::Store { size, base, off, value } => {
                let at = self.at(base, off, &mut operands);
                let imm = self.operand(value, &mut operands);
                self.push(VOp::Store { size, at, imm }, &operands);
            }
            Op::Atomic { op, fetch, size, base, off, value } => {
                let at = self.at(base, off, &mut operands);
                operands.push(VOperand::reg_use(self.get(value)));
                self.reuse(result, operands.len() - 1, &mut operands);
                self.push(VOp::Atomic { op, fetch, size, at }, &operands);
            }
            Op::Xchg { size, base, off, value } => {
                let at = self.at(base, off, &mut operands);
                operands.push(VOperand::reg_use(self.get(value)));
                self.reuse(result, operands.len() - 1, &mut operands);
                self.push(VOp::Xchg { size, at }, &operands);
            }
            Op::CmpXchg { size, base, off, expected, new } => {
                let at = self.at(base, off, &mut operands);
                operands.push(VOperand::reg_use(self.get(new)));
                operands.push(VOperand::reg_fixed_use(self.get(expected), preg(Reg::R0)));
                self.define_in(result, Reg::R0, &mut operands);
                self.push(VOp::CmpXchg { size, at }, &operands);
            }
            Op::Call { callee, ref args } => {
                for (&arg, reg) in args.iter().zip(ARGUMENTS) {
                    operands.push(VOperand::reg_fixed_use(self.get(arg), preg(reg)));
                }
                self.define_in(result, Reg::R0, &mut operands);
                self.push(VOp::Call(callee), &operands);
            }
            // Made anew at each use.
            Op::Const(_)
            | Op::SlotAddr { .. }
            | Op::Map(_)
            | Op::MapValue { .. }
            | Op::FuncAddr(_) => {}
        }
    }

    /// The result takes the place of the left operand: that should be the one not needed any more.
    fn cheaper_order(&self, op: AluOp, a: Value, b: Operand) -> (Value, Operand) {
        match b {
            Operand::Value(right)
                if op.is_commutative()
                    && self.uses[a.index()] > 1
                    && self.uses[right.index()] == 1 =>
            {
                (right, Operand::Value(a))
            }
            _ => (a, b),
        }
    }

    fn define(&mut self, result: Option<Value>, operands: &mut Vec<VOperand>) {
        if let Some(result) = result {
            operands.push(VOperand::reg_def(self.own(result)));
        }
    }

    fn define_in(&mut self, result: Option<Value>, reg: Reg, operands: &mut Vec<VOperand>) {
        if let Some(result) = result {
            operands.push(VOperand::reg_fixed_def(self.own(result), preg(reg)));
        }
    }

    /// Defines the result in the register of operand `index`.
    fn reuse(&mut self, result: Option<Value>, index: usize, operands: &mut Vec<VOperand>) {
        if let Some(result) = result {
            operands.push(VOperand::reg_reuse_def(self.own(result), index));
        }
    }

    /// An instruction on one register.
    fn in_place(&mut self, op: VOp, a: Value, result: Option<Value>) {
        let mut operands = vec![VOperand::reg_use(self.get(a))];
        self.reuse(result, 0, &mut operands);
        self.push(op, &operands);
    }

    fn zext(&mut self, size: Size, a: Value, result: Option<Value>) {
        let (width, op) = (Width::W64, AluOp::And);
        match size {
            Size::U8 => self.in_place(VOp::Alu { width, op, imm: Some(0xff) }, a, result),
            Size::U16 => self.in_place(VOp::Alu { width, op, imm: Some(0xffff) }, a, result),
            Size::U32 | Size::U64 => {
                let mut operands = vec![VOperand::reg_use(self.get(a))];
                self.define(result, &mut operands);
                self.push(VOp::Mov32, &operands);
            }
        }
    }

    fn sext(&mut self, size: Size, a: Value, result: Option<Value>) {
        if self.options.sign_extension {
            let mut operands = vec![VOperand::reg_use(self.get(a))];
            self.define(result, &mut operands);
            self.push(VOp::MovSext { from: size }, &operands);
            return;
        }
        let imm = Some(64 - size.bits().cast_signed());
        let a = self.get(a);
        let up = self.code.new_vreg();
        let width = Width::W64;
        self.push(
            VOp::Alu { width, op: AluOp::Shl, imm },
            &[VOperand::reg_use(a), VOperand::reg_reuse_def(up, 0)],
        );
        let mut operands = vec![VOperand::reg_use(up)];
        self.reuse(result, 0, &mut operands);
        self.push(VOp::Alu { width, op: AluOp::Ashr, imm }, &operands);
    }

    fn end(&mut self, end: &Terminator) {
        match *end {
            Terminator::Jump(_) => self.push(VOp::Jump, &[]),
            Terminator::Branch { width, cond, a, b, .. } => {
                let mut operands = vec![VOperand::reg_use(self.get(a))];
                let imm = self.operand(b, &mut operands);
                self.push(VOp::Branch { width, cond, imm }, &operands);
            }
            Terminator::Ret(value) => {
                let vreg = match value {
                    Operand::Value(value) => self.get(value),
                    Operand::Imm(imm) => {
                        let vreg = self.code.new_vreg();
                        let op = VOp::MovImm { width: Width::W64, imm };
                        self.push(op, &[VOperand::reg_def(vreg)]);
                        vreg
                    }
                };
                self.push(VOp::Ret, &[VOperand::reg_fixed_use(vreg, preg(Reg::R0))]);
            }
        }
    }

    /// Asks where compared values are behind their comparison; see [`allocate`](super::allocate).
    fn ask_for_compared(&mut self) {
        let mut labels = Vec::new();
        for block in &self.code.blocks {
            let branch = block.insts.last();
            let VOp::Branch { cond, imm, .. } = self.code.insts[branch.index()].op else {
                continue;
            };
            // Comparing with 0 for equality is how pointers are checked, whose copies the verifier
            // always keeps in step; it says nothing of use about other values.
            if matches!(cond, Cond::Eq | Cond::Ne) && imm == Some(0) {
                continue;
            }
            for &succ in &block.succs {
                let first = self.code.blocks[succ.index()].insts.first();
                for (which, operand) in self.code.operands(branch).iter().enumerate() {
                    let label = (succ.index() * 2 + which) as u32;
                    labels.push((operand.vreg(), first, first.next(), label));
                }
            }
        }
        labels.sort_by_key(|(vreg, from, ..)| (vreg.vreg(), from.index()));
        self.code.labels = labels;
    }
}

fn count_uses(func: &Function) -> Vec<u32> {
    let mut uses = vec![0; func.values.len()];
    for block in func.block_ids() {
        let data = func.block(block);
        let insts = data.insts.iter().flat_map(|&inst| func.inst(inst).op.uses());
        let own = data.end.iter().flat_map(Terminator::own_uses);
        let targets = data.end.iter().flat_map(Terminator::targets);
        let args = targets.flat_map(|target| target.args.iter().copied());
        insts.chain(own).chain(args).for_each(|value| uses[value.index()] += 1);
    }
    uses
}

fn slot_of(op: &Op) -> Option<Slot> {
    match *op {
        Op::SlotAddr { slot, .. }
        | Op::Load { base: Base::Slot(slot), .. }
        | Op::Store { base: Base::Slot(slot), .. }
        | Op::Atomic { base: Base::Slot(slot), .. }
        | Op::Xchg { base: Base::Slot(slot), .. }
        | Op::CmpXchg { base: Base::Slot(slot), .. } => Some(slot),
        _ => None,
    }
}
