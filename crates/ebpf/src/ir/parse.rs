//! Reading the IR's text, as [`text`](super::text) writes it.
//!
//! Values, blocks and slots may be numbered as one likes, as long as each number is defined once in
//! its function; functions are referred to by their place in the module. Lines that start with `;` are
//! comments.

use std::collections::HashMap;
use std::str::FromStr;

use super::cursor::Cursor;
use super::entity::{Block, FuncId, Inst, LineId, MapRef, Slot, Value};
use super::function::{
    Base, BlockData, Callee, Function, InstData, Kfunc, Op, Operand, SlotData, Target, Terminator,
    ValueDef,
};
use super::module::Module;
use super::{cfg, verify};
use crate::error::Error;
use crate::insn::{AluOp, AtomicOp, ByteOrder, Cond, Size, Width};

/// What is wrong with a line.
type Parsed<T> = Result<T, String>;

impl FromStr for Module {
    type Err = Error;

    /// Reads a module's text.
    ///
    /// # Errors
    ///
    /// [`Error::Parse`] with the line, or what the verifier finds.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut module = Self::new("");
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim()))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with(';'))
            .collect::<Vec<_>>()
            .into_iter();
        while let Some((number, line)) = lines.next() {
            let at = |message| Error::Parse { line: number, message };
            if let Some(head) = line.strip_prefix("func ") {
                let body: Vec<(usize, &str)> =
                    lines.by_ref().take_while(|(_, line)| *line != "}").collect();
                let function = parse_function(number, head, &body)?;
                let id = module.declare(function.name(), function.params());
                module.define(id, function);
            } else {
                module.parse_item(line).map_err(at)?;
            }
        }
        Ok(module)
    }
}

impl Module {
    /// Reads a line outside functions.
    fn parse_item(&mut self, line: &str) -> Parsed<()> {
        let mut at = Cursor::new(line);
        match at.word() {
            "module" => self.name = at.rest().to_owned(),
            "map" => {
                at.entity("map")?;
                let name = at.string()?;
                self.map(name);
            }
            "line" => {
                at.number::<usize>()?;
                let (file, line) = (at.string()?, at.number()?);
                let (column, text) = (at.number()?, at.string()?);
                self.line(file, line, column, text);
            }
            "declare" => {
                let name = at.word().to_owned();
                let params = at.number()?;
                self.declare(name, params);
            }
            other => return Err(format!("{other:?} is none of module, map, line, declare, func")),
        }
        at.end()
    }
}

fn parse_function(number: usize, head: &str, body: &[(usize, &str)]) -> Result<Function, Error> {
    let mut parser = Parser {
        func: Function {
            name: String::new(),
            blocks: Vec::new(),
            insts: Vec::new(),
            values: Vec::new(),
            slots: Vec::new(),
        },
        values: HashMap::new(),
        blocks: HashMap::new(),
        slots: HashMap::new(),
    };
    let at = |line| move |message| Error::Parse { line, message };
    parser.head(head).map_err(at(number))?;
    // Uses may stand before definitions, so definitions are collected first.
    for &(number, line) in body {
        parser.definition(line).map_err(at(number))?;
    }
    let mut block = Function::ENTRY;
    let mut next = 0;
    for &(number, line) in body {
        parser.code(line, &mut block, &mut next).map_err(at(number))?;
    }
    let mut func = parser.func;
    verify::targets(&func)?;
    cfg::remove_unreachable(&mut func);
    verify::function(&func)?;
    Ok(func)
}

struct Parser {
    func: Function,
    /// By their numbers in the text.
    values: HashMap<u32, Value>,
    blocks: HashMap<u32, Block>,
    slots: HashMap<u32, Slot>,
}

impl Parser {
    /// `name(v0, v1) {`
    fn head(&mut self, head: &str) -> Parsed<()> {
        let (name, rest) = head.rsplit_once('(').ok_or("the function has no parameter list")?;
        self.func.name = name.to_owned();
        self.func.blocks.push(BlockData::default());
        let mut at = Cursor::new(rest);
        self.params(&mut at, Function::ENTRY)?;
        at.expect("{")?;
        at.end()
    }

    /// Parameters of a block, behind the opening parenthesis.
    fn params(&mut self, at: &mut Cursor<'_>, block: Block) -> Parsed<()> {
        if at.take(")") {
            return Ok(());
        }
        loop {
            let number = at.entity("v")?;
            let value = self.func.new_param(block);
            self.define(number, value)?;
            if !at.take(",") {
                return at.expect(")");
            }
        }
    }

    fn define(&mut self, number: u32, value: Value) -> Parsed<()> {
        match self.values.insert(number, value) {
            None => Ok(()),
            Some(_) => Err(format!("v{number} is defined twice")),
        }
    }

