//! The IR verifier. A [`Function`] that passed it keeps these invariants:
//!
//! 1. Every reachable block ends with a jump, a branch or a return, and nothing goes to the entry.
//! 2. Every value used exists, has one definition, and that comes before the use on every path: an
//!    instruction stands in one place.
//! 3. A jump or branch passes as many arguments as its target has parameters.
//! 4. Functions take and calls pass at most five arguments.
//! 5. Operations exist in their size: atomics on 32 and 64 bits, byte swaps on 16 to 64.
//! 6. Constant shift amounts are below the width, constant divisors are not 0: the kernel's verifier
//!    refuses both.
//! 7. Slots have 1 to 512 bytes and are aligned to 1, 2, 4 or 8; accesses to them are inside and
//!    aligned, as the kernel demands of the stack.
//!
//! What spans functions (callees exist and take what they get, maps exist) is checked when a
//! [`Module`](super::Module) is compiled.
//!
//! It runs on every function when it is built or read from text, and twice when its module is compiled:
//! on what comes in, which may have been changed since ([`template`](super::template())), and on what
//! the passes made of it.

use super::cfg::Cfg;
use super::entity::{Block, Inst, Slot, Value};
use super::function::{Base, Function, Op, Operand, Terminator, ValueDef};
use super::text;
use crate::error::{Error, Place, Problem};
use crate::insn::{AluOp, Size};

/// The largest number of arguments.
pub(crate) const MAX_ARGS: usize = 5;

/// Checks that jumps go to blocks of this function, which everything else relies on.
pub(super) fn targets(func: &Function) -> Result<(), Error> {
    for block in func.block_ids() {
        for target in func.block(block).end.iter().flat_map(Terminator::targets) {
            if target.block.index() >= func.blocks.len() {
                return Err(at_end(func, block, Problem::NoBlock(target.block)));
            }
            if target.block == Function::ENTRY {
                return Err(at_end(func, block, Problem::EntryTarget));
            }
        }
    }
    Ok(())
}

/// Checks all invariants.
pub(crate) fn function(func: &Function) -> Result<(), Error> {
    targets(func)?;
    let verifier = Verifier { func, cfg: Cfg::new(func), place_in_block: places(func)? };
    if func.params() > MAX_ARGS {
        return Err(verifier.error(Place::Function, Problem::TooManyArguments(func.params())));
    }
    for (index, slot) in func.slots.iter().enumerate() {
        if !(1..=512).contains(&slot.size) || !matches!(slot.align, 1 | 2 | 4 | 8) {
            let slot = Slot::new(index);
            let (size, align) = (func.slots[index].size, func.slots[index].align);
            return Err(verifier.error(Place::Function, Problem::SlotShape { slot, size, align }));
        }
    }
    for &block in &verifier.cfg.order {
        verifier.block(block)?;
    }
    Ok(())
}

/// The block of each instruction and its position there.
fn places(func: &Function) -> Result<Vec<Option<(Block, usize)>>, Error> {
    let mut places = vec![None; func.insts.len()];
    for block in func.block_ids() {
        for (index, &inst) in func.block(block).insts.iter().enumerate() {
            if places[inst.index()].replace((block, index)).is_some() {
                let place = Place::Inst(block, text::inst(func, inst));
                let function = func.name.clone();
                return Err(Error::Ir { function, place, problem: Problem::Repeated });
            }
        }
    }
    Ok(places)
}

fn at_end(func: &Function, block: Block, problem: Problem) -> Error {
    let text = func.block(block).end.as_ref().map(text::terminator).unwrap_or_default();
    Error::Ir { function: func.name.clone(), place: Place::Inst(block, text), problem }
}

struct Verifier<'a> {
    func: &'a Function,
    cfg: Cfg,
    place_in_block: Vec<Option<(Block, usize)>>,
}

