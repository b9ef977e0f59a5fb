//! Memory that a value points to: of the process, or of the kernel.
//!
//! What a system call or a function of a program is given is the process's. Of other pointers types do not say whose memory they
//! are about: the kernel's is tried first. Reads do not wait for pages, so memory of the process that
//! is not there at the moment cannot be read.

use crate::emit::{Context, Emitter};
use crate::flow::choose;
use crate::helper;
use crate::plan::{Input, Source};
use ebpf::{Cond, FunctionBuilder, Value};

/// Whose memory an address is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// The process's.
    User,
    /// The kernel's.
    Kernel,
    /// One or the other.
    Either,
}

impl Memory {
    /// That which a pointer of this input is about.
    pub(crate) fn of(e: &Emitter<'_>, input: &Input) -> Self {
        let argument = input.hops.is_empty() && matches!(input.source, Source::Argument { .. });
        match e.context {
            Context::Syscall { .. } if argument => Self::User,
            Context::Program { .. } if input.source != Source::CurrentTask => Self::User,
            _ => Self::Either,
        }
    }
}

impl Emitter<'_> {
    /// Copies `size` bytes; gives 0, or not 0 when they cannot be read.
    pub(crate) fn read_memory(
        &mut self,
        memory: Memory,
        to: Value,
        size: Value,
        from: Value,
    ) -> Value {
        read(&mut self.b, memory, to, size, from)
    }

    /// Copies a text up to its NUL, or `room - 1` bytes of it and a NUL; gives how many bytes that were,
    /// or a negative number when it cannot be read.
    pub(crate) fn read_text(
        &mut self,
        memory: Memory,
        to: Value,
        room: Value,
        from: Value,
    ) -> Value {
        let user = |b: &mut FunctionBuilder| b.call(helper::PROBE_READ_USER_STR, &[to, room, from]);
        let kernel =
            |b: &mut FunctionBuilder| b.call(helper::PROBE_READ_KERNEL_STR, &[to, room, from]);
        let copied = try_both(&mut self.b, memory, user, kernel);
        // Of an empty text of user space, strncpy_from_user_nofault() gave 0 until its NUL was counted
        // as that of all others is (in stable kernels since the end of 2024).
        choose(&mut self.b, Cond::Eq, copied, 0, |b| b.iconst(1), |_| copied)
    }
}

/// Copies `size` bytes; gives 0, or not 0 when they cannot be read.
pub(crate) fn read(
    b: &mut FunctionBuilder,
    memory: Memory,
    to: Value,
    size: Value,
    from: Value,
) -> Value {
    let user = |b: &mut FunctionBuilder| b.call(helper::PROBE_READ_USER, &[to, size, from]);
    let kernel = |b: &mut FunctionBuilder| b.call(helper::PROBE_READ_KERNEL, &[to, size, from]);
    try_both(b, memory, user, kernel)
}

fn try_both(
    b: &mut FunctionBuilder,
    memory: Memory,
    user: impl FnOnce(&mut FunctionBuilder) -> Value,
    kernel: impl FnOnce(&mut FunctionBuilder) -> Value,
) -> Value {
    match memory {
        Memory::User => user(b),
        Memory::Kernel => kernel(b),
        Memory::Either => {
            let read = kernel(b);
            choose(b, Cond::Slt, read, 0, user, |_| read)
        }
    }
}