    /// First pass: blocks, slots and values.
    fn definition(&mut self, line: &str) -> Parsed<()> {
        let mut at = Cursor::new(line);
        if line.starts_with("block") {
            let number = at.entity("block")?;
            // The entry is there from the start: its parameters are the function's.
            let block =
                if self.blocks.is_empty() { Function::ENTRY } else { self.func.new_block() };
            if self.blocks.insert(number, block).is_some() {
                return Err(format!("block{number} is defined twice"));
            }
            if at.take("(") {
                self.params(&mut at, block)?;
            }
            at.expect(":")?;
            return at.end();
        }
        if at.take("slot") {
            let number = at.entity("s")?;
            let size = at.number()?;
            at.expect("align")?;
            let align = at.number()?;
            self.func.slots.push(SlotData { size, align });
            self.slots.insert(number, Slot::new(self.func.slots.len() - 1));
            return at.end();
        }
        if is_end(line) {
            return Ok(());
        }
        // A placeholder, which the second pass replaces.
        let inst = Inst::new(self.func.insts.len());
        let result = if line.starts_with('v') {
            let number = at.entity("v")?;
            self.func.values.push(ValueDef::Inst(inst));
            let value = Value::new(self.func.values.len() - 1);
            self.define(number, value)?;
            Some(value)
        } else {
            None
        };
        self.func.insts.push(InstData { op: Op::Const(0), result, line: None });
        Ok(())
    }

    /// Second pass: instructions and ends of blocks.
    fn code(&mut self, line: &str, block: &mut Block, next: &mut usize) -> Parsed<()> {
        let mut at = Cursor::new(line);
        if line.starts_with("block") {
            *block = self.blocks[&at.entity("block")?];
            return Ok(());
        }
        if line.starts_with("slot ") {
            return Ok(());
        }
        if self.func.block(*block).end.is_some() {
            return Err(String::from("code behind the end of its block"));
        }
        if is_end(line) {
            let end = self.terminator(&mut at)?;
            let line = source_line(&mut at)?;
            let data = self.func.block_mut(*block);
            data.end = Some(end);
            data.line = line;
            return at.end();
        }
        let inst = Inst::new(*next);
        *next += 1;
        let has_result = line.starts_with('v');
        if has_result {
            at.entity("v")?;
            at.expect("=")?;
        }
        let op = self.op(&mut at)?;
        if op.has_result() != has_result {
            let has = if has_result { "has no" } else { "has a" };
            return Err(format!("{op} {has} result"));
        }
        let data = &mut self.func.insts[inst.index()];
        data.op = op;
        data.line = source_line(&mut at)?;
        self.func.block_mut(*block).insts.push(inst);
        at.end()
    }

    fn value(&self, at: &mut Cursor<'_>) -> Parsed<Value> {
        let number = at.entity("v")?;
        self.values.get(&number).copied().ok_or_else(|| format!("v{number} is not defined"))
    }

    fn slot(&self, at: &mut Cursor<'_>) -> Parsed<Slot> {
        let number = at.entity("s")?;
        self.slots.get(&number).copied().ok_or_else(|| format!("s{number} is not defined"))
    }

    fn operand(&self, at: &mut Cursor<'_>) -> Parsed<Operand> {
        if at.starts_with("v") {
            Ok(Operand::Value(self.value(at)?))
        } else {
            Ok(Operand::Imm(at.number()?))
        }
    }

    /// `v1+8` or `s0+8`
    fn place(&self, at: &mut Cursor<'_>) -> Parsed<(Base, i16)> {
        let base = if at.starts_with("s") {
            Base::Slot(self.slot(at)?)
        } else {
            Base::Value(self.value(at)?)
        };
        Ok((base, at.number()?))
    }

    /// `, v1`
    fn next_value(&self, at: &mut Cursor<'_>) -> Parsed<Value> {
        at.expect(",")?;
        self.value(at)
    }

    /// `v1, v2)`
    fn list(&self, at: &mut Cursor<'_>) -> Parsed<Vec<Value>> {
        let mut values = Vec::new();
        if at.take(")") {
            return Ok(values);
        }
        loop {
            values.push(self.value(at)?);
            if !at.take(",") {
                at.expect(")")?;
                return Ok(values);
            }
        }
    }

    fn target(&self, at: &mut Cursor<'_>) -> Parsed<Target> {
        let number = at.entity("block")?;
        let block = self.blocks.get(&number).copied();
        let block = block.ok_or_else(|| format!("block{number} is not defined"))?;
        let args = if at.take("(") { self.list(at)? } else { Vec::new() };
        Ok(Target { block, args })
    }

    fn terminator(&self, at: &mut Cursor<'_>) -> Parsed<Terminator> {
        match at.word() {
            "jump" => Ok(Terminator::Jump(self.target(at)?)),
            "ret" => Ok(Terminator::Ret(self.operand(at)?)),
            word => {
                let width = if word == "branch32" { Width::W32 } else { Width::W64 };
                let name = at.word();
                let cond = Cond::ALL.into_iter().find(|cond| cond.name() == name);
                let cond = cond.ok_or_else(|| format!("{name:?} is no condition"))?;
                let a = self.value(at)?;
                at.expect(",")?;
                let b = self.operand(at)?;
                at.expect(",")?;
                let then = self.target(at)?;
                at.expect(",")?;
                let otherwise = self.target(at)?;
                Ok(Terminator::Branch { width, cond, a, b, then, otherwise })
            }
        }
    }

