//! eBPF instructions as typed data.
//!
//! An [`Insn`] is one instruction of the kernel's instruction set (Documentation/bpf/standardization),
//! with nothing left open: registers, offsets and immediates are final. Most take one 8-byte slot in
//! a program, [`Insn::LoadImm64`] takes two. Jump offsets count slots from the following instruction,
//! as the encoding does.
//!
//! - [`encode`] writes the byte form, [`decode`] reads it; both are exact inverses of each other.
//! - [`std::fmt::Display`] writes the text that the verifier's log and `bpftool` show.

mod decode;
mod encode;
mod helper;
mod opcode;
mod text;

pub use decode::{DecodeError, DecodeReason, decode};
pub use encode::encode;
pub use helper::helper_name;

/// A register: `r0` result, `r1`–`r5` arguments, `r6`–`r9` preserved over calls, `r10` frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg(u8);

#[allow(missing_docs)] // the registers' own names
impl Reg {
    pub const R0: Self = Self(0);
    pub const R1: Self = Self(1);
    pub const R2: Self = Self(2);
    pub const R3: Self = Self(3);
    pub const R4: Self = Self(4);
    pub const R5: Self = Self(5);
    pub const R6: Self = Self(6);
    pub const R7: Self = Self(7);
    pub const R8: Self = Self(8);
    pub const R9: Self = Self(9);
    /// The frame pointer: one past the highest byte of the function's stack; read only.
    pub const FRAME: Self = Self(10);
}

impl Reg {
    /// Register number `index`; `None` above 10.
    pub const fn new(index: u8) -> Option<Self> {
        if index <= 10 { Some(Self(index)) } else { None }
    }

    /// Its number, 0 to 10.
    pub const fn index(self) -> u8 {
        self.0
    }
}

/// Size of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Size {
    /// One byte.
    U8,
    /// Two bytes.
    U16,
    /// Four bytes.
    U32,
    /// Eight bytes.
    U64,
}

impl Size {
    /// All sizes, smallest first.
    pub const ALL: [Self; 4] = [Self::U8, Self::U16, Self::U32, Self::U64];

    /// In bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::U32 => 4,
            Self::U64 => 8,
        }
    }

    /// In bits.
    pub const fn bits(self) -> u32 {
        self.bytes() * 8
    }
}

/// How much of its registers an operation works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// The low half; a result's high half becomes zero.
    W32,
    /// The whole register.
    W64,
}

impl Width {
    /// In bits.
    pub const fn bits(self) -> u32 {
        match self {
            Self::W32 => 32,
            Self::W64 => 64,
        }
    }
}

/// Two-operand arithmetic. Shift amounts are taken modulo the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AluOp {
    /// Wrapping sum.
    Add,
    /// Wrapping difference.
    Sub,
    /// Wrapping product.
    Mul,
    /// Unsigned quotient; 0 when dividing by 0.
    Div,
    /// Signed quotient, rounded to zero; 0 when dividing by 0. Linux 6.6.
    SDiv,
    /// Unsigned remainder; the dividend when dividing by 0.
    Mod,
    /// Signed remainder with the dividend's sign; the dividend when dividing by 0. Linux 6.6.
    SMod,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// Shift left.
    Shl,
    /// Shift right, filling with zeros.
    Lshr,
    /// Shift right, filling with the sign.
    Ashr,
}

impl AluOp {
    /// All operations.
    pub const ALL: [Self; 13] = [
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Div,
        Self::SDiv,
        Self::Mod,
        Self::SMod,
        Self::And,
        Self::Or,
        Self::Xor,
        Self::Shl,
        Self::Lshr,
        Self::Ashr,
    ];

    /// Whether the operands may change places.
    pub const fn is_commutative(self) -> bool {
        matches!(self, Self::Add | Self::Mul | Self::And | Self::Or | Self::Xor)
    }
}

/// Condition of a branch: how the left operand stands to the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cond {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Unsigned less.
    Ult,
    /// Unsigned less or equal.
    Ule,
    /// Unsigned greater.
    Ugt,
    /// Unsigned greater or equal.
    Uge,
    /// Signed less.
    Slt,
    /// Signed less or equal.
    Sle,
    /// Signed greater.
    Sgt,
    /// Signed greater or equal.
    Sge,
    /// They have a bit in common.
    Test,
}

impl Cond {
    /// All conditions.
    pub const ALL: [Self; 11] = [
        Self::Eq,
        Self::Ne,
        Self::Ult,
        Self::Ule,
        Self::Ugt,
        Self::Uge,
        Self::Slt,
        Self::Sle,
        Self::Sgt,
        Self::Sge,
        Self::Test,
    ];

    /// The condition that holds exactly when this one does not; [`Cond::Test`] has none.
    pub const fn inverse(self) -> Option<Self> {
        Some(match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::Ult => Self::Uge,
            Self::Ule => Self::Ugt,
            Self::Ugt => Self::Ule,
            Self::Uge => Self::Ult,
            Self::Slt => Self::Sge,
            Self::Sle => Self::Sgt,
            Self::Sgt => Self::Sle,
            Self::Sge => Self::Slt,
            Self::Test => return None,
        })
    }

    /// The condition that means the same with the operands in each other's place.
    pub const fn swapped(self) -> Self {
        match self {
            Self::Ult => Self::Ugt,
            Self::Ule => Self::Uge,
            Self::Ugt => Self::Ult,
            Self::Uge => Self::Ule,
            Self::Slt => Self::Sgt,
            Self::Sle => Self::Sge,
            Self::Sgt => Self::Slt,
            Self::Sge => Self::Sle,
            same @ (Self::Eq | Self::Ne | Self::Test) => same,
        }
    }
}

