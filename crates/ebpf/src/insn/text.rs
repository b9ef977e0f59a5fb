//! Instructions as text, in the words of the kernel's `print_bpf_insn` (kernel/bpf/disasm.c), which
//! the verifier's log and `bpftool prog dump xlated` share.

use std::fmt::{Debug, Display, Formatter, Result};

use super::{AluOp, AtomicOp, ByteOrder, Cond, Imm64, Insn, Reg, Size, Source, Width, helper_name};

impl Display for Reg {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "r{}", self.index())
    }
}

impl Debug for Reg {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        Display::fmt(self, f)
    }
}

impl Display for Size {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "u{}", self.bits())
    }
}

/// A register by the name that says its width: `r1` or `w1`.
struct Named(Width, Reg);

impl Display for Named {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let letter = match self.0 {
            Width::W32 => 'w',
            Width::W64 => 'r',
        };
        write!(f, "{letter}{}", self.1.index())
    }
}

/// A memory operand: `*(u64 *)(r10 -8)` without the star in front.
struct Place(Size, Reg, i16);

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "({} *)({} {:+})", self.0, self.1, self.2)
    }
}

impl AluOp {
    /// The operator as the kernel prints it, without `=`.
    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::SDiv => "s/",
            Self::Mod => "%",
            Self::SMod => "s%",
            Self::And => "&",
            Self::Or => "|",
            Self::Xor => "^",
            Self::Shl => "<<",
            Self::Lshr => ">>",
            Self::Ashr => "s>>",
        }
    }
}

impl Cond {
    /// The comparison as the kernel prints it.
    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Ult => "<",
            Self::Ule => "<=",
            Self::Ugt => ">",
            Self::Uge => ">=",
            Self::Slt => "s<",
            Self::Sle => "s<=",
            Self::Sgt => "s>",
            Self::Sge => "s>=",
            Self::Test => "&",
        }
    }
}

impl AtomicOp {
    const fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::And => "&",
            Self::Or => "|",
            Self::Xor => "^",
        }
    }

    /// Its name in the kernel's functions, as in `atomic64_fetch_add`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::And => "and",
            Self::Or => "or",
            Self::Xor => "xor",
        }
    }
}

/// `atomic` or `atomic64`.
const fn atomic_family(size: Size) -> &'static str {
    if matches!(size, Size::U64) { "atomic64" } else { "atomic" }
}

impl Display for Imm64 {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match *self {
            Self::Value(value) => write!(f, "{value:#x}"),
            Self::MapFd(fd) => write!(f, "map[fd:{fd}]"),
            Self::MapValue { fd, offset } => write!(f, "map[fd:{fd}][0]+{offset}"),
            Self::MapIdx(idx) => write!(f, "map[idx:{idx}]"),
            Self::MapIdxValue { idx, offset } => write!(f, "map[idx:{idx}][0]+{offset}"),
            Self::BtfId { id, btf_fd: 0 } => write!(f, "btf[id:{id}]"),
            Self::BtfId { id, btf_fd } => write!(f, "btf[fd:{btf_fd} id:{id}]"),
            Self::Func(off) => write!(f, "subprog[{off:+}]"),
        }
    }
}

impl Display for Insn {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match *self {
            Self::Alu { width, op, dst, src } => {
                write!(f, "{} {}= ", Named(width, dst), op.sign())?;
                match src {
                    Source::Reg(src) => write!(f, "{}", Named(width, src)),
                    Source::Imm(imm) => write!(f, "{imm}"),
                }
            }
            Self::Neg { width, dst } => {
                write!(f, "{} = -{}", Named(width, dst), Named(width, dst))
            }
            Self::Mov { width, dst, src: Source::Reg(src) } => {
                write!(f, "{} = {}", Named(width, dst), Named(width, src))
            }
            Self::Mov { width, dst, src: Source::Imm(imm) } => {
                write!(f, "{} = {imm}", Named(width, dst))
            }
            Self::MovSext { width, from, dst, src } => {
                write!(f, "{} = (s{}){}", Named(width, dst), from.bits(), Named(width, src))
            }
            Self::Swap { order, size, dst } => {
                let order = match order {
                    ByteOrder::Little => "le",
                    ByteOrder::Big => "be",
                    ByteOrder::Swap => "bswap",
                };
                write!(f, "{dst} = {order}{} {dst}", size.bits())
            }
            Self::LoadImm64 { dst, imm } => write!(f, "{dst} = {imm}"),
            Self::Load { size, signed: false, dst, base, off } => {
                write!(f, "{dst} = *{}", Place(size, base, off))
            }
            Self::Load { size, signed: true, dst, base, off } => {
                write!(f, "{dst} = *(s{} *)({base} {off:+})", size.bits())
            }
            Self::Store { size, base, off, src } => {
                write!(f, "*{} = ", Place(size, base, off))?;
                match src {
                    Source::Reg(src) => write!(f, "{src}"),
                    Source::Imm(imm) => write!(f, "{imm}"),
                }
            }
            Self::Atomic { op, fetch: false, size, base, off, src } => {
                write!(f, "lock *{} {}= {src}", Place(size, base, off), op.sign())
            }
            Self::Atomic { op, fetch: true, size, base, off, src } => {
                let (family, place) = (atomic_family(size), Place(size, base, off));
                write!(f, "{src} = {family}_fetch_{}({place}, {src})", op.name())
            }
            Self::Xchg { size, base, off, src } => {
                let (family, place) = (atomic_family(size), Place(size, base, off));
                write!(f, "{src} = {family}_xchg({place}, {src})")
            }
            Self::CmpXchg { size, base, off, src } => {
                let (family, place) = (atomic_family(size), Place(size, base, off));
                write!(f, "r0 = {family}_cmpxchg({place}, r0, {src})")
            }
            Self::Jump { off } => write!(f, "goto pc{off:+}"),
            Self::JumpLong { off } => write!(f, "gotol pc{off:+}"),
            Self::MayGoto { off } => write!(f, "may_goto pc{off:+}"),
            Self::Branch { width, cond, dst, src, off } => {
                write!(f, "if {} {} ", Named(width, dst), cond.sign())?;
                match src {
                    Source::Reg(src) => write!(f, "{}", Named(width, src))?,
                    Source::Imm(imm) => write!(f, "{imm:#x}")?,
                }
                write!(f, " goto pc{off:+}")
            }
            Self::CallHelper { id } => match helper_name(id) {
                Some(name) => write!(f, "call bpf_{name}#{id}"),
                None => write!(f, "call unknown#{id}"),
            },
            Self::CallFunc { off } => write!(f, "call pc{off:+}"),
            Self::CallKfunc { btf_id, btf_fd_index: 0 } => {
                write!(f, "call kernel-function#{btf_id}")
            }
            Self::CallKfunc { btf_id, btf_fd_index } => {
                write!(f, "call kernel-function#{btf_id} of fd_array[{btf_fd_index}]")
            }
            Self::Exit => write!(f, "exit"),
        }
    }
}
