//! Functions that differ in constants only, made one: the constants become loads from a row of memory
//! that the function gets as one more parameter.
//!
//! The result on a row does what the function that the row came from does. Constants that are arguments
//! of calls stay what they are, since the kernel wants to know sizes; functions that differ in these
//! are of different shape. So are those where a constant fits in an instruction in one and not in the
//! other.

use super::entity::{Block, Inst, Value};
use super::function::{Function, Op, Operand, Terminator};
use crate::insn::Size;
use std::collections::HashSet;

/// What functions have in common that can be made one; equal shapes can.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape(String);

/// Several functions in one.
#[derive(Clone, Debug)]
pub struct Template {
    /// The function; its last parameter is the address of a row.
    pub function: Function,
    /// The rows, one for each function, all of one size: words in host byte order.
    pub rows: Vec<Vec<u8>>,
}

/// Where in a function a constant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Spot {
    Inst(Block, usize),
    End(Block),
}

impl Function {
    /// Its shape.
    pub fn shape(&self) -> Shape {
        let mut bare = self.clone();
        bare.name.clear();
        for (spot, _) in self.constants() {
            bare.replace(spot, |_| Operand::Imm(0));
        }
        for inst in &mut bare.insts {
            inst.line = None;
        }
        for block in &mut bare.blocks {
            block.line = None;
        }
        Shape(bare.to_string())
    }

    /// Its constants, but for those that calls take, in an order that equal shapes share.
    fn constants(&self) -> Vec<(Spot, i64)> {
        let mut taken: HashSet<Value> = HashSet::new();
        for inst in &self.insts {
            if let Op::Call { args, .. } = &inst.op {
                taken.extend(args);
            }
        }
        let mut found = Vec::new();
        for block in self.block_ids() {
            let data = self.block(block);
            for (index, inst) in data.insts.iter().enumerate() {
                let inst = self.inst(*inst);
                let constant = match &inst.op {
                    Op::Const(number) => {
                        let passed = inst.result.is_some_and(|value| taken.contains(&value));
                        (!passed).then_some(*number)
                    }
                    Op::Alu { b: Operand::Imm(imm), .. } => Some(i64::from(*imm)),
                    Op::Store { value: Operand::Imm(imm), .. } => Some(i64::from(*imm)),
                    _ => None,
                };
                found.extend(constant.map(|number| (Spot::Inst(block, index), number)));
            }
            if let Some(
                Terminator::Branch { b: Operand::Imm(imm), .. }
                | Terminator::Ret(Operand::Imm(imm)),
            ) = data.end
            {
                found.push((Spot::End(block), imm.into()));
            }
        }
        found
    }

    /// Puts another operand in the place of a constant. `make` may add instructions before it.
    fn replace(&mut self, spot: Spot, make: impl FnOnce(&mut Self) -> Operand) {
        let operand = make(self);
        match spot {
            Spot::Inst(block, index) => {
                let inst = self.block(block).insts[index];
                match (&mut self.insts[inst.index()].op, operand) {
                    (Op::Const(number), Operand::Imm(imm)) => *number = imm.into(),
                    (Op::Alu { b: operand, .. } | Op::Store { value: operand, .. }, new) => {
                        *operand = new;
                    }
                    _ => {}
                }
            }
            Spot::End(block) => {
                if let Some(Terminator::Branch { b: old, .. } | Terminator::Ret(old)) =
                    &mut self.block_mut(block).end
                {
                    *old = operand;
                }
            }
        }
    }
}

/// Makes one function of several of one [`Shape`]. The first gives it its name and its lines. `None`:
/// they are none, their shapes differ, or one more parameter is too many.
pub fn template(functions: &[&Function]) -> Option<Template> {
    let (first, rest) = functions.split_first()?;
    let shape = first.shape();
    if first.params() >= 5 || rest.iter().any(|function| function.shape() != shape) {
        return None;
    }
    let constants: Vec<Vec<(Spot, i64)>> = functions.iter().map(|f| f.constants()).collect();
    let spots: Vec<Spot> = constants[0].iter().map(|(spot, _)| *spot).collect();
    let mut function = (*first).clone();
    let row = function.new_param(Function::ENTRY);
    let mut rows = vec![Vec::new(); functions.len()];
    let mut loads: Vec<(Spot, i16)> = Vec::new();
    // One word for all constants that are equal in every function.
    let mut words: Vec<Vec<i64>> = Vec::new();
    for (index, spot) in spots.iter().enumerate() {
        let column: Vec<i64> = constants.iter().map(|constants| constants[index].1).collect();
        if column.iter().all(|number| *number == column[0]) {
            continue;
        }
        let word = words.iter().position(|known| *known == column).unwrap_or_else(|| {
            words.push(column);
            words.len() - 1
        });
        loads.push((*spot, i16::try_from(8 * word).ok()?));
    }
    for column in &words {
        for (row, number) in rows.iter_mut().zip(column) {
            row.extend(number.to_ne_bytes());
        }
    }
    // From the back, so that places before a new instruction stay where they are.
    for (spot, off) in loads.into_iter().rev() {
        function.load_before(spot, row, off);
    }
    Some(Template { function, rows })
}

impl Function {
    /// Replaces the constant at a place by a load.
    fn load_before(&mut self, spot: Spot, row: Value, off: i16) {
        let base = super::function::Base::Value(row);
        let load = Op::Load { size: Size::U64, signed: false, base, off };
        let (block, at, line) = match spot {
            Spot::Inst(block, index) => {
                let inst = self.block(block).insts[index];
                if let Op::Const(_) = self.inst(inst).op {
                    self.insts[inst.index()].op = load;
                    return;
                }
                (block, index, self.inst(inst).line)
            }
            Spot::End(block) => (block, self.block(block).insts.len(), self.block(block).line),
        };
        let (new, value): (Inst, Option<Value>) = self.new_inst(load, line);
        let Some(value) = value else { return };
        self.replace(spot, |_| Operand::Value(value));
        self.block_mut(block).insts.insert(at, new);
    }
}
