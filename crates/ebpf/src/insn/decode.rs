//! Bytes to instructions. Every byte is accounted for: a field that an instruction does not use must
//! be zero, as the kernel's verifier demands too, so that encoding gives the same bytes again.

use super::opcode::{
    SLOT, X, alu, alu_of_bits, atomic, atomic_of_bits, call, class, cond_of_bits, jmp, mode,
    pseudo, size_of_bits,
};
use super::{ByteOrder, Imm64, Insn, Reg, Size, Source, Width};

/// Bytes that are not a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("instruction {index}: {reason}")]
pub struct DecodeError {
    /// Index of the 8-byte slot, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub reason: DecodeReason,
}

/// Why a slot does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeReason {
    /// Fewer than 8 bytes are left.
    #[error("only {0} of 8 bytes")]
    Short(usize),
    /// The first half of a 16-byte load is the last slot.
    #[error("the second half of this 16-byte load is missing")]
    NoSecondHalf,
    /// The slot behind a 16-byte load has more than its immediate.
    #[error("the second half of this 16-byte load is not empty but for its immediate")]
    BadSecondHalf,
    /// No such opcode.
    #[error("unknown opcode {0:#04x}")]
    Opcode(u8),
    /// A register above r10.
    #[error("register r{0} does not exist")]
    Register(u8),
    /// A field that is used has a value without meaning.
    #[error("opcode {code:#04x} with {field} {value:#x} has no meaning")]
    Field {
        /// The opcode.
        code: u8,
        /// Which field: `src`, `off` or `imm`.
        field: &'static str,
        /// What it holds.
        value: i64,
    },
    /// A field that this opcode does not use is not zero.
    #[error("opcode {code:#04x} does not use {field}, which is not zero")]
    Reserved {
        /// The opcode.
        code: u8,
        /// Which field: `dst`, `src`, `off` or `imm`.
        field: &'static str,
    },
}

/// Reads a whole program in the machine's byte order.
pub fn decode(bytes: &[u8]) -> Result<Vec<Insn>, DecodeError> {
    let mut slots = Vec::with_capacity(bytes.len() / SLOT);
    for (index, chunk) in bytes.chunks(SLOT).enumerate() {
        let chunk = <[u8; SLOT]>::try_from(chunk)
            .map_err(|_| DecodeError { index, reason: DecodeReason::Short(chunk.len()) })?;
        slots.push(Slot::read(chunk));
    }
    let mut insns = Vec::with_capacity(slots.len());
    let mut index = 0;
    while let Some(slot) = slots.get(index) {
        let insn =
            slot.insn(slots.get(index + 1)).map_err(|reason| DecodeError { index, reason })?;
        index += insn.slots();
        insns.push(insn);
    }
    Ok(insns)
}

#[derive(Clone, Copy)]
struct Slot {
    code: u8,
    dst: u8,
    src: u8,
    off: i16,
    imm: i32,
}

type Decoded<T> = Result<T, DecodeReason>;

fn reg(index: u8) -> Decoded<Reg> {
    Reg::new(index).ok_or(DecodeReason::Register(index))
}

impl Slot {
    fn read(bytes: [u8; SLOT]) -> Self {
        let [code, regs, o0, o1, i0, i1, i2, i3] = bytes;
        let (low, high) = (regs & 15, regs >> 4);
        let (dst, src) = if cfg!(target_endian = "little") { (low, high) } else { (high, low) };
        Self {
            code,
            dst,
            src,
            off: i16::from_ne_bytes([o0, o1]),
            imm: i32::from_ne_bytes([i0, i1, i2, i3]),
        }
    }

