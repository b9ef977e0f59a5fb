//! What to do for a policy on one kernel: where each hook attaches, and what it reads there.
//!
//! A plan is data: it can be shown, compared and compiled. Everything that depends on the kernel's
//! types, its features or its tracepoints is decided here, and whatever cannot be had is refused with
//! the place in the policy, so that the later stages cannot fail for what a user wrote.

mod attachment;
mod denial;
mod effects;
mod enforceable;
mod enforcer;
mod executable;
mod function;
pub mod gates;
pub mod hookable;
mod input;
mod list;
mod lsm;
mod multi;
mod planner;
mod register;
mod resolve;
mod shape;
mod signature;
mod syscall;
#[cfg(test)]
mod tests;
mod text;
mod tracepoint;
mod uprobe;
mod usdt;
mod ways;

pub use denial::{Denial, Gate, Gated};
pub use effects::Effect;
pub(crate) use list::abi;
pub use multi::FunctionSet;
pub(crate) use syscall::stem;

use elf::ProgramFile;
use kernel::btf::{Hop, TypeId};
use kernel::tracefs::Location;
use policy::Problem;
use policy::checked::{CheckedPolicy, Place, ReturnAction, Selector};
use policy::document::TypeName;
use std::sync::Arc;

/// A policy on one kernel.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The policy.
    pub policy: Arc<CheckedPolicy>,
    /// Its hooks, one per place that is attached to: lists are expanded. In the policy's order.
    pub hooks: Vec<Arc<HookPlan>>,
    /// Calls that NotifyEnforcer acts upon, one per place: they have no selectors and see no values.
    pub enforcers: Vec<Arc<HookPlan>>,
    /// What is worth knowing: hooks left out, doubtful choices.
    pub notes: Vec<Problem>,
}

/// One hook of a policy at one place.
#[derive(Debug, Clone)]
pub struct HookPlan {
    /// Where it stands in the policy.
    pub place: Place,
    /// What its events are.
    pub event: EventKind,
    /// How it is attached.
    pub attachment: Attachment,
    /// Why it is attached so and not otherwise; a sentence for users.
    pub reason: String,
    /// How Overrides are carried out; `None`: there are none.
    pub denial: Option<Denial>,
    /// Values captured, in the order of the policy's `args`.
    pub args: Vec<Input>,
    /// Values captured, in the order of the policy's `data`.
    pub data: Vec<Input>,
    /// The return value; `Some`: the event is sent when the function returns.
    pub returned: Option<Input>,
    /// What to do with a returned socket.
    pub return_action: Option<ReturnAction>,
    /// The policy's selectors; every filter in them is [`policy::checked::FilterTest::Known`].
    pub selectors: Vec<Selector>,
    /// Text copied to events.
    pub message: String,
    /// Texts copied to events.
    pub tags: Vec<String>,
}

/// What events of a hook are, by what the policy asked for, whatever the attachment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// `process_kprobe` with this function name (for system calls with the architecture's prefix).
    Kprobe {
        /// Name.
        function: String,
    },
    /// `process_tracepoint`.
    Tracepoint {
        /// Subsystem.
        subsystem: String,
        /// Event.
        event: String,
    },
    /// `process_lsm` with this hook name, without `bpf_lsm_`.
    Lsm {
        /// Name.
        hook: String,
    },
    /// `process_uprobe`.
    Uprobe {
        /// The executable or library, by its absolute path.
        path: String,
        /// As the policy names it, with what it adds (`main+0x10`); empty if it names none.
        symbol: String,
        /// Where in the file, if that or an address is what the policy says; else 0.
        offset: u64,
        /// Where in the file a counter is; 0 for none.
        counter: u64,
    },
    /// `process_usdt`.
    Usdt {
        /// The executable or library, by its absolute path.
        path: String,
        /// Provider.
        provider: String,
        /// Name.
        name: String,
    },
}

/// How a hook is attached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Attachment {
    /// By trampoline: fentry and, when it returns a value that is wanted, fexit.
    Trampoline {
        /// The function.
        function: String,
        /// Its type in the kernel's BTF.
        id: TypeId,
        /// How many arguments it takes, hence where fexit programs find its result.
        parameters: u32,
        /// Whether its one argument is the `struct pt_regs` of a system call.
        syscall: bool,
    },
    /// By breakpoint: kprobe and, for the return value, kretprobe.
    Kprobe {
        /// The function.
        function: String,
        /// Whether its one argument is the `struct pt_regs` of a system call.
        syscall: bool,
    },
    /// By breakpoint, together with other functions: kprobe.multi and, for the return value,
    /// kretprobe.multi.
    KprobeMulti {
        /// The function.
        function: String,
        /// It and the others.
        among: FunctionSet,
    },
    /// A system call by its number, at the typed tracepoints `sys_enter` and `sys_exit`.
    Syscall {
        /// Its number, in the table of the ABI.
        number: u32,
        /// Whether it is the table of 32-bit callers.
        compat: bool,
    },
    /// A hook of BPF LSM.
    Lsm {
        /// The hook, without `bpf_lsm_`.
        hook: String,
        /// Type of `bpf_lsm_HOOK` in the kernel's BTF.
        id: TypeId,
    },
    /// A tracepoint with typed arguments.
    RawTracepoint {
        /// Its name.
        name: String,
        /// Type of `btf_trace_NAME` in the kernel's BTF.
        id: TypeId,
    },
    /// A tracepoint with perf's record.
    Tracepoint {
        /// Subsystem.
        subsystem: String,
        /// Event.
        event: String,
        /// Number for `perf_event_open(2)`.
        id: u32,
    },
    /// An instruction of a program.
    Uprobe(Instruction),
}

