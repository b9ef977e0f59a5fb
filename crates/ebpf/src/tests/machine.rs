//! An interpreter of instructions, and the arithmetic that it and the IR's interpreter share.
//!
//! It keeps to the instruction set's definition and nothing else: registers that a call does not
//! preserve are overwritten with garbage, frames start with garbage, memory is only what was given.

use crate::insn::{ByteOrder, Imm64, Width};
use crate::{AluOp, AtomicOp, Cond, Insn, Program, Reg, Size, insn::Source};

const GARBAGE: u64 = 0xdead_beef_a5a5_5a5a;

/// Pieces of memory far from each other.
#[derive(Debug, Default)]
pub(super) struct Memory {
    regions: Vec<Vec<u8>>,
}

const REGION: u64 = 1 << 20;

impl Memory {
    /// Adds a piece. Returns the address of its first byte.
    pub(super) fn add(&mut self, bytes: Vec<u8>) -> u64 {
        self.regions.push(bytes);
        self.regions.len() as u64 * REGION
    }

    fn bytes(&mut self, address: u64, size: usize) -> &mut [u8] {
        let region = (address / REGION).checked_sub(1).expect("address of no region");
        let at = (address % REGION) as usize;
        let region = self.regions.get_mut(region as usize).expect("address of no region");
        region.get_mut(at..at + size).expect("access behind its region")
    }

    pub(super) fn load(&mut self, size: Size, address: u64) -> u64 {
        let mut word = [0; 8];
        let bytes = size.bytes() as usize;
        word[..bytes].copy_from_slice(self.bytes(address, bytes));
        u64::from_le_bytes(word)
    }

    pub(super) fn store(&mut self, size: Size, address: u64, value: u64) {
        let bytes = size.bytes() as usize;
        self.bytes(address, bytes).copy_from_slice(&value.to_le_bytes()[..bytes]);
    }

    /// An atomic operation. Returns the old value.
    pub(super) fn atomic(&mut self, op: AtomicOp, size: Size, address: u64, value: u64) -> u64 {
        let old = self.load(size, address);
        let new = match op {
            AtomicOp::Add => old.wrapping_add(value),
            AtomicOp::And => old & value,
            AtomicOp::Or => old | value,
            AtomicOp::Xor => old ^ value,
        };
        self.store(size, address, new);
        old
    }

    pub(super) fn xchg(&mut self, size: Size, address: u64, value: u64) -> u64 {
        let old = self.load(size, address);
        self.store(size, address, value);
        old
    }

    pub(super) fn cmpxchg(&mut self, size: Size, address: u64, expected: u64, new: u64) -> u64 {
        let old = self.load(size, address);
        if old == zext(size, expected) {
            self.store(size, address, new);
        }
        old
    }
}

pub(super) fn zext(size: Size, value: u64) -> u64 {
    match size {
        Size::U8 => u64::from(value as u8),
        Size::U16 => u64::from(value as u16),
        Size::U32 => u64::from(value as u32),
        Size::U64 => value,
    }
}

pub(super) fn sext(size: Size, value: u64) -> u64 {
    match size {
        Size::U8 => value as i8 as u64,
        Size::U16 => value as i16 as u64,
        Size::U32 => value as i32 as u64,
        Size::U64 => value,
    }
}

pub(super) fn swap(order: ByteOrder, size: Size, value: u64) -> u64 {
    let swaps = match order {
        ByteOrder::Little => cfg!(target_endian = "big"),
        ByteOrder::Big => cfg!(target_endian = "little"),
        ByteOrder::Swap => true,
    };
    match (size, swaps) {
        (_, false) => zext(size, value),
        (Size::U8, true) => zext(size, value),
        (Size::U16, true) => (value as u16).swap_bytes().into(),
        (Size::U32, true) => (value as u32).swap_bytes().into(),
        (Size::U64, true) => value.swap_bytes(),
    }
}

pub(super) fn alu(width: Width, op: AluOp, a: u64, b: u64) -> u64 {
    match width {
        Width::W32 => u64::from(alu32(op, a as u32, b as u32)),
        Width::W64 => alu64(op, a, b),
    }
}

fn alu32(op: AluOp, a: u32, b: u32) -> u32 {
    match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => a.checked_div(b).unwrap_or(0),
        AluOp::Mod => a.checked_rem(b).unwrap_or(a),
        AluOp::SDiv if b == 0 => 0,
        AluOp::SMod if b == 0 => a,
        AluOp::SDiv => (a as i32).wrapping_div(b as i32) as u32,
        AluOp::SMod => (a as i32).wrapping_rem(b as i32) as u32,
        AluOp::And => a & b,
        AluOp::Or => a | b,
        AluOp::Xor => a ^ b,
        AluOp::Shl => a.wrapping_shl(b),
        AluOp::Lshr => a.wrapping_shr(b),
        AluOp::Ashr => (a as i32).wrapping_shr(b) as u32,
    }
}

fn alu64(op: AluOp, a: u64, b: u64) -> u64 {
    match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => a.checked_div(b).unwrap_or(0),
        AluOp::Mod => a.checked_rem(b).unwrap_or(a),
        AluOp::SDiv if b == 0 => 0,
        AluOp::SMod if b == 0 => a,
        AluOp::SDiv => (a as i64).wrapping_div(b as i64) as u64,
        AluOp::SMod => (a as i64).wrapping_rem(b as i64) as u64,
        AluOp::And => a & b,
        AluOp::Or => a | b,
        AluOp::Xor => a ^ b,
        AluOp::Shl => a.wrapping_shl(b as u32),
        AluOp::Lshr => a.wrapping_shr(b as u32),
        AluOp::Ashr => (a as i64).wrapping_shr(b as u32) as u64,
    }
}

