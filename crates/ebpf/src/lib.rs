//! eBPF as a compilation target: from functions over values to the bytes that `bpf(2)` loads.
//!
//! - [`Module`] and [`FunctionBuilder`]: programs as they are built ([`ir`])
//! - [`Module::compile`] with [`Options`]: registers, stack frames, jumps ([`compile`])
//! - [`Program`]: the result; bytes, maps to fill in, disassembly, BTF ([`program`])
//! - [`Insn`]: instructions, their encoding and their text ([`insn`])
//! - [`btf`]: types for the kernel: of programs' functions, of maps' keys and values
//! - [`Error`]: what can be wrong with a program
//!
//! Nothing here knows the running kernel, its types or any policy; the byte order is the machine's.

pub mod btf;
pub mod compile;
mod error;
pub mod insn;
pub mod ir;
pub mod program;

#[cfg(test)]
mod tests;

pub use compile::Options;
pub use error::{Error, Place, Problem};
pub use insn::{AluOp, AtomicOp, Cond, Insn, Reg, Size};
pub use ir::{
    Block, FuncId, Function, FunctionBuilder, Kfunc, LineId, MapRef, Module, Operand, Param, Shape,
    Slot, Template, Value, Var, template,
};
pub use program::{Program, ProgramBtf};