/// An instruction of a program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instruction {
    /// The executable or library, as it was when the plan was made.
    pub file: ProgramFile,
    /// Where in it, in bytes.
    pub offset: u64,
    /// Where in it a counter is that the kernel raises while it is hooked; 0 for none.
    pub counter: u64,
    /// By a link of uprobe.multi, rather than by perf's event.
    pub multi: bool,
    /// What people call it.
    pub name: String,
}

/// A value that a hook reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Where it stands in the policy.
    pub place: Place,
    /// How it is read; never `auto`.
    pub kind: TypeName,
    /// Text copied to the event.
    pub label: String,
    /// Where it comes from.
    pub source: Source,
    /// The fields that `hops` follow, for people; empty without hops.
    pub resolve: String,
    /// Loads that lead from there to the value; empty when it is the source itself. The last one says
    /// where the value is. What it loads is the value (a number, a pointer); where it is a structure
    /// or an array, the value is its address.
    pub hops: Vec<Hop>,
    /// Where the number of bytes or elements is, for types that have one; for a `sockaddr_un` or
    /// `bpf_attr`, of the bytes that user space gave. `None` for a `char_buf` that
    /// is read whole: an array, with the size of the last of `hops` or of the record's field.
    pub length: Option<Length>,
    /// Read when the function returns, with the return value as length.
    pub return_copy: bool,
    /// Read whole, in several records if it must be.
    pub max_data: bool,
}

impl Input {
    /// Whether the other one reads the same at the same hook, wherever policies say so.
    pub(crate) fn is_same_value(&self, other: &Self) -> bool {
        let about = |input: &Self| (input.kind, input.max_data);
        about(self) == about(other)
            && self.source == other.source
            && self.hops == other.hops
            && self.length == other.length
    }
}

/// Where the length of a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Length {
    /// The number.
    pub source: Source,
    /// Its bytes: what else is in its register means nothing.
    pub size: u32,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Argument of the function, hook, system call or raw tracepoint, from 0.
    Argument {
        /// Which.
        index: u32,
        /// The structure it points to, where the verifier knows that: trampolines, LSM hooks and typed
        /// tracepoints.
        pointee: Option<TypeId>,
        /// Whether the verifier does not let programs load it there, because it is a pointer to what it
        /// does not know: another pointer, a function, and before Linux 6.16 `const void`
        /// (`btf_ctx_access()` in kernel/bpf/btf.c). It is read like other memory then.
        hidden: bool,
    },
    /// The result of the function or system call.
    Returned {
        /// The structure it points to.
        pointee: Option<TypeId>,
    },
    /// The current task.
    CurrentTask,
    /// A register at the hook: offset in `struct pt_regs` and size, in bytes.
    Register {
        /// Offset.
        offset: u32,
        /// Size.
        size: u32,
    },
    /// An argument of a static probe of a program.
    Operand(Operand),
    /// A field of the record of a tracepoint.
    Field {
        /// Offset in bytes.
        offset: u32,
        /// Size in bytes, of the whole array if it is one.
        size: u32,
        /// Whether it is a signed integer.
        signed: bool,
        /// Where the value itself is.
        location: Location,
        /// Whether it is an array in the record.
        array: bool,
        /// Size of an element in bytes; of a field that is no array, its own.
        element: u32,
    },
}

/// An argument of a static probe of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operand {
    /// Its bytes: 1, 2, 4 or 8.
    pub size: u32,
    /// Whether it can be negative.
    pub signed: bool,
    /// Where it is.
    pub place: OperandPlace,
}

/// Where an argument of a static probe is. Registers are told by their offset in `struct pt_regs` and
/// their size, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperandPlace {
    /// Nowhere: it is always this.
    Constant(i64),
    /// In a register.
    Register((u32, u32)),
    /// In the process's memory, at the sum of these.
    Memory {
        /// A register.
        base: Option<(u32, u32)>,
        /// A register and what it is multiplied by.
        index: Option<((u32, u32), u8)>,
        /// Bytes.
        displacement: i64,
    },
}

impl HookPlan {
    /// Whether the event is sent when the function returns.
    pub fn at_return(&self) -> bool {
        self.returned.is_some() || self.args.iter().any(|input| input.return_copy)
    }
}

impl Attachment {
    /// The same system call by breakpoint.
    fn as_kprobe(&self) -> Option<Self> {
        match self {
            Self::Trampoline { function, syscall: true, .. } => {
                Some(Self::Kprobe { function: function.clone(), syscall: true })
            }
            _ => None,
        }
    }

    /// Whether it is a system call by 32-bit callers, whose arguments are in other registers.
    pub fn is_compat(&self) -> bool {
        match self {
            Self::Syscall { compat, .. } => *compat,
            Self::Trampoline { function, syscall, .. } | Self::Kprobe { function, syscall } => {
                *syscall && (function.starts_with("__ia32_") || function.contains("_compat_sys_"))
            }
            _ => false,
        }
    }
}
