//! Registers and the stack frame, and with them the instructions of each block.
//!
//! `regalloc2` assigns r0 to r9; r10 is the frame pointer. Nothing is saved at entry: the kernel keeps
//! the caller's r6 to r9. Spilled values get 8 bytes each below the slots, aligned to 8, the only form
//! in which the verifier tracks what is in them.
//!
//! Bounds of spilled values: when a value lives on the stack, a comparison works on a copy loaded into a
//! register. Newer kernels ("bpf: Assign ID to scalars on spill") know that the two are the same and
//! narrow both; older ones, 6.1 for one, narrow only the copy. Therefore, where a comparison leads, the
//! copy is stored back to where the value lives: the same number, but with its bounds. Where the value
//! lives there, the allocator tells (`debug_value_labels`).

use regalloc2::{
    Algorithm, Allocation, Block, Edit, Inst, InstOrEdit, MachineEnv, Output, PRegSet, ProgPoint,
    RegallocOptions, checker::Checker,
};

use super::Options;
use super::calls::STACK;
use super::vcode::{Address, At, VCode, VOp, preg};
use crate::error::Error;
use crate::insn::{AluOp, Cond, Imm64, Insn, Reg, Size, Source, Width};
use crate::ir::function::{Callee, Function};
use crate::ir::{FuncId, LineId, MapRef};

/// A function with registers; jumps still name blocks.
#[derive(Clone, Debug)]
pub(super) struct Allocated {
    /// In layout order, the entry first.
    pub(super) blocks: Vec<CodeBlock>,
    /// Bytes of stack, slots and spilled values.
    pub(super) stack: u32,
}

#[derive(Clone, Debug)]
pub(super) struct CodeBlock {
    pub(super) body: Vec<Code>,
    pub(super) end: End,
    /// Line of `end`.
    pub(super) line: Option<LineId>,
}

/// An instruction, and what has to be filled in once everything has a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Code {
    pub(super) insn: Insn,
    pub(super) line: Option<LineId>,
    pub(super) link: Option<Link>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Link {
    Func(FuncId),
    Map(MapRef),
}

/// How a block ends; targets are indices of blocks.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Exit,
    Jump(usize),
    Branch { width: Width, cond: Cond, dst: Reg, src: Source, then: usize, otherwise: usize },
}

pub(super) fn allocate(
    func: &Function,
    code: &VCode,
    options: &Options,
) -> Result<Allocated, Error> {
    let fail = |cause: String| Error::Registers { function: func.name().to_owned(), cause };
    let env = machine();
    let settings = RegallocOptions {
        verbose_log: false,
        validate_ssa: options.check_registers,
        algorithm: Algorithm::Ion,
    };
    let output = regalloc2::run(code, &env, &settings).map_err(|e| fail(e.to_string()))?;
    if options.check_registers {
        let mut checker = Checker::new(code, &env);
        checker.prepare(&output);
        checker.run().map_err(|errors| fail(format!("{errors:?}")))?;
    }
    let slots = code.slot_bytes.next_multiple_of(8);
    let spills = u32::try_from(output.num_spillslots).unwrap_or(u32::MAX).saturating_mul(8);
    let stack = if spills == 0 { code.slot_bytes } else { slots.saturating_add(spills) };
    if stack > STACK {
        return Err(Error::Frame {
            function: func.name().to_owned(),
            slots: code.slot_bytes,
            spills,
            largest: code.largest_slots.clone(),
        });
    }
    let emitter = Emitter { code, output: &output, frame: Frame { slots: slots as i16 } };
    let blocks = (0..code.blocks.len())
        .map(|block| emitter.block(Block::new(block)))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| fail(String::from("an operand is in no register")))?;
    Ok(Allocated { blocks, stack })
}

/// Registers in the order in which they are given out. Those that calls preserve come last: values
/// live across calls cannot have others, and programs that use fewer of them have shorter prologues.
fn machine() -> MachineEnv {
    let set = |regs: &[Reg]| {
        let mut set = PRegSet::empty();
        regs.iter().for_each(|&reg| set.add(preg(reg)));
        set
    };
    let none = PRegSet::empty();
    let scratch = set(&[Reg::R0, Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5]);
    let preserved = set(&[Reg::R6, Reg::R7, Reg::R8, Reg::R9]);
    MachineEnv {
        preferred_regs_by_class: [scratch, none, none],
        non_preferred_regs_by_class: [preserved, none, none],
        scratch_by_class: [None; 3],
        fixed_stack_slots: Vec::new(),
    }
}

