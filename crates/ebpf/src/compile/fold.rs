//! Constant folding: numbers known while compiling become immediates or vanish, branches on them
//! become jumps, addresses of slots go into the instructions that use them.
//!
//! Only rewritings that cannot take knowledge from the kernel's verifier are here: a number in an
//! immediate, an operation that does nothing. Comparisons of a value with itself must go: Linux 6.18
//! draws wrong bounds from `if r1 == r1` ("REG INVARIANTS VIOLATION") and then removes code that runs.

use crate::insn::{AluOp, ByteOrder, Cond, Size, Width};
use crate::ir::cfg::Cfg;
use crate::ir::function::{Base, Function, Op, Operand, Terminator};
use crate::ir::simplify::Renaming;
use crate::ir::{Inst, Value};

/// Folds the whole function once. Returns whether a branch became a jump, after which there may be
/// more to fold.
pub(super) fn fold(func: &mut Function) -> bool {
    let mut folder = Folder { renaming: Renaming::new(func), func };
    let mut branches = false;
    for block in Cfg::new(folder.func).order {
        for index in 0..folder.func.block(block).insts.len() {
            folder.inst(folder.func.block(block).insts[index]);
        }
        if let Some(mut end) = folder.func.block_mut(block).end.take() {
            branches |= folder.end(&mut end);
            folder.func.block_mut(block).end = Some(end);
        }
    }
    let Folder { renaming, func } = folder;
    renaming.apply(func);
    branches
}

/// What an instruction turns out to be.
enum Folded {
    /// This operation.
    Op(Op),
    /// Another value, or a part of one that changes nothing.
    Same(Value),
}

struct Folder<'a> {
    func: &'a mut Function,
    renaming: Renaming,
}

