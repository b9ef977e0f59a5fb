//! The numbers of the encoding (include/uapi/linux/bpf.h, bpf_common.h), in one place for
//! [`encode`](super::encode()) and [`decode`](super::decode()).

use super::{AluOp, AtomicOp, Cond, Size};

/// Bytes in one slot.
pub(super) const SLOT: usize = 8;

pub(super) mod class {
    pub(crate) const LD: u8 = 0;
    pub(crate) const LDX: u8 = 1;
    pub(crate) const ST: u8 = 2;
    pub(crate) const STX: u8 = 3;
    pub(crate) const ALU: u8 = 4;
    pub(crate) const JMP: u8 = 5;
    pub(crate) const JMP32: u8 = 6;
    pub(crate) const ALU64: u8 = 7;
    pub(crate) const MASK: u8 = 7;
}

/// Source bit of arithmetic and jumps: register rather than immediate.
pub(super) const X: u8 = 8;

pub(super) mod mode {
    pub(crate) const IMM: u8 = 0x00;
    pub(crate) const MEM: u8 = 0x60;
    pub(crate) const MEMSX: u8 = 0x80;
    pub(crate) const ATOMIC: u8 = 0xc0;
    pub(crate) const MASK: u8 = 0xe0;
}

pub(super) mod alu {
    pub(crate) const NEG: u8 = 0x80;
    pub(crate) const MOV: u8 = 0xb0;
    pub(crate) const END: u8 = 0xd0;
    pub(crate) const MASK: u8 = 0xf0;
}

pub(super) mod jmp {
    pub(crate) const JA: u8 = 0x00;
    pub(crate) const CALL: u8 = 0x80;
    pub(crate) const EXIT: u8 = 0x90;
    pub(crate) const JCOND: u8 = 0xe0;
    pub(crate) const MASK: u8 = 0xf0;
}

/// Source register field of calls.
pub(super) mod call {
    pub(crate) const HELPER: u8 = 0;
    pub(crate) const FUNC: u8 = 1;
    pub(crate) const KFUNC: u8 = 2;
}

/// Source register field of 16-byte loads (`BPF_PSEUDO_*`).
pub(super) mod pseudo {
    pub(crate) const VALUE: u8 = 0;
    pub(crate) const MAP_FD: u8 = 1;
    pub(crate) const MAP_VALUE: u8 = 2;
    pub(crate) const BTF_ID: u8 = 3;
    pub(crate) const FUNC: u8 = 4;
    pub(crate) const MAP_IDX: u8 = 5;
    pub(crate) const MAP_IDX_VALUE: u8 = 6;
}

/// Immediate of atomics.
pub(super) mod atomic {
    pub(crate) const FETCH: i32 = 1;
    pub(crate) const XCHG: i32 = 0xe1;
    pub(crate) const CMPXCHG: i32 = 0xf1;
}

pub(super) const fn size_bits(size: Size) -> u8 {
    match size {
        Size::U32 => 0x00,
        Size::U16 => 0x08,
        Size::U8 => 0x10,
        Size::U64 => 0x18,
    }
}

pub(super) const fn size_of_bits(code: u8) -> Size {
    match code & 0x18 {
        0x00 => Size::U32,
        0x08 => Size::U16,
        0x10 => Size::U8,
        _ => Size::U64,
    }
}

/// Operation bits and the `off` field: 1 marks the signed forms of division.
pub(super) const fn alu_bits(op: AluOp) -> (u8, i16) {
    match op {
        AluOp::Add => (0x00, 0),
        AluOp::Sub => (0x10, 0),
        AluOp::Mul => (0x20, 0),
        AluOp::Div => (0x30, 0),
        AluOp::SDiv => (0x30, 1),
        AluOp::Or => (0x40, 0),
        AluOp::And => (0x50, 0),
        AluOp::Shl => (0x60, 0),
        AluOp::Lshr => (0x70, 0),
        AluOp::Mod => (0x90, 0),
        AluOp::SMod => (0x90, 1),
        AluOp::Xor => (0xa0, 0),
        AluOp::Ashr => (0xc0, 0),
    }
}

pub(super) fn alu_of_bits(bits: u8, off: i16) -> Option<AluOp> {
    AluOp::ALL.into_iter().find(|&op| alu_bits(op) == (bits, off))
}

pub(super) const fn cond_bits(cond: Cond) -> u8 {
    match cond {
        Cond::Eq => 0x10,
        Cond::Ugt => 0x20,
        Cond::Uge => 0x30,
        Cond::Test => 0x40,
        Cond::Ne => 0x50,
        Cond::Sgt => 0x60,
        Cond::Sge => 0x70,
        Cond::Ult => 0xa0,
        Cond::Ule => 0xb0,
        Cond::Slt => 0xc0,
        Cond::Sle => 0xd0,
    }
}

pub(super) fn cond_of_bits(bits: u8) -> Option<Cond> {
    Cond::ALL.into_iter().find(|&cond| cond_bits(cond) == bits)
}

pub(super) const fn atomic_bits(op: AtomicOp) -> i32 {
    match op {
        AtomicOp::Add => 0x00,
        AtomicOp::Or => 0x40,
        AtomicOp::And => 0x50,
        AtomicOp::Xor => 0xa0,
    }
}

pub(super) fn atomic_of_bits(bits: i32) -> Option<AtomicOp> {
    AtomicOp::ALL.into_iter().find(|&op| atomic_bits(op) == bits)
}