pub(super) fn holds(width: Width, cond: Cond, a: u64, b: u64) -> bool {
    let (a, b, sa, sb) = match width {
        Width::W64 => (a, b, a as i64, b as i64),
        Width::W32 => {
            (u64::from(a as u32), u64::from(b as u32), i64::from(a as i32), i64::from(b as i32))
        }
    };
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Ult => a < b,
        Cond::Ule => a <= b,
        Cond::Ugt => a > b,
        Cond::Uge => a >= b,
        Cond::Slt => sa < sb,
        Cond::Sle => sa <= sb,
        Cond::Sgt => sa > sb,
        Cond::Sge => sa >= sb,
        Cond::Test => a & b != 0,
    }
}

struct Frame {
    back: usize,
    preserved: [u64; 5],
}

/// Runs a program on a context. Returns r0.
pub(super) fn run(program: &Program, context: &[u8]) -> u64 {
    let mut index_of = Vec::new();
    for (index, insn) in program.insns.iter().enumerate() {
        index_of.extend(std::iter::repeat_n(index, insn.slots()));
    }
    let mut slot_of = vec![0; program.insns.len()];
    for (slot, &index) in index_of.iter().enumerate().rev() {
        slot_of[index] = slot;
    }
    let mut memory = Memory::default();
    let context = memory.add(context.to_vec());
    let frame = |memory: &mut Memory| memory.add(vec![0xa5; 512]) + 512;
    let mut regs = [GARBAGE; 11];
    regs[1] = context;
    regs[10] = frame(&mut memory);
    let mut frames: Vec<Frame> = Vec::new();
    let mut at = 0;
    for _ in 0..10_000_000 {
        let insn = program.insns[at];
        let slot = slot_of[at];
        let jump = |off: i64| index_of[(slot as i64 + 1 + off) as usize];
        at += 1;
        let get = |regs: &[u64; 11], reg: Reg| regs[usize::from(reg.index())];
        let source = |regs: &[u64; 11], source: Source| match source {
            Source::Reg(reg) => get(regs, reg),
            Source::Imm(imm) => imm as i64 as u64,
        };
        let address = |regs: &[u64; 11], base, off: i16| get(regs, base).wrapping_add(off as u64);
        let set = |regs: &mut [u64; 11], reg: Reg, value| {
            assert!(reg != Reg::FRAME, "r10 is read only");
            regs[usize::from(reg.index())] = value;
        };
        match insn {
            Insn::Alu { width, op, dst, src } => {
                let value = alu(width, op, get(&regs, dst), source(&regs, src));
                set(&mut regs, dst, value);
            }
            Insn::Neg { width, dst } => {
                let value = alu(width, AluOp::Sub, 0, get(&regs, dst));
                set(&mut regs, dst, value);
            }
            Insn::Mov { width, dst, src } => {
                let size = if width == Width::W32 { Size::U32 } else { Size::U64 };
                let value = zext(size, source(&regs, src));
                set(&mut regs, dst, value);
            }
            Insn::MovSext { width, from, dst, src } => {
                let size = if width == Width::W32 { Size::U32 } else { Size::U64 };
                let value = zext(size, sext(from, get(&regs, src)));
                set(&mut regs, dst, value);
            }
            Insn::Swap { order, size, dst } => {
                let value = swap(order, size, get(&regs, dst));
                set(&mut regs, dst, value);
            }
            Insn::LoadImm64 { dst, imm: Imm64::Value(value) } => set(&mut regs, dst, value),
            Insn::Load { size, signed, dst, base, off } => {
                let value = memory.load(size, address(&regs, base, off));
                set(&mut regs, dst, if signed { sext(size, value) } else { value });
            }
            Insn::Store { size, base, off, src } => {
                memory.store(size, address(&regs, base, off), source(&regs, src));
            }
            Insn::Atomic { op, fetch, size, base, off, src } => {
                let old = memory.atomic(op, size, address(&regs, base, off), get(&regs, src));
                if fetch {
                    set(&mut regs, src, old);
                }
            }
            Insn::Xchg { size, base, off, src } => {
                let old = memory.xchg(size, address(&regs, base, off), get(&regs, src));
                set(&mut regs, src, old);
            }
            Insn::CmpXchg { size, base, off, src } => {
                let place = address(&regs, base, off);
                regs[0] = memory.cmpxchg(size, place, regs[0], get(&regs, src));
            }
            Insn::Jump { off } => at = jump(off.into()),
            Insn::JumpLong { off } => at = jump(off.into()),
            Insn::Branch { width, cond, dst, src, off } => {
                if holds(width, cond, get(&regs, dst), source(&regs, src)) {
                    at = jump(off.into());
                }
            }
            Insn::CallFunc { off } => {
                let preserved = [regs[6], regs[7], regs[8], regs[9], regs[10]];
                frames.push(Frame { back: at, preserved });
                assert!(frames.len() < 8, "too many frames");
                regs[6..10].fill(GARBAGE);
                regs[0] = GARBAGE;
                regs[10] = frame(&mut memory);
                at = jump(off.into());
            }
            Insn::Exit => {
                let Some(frame) = frames.pop() else { return regs[0] };
                regs[1..6].fill(GARBAGE);
                regs[6..11].copy_from_slice(&frame.preserved);
                at = frame.back;
            }
            Insn::LoadImm64 { .. }
            | Insn::MayGoto { .. }
            | Insn::CallHelper { .. }
            | Insn::CallKfunc { .. } => panic!("random programs have no {insn}"),
        }
    }
    panic!("the program does not end");
}