    /// Fails when one of the named fields is not zero.
    fn unused(&self, fields: &[&'static str]) -> Decoded<()> {
        for &field in fields {
            let zero = match field {
                "dst" => self.dst == 0,
                "src" => self.src == 0,
                "off" => self.off == 0,
                _ => self.imm == 0,
            };
            if !zero {
                return Err(DecodeReason::Reserved { code: self.code, field });
            }
        }
        Ok(())
    }

    fn bad(&self, field: &'static str, value: impl Into<i64>) -> DecodeReason {
        DecodeReason::Field { code: self.code, field, value: value.into() }
    }

    /// Right operand of arithmetic and jumps.
    fn operand(&self) -> Decoded<Source> {
        if self.code & X != 0 {
            self.unused(&["imm"])?;
            Ok(Source::Reg(reg(self.src)?))
        } else {
            self.unused(&["src"])?;
            Ok(Source::Imm(self.imm))
        }
    }

    fn insn(&self, next: Option<&Self>) -> Decoded<Insn> {
        match self.code & class::MASK {
            class::LD => self.load_imm64(next),
            class::LDX => self.load(),
            class::ST => {
                if self.code & mode::MASK != mode::MEM {
                    return Err(DecodeReason::Opcode(self.code));
                }
                self.unused(&["src"])?;
                self.store(Source::Imm(self.imm))
            }
            class::STX => match self.code & mode::MASK {
                mode::MEM => {
                    self.unused(&["imm"])?;
                    self.store(Source::Reg(reg(self.src)?))
                }
                mode::ATOMIC => self.atomic(),
                _ => Err(DecodeReason::Opcode(self.code)),
            },
            class::ALU => self.alu(Width::W32),
            class::ALU64 => self.alu(Width::W64),
            class::JMP => self.jump(Width::W64),
            _ => self.jump(Width::W32),
        }
    }

    fn load_imm64(&self, next: Option<&Self>) -> Decoded<Insn> {
        if self.code & mode::MASK != mode::IMM || size_of_bits(self.code) != Size::U64 {
            return Err(DecodeReason::Opcode(self.code));
        }
        self.unused(&["off"])?;
        let next = next.ok_or(DecodeReason::NoSecondHalf)?;
        if next.code != 0 || next.unused(&["dst", "src", "off"]).is_err() {
            return Err(DecodeReason::BadSecondHalf);
        }
        let (low, high) = (self.imm, next.imm);
        let imm = match self.src {
            pseudo::VALUE => {
                Imm64::Value(u64::from(high.cast_unsigned()) << 32 | u64::from(low.cast_unsigned()))
            }
            pseudo::MAP_VALUE => Imm64::MapValue { fd: low, offset: high.cast_unsigned() },
            pseudo::MAP_IDX_VALUE => Imm64::MapIdxValue { idx: low, offset: high.cast_unsigned() },
            pseudo::BTF_ID => Imm64::BtfId { id: low, btf_fd: high },
            pseudo::MAP_FD | pseudo::MAP_IDX | pseudo::FUNC if high != 0 => {
                return Err(DecodeReason::BadSecondHalf);
            }
            pseudo::MAP_FD => Imm64::MapFd(low),
            pseudo::MAP_IDX => Imm64::MapIdx(low),
            pseudo::FUNC => Imm64::Func(low),
            other => return Err(self.bad("src", other)),
        };
        Ok(Insn::LoadImm64 { dst: reg(self.dst)?, imm })
    }

    fn load(&self) -> Decoded<Insn> {
        self.unused(&["imm"])?;
        let size = size_of_bits(self.code);
        let signed = match self.code & mode::MASK {
            mode::MEM => false,
            mode::MEMSX if size != Size::U64 => true,
            _ => return Err(DecodeReason::Opcode(self.code)),
        };
        let (dst, base) = (reg(self.dst)?, reg(self.src)?);
        Ok(Insn::Load { size, signed, dst, base, off: self.off })
    }

    fn store(&self, src: Source) -> Decoded<Insn> {
        let size = size_of_bits(self.code);
        Ok(Insn::Store { size, base: reg(self.dst)?, off: self.off, src })
    }

    fn atomic(&self) -> Decoded<Insn> {
        let size = size_of_bits(self.code);
        if !matches!(size, Size::U32 | Size::U64) {
            return Err(DecodeReason::Opcode(self.code));
        }
        let (base, src, off) = (reg(self.dst)?, reg(self.src)?, self.off);
        match self.imm {
            atomic::XCHG => Ok(Insn::Xchg { size, base, off, src }),
            atomic::CMPXCHG => Ok(Insn::CmpXchg { size, base, off, src }),
            imm => {
                let fetch = imm & atomic::FETCH != 0;
                let op = atomic_of_bits(imm & !atomic::FETCH).ok_or(self.bad("imm", imm))?;
                Ok(Insn::Atomic { op, fetch, size, base, off, src })
            }
        }
    }

    fn alu(&self, width: Width) -> Decoded<Insn> {
        let dst = reg(self.dst)?;
        match self.code & alu::MASK {
            alu::NEG => {
                if self.code & X != 0 {
                    return Err(DecodeReason::Opcode(self.code));
                }
                self.unused(&["src", "off", "imm"])?;
                Ok(Insn::Neg { width, dst })
            }
            alu::END => self.swap(width, dst),
            alu::MOV => self.mov(width, dst),
            bits => {
                let op = match alu_of_bits(bits, self.off) {
                    Some(op) => op,
                    None if alu_of_bits(bits, 0).is_some() => {
                        return Err(self.bad("off", self.off));
                    }
                    None => return Err(DecodeReason::Opcode(self.code)),
                };
                Ok(Insn::Alu { width, op, dst, src: self.operand()? })
            }
        }
    }

    fn swap(&self, width: Width, dst: Reg) -> Decoded<Insn> {
        self.unused(&["src", "off"])?;
        let order = match (width, self.code & X != 0) {
            (Width::W32, false) => ByteOrder::Little,
            (Width::W32, true) => ByteOrder::Big,
            (Width::W64, false) => ByteOrder::Swap,
            (Width::W64, true) => return Err(DecodeReason::Opcode(self.code)),
        };
        let size = match self.imm {
            16 => Size::U16,
            32 => Size::U32,
            64 => Size::U64,
            other => return Err(self.bad("imm", other)),
        };
        Ok(Insn::Swap { order, size, dst })
    }

    fn mov(&self, width: Width, dst: Reg) -> Decoded<Insn> {
        let src = self.operand()?;
        let from = match self.off {
            0 => return Ok(Insn::Mov { width, dst, src }),
            8 => Size::U8,
            16 => Size::U16,
            32 if width == Width::W64 => Size::U32,
            other => return Err(self.bad("off", other)),
        };
        match src {
            Source::Reg(src) => Ok(Insn::MovSext { width, from, dst, src }),
            Source::Imm(_) => Err(self.bad("off", self.off)),
        }
    }

    fn jump(&self, width: Width) -> Decoded<Insn> {
        let register = self.code & X != 0;
        match (self.code & jmp::MASK, width, register) {
            (jmp::JA, Width::W64, false) => {
                self.unused(&["dst", "src", "imm"])?;
                Ok(Insn::Jump { off: self.off })
            }
            (jmp::JA, Width::W32, false) => {
                self.unused(&["dst", "src", "off"])?;
                Ok(Insn::JumpLong { off: self.imm })
            }
            (jmp::JCOND, Width::W64, false) => {
                self.unused(&["dst", "src", "imm"])?;
                Ok(Insn::MayGoto { off: self.off })
            }
            (jmp::CALL, Width::W64, false) => self.call(),
            (jmp::EXIT, Width::W64, false) => {
                self.unused(&["dst", "src", "off", "imm"])?;
                Ok(Insn::Exit)
            }
            (bits, ..) => {
                let cond = cond_of_bits(bits).ok_or(DecodeReason::Opcode(self.code))?;
                let dst = reg(self.dst)?;
                Ok(Insn::Branch { width, cond, dst, src: self.operand()?, off: self.off })
            }
        }
    }

    fn call(&self) -> Decoded<Insn> {
        self.unused(&["dst"])?;
        match self.src {
            call::HELPER => {
                self.unused(&["off"])?;
                Ok(Insn::CallHelper { id: self.imm.cast_unsigned() })
            }
            call::FUNC => {
                self.unused(&["off"])?;
                Ok(Insn::CallFunc { off: self.imm })
            }
            call::KFUNC => Ok(Insn::CallKfunc { btf_id: self.imm, btf_fd_index: self.off }),
            other => Err(self.bad("src", other)),
        }
    }
}