impl Verifier<'_> {
    fn error(&self, place: Place, problem: Problem) -> Error {
        Error::Ir { function: self.func.name.clone(), place, problem }
    }

    fn block(&self, block: Block) -> Result<(), Error> {
        let data = self.func.block(block);
        for (index, &inst) in data.insts.iter().enumerate() {
            self.inst(block, index, inst).map_err(|problem| {
                self.error(Place::Inst(block, text::inst(self.func, inst)), problem)
            })?;
        }
        let Some(end) = &data.end else {
            return Err(self.error(Place::Block(block), Problem::BlockOpen));
        };
        self.end(block, end).map_err(|problem| at_end(self.func, block, problem))
    }

    fn end(&self, block: Block, end: &Terminator) -> Result<(), Problem> {
        let last = self.func.block(block).insts.len();
        for value in end.own_uses() {
            self.value(block, last, value)?;
        }
        for target in end.targets() {
            let (takes, gets) = (self.func.block(target.block).params.len(), target.args.len());
            if takes != gets {
                return Err(Problem::Arguments { block: target.block, takes, gets });
            }
            for &arg in &target.args {
                self.value(block, last, arg)?;
            }
        }
        Ok(())
    }

    /// `value` is used at position `index` of `block`.
    fn value(&self, block: Block, index: usize, value: Value) -> Result<(), Problem> {
        let def = self.func.values.get(value.index()).ok_or(Problem::NoValue(value))?;
        let defined = match *def {
            ValueDef::Param(of) => {
                self.func.block(of).params.contains(&value) && self.reaches(of, block)
            }
            ValueDef::Inst(inst) => match self.place_in_block[inst.index()] {
                Some((of, at)) if of == block => at < index,
                Some((of, _)) => self.reaches(of, block),
                None => false,
            },
        };
        if defined { Ok(()) } else { Err(Problem::NotDominating(value)) }
    }

    fn reaches(&self, of: Block, block: Block) -> bool {
        self.cfg.is_reachable(of) && self.cfg.dominates(of, block)
    }

    fn inst(&self, block: Block, index: usize, inst: Inst) -> Result<(), Problem> {
        let op = &self.func.inst(inst).op;
        for value in op.uses() {
            self.value(block, index, value)?;
        }
        match *op {
            Op::Alu { width, op, b: Operand::Imm(imm), .. } => match op {
                AluOp::Shl | AluOp::Lshr | AluOp::Ashr => {
                    let bits = width.bits();
                    if imm.cast_unsigned() >= bits {
                        return Err(Problem::Shift(imm, bits));
                    }
                }
                AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod if imm == 0 => {
                    return Err(Problem::DivisionByZero);
                }
                _ => {}
            },
            Op::Sext { size: Size::U64, .. } => {
                return Err(Problem::Size { what: "sign extension", bits: 64 });
            }
            Op::Zext { size: Size::U64, .. } => {
                return Err(Problem::Size { what: "zero extension", bits: 64 });
            }
            Op::Swap { size: Size::U8, .. } => {
                return Err(Problem::Size { what: "byte swap", bits: 8 });
            }
            Op::Load { size, signed, base, off } => {
                if signed && size == Size::U64 {
                    return Err(Problem::Size { what: "sign-extending load", bits: 64 });
                }
                self.access(base, off, size)?;
            }
            Op::Store { size, base, off, .. } => self.access(base, off, size)?,
            Op::Atomic { size, base, off, .. }
            | Op::Xchg { size, base, off, .. }
            | Op::CmpXchg { size, base, off, .. } => {
                if !matches!(size, Size::U32 | Size::U64) {
                    return Err(Problem::Size { what: "atomic", bits: size.bits() });
                }
                self.access(base, off, size)?;
            }
            Op::SlotAddr { slot, off } => self.slot(slot, off, 0, 1)?,
            Op::Call { ref args, .. } if args.len() > MAX_ARGS => {
                return Err(Problem::TooManyArguments(args.len()));
            }
            _ => {}
        }
        Ok(())
    }

    fn access(&self, base: Base, off: i16, size: Size) -> Result<(), Problem> {
        match base {
            Base::Value(_) => Ok(()),
            Base::Slot(slot) => self.slot(slot, off, size.bytes(), size.bytes()),
        }
    }

    /// Whether `bytes` at `off` are in the slot and aligned to `align`.
    fn slot(&self, slot: Slot, off: i16, bytes: u32, align: u32) -> Result<(), Problem> {
        let data = self.func.slots.get(slot.index()).ok_or(Problem::NoSlot(slot))?;
        let inside = u32::try_from(off).is_ok_and(|off| off + bytes <= data.size);
        let aligned = align <= data.align && i64::from(off) % i64::from(align) == 0;
        if inside && aligned {
            return Ok(());
        }
        let (size, align) = (data.size, data.align);
        Err(Problem::SlotAccess { slot, size, align, off, bytes })
    }
}
