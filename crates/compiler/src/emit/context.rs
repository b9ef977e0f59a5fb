//! Where a hook finds its arguments and its result.

use super::Emitter;
use crate::Error;
use crate::read::Base;
use ebpf::{Size, Value};

/// What a program gets, by the way it is attached.
#[derive(Clone, Copy)]
pub(crate) enum Context {
    /// 64-bit words in order: trampolines, LSM hooks, typed and raw tracepoints.
    Words {
        /// The program's context.
        context: Value,
        /// Which word is the result; in fexit programs.
        returned: Option<u32>,
    },
    /// The registers at a function's entry or return: kprobes and kretprobes.
    Function {
        /// The program's context, a `struct pt_regs`.
        context: Value,
    },
    /// The registers of a program at a function's entry or return, or at another instruction: uprobes.
    Program {
        /// The program's context, a `struct pt_regs`.
        context: Value,
    },
    /// The registers with which user space entered a system call.
    Syscall {
        /// `struct pt_regs` of the caller.
        registers: Base,
        /// The result, when it returns.
        returned: Option<Value>,
    },
    /// The record of a tracepoint.
    Record {
        /// The program's context.
        context: Value,
    },
}

/// Members of `struct pt_regs` that hold what calling conventions say.
#[cfg(target_arch = "x86_64")]
pub(crate) mod register {
    /// Arguments of a function of the kernel (System V ABI).
    pub(crate) const FUNCTION: [&str; 6] = ["di", "si", "dx", "cx", "r8", "r9"];
    /// Arguments of a system call (arch/x86/entry/entry_64.S).
    pub(crate) const SYSCALL: [&str; 6] = ["di", "si", "dx", "r10", "r8", "r9"];
    /// Arguments of a system call by a 32-bit caller (arch/x86/entry/entry_64_compat.S).
    pub(crate) const COMPAT: [&str; 6] = ["bx", "cx", "dx", "si", "di", "bp"];
    /// Number of the system call.
    pub(crate) const NUMBER: &str = "orig_ax";
    /// Result of a function.
    pub(crate) const RESULT: &str = "ax";
    /// Stack pointer.
    pub(crate) const STACK: &str = "sp";
    /// What the stack pointer is higher by at a kretprobe than at the function's entry: the return
    /// address is popped.
    pub(crate) const POPPED: i32 = 8;
}

/// Members of `struct pt_regs` that hold what calling conventions say.
#[cfg(target_arch = "aarch64")]
pub(crate) mod register {
    /// Arguments of a function of the kernel (AAPCS64).
    pub(crate) const FUNCTION: [&str; 6] =
        ["regs[0]", "regs[1]", "regs[2]", "regs[3]", "regs[4]", "regs[5]"];
    /// Arguments of a system call; x0 is overwritten by the result.
    pub(crate) const SYSCALL: [&str; 6] =
        ["orig_x0", "regs[1]", "regs[2]", "regs[3]", "regs[4]", "regs[5]"];
    /// Arguments of a system call by a 32-bit caller.
    pub(crate) const COMPAT: [&str; 6] = SYSCALL;
    /// Number of the system call.
    pub(crate) const NUMBER: &str = "syscallno";
    /// Result of a function.
    pub(crate) const RESULT: &str = "regs[0]";
    /// Stack pointer.
    pub(crate) const STACK: &str = "sp";
    /// The return address is in a register.
    pub(crate) const POPPED: i32 = 0;
}

impl Emitter<'_> {
    /// Argument `index`, as a 64-bit word whose upper bits may be anything for narrower types.
    pub(crate) fn argument(&mut self, index: u32) -> Result<Value, Error> {
        Ok(match self.context {
            Context::Words { context, .. } => self.b.load(Size::U64, context, 8 * index as i16),
            // Functions of programs follow the same convention, as far as it is in registers.
            Context::Function { context } | Context::Program { context } => {
                let name = register::FUNCTION.get(index as usize).copied().unwrap_or_default();
                self.register(Base::Typed(context), name)?
            }
            Context::Syscall { registers, .. } => {
                let names = if self.compat { register::COMPAT } else { register::SYSCALL };
                let name = names.get(index as usize).copied().unwrap_or_default();
                self.register(registers, name)?
            }
            Context::Record { context } => self.b.load(Size::U64, context, 8 * index as i16),
        })
    }

    /// What the function or system call returned.
    pub(crate) fn returned(&mut self) -> Result<Value, Error> {
        Ok(match self.context {
            Context::Words { context, returned } => {
                self.b.load(Size::U64, context, 8 * returned.unwrap_or_default() as i16)
            }
            Context::Function { context } | Context::Program { context } => {
                self.register(Base::Typed(context), register::RESULT)?
            }
            Context::Syscall { returned: Some(value), .. } => value,
            Context::Syscall { registers, .. } => self.register(registers, register::RESULT)?,
            Context::Record { .. } => self.b.iconst(0),
        })
    }

    /// A member of a `struct pt_regs`.
    pub(crate) fn register(&mut self, registers: Base, name: &str) -> Result<Value, Error> {
        Ok(self.read.get(&mut self.b, registers, "pt_regs", name)?)
    }
}
