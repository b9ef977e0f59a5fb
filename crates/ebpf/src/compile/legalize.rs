//! Expresses what the target lacks by what it has, so that later passes see only what can be encoded.
//!
//! - Byte swaps: `bswap` is the swap to the other byte order; the swap to the machine's own order is a
//!   zero extension.
//! - Without [`Options::sign_extension`]: sign-extending loads become a load and a sign extension (which
//!   [`lower`](super::lower) makes of two shifts), signed division becomes unsigned division of the
//!   magnitudes.

use super::Options;
use crate::insn::{AluOp, ByteOrder, Size, Width};
use crate::ir::function::{Function, Op, Operand};
use crate::ir::simplify::Renaming;
use crate::ir::{Inst, LineId, Value};

const NATIVE: ByteOrder =
    if cfg!(target_endian = "little") { ByteOrder::Little } else { ByteOrder::Big };
const FOREIGN: ByteOrder =
    if cfg!(target_endian = "little") { ByteOrder::Big } else { ByteOrder::Little };

pub(super) fn legalize(func: &mut Function, options: &Options) {
    let mut renaming = Renaming::new(func);
    for block in func.block_ids() {
        let old = std::mem::take(&mut func.block_mut(block).insts);
        let mut new = Vec::with_capacity(old.len());
        for inst in old {
            let line = func.inst(inst).line;
            let mut code = Code { func, insts: &mut new, line };
            code.inst(inst, options, &mut renaming);
        }
        func.block_mut(block).insts = new;
    }
    renaming.apply(func);
}

/// Instructions added in place of one.
struct Code<'a> {
    func: &'a mut Function,
    insts: &'a mut Vec<Inst>,
    line: Option<LineId>,
}

impl Code<'_> {
    fn add(&mut self, op: Op) -> Option<Value> {
        let (inst, result) = self.func.new_inst(op, self.line);
        self.insts.push(inst);
        result
    }

    /// `a op b`; `a` again when the new instruction had no result, which arithmetic always has.
    fn alu(&mut self, width: Width, op: AluOp, a: Value, b: impl Into<Operand>) -> Value {
        self.add(Op::Alu { width, op, a, b: b.into() }).unwrap_or(a)
    }

    fn inst(&mut self, inst: Inst, options: &Options, renaming: &mut Renaming) {
        let data = self.func.inst(inst);
        let Some(result) = data.result else {
            self.insts.push(inst);
            return;
        };
        match data.op {
            Op::Swap { order, size, a } if order == NATIVE => {
                if size == Size::U64 {
                    renaming.set(result, a);
                } else {
                    self.replace(inst, Op::Zext { size, a });
                }
            }
            Op::Swap { order: ByteOrder::Swap, size, a } => {
                self.replace(inst, Op::Swap { order: FOREIGN, size, a });
            }
            Op::Load { size, signed: true, base, off } if !options.sign_extension => {
                if let Some(a) = self.add(Op::Load { size, signed: false, base, off }) {
                    self.replace(inst, Op::Sext { size, a });
                }
            }
            Op::Alu { width, op: op @ (AluOp::SDiv | AluOp::SMod), a, b }
                if !options.sign_extension =>
            {
                self.signed_division(inst, width, op, a, b);
            }
            _ => self.insts.push(inst),
        }
    }

    fn replace(&mut self, inst: Inst, op: Op) {
        self.func.insts[inst.index()].op = op;
        self.insts.push(inst);
    }

    /// The number's sign, as 0 or all ones, and its magnitude.
    fn sign_and_magnitude(&mut self, width: Width, a: Value) -> (Value, Value) {
        let sign = self.alu(width, AluOp::Ashr, a, width.bits().cast_signed() - 1);
        let flipped = self.alu(width, AluOp::Xor, a, sign);
        (sign, self.alu(width, AluOp::Sub, flipped, sign))
    }

    /// Division of magnitudes; the quotient is negative when the signs differ, the remainder has the
    /// dividend's sign. Division by zero comes out as the instruction set wants it: the quotient of
    /// magnitudes is 0, their remainder is the dividend's magnitude.
    fn signed_division(&mut self, inst: Inst, width: Width, op: AluOp, a: Value, b: Operand) {
        let b = match b {
            Operand::Value(value) => value,
            Operand::Imm(imm) => self.add(Op::Const(imm.into())).unwrap_or(a),
        };
        let (a_sign, a) = self.sign_and_magnitude(width, a);
        let (b_sign, b) = self.sign_and_magnitude(width, b);
        let (unsigned, sign) = if op == AluOp::SDiv {
            (AluOp::Div, self.alu(width, AluOp::Xor, a_sign, b_sign))
        } else {
            (AluOp::Mod, a_sign)
        };
        let magnitude = self.alu(width, unsigned, a, b);
        let flipped = self.alu(width, AluOp::Xor, magnitude, sign);
        self.replace(inst, Op::Alu { width, op: AluOp::Sub, a: flipped, b: sign.into() });
    }
}
