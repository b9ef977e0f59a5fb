//! An interpreter of the IR: what compiled programs have to agree with.

use super::machine::{Memory, alu, holds, sext, swap, zext};
use crate::ir::function::{Base, Callee, Function, Op, Operand, Target, Terminator};
use crate::{AluOp, Module, Value};

/// Runs a module's entry on a context. Returns its result.
pub(super) fn run(module: &Module, context: &[u8]) -> u64 {
    let mut memory = Memory::default();
    let context = memory.add(context.to_vec());
    let entry = module.functions[0].function.as_ref().expect("an entry");
    Interpreter { module, memory, steps: 0 }.call(entry, &[context])
}

struct Interpreter<'a> {
    module: &'a Module,
    memory: Memory,
    steps: usize,
}

impl Interpreter<'_> {
    fn call(&mut self, func: &Function, args: &[u64]) -> u64 {
        let mut values = vec![None; func.values.len()];
        let slots: Vec<u64> =
            func.slots.iter().map(|slot| self.memory.add(vec![0xa5; slot.size as usize])).collect();
        let mut block = Function::ENTRY;
        assign(func, &mut values, block, args);
        loop {
            for &inst in &func.block(block).insts {
                self.steps += 1;
                assert!(self.steps < 10_000_000, "the program does not end");
                let data = func.inst(inst);
                let result = self.op(&data.op, &values, &slots);
                if let Some(value) = data.result {
                    values[value.index()] = Some(result);
                }
            }
            let number = |operand| operand_of(&values, operand);
            let target: &Target = match func.block(block).end.as_ref().expect("an end") {
                Terminator::Ret(value) => return number(*value),
                Terminator::Jump(target) => target,
                Terminator::Branch { width, cond, a, b, then, otherwise } => {
                    let holds = holds(*width, *cond, get(&values, *a), number(*b));
                    if holds { then } else { otherwise }
                }
            };
            let args: Vec<u64> = target.args.iter().map(|&arg| get(&values, arg)).collect();
            block = target.block;
            assign(func, &mut values, block, &args);
        }
    }

    fn op(&mut self, op: &Op, values: &[Option<u64>], slots: &[u64]) -> u64 {
        let get = |value| get(values, value);
        let number = |operand| operand_of(values, operand);
        let at = |base, off: i16| {
            let base = match base {
                Base::Value(value) => get(value),
                Base::Slot(slot) => slots[slot.index()],
            };
            base.wrapping_add(off as u64)
        };
        match *op {
            Op::Const(number) => number as u64,
            Op::Alu { width, op, a, b } => alu(width, op, get(a), number(b)),
            Op::Neg { width, a } => alu(width, AluOp::Sub, 0, get(a)),
            Op::Sext { size, a } => sext(size, get(a)),
            Op::Zext { size, a } => zext(size, get(a)),
            Op::Swap { order, size, a } => swap(order, size, get(a)),
            Op::Load { size, signed, base, off } => {
                let value = self.memory.load(size, at(base, off));
                if signed { sext(size, value) } else { value }
            }
            Op::Store { size, base, off, value } => {
                self.memory.store(size, at(base, off), number(value));
                0
            }
            Op::Atomic { op, size, base, off, value, .. } => {
                self.memory.atomic(op, size, at(base, off), get(value))
            }
            Op::Xchg { size, base, off, value } => {
                self.memory.xchg(size, at(base, off), get(value))
            }
            Op::CmpXchg { size, base, off, expected, new } => {
                self.memory.cmpxchg(size, at(base, off), get(expected), get(new))
            }
            Op::SlotAddr { slot, off } => at(Base::Slot(slot), off),
            Op::Call { callee: Callee::Func(callee), ref args } => {
                let args: Vec<u64> = args.iter().map(|&arg| get(arg)).collect();
                let module = self.module;
                let callee = module.functions[callee.index()].function.as_ref();
                self.call(callee.expect("a definition"), &args)
            }
            Op::Map(_) | Op::MapValue { .. } | Op::FuncAddr(_) | Op::Call { .. } => {
                panic!("random programs have no {op}")
            }
        }
    }
}

fn assign(func: &Function, values: &mut [Option<u64>], block: crate::Block, args: &[u64]) {
    let params = &func.block(block).params;
    assert_eq!(params.len(), args.len());
    for (param, arg) in params.iter().zip(args) {
        values[param.index()] = Some(*arg);
    }
}

fn get(values: &[Option<u64>], value: Value) -> u64 {
    values[value.index()].unwrap_or_else(|| panic!("{value} is used before it is defined"))
}

fn operand_of(values: &[Option<u64>], operand: Operand) -> u64 {
    match operand {
        Operand::Value(value) => get(values, value),
        Operand::Imm(imm) => imm as i64 as u64,
    }
}