/// What an atomic read-modify-write does with the value in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtomicOp {
    /// Wrapping sum.
    Add,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
}

impl AtomicOp {
    /// All operations.
    pub const ALL: [Self; 4] = [Self::Add, Self::And, Self::Or, Self::Xor];
}

/// Which byte order a swap goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// To little endian: nothing but truncation on a little-endian machine.
    Little,
    /// To big endian: nothing but truncation on a big-endian machine.
    Big,
    /// Swap whatever the machine is. Linux 6.6.
    Swap,
}

/// Right operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A register.
    Reg(Reg),
    /// A constant, sign-extended to the operation's width.
    Imm(i32),
}

/// What a 16-byte load puts into its register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Imm64 {
    /// The number itself.
    Value(u64),
    /// Address of the map with this file descriptor (`BPF_PSEUDO_MAP_FD`).
    MapFd(i32),
    /// Address in the value of a one-element array map (`BPF_PSEUDO_MAP_VALUE`).
    MapValue {
        /// The map's file descriptor.
        fd: i32,
        /// Bytes from the start of the value.
        offset: u32,
    },
    /// Like `MapFd`, by index into the load call's `fd_array` (`BPF_PSEUDO_MAP_IDX`).
    MapIdx(i32),
    /// Like `MapValue`, by index into `fd_array` (`BPF_PSEUDO_MAP_IDX_VALUE`).
    MapIdxValue {
        /// Index into `fd_array`.
        idx: i32,
        /// Bytes from the start of the value.
        offset: u32,
    },
    /// Address of a kernel variable (`BPF_PSEUDO_BTF_ID`).
    BtfId {
        /// BTF id of the variable.
        id: i32,
        /// File descriptor of the module's BTF, 0 for vmlinux.
        btf_fd: i32,
    },
    /// Address of a function of this program (`BPF_PSEUDO_FUNC`), in slots from the next
    /// instruction, where the next counts from the first of this one's two slots.
    Func(i32),
}

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the fields are the encoding's own: dst, src, base, off, size, width
pub enum Insn {
    /// `dst = dst op src`.
    Alu { width: Width, op: AluOp, dst: Reg, src: Source },
    /// `dst = -dst`.
    Neg { width: Width, dst: Reg },
    /// `dst = src`.
    Mov { width: Width, dst: Reg, src: Source },
    /// `dst = src`, sign-extended from `from` (at most U32, below the width). Linux 6.6.
    MovSext { width: Width, from: Size, dst: Reg, src: Reg },
    /// Byte order of the low `size` bytes of `dst`, which the rest of `dst` is zeroed to.
    Swap { order: ByteOrder, size: Size, dst: Reg },
    /// `dst = imm64`, in two slots.
    LoadImm64 { dst: Reg, imm: Imm64 },
    /// `dst = *(base + off)`; sign-extended when `signed` (Linux 6.6, not U64), else zero-extended.
    Load { size: Size, signed: bool, dst: Reg, base: Reg, off: i16 },
    /// `*(base + off) = src`.
    Store { size: Size, base: Reg, off: i16, src: Source },
    /// `*(base + off) op= src`; with `fetch`, `src` gets the old value. U32 or U64.
    Atomic { op: AtomicOp, fetch: bool, size: Size, base: Reg, off: i16, src: Reg },
    /// `src` and `*(base + off)` change places. U32 or U64.
    Xchg { size: Size, base: Reg, off: i16, src: Reg },
    /// If `*(base + off) == r0`, it becomes `src`; `r0` gets the old value. U32 or U64.
    CmpXchg { size: Size, base: Reg, off: i16, src: Reg },
    /// `goto pc+off`.
    Jump { off: i16 },
    /// `gotol pc+off`: the same with a 32-bit offset. Linux 6.6.
    JumpLong { off: i32 },
    /// `may_goto pc+off`: jumps when the kernel's loop budget is used up. Linux 6.9.
    MayGoto { off: i16 },
    /// `if dst cond src goto pc+off`.
    Branch { width: Width, cond: Cond, dst: Reg, src: Source, off: i16 },
    /// Calls the helper with this number.
    CallHelper { id: u32 },
    /// Calls the function of this program `off` slots from the next instruction.
    CallFunc { off: i32 },
    /// Calls the kernel function with this BTF id, of vmlinux when `btf_fd_index` is 0, else of the
    /// module whose BTF stands at that index of `fd_array`.
    CallKfunc { btf_id: i32, btf_fd_index: i16 },
    /// Returns `r0`.
    Exit,
}

impl Insn {
    /// How many 8-byte slots it takes: 2 for [`Insn::LoadImm64`], else 1.
    pub const fn slots(&self) -> usize {
        match self {
            Self::LoadImm64 { .. } => 2,
            _ => 1,
        }
    }
}