impl Folder<'_> {
    fn inst(&mut self, inst: Inst) {
        let data = &mut self.func.insts[inst.index()];
        data.op.each_use_mut(|value| *value = self.renaming.get(*value));
        let op = data.op.clone();
        match (self.op(op), self.func.inst(inst).result) {
            (Folded::Op(op), _) => self.func.insts[inst.index()].op = op,
            (Folded::Same(value), Some(result)) => self.renaming.set(result, value),
            (Folded::Same(_), None) => {}
        }
    }

    fn op(&self, op: Op) -> Folded {
        match op {
            Op::Alu { width, op, a, b } => self.alu(width, op, a, b),
            Op::Neg { width, a } => match self.func.constant(a) {
                Some(number) => constant(truncate(width, number.wrapping_neg())),
                None => Folded::Op(op),
            },
            Op::Sext { size, a } => match self.func.constant(a) {
                Some(number) => constant(sign_extend(size, number)),
                None => Folded::Op(op),
            },
            Op::Zext { size, a } => match self.func.constant(a) {
                Some(number) => constant(zero_extend(size, number)),
                None if self.fits(a, size) => Folded::Same(a),
                None => Folded::Op(op),
            },
            Op::Swap { order, size, a } => match self.func.constant(a) {
                Some(number) => constant(swap(order, size, number)),
                None => Folded::Op(op),
            },
            Op::Load { size, signed, base, off } => {
                let (base, off) = self.base(size, base, off);
                Folded::Op(Op::Load { size, signed, base, off })
            }
            Op::Store { size, base, off, value } => {
                let (base, off) = self.base(size, base, off);
                let value = self.stored(size, value);
                Folded::Op(Op::Store { size, base, off, value })
            }
            Op::Atomic { op, fetch, size, base, off, value } => {
                let (base, off) = self.base(size, base, off);
                Folded::Op(Op::Atomic { op, fetch, size, base, off, value })
            }
            Op::Xchg { size, base, off, value } => {
                let (base, off) = self.base(size, base, off);
                Folded::Op(Op::Xchg { size, base, off, value })
            }
            Op::CmpXchg { size, base, off, expected, new } => {
                let (base, off) = self.base(size, base, off);
                Folded::Op(Op::CmpXchg { size, base, off, expected, new })
            }
            other => Folded::Op(other),
        }
    }

    fn alu(&self, width: Width, op: AluOp, a: Value, b: Operand) -> Folded {
        let (left, right) = (self.func.constant(a), self.number(b));
        if let (Some(left), Some(right)) = (left, right) {
            return constant(compute(width, op, left, right));
        }
        if b == Operand::Value(a) && width == Width::W64 {
            match op {
                AluOp::Sub | AluOp::Xor => return constant(0),
                AluOp::And | AluOp::Or => return Folded::Same(a),
                _ => {}
            }
        }
        if let (Some(left), Operand::Value(b), true) = (left, b, op.is_commutative())
            && let Some(imm) = immediate(width, left)
        {
            return self.alu_with(width, op, b, imm);
        }
        match right.and_then(|right| immediate(width, right)) {
            Some(imm) => self.alu_with(width, op, a, imm),
            None => Folded::Op(Op::Alu { width, op, a, b }),
        }
    }

    /// `a op imm` where `a` is not a number.
    fn alu_with(&self, width: Width, op: AluOp, a: Value, imm: i32) -> Folded {
        let zero_divisor = imm == 0;
        let imm = match op {
            AluOp::Shl | AluOp::Lshr | AluOp::Ashr => imm & (width.bits().cast_signed() - 1),
            _ => imm,
        };
        match op {
            AluOp::Div | AluOp::SDiv if zero_divisor => return constant(0),
            // The dividend; a 32-bit operation still zeroes the high half.
            AluOp::Mod | AluOp::SMod if zero_divisor => {
                return match width {
                    Width::W64 => Folded::Same(a),
                    Width::W32 => Folded::Op(Op::Zext { size: Size::U32, a }),
                };
            }
            AluOp::Mul | AluOp::And if imm == 0 => return constant(0),
            AluOp::Add
            | AluOp::Sub
            | AluOp::Or
            | AluOp::Xor
            | AluOp::Shl
            | AluOp::Lshr
            | AluOp::Ashr
                if imm == 0 && width == Width::W64 =>
            {
                return Folded::Same(a);
            }
            AluOp::Mul | AluOp::Div if imm == 1 && width == Width::W64 => return Folded::Same(a),
            AluOp::And if imm == -1 && width == Width::W64 => return Folded::Same(a),
            AluOp::Add if width == Width::W64 => {
                if let Some(address) = self.address(a, imm) {
                    return Folded::Op(address);
                }
            }
            _ => {}
        }
        Folded::Op(Op::Alu { width, op, a, b: Operand::Imm(imm) })
    }

    /// An address known while compiling, moved by `imm`, if that stays inside its slot or value.
    fn address(&self, a: Value, imm: i32) -> Option<Op> {
        match *self.func.def(a)? {
            Op::SlotAddr { slot, off } => {
                let off = i16::try_from(i32::from(off).checked_add(imm)?).ok()?;
                let size = self.func.slots[slot.index()].size;
                u32::try_from(off)
                    .is_ok_and(|off| off <= size)
                    .then_some(Op::SlotAddr { slot, off })
            }
            Op::MapValue { map, off } => {
                let off = u32::try_from(i64::from(off) + i64::from(imm)).ok()?;
                Some(Op::MapValue { map, off })
            }
            _ => None,
        }
    }

    /// A memory operand, relative to the frame when it is in a slot.
    fn base(&self, size: Size, base: Base, off: i16) -> (Base, i16) {
        let unchanged = (base, off);
        let Base::Value(value) = base else { return unchanged };
        let Some(&Op::SlotAddr { slot, off: start }) = self.func.def(value) else {
            return unchanged;
        };
        let data = self.func.slots[slot.index()];
        let at = i32::from(start) + i32::from(off);
        let bytes = size.bytes();
        let inside = u32::try_from(at).is_ok_and(|at| at + bytes <= data.size && at % bytes == 0);
        match i16::try_from(at) {
            Ok(at) if inside && bytes <= data.align => (Base::Slot(slot), at),
            _ => unchanged,
        }
    }

    fn stored(&self, size: Size, value: Operand) -> Operand {
        match (self.number(value), size) {
            (Some(number), Size::U64) => i32::try_from(number).map_or(value, Operand::Imm),
            (Some(number), _) => Operand::Imm(number as i32),
            (None, _) => value,
        }
    }

    /// Folds the end of a block. Returns whether a branch became a jump.
    fn end(&self, end: &mut Terminator) -> bool {
        end.each_use_mut(|value| *value = self.renaming.get(*value));
        match end {
            Terminator::Jump(_) => false,
            Terminator::Ret(value) => {
                if let Some(imm) = self.number(*value).and_then(|n| i32::try_from(n).ok()) {
                    *value = Operand::Imm(imm);
                }
                false
            }
            Terminator::Branch { width, cond, a, b, then, otherwise } => {
                if (*cond, *b) == (Cond::Test, Operand::Value(*a)) {
                    (*cond, *b) = (Cond::Ne, Operand::Imm(0));
                }
                let (left, right) = (self.func.constant(*a), self.number(*b));
                let known = match (left, right) {
                    (Some(left), Some(right)) => Some(holds(*width, *cond, left, right)),
                    _ if then == otherwise => Some(true),
                    // A value compared with itself is like a number compared with itself.
                    _ if *b == Operand::Value(*a) => Some(holds(*width, *cond, 0, 0)),
                    _ => None,
                };
                if let Some(known) = known {
                    let target = if known { then.clone() } else { otherwise.clone() };
                    *end = Terminator::Jump(target);
                    return true;
                }
                if let Some(imm) = right.and_then(|number| immediate(*width, number)) {
                    *b = Operand::Imm(imm);
                } else if let (Some(left), Operand::Value(right)) = (left, *b)
                    && let Some(imm) = immediate(*width, left)
                {
                    (*cond, *a, *b) = (cond.swapped(), right, Operand::Imm(imm));
                }
                false
            }
        }
    }

    fn number(&self, operand: Operand) -> Option<i64> {
        match operand {
            Operand::Value(value) => self.func.constant(value),
            Operand::Imm(imm) => Some(imm.into()),
        }
    }

    /// Whether `value` is made by an instruction that leaves everything above `size` zero.
    fn fits(&self, value: Value, size: Size) -> bool {
        match self.func.def(value) {
            Some(&Op::Load { size: of, signed: false, .. } | &Op::Zext { size: of, .. }) => {
                of <= size
            }
            Some(Op::Alu { width: Width::W32, .. } | Op::Neg { width: Width::W32, .. }) => {
                size >= Size::U32
            }
            _ => false,
        }
    }
}

