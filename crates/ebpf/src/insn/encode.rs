//! Instructions to bytes: `struct bpf_insn` in the machine's byte order, as `bpf(2)` takes them.

use super::opcode::{
    X, alu, alu_bits, atomic, atomic_bits, call, class, cond_bits, jmp, mode, pseudo, size_bits,
};
use super::{ByteOrder, Imm64, Insn, Reg, Size, Source, Width};

/// The byte form of `insns`, 8 bytes per slot, in the machine's byte order.
pub fn encode(insns: &[Insn]) -> Vec<u8> {
    let slots = insns.iter().map(Insn::slots).sum::<usize>();
    let mut out = Vec::with_capacity(slots * super::opcode::SLOT);
    for insn in insns {
        let (slot, second) = slots_of(insn);
        slot.write(&mut out);
        if let Some(second) = second {
            second.write(&mut out);
        }
    }
    out
}

/// One slot: the fields of `struct bpf_insn`.
#[derive(Clone, Copy, Default)]
struct Slot {
    code: u8,
    dst: u8,
    src: u8,
    off: i16,
    imm: i32,
}

impl Slot {
    fn write(self, out: &mut Vec<u8>) {
        // `__u8 dst_reg:4, src_reg:4`: bit fields start at the low end on little endian only.
        let regs = if cfg!(target_endian = "little") {
            self.src << 4 | self.dst
        } else {
            self.dst << 4 | self.src
        };
        out.extend([self.code, regs]);
        out.extend(self.off.to_ne_bytes());
        out.extend(self.imm.to_ne_bytes());
    }

    fn new(code: u8) -> Self {
        Self { code, ..Self::default() }
    }

    fn dst(self, reg: Reg) -> Self {
        Self { dst: reg.index(), ..self }
    }

    fn src(self, reg: Reg) -> Self {
        Self { src: reg.index(), ..self }
    }

    fn off(self, off: i16) -> Self {
        Self { off, ..self }
    }

    fn imm(self, imm: i32) -> Self {
        Self { imm, ..self }
    }

    /// Right operand of arithmetic and jumps.
    fn operand(self, source: Source) -> Self {
        match source {
            Source::Reg(reg) => Self { code: self.code | X, ..self }.src(reg),
            Source::Imm(imm) => self.imm(imm),
        }
    }
}

fn alu_class(width: Width) -> u8 {
    match width {
        Width::W32 => class::ALU,
        Width::W64 => class::ALU64,
    }
}

fn jmp_class(width: Width) -> u8 {
    match width {
        Width::W32 => class::JMP32,
        Width::W64 => class::JMP,
    }
}

fn atomic_slot(size: Size, base: Reg, off: i16, src: Reg, imm: i32) -> Slot {
    Slot::new(class::STX | mode::ATOMIC | size_bits(size)).dst(base).src(src).off(off).imm(imm)
}

fn slots_of(insn: &Insn) -> (Slot, Option<Slot>) {
    let slot = match *insn {
        Insn::Alu { width, op, dst, src } => {
            let (bits, off) = alu_bits(op);
            Slot::new(alu_class(width) | bits).dst(dst).off(off).operand(src)
        }
        Insn::Neg { width, dst } => Slot::new(alu_class(width) | alu::NEG).dst(dst),
        Insn::Mov { width, dst, src } => {
            Slot::new(alu_class(width) | alu::MOV).dst(dst).operand(src)
        }
        Insn::MovSext { width, from, dst, src } => {
            Slot::new(alu_class(width) | alu::MOV | X).dst(dst).src(src).off(from.bits() as i16)
        }
        Insn::Swap { order, size, dst } => {
            let code = match order {
                ByteOrder::Little => class::ALU,
                ByteOrder::Big => class::ALU | X,
                ByteOrder::Swap => class::ALU64,
            };
            Slot::new(code | alu::END).dst(dst).imm(size.bits() as i32)
        }
        Insn::LoadImm64 { dst, imm } => return load_imm64(dst, imm),
        Insn::Load { size, signed, dst, base, off } => {
            let mode = if signed { mode::MEMSX } else { mode::MEM };
            Slot::new(class::LDX | mode | size_bits(size)).dst(dst).src(base).off(off)
        }
        Insn::Store { size, base, off, src } => match src {
            Source::Reg(src) => Slot::new(class::STX | mode::MEM | size_bits(size)).src(src),
            Source::Imm(imm) => Slot::new(class::ST | mode::MEM | size_bits(size)).imm(imm),
        }
        .dst(base)
        .off(off),
        Insn::Atomic { op, fetch, size, base, off, src } => {
            let fetch = if fetch { atomic::FETCH } else { 0 };
            atomic_slot(size, base, off, src, atomic_bits(op) | fetch)
        }
        Insn::Xchg { size, base, off, src } => atomic_slot(size, base, off, src, atomic::XCHG),
        Insn::CmpXchg { size, base, off, src } => {
            atomic_slot(size, base, off, src, atomic::CMPXCHG)
        }
        Insn::Jump { off } => Slot::new(class::JMP | jmp::JA).off(off),
        Insn::JumpLong { off } => Slot::new(class::JMP32 | jmp::JA).imm(off),
        Insn::MayGoto { off } => Slot::new(class::JMP | jmp::JCOND).off(off),
        Insn::Branch { width, cond, dst, src, off } => {
            Slot::new(jmp_class(width) | cond_bits(cond)).dst(dst).off(off).operand(src)
        }
        Insn::CallHelper { id } => {
            Slot { src: call::HELPER, ..Slot::new(class::JMP | jmp::CALL).imm(id.cast_signed()) }
        }
        Insn::CallFunc { off } => {
            Slot { src: call::FUNC, ..Slot::new(class::JMP | jmp::CALL).imm(off) }
        }
        Insn::CallKfunc { btf_id, btf_fd_index } => Slot {
            src: call::KFUNC,
            ..Slot::new(class::JMP | jmp::CALL).imm(btf_id).off(btf_fd_index)
        },
        Insn::Exit => Slot::new(class::JMP | jmp::EXIT),
    };
    (slot, None)
}

fn load_imm64(dst: Reg, imm: Imm64) -> (Slot, Option<Slot>) {
    let (src, low, high) = match imm {
        Imm64::Value(value) => {
            (pseudo::VALUE, (value as u32).cast_signed(), ((value >> 32) as u32).cast_signed())
        }
        Imm64::MapFd(fd) => (pseudo::MAP_FD, fd, 0),
        Imm64::MapValue { fd, offset } => (pseudo::MAP_VALUE, fd, offset.cast_signed()),
        Imm64::MapIdx(idx) => (pseudo::MAP_IDX, idx, 0),
        Imm64::MapIdxValue { idx, offset } => (pseudo::MAP_IDX_VALUE, idx, offset.cast_signed()),
        Imm64::BtfId { id, btf_fd } => (pseudo::BTF_ID, id, btf_fd),
        Imm64::Func(off) => (pseudo::FUNC, off, 0),
    };
    let code = class::LD | mode::IMM | size_bits(Size::U64);
    (Slot { src, ..Slot::new(code).dst(dst).imm(low) }, Some(Slot::default().imm(high)))
}