    fn op(&self, at: &mut Cursor<'_>) -> Parsed<Op> {
        let word = at.word();
        let (name, size) = match word.split_once('.') {
            Some((name, size)) => (name, Some(size)),
            None => (word, None),
        };
        if let Some(size) = size {
            return self.sized_op(name, size, at);
        }
        match name {
            "const" => Ok(Op::Const(at.number()?)),
            "addr" => Ok(Op::SlotAddr { slot: self.slot(at)?, off: at.number()? }),
            "map" => Ok(Op::Map(MapRef::new(at.entity("map")? as usize))),
            "map_value" => {
                let map = MapRef::new(at.entity("map")? as usize);
                Ok(Op::MapValue { map, off: at.number()? })
            }
            "func_addr" => Ok(Op::FuncAddr(FuncId::new(at.entity("func")? as usize))),
            "call" => {
                let callee = callee(at)?;
                at.expect("(")?;
                Ok(Op::Call { callee, args: self.list(at)? })
            }
            "neg" => Ok(Op::Neg { width: Width::W64, a: self.value(at)? }),
            "neg32" => Ok(Op::Neg { width: Width::W32, a: self.value(at)? }),
            name => {
                let (name, width) = match name.strip_suffix("32") {
                    Some(name) => (name, Width::W32),
                    None => (name, Width::W64),
                };
                let op = AluOp::ALL.into_iter().find(|op| op.name() == name);
                let op = op.ok_or_else(|| format!("{name:?} is no instruction"))?;
                let a = self.value(at)?;
                at.expect(",")?;
                Ok(Op::Alu { width, op, a, b: self.operand(at)? })
            }
        }
    }

    /// An instruction with a size behind its name.
    fn sized_op(&self, name: &str, size: &str, at: &mut Cursor<'_>) -> Parsed<Op> {
        let (sign, bits) = size.split_at_checked(1).unwrap_or_default();
        let signed = sign == "s";
        let size = Size::ALL.into_iter().find(|of| of.bits().to_string() == bits);
        let size = size
            .filter(|_| sign == "u" || (signed && name == "load"))
            .ok_or_else(|| format!("{size:?} is no size of {name:?}"))?;
        let order = match name {
            "to_le" => Some(ByteOrder::Little),
            "to_be" => Some(ByteOrder::Big),
            "bswap" => Some(ByteOrder::Swap),
            _ => None,
        };
        if let Some(order) = order {
            return Ok(Op::Swap { order, size, a: self.value(at)? });
        }
        match name {
            "sext" => return Ok(Op::Sext { size, a: self.value(at)? }),
            "zext" => return Ok(Op::Zext { size, a: self.value(at)? }),
            _ => {}
        }
        let (base, off) = self.place(at)?;
        match name {
            "load" => Ok(Op::Load { size, signed, base, off }),
            "store" => {
                at.expect(",")?;
                Ok(Op::Store { size, base, off, value: self.operand(at)? })
            }
            "xchg" => Ok(Op::Xchg { size, base, off, value: self.next_value(at)? }),
            "cmpxchg" => {
                let (expected, new) = (self.next_value(at)?, self.next_value(at)?);
                Ok(Op::CmpXchg { size, base, off, expected, new })
            }
            name => {
                let (fetch, op) = match name.split_once('_') {
                    Some(("fetch", op)) => (true, op),
                    Some(("atomic", op)) => (false, op),
                    _ => return Err(format!("{name:?} is no instruction")),
                };
                let op = AtomicOp::ALL.into_iter().find(|known| known.name() == op);
                let op = op.ok_or_else(|| format!("{name:?} is no instruction"))?;
                let value = self.next_value(at)?;
                Ok(Op::Atomic { op, fetch, size, base, off, value })
            }
        }
    }
}

fn callee(at: &mut Cursor<'_>) -> Parsed<Callee> {
    if at.take("helper#") {
        return Ok(Callee::Helper(at.number()?));
    }
    if at.take("kfunc#") {
        let btf_id = at.number()?;
        at.expect(":")?;
        return Ok(Callee::Kfunc(Kfunc { btf_id, btf_fd_index: at.number()? }));
    }
    Ok(Callee::Func(FuncId::new(at.entity("func")? as usize)))
}

/// `@3`, if it is there.
fn source_line(at: &mut Cursor<'_>) -> Parsed<Option<LineId>> {
    if at.take("@") { Ok(Some(LineId::new(at.number()?))) } else { Ok(None) }
}

/// Whether the line ends a block.
fn is_end(line: &str) -> bool {
    let word = line.split(' ').next().unwrap_or_default();
    matches!(word, "jump" | "branch" | "branch32" | "ret")
}