fn constant(number: i64) -> Folded {
    Folded::Op(Op::Const(number))
}

/// `number` as an immediate of an operation of this width, if it can be one.
fn immediate(width: Width, number: i64) -> Option<i32> {
    match width {
        Width::W32 => Some(number as i32),
        Width::W64 => i32::try_from(number).ok(),
    }
}

fn truncate(width: Width, number: i64) -> i64 {
    match width {
        Width::W32 => zero_extend(Size::U32, number),
        Width::W64 => number,
    }
}

fn zero_extend(size: Size, number: i64) -> i64 {
    let shift = 64 - size.bits();
    (number.cast_unsigned() << shift >> shift).cast_signed()
}

fn sign_extend(size: Size, number: i64) -> i64 {
    let shift = 64 - size.bits();
    number << shift >> shift
}

/// A swap that is not to the machine's own order: [`legalize`](super::legalize) left no others.
fn swap(order: ByteOrder, size: Size, number: i64) -> i64 {
    let native = match order {
        ByteOrder::Little => cfg!(target_endian = "little"),
        ByteOrder::Big => cfg!(target_endian = "big"),
        ByteOrder::Swap => false,
    };
    if native {
        return zero_extend(size, number);
    }
    (number.cast_unsigned().swap_bytes() >> (64 - size.bits())).cast_signed()
}

/// The result of an operation on two numbers, as the instruction set defines it.
fn compute(width: Width, op: AluOp, a: i64, b: i64) -> i64 {
    let (a, b) = match width {
        Width::W64 => (a, b),
        // Signed operations need the 32-bit sign; for the others the high half does not matter but in
        // division and right shift, which take the unsigned form below.
        Width::W32 => (sign_extend(Size::U32, a), sign_extend(Size::U32, b)),
    };
    let unsigned = |number: i64| truncate(width, number).cast_unsigned();
    let (ua, ub) = (unsigned(a), unsigned(b));
    let shift = (ub % u64::from(width.bits())) as u32;
    let result = match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => ua.checked_div(ub).unwrap_or(0).cast_signed(),
        AluOp::SDiv => {
            if b == 0 {
                0
            } else {
                a.wrapping_div(b)
            }
        }
        AluOp::Mod => ua.checked_rem(ub).unwrap_or(ua).cast_signed(),
        AluOp::SMod => {
            if b == 0 {
                a
            } else {
                a.wrapping_rem(b)
            }
        }
        AluOp::And => a & b,
        AluOp::Or => a | b,
        AluOp::Xor => a ^ b,
        AluOp::Shl => a << shift,
        AluOp::Lshr => (ua >> shift).cast_signed(),
        AluOp::Ashr => a >> shift,
    };
    truncate(width, result)
}

/// Whether a comparison of two numbers holds.
fn holds(width: Width, cond: Cond, a: i64, b: i64) -> bool {
    let (a, b) = match width {
        Width::W64 => (a, b),
        Width::W32 => (sign_extend(Size::U32, a), sign_extend(Size::U32, b)),
    };
    // Sign extension keeps the unsigned order of 32-bit numbers too.
    let (ua, ub) = (a.cast_unsigned(), b.cast_unsigned());
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Ult => ua < ub,
        Cond::Ule => ua <= ub,
        Cond::Ugt => ua > ub,
        Cond::Uge => ua >= ub,
        Cond::Slt => a < b,
        Cond::Sle => a <= b,
        Cond::Sgt => a > b,
        Cond::Sge => a >= b,
        Cond::Test => a & b != 0,
    }
}
