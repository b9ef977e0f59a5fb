//! The IR as text: what [`Module::parse`](super::Module::parse) reads, errors quote and golden files
//! hold.
//!
//! ```text
//! module example
//! map events
//! line 0 "policy.yaml" 12 5 "operator: Equal"
//!
//! func main(v0) {
//!   slot s0 16 align 8
//! block0:
//!   v1 = load.u64 v0+8                 @0
//!   store.u64 s0+0, v1
//!   v2 = add v1, -3
//!   v3 = map events
//!   v4 = addr s0+0
//!   v5 = call helper#1(v3, v4)
//!   branch eq v5, 0, block1, block2(v2)
//! block1:
//!   ret 0
//! block2(v6):
//!   ret v6
//! }
//! ```

use std::fmt::{Display, Formatter, Result, Write};

use super::entity::{Inst, Value};
use super::function::{Base, Callee, Function, Kfunc, Op, Operand, Target, Terminator};
use super::module::Module;
use crate::insn::{AluOp, ByteOrder, Cond, Size, Width};

/// One instruction as text.
pub(super) fn inst(func: &Function, inst: Inst) -> String {
    let data = func.inst(inst);
    let result = data.result.map(|value| format!("{value} = ")).unwrap_or_default();
    format!("{result}{}", data.op)
}

/// The end of a block as text.
pub(super) fn terminator(end: &Terminator) -> String {
    end.to_string()
}

impl AluOp {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Mul => "mul",
            Self::Div => "div",
            Self::SDiv => "sdiv",
            Self::Mod => "mod",
            Self::SMod => "smod",
            Self::And => "and",
            Self::Or => "or",
            Self::Xor => "xor",
            Self::Shl => "shl",
            Self::Lshr => "lshr",
            Self::Ashr => "ashr",
        }
    }
}

impl Cond {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Ult => "ult",
            Self::Ule => "ule",
            Self::Ugt => "ugt",
            Self::Uge => "uge",
            Self::Slt => "slt",
            Self::Sle => "sle",
            Self::Sgt => "sgt",
            Self::Sge => "sge",
            Self::Test => "test",
        }
    }
}

const fn suffix(width: Width) -> &'static str {
    match width {
        Width::W32 => "32",
        Width::W64 => "",
    }
}

/// A memory operand: base and offset.
struct At(Base, i16);

impl Display for At {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.0 {
            Base::Value(value) => write!(f, "{value}{:+}", self.1),
            Base::Slot(slot) => write!(f, "{slot}{:+}", self.1),
        }
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Value(value) => write!(f, "{value}"),
            Self::Imm(imm) => write!(f, "{imm}"),
        }
    }
}

fn list(f: &mut Formatter<'_>, values: &[Value]) -> Result {
    f.write_char('(')?;
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{value}")?;
    }
    f.write_char(')')
}

fn signed(size: Size, signed: bool) -> String {
    if signed { format!("s{}", size.bits()) } else { size.to_string() }
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match *self {
            Self::Const(number) => write!(f, "const {number}"),
            Self::Alu { width, op, a, b } => {
                write!(f, "{}{} {a}, {b}", op.name(), suffix(width))
            }
            Self::Neg { width, a } => write!(f, "neg{} {a}", suffix(width)),
            Self::Sext { size, a } => write!(f, "sext.{size} {a}"),
            Self::Zext { size, a } => write!(f, "zext.{size} {a}"),
            Self::Swap { order, size, a } => {
                let order = match order {
                    ByteOrder::Little => "to_le",
                    ByteOrder::Big => "to_be",
                    ByteOrder::Swap => "bswap",
                };
                write!(f, "{order}.{size} {a}")
            }
            Self::Load { size, signed: sign, base, off } => {
                write!(f, "load.{} {}", signed(size, sign), At(base, off))
            }
            Self::Store { size, base, off, value } => {
                write!(f, "store.{size} {}, {value}", At(base, off))
            }
            Self::Atomic { op, fetch, size, base, off, value } => {
                let kind = if fetch { "fetch" } else { "atomic" };
                write!(f, "{kind}_{}.{size} {}, {value}", op.name(), At(base, off))
            }
            Self::Xchg { size, base, off, value } => {
                write!(f, "xchg.{size} {}, {value}", At(base, off))
            }
            Self::CmpXchg { size, base, off, expected, new } => {
                write!(f, "cmpxchg.{size} {}, {expected}, {new}", At(base, off))
            }
            Self::SlotAddr { slot, off } => write!(f, "addr {}", At(Base::Slot(slot), off)),
            Self::Map(map) => write!(f, "map {map}"),
            Self::MapValue { map, off } => write!(f, "map_value {map}+{off}"),
            Self::FuncAddr(func) => write!(f, "func_addr {func}"),
            Self::Call { callee, ref args } => {
                match callee {
                    Callee::Helper(id) => write!(f, "call helper#{id}")?,
                    Callee::Kfunc(Kfunc { btf_id, btf_fd_index }) => {
                        write!(f, "call kfunc#{btf_id}:{btf_fd_index}")?;
                    }
                    Callee::Func(func) => write!(f, "call {func}")?,
                }
                list(f, args)
            }
        }
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}", self.block)?;
        if self.args.is_empty() { Ok(()) } else { list(f, &self.args) }
    }
}

impl Display for Terminator {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Jump(target) => write!(f, "jump {target}"),
            Self::Branch { width, cond, a, b, then, otherwise } => {
                let (cond, suffix) = (cond.name(), suffix(*width));
                write!(f, "branch{suffix} {cond} {a}, {b}, {then}, {otherwise}")
            }
            Self::Ret(value) => write!(f, "ret {value}"),
        }
    }
}

impl Display for Function {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let entry = self.blocks.first().map(|block| block.params.as_slice()).unwrap_or_default();
        write!(f, "func {}", self.name)?;
        list(f, entry)?;
        writeln!(f, " {{")?;
        for (index, slot) in self.slots.iter().enumerate() {
            writeln!(f, "  slot s{index} {} align {}", slot.size, slot.align)?;
        }
        for block in self.block_ids() {
            let data = self.block(block);
            write!(f, "{block}")?;
            if block != Self::ENTRY && !data.params.is_empty() {
                list(f, &data.params)?;
            }
            writeln!(f, ":")?;
            for &id in &data.insts {
                let line = self.inst(id).line;
                let text = inst(self, id);
                match line {
                    Some(line) => writeln!(f, "  {text:<40} @{}", line.index())?,
                    None => writeln!(f, "  {text}")?,
                }
            }
            if let Some(end) = &data.end {
                let text = terminator(end);
                match data.line {
                    Some(line) => writeln!(f, "  {text:<40} @{}", line.index())?,
                    None => writeln!(f, "  {text}")?,
                }
            }
        }
        writeln!(f, "}}")
    }
}

impl Display for Module {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "module {}", self.name)?;
        for (index, map) in self.maps.iter().enumerate() {
            writeln!(f, "map map{index} {map:?}")?;
        }
        for (index, line) in self.lines.iter().enumerate() {
            let crate::program::Line { file, line, column, text } = line;
            writeln!(f, "line {index} {file:?} {line} {column} {text:?}")?;
        }
        for declared in &self.functions {
            match &declared.function {
                Some(function) => write!(f, "\n{function}")?,
                None => writeln!(f, "\ndeclare {} {}", declared.name, declared.params)?,
            }
        }
        Ok(())
    }
}
