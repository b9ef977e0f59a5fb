//! Instructions over virtual registers, in the shape that `regalloc2` wants: blocks in layout order,
//! each instruction with operands that say what it reads and writes and in which register it must be.

use regalloc2::{Block, Inst, InstRange, Operand, PReg, PRegSet, RegClass, VReg};

use crate::insn::{AluOp, AtomicOp, ByteOrder, Cond, Reg, Size, Width};
use crate::ir::function::Callee;
use crate::ir::{FuncId, LineId, MapRef};

/// What an instruction does. The comments name its operands in order: `use` and `def` in any register
/// unless said otherwise.
#[derive(Clone, Debug)]
pub(super) enum VOp {
    /// The function's parameters appear: defs in r1 to r5.
    Params,
    /// Use a, use b unless `imm`, def in a's register.
    Alu { width: Width, op: AluOp, imm: Option<i32> },
    /// Use a, def in a's register.
    Neg { width: Width },
    /// Use a, def in a's register.
    Swap { order: ByteOrder, size: Size },
    /// Def.
    MovImm { width: Width, imm: i32 },
    /// Def.
    Address(Address),
    /// Use, def: the low half.
    Mov32,
    /// Use, def.
    MovSext { from: Size },
    /// Def: the frame's address plus this.
    FrameAddr(i32),
    /// Use base unless `at.frame`, def.
    Load { size: Size, signed: bool, at: At },
    /// Use base unless `at.frame`, use value unless `imm`.
    Store { size: Size, at: At, imm: Option<i32> },
    /// Use base unless `at.frame`, use value, with `fetch` def in value's register.
    Atomic { op: AtomicOp, fetch: bool, size: Size, at: At },
    /// Use base unless `at.frame`, use value, def in value's register.
    Xchg { size: Size, at: At },
    /// Use base unless `at.frame`, use new, use expected in r0, def in r0.
    CmpXchg { size: Size, at: At },
    /// Uses in r1 to r5, def in r0, clobbers r1 to r5.
    Call(Callee),
    /// Use a, use b unless `imm`.
    Branch { width: Width, cond: Cond, imm: Option<i32> },
    /// None.
    Jump,
    /// Use in r0.
    Ret,
}

/// A number of 64 bits, some known only when loading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Number(u64),
    Map(MapRef),
    MapValue(MapRef, u32),
    Func(FuncId),
}

/// A memory operand: an offset from the base register or from the frame pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) frame: bool,
    pub(super) off: i16,
}

#[derive(Clone, Debug)]
pub(super) struct VInst {
    pub(super) op: VOp,
    pub(super) line: Option<LineId>,
    /// Where its operands start in [`VCode::operands`].
    operands: u32,
}

#[derive(Clone, Debug)]
pub(super) struct VBlock {
    pub(super) insts: InstRange,
    pub(super) params: Vec<VReg>,
    /// In the order then, otherwise.
    pub(super) succs: Vec<Block>,
    pub(super) preds: Vec<Block>,
    /// What is passed to each successor.
    pub(super) args: Vec<Vec<VReg>>,
}

/// A function over virtual registers. Block 0 is the entry; blocks are in layout order.
#[derive(Clone, Debug, Default)]
pub(super) struct VCode {
    pub(super) insts: Vec<VInst>,
    pub(super) blocks: Vec<VBlock>,
    operands: Vec<Operand>,
    vregs: usize,
    /// For each edge out of a comparison and each register compared: where that value is at the start
    /// of the edge's target is asked of the allocator under this index.
    pub(super) labels: Vec<(VReg, Inst, Inst, u32)>,
    /// Bytes of stack that slots take.
    pub(super) slot_bytes: u32,
    /// In words, the largest slots.
    pub(super) largest_slots: String,
}

/// The physical register of the allocator for a register.
pub(super) fn preg(reg: Reg) -> PReg {
    PReg::new(usize::from(reg.index()), RegClass::Int)
}

impl VCode {
    pub(super) fn new_vreg(&mut self) -> VReg {
        self.vregs += 1;
        VReg::new(self.vregs - 1, RegClass::Int)
    }

    pub(super) fn push(&mut self, op: VOp, line: Option<LineId>, operands: &[Operand]) {
        let start = self.operands.len() as u32;
        self.operands.extend(operands);
        self.insts.push(VInst { op, line, operands: start });
    }

    pub(super) fn operands(&self, inst: Inst) -> &[Operand] {
        let start = self.insts[inst.index()].operands as usize;
        let end = self.insts.get(inst.index() + 1).map(|next| next.operands as usize);
        &self.operands[start..end.unwrap_or(self.operands.len())]
    }
}

impl regalloc2::Function for VCode {
    fn num_insts(&self) -> usize {
        self.insts.len()
    }

    fn num_blocks(&self) -> usize {
        self.blocks.len()
    }

    fn entry_block(&self) -> Block {
        Block::new(0)
    }

    fn block_insns(&self, block: Block) -> InstRange {
        self.blocks[block.index()].insts
    }

    fn block_succs(&self, block: Block) -> &[Block] {
        &self.blocks[block.index()].succs
    }

    fn block_preds(&self, block: Block) -> &[Block] {
        &self.blocks[block.index()].preds
    }

    fn block_params(&self, block: Block) -> &[VReg] {
        &self.blocks[block.index()].params
    }

    fn is_ret(&self, inst: Inst) -> bool {
        matches!(self.insts[inst.index()].op, VOp::Ret)
    }

    fn is_branch(&self, inst: Inst) -> bool {
        matches!(self.insts[inst.index()].op, VOp::Jump | VOp::Branch { .. })
    }

    fn branch_blockparams(&self, block: Block, _: Inst, successor: usize) -> &[VReg] {
        &self.blocks[block.index()].args[successor]
    }

    fn inst_operands(&self, inst: Inst) -> &[Operand] {
        self.operands(inst)
    }

    fn inst_clobbers(&self, inst: Inst) -> PRegSet {
        let mut clobbers = PRegSet::empty();
        if let VOp::Call(_) = self.insts[inst.index()].op {
            for reg in ARGUMENTS {
                clobbers.add(preg(reg));
            }
        }
        clobbers
    }

    fn num_vregs(&self) -> usize {
        self.vregs
    }

    fn debug_value_labels(&self) -> &[(VReg, Inst, Inst, u32)] {
        &self.labels
    }

    fn spillslot_size(&self, _: RegClass) -> usize {
        1
    }
}

/// Registers of arguments and parameters, in order.
pub(super) const ARGUMENTS: [Reg; 5] = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5];