/// Where spilled values are.
struct Frame {
    /// Bytes of the slots above them, rounded up to 8.
    slots: i16,
}

impl Frame {
    /// Offset of a spilled value from the frame pointer, if it is one.
    fn offset(&self, place: Allocation) -> Option<i16> {
        let index = place.as_stack()?.index() as i16;
        Some(-self.slots - 8 * (index + 1))
    }
}

fn register(place: Allocation) -> Option<Reg> {
    Reg::new(place.as_reg()?.hw_enc() as u8)
}

struct Emitter<'a> {
    code: &'a VCode,
    output: &'a Output,
    frame: Frame,
}

impl Emitter<'_> {
    /// The instructions of a block. `None` if the allocator left an operand without a register.
    fn block(&self, block: Block) -> Option<CodeBlock> {
        let data = &self.code.blocks[block.index()];
        let last = data.insts.last();
        let mut body = Vec::with_capacity(data.insts.len() + 4);
        self.store_compared(block, &mut body)?;
        let mut line = self.code.insts[data.insts.first().index()].line;
        for item in self.output.block_insts_and_edits(self.code, block) {
            match item {
                InstOrEdit::Edit(Edit::Move { from, to }) => {
                    body.extend(self.moved(*from, *to)?.map(|insn| Code::plain(insn, line)));
                }
                InstOrEdit::Inst(inst) if inst != last => {
                    line = self.code.insts[inst.index()].line;
                    self.inst(inst, &mut body)?;
                    // Moves behind it belong to the next instruction.
                    line = self.code.insts[inst.next().index()].line.or(line);
                }
                InstOrEdit::Inst(_) => {}
            }
        }
        let end = self.end(block, last)?;
        Some(CodeBlock { body, end, line: self.code.insts[last.index()].line })
    }

    /// A move that the allocator asks for; nothing when both places are one.
    fn moved(&self, from: Allocation, to: Allocation) -> Option<Option<Insn>> {
        if from == to {
            return Some(None);
        }
        let insn = match (register(from), register(to)) {
            (Some(src), Some(dst)) => Insn::Mov { width: Width::W64, dst, src: Source::Reg(src) },
            (Some(src), None) => self.spill(src, to)?,
            (None, Some(dst)) => Insn::Load {
                size: Size::U64,
                signed: false,
                dst,
                base: Reg::FRAME,
                off: self.frame.offset(from)?,
            },
            (None, None) => return None,
        };
        Some(Some(insn))
    }

    fn spill(&self, src: Reg, to: Allocation) -> Option<Insn> {
        let off = self.frame.offset(to)?;
        Some(Insn::Store { size: Size::U64, base: Reg::FRAME, off, src: Source::Reg(src) })
    }

    /// At the start of a block that a comparison leads to: stores compared copies of spilled values
    /// back to where the values live.
    fn store_compared(&self, block: Block, body: &mut Vec<Code>) -> Option<()> {
        let data = &self.code.blocks[block.index()];
        let [pred] = data.preds[..] else { return Some(()) };
        let branch = self.code.blocks[pred.index()].insts.last();
        let compared = self.output.inst_allocs(branch);
        for (which, &place) in compared.iter().enumerate() {
            let label = (block.index() * 2 + which) as u32;
            let locations = &self.output.debug_locations;
            let start = locations.partition_point(|&(of, ..)| of < label);
            let homes = locations[start..].iter().take_while(|&&(of, ..)| of == label);
            for &(_, from, _, home) in homes {
                let at_start = from <= ProgPoint::before(data.insts.first());
                if at_start && home.is_stack() && !self.moves_to(home, data.insts.first()) {
                    let line = self.code.insts[branch.index()].line;
                    body.push(Code::plain(self.spill(register(place)?, home)?, line));
                }
            }
        }
        Some(())
    }

    /// Whether the allocator itself moves something to `place` before `inst`.
    fn moves_to(&self, place: Allocation, inst: Inst) -> bool {
        let before = ProgPoint::before(inst);
        let edits = &self.output.edits;
        let start = edits.partition_point(|(at, _)| *at < before);
        let mut here = edits[start..].iter().take_while(|(at, _)| *at == before);
        here.any(|(_, Edit::Move { to, .. })| *to == place)
    }

    fn inst(&self, inst: Inst, body: &mut Vec<Code>) -> Option<()> {
        let data = &self.code.insts[inst.index()];
        let line = data.line;
        let places = self.output.inst_allocs(inst);
        let reg = |index: usize| register(*places.get(index)?);
        let source = |index: usize, imm: Option<i32>| match imm {
            Some(imm) => Some(Source::Imm(imm)),
            None => reg(index).map(Source::Reg),
        };
        // The base register of a memory operand, and the index of the operand behind it.
        let base = |at: At| if at.frame { Some((Reg::FRAME, 0)) } else { Some((reg(0)?, 1)) };
        let mut link = None;
        let insn = match data.op {
            VOp::Params => return Some(()),
            VOp::Alu { width, op, imm } => {
                Insn::Alu { width, op, dst: reg(0)?, src: source(1, imm)? }
            }
            VOp::Neg { width } => Insn::Neg { width, dst: reg(0)? },
            VOp::Swap { order, size } => Insn::Swap { order, size, dst: reg(0)? },
            VOp::MovImm { width, imm } => Insn::Mov { width, dst: reg(0)?, src: Source::Imm(imm) },
            VOp::Address(address) => {
                let dst = reg(0)?;
                let imm = match address {
                    Address::Number(number) => Imm64::Value(number),
                    Address::Map(map) => {
                        link = Some(Link::Map(map));
                        Imm64::MapFd(0)
                    }
                    Address::MapValue(map, offset) => {
                        link = Some(Link::Map(map));
                        Imm64::MapValue { fd: 0, offset }
                    }
                    Address::Func(func) => {
                        link = Some(Link::Func(func));
                        Imm64::Func(0)
                    }
                };
                Insn::LoadImm64 { dst, imm }
            }
            VOp::Mov32 => Insn::Mov { width: Width::W32, dst: reg(1)?, src: Source::Reg(reg(0)?) },
            VOp::MovSext { from } => {
                Insn::MovSext { width: Width::W64, from, dst: reg(1)?, src: reg(0)? }
            }
            VOp::FrameAddr(offset) => {
                let (width, dst) = (Width::W64, reg(0)?);
                let copy = Insn::Mov { width, dst, src: Source::Reg(Reg::FRAME) };
                body.push(Code::plain(copy, line));
                Insn::Alu { width, op: AluOp::Add, dst, src: Source::Imm(offset) }
            }
            VOp::Load { size, signed, at } => {
                let (base, next) = base(at)?;
                Insn::Load { size, signed, dst: reg(next)?, base, off: at.off }
            }
            VOp::Store { size, at, imm } => {
                let (base, next) = base(at)?;
                Insn::Store { size, base, off: at.off, src: source(next, imm)? }
            }
            VOp::Atomic { op, fetch, size, at } => {
                let (base, next) = base(at)?;
                Insn::Atomic { op, fetch, size, base, off: at.off, src: reg(next)? }
            }
            VOp::Xchg { size, at } => {
                let (base, next) = base(at)?;
                Insn::Xchg { size, base, off: at.off, src: reg(next)? }
            }
            VOp::CmpXchg { size, at } => {
                let (base, next) = base(at)?;
                Insn::CmpXchg { size, base, off: at.off, src: reg(next)? }
            }
            VOp::Call(Callee::Helper(id)) => Insn::CallHelper { id },
            VOp::Call(Callee::Kfunc(kfunc)) => Insn::CallKfunc {
                btf_id: kfunc.btf_id.cast_signed(),
                btf_fd_index: kfunc.btf_fd_index.cast_signed(),
            },
            VOp::Call(Callee::Func(func)) => {
                link = Some(Link::Func(func));
                Insn::CallFunc { off: 0 }
            }
            // Ends of blocks, which end() makes.
            VOp::Branch { .. } | VOp::Jump | VOp::Ret => return None,
        };
        body.push(Code { insn, line, link });
        Some(())
    }

    fn end(&self, block: Block, last: Inst) -> Option<End> {
        let succs = &self.code.blocks[block.index()].succs;
        let places = self.output.inst_allocs(last);
        Some(match self.code.insts[last.index()].op {
            VOp::Ret => End::Exit,
            VOp::Jump => End::Jump(succs.first()?.index()),
            VOp::Branch { width, cond, imm } => End::Branch {
                width,
                cond,
                dst: register(*places.first()?)?,
                src: match imm {
                    Some(imm) => Source::Imm(imm),
                    None => Source::Reg(register(*places.get(1)?)?),
                },
                then: succs.first()?.index(),
                otherwise: succs.get(1)?.index(),
            },
            _ => return None,
        })
    }
}

impl Code {
    fn plain(insn: Insn, line: Option<LineId>) -> Self {
        Self { insn, line, link: None }
    }
}
