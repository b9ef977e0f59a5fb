//! Where programs hang. Policies that hook the same place the same way share a program there.

use crate::Error;
use crate::act::{self, ima};
use crate::emit::program::Shape;
use crate::emit::section::Role;
use crate::plan::{Attachment, Denial, FunctionSet, Gate, Gated, HookPlan, Input, Instruction};
use kernel::btf::{Btf, TypeId};
use kernel::features::ProgramKind;
use kernel::link::{Kprobe, KprobeMulti, KprobePlace, Link, Uprobe, UprobeMulti, UprobePlace};
use kernel::program::Program;
use policy::checked::ValueKind;
use std::fmt;

/// A place to attach to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    /// Entry of a function, by trampoline.
    Fentry { function: String, id: TypeId, syscall: bool },
    /// Return of a function, by trampoline. `awaited`: for calls whose entry was noted.
    Fexit { function: String, id: TypeId, parameters: u32, syscall: bool, awaited: bool },
    /// Entry of a system call, by breakpoint, where its result is given in its place. Of breakpoints at one
    /// place the last one attached comes first, and once one has given the result the others do not come
    /// any more (`aggr_pre_handler()` in kernel/kprobes.c). So this is attached first, which the order of
    /// these places sees to, and what decides about it stands at places of its own, not at those of
    /// others that may be there already.
    Override { function: String },
    /// Entry of a function, by breakpoint. `decides`: whether it is run.
    Kprobe { function: String, syscall: bool, decides: bool },
    /// Return of a function, by breakpoint. `decides`: as above.
    Kretprobe { function: String, syscall: bool, decides: bool },
    /// Entry of many functions.
    KprobeMulti { functions: FunctionSet },
    /// Return of many functions.
    KretprobeMulti { functions: FunctionSet },
    /// Entry of all system calls.
    SyscallEnter,
    /// Return of all system calls.
    SyscallExit,
    /// Entry of a function, by trampoline; what programs there return can take its place.
    Modify { function: String, id: TypeId, syscall: bool },
    /// A hook of BPF LSM, at which files are measured for policies. Of programs at one hook the last one attached
    /// comes first. So this is attached before the policies' own at *measured* places.
    Measure { hook: String, id: TypeId },
    /// A hook of BPF LSM. `measured`: a file is measured after it.
    Lsm { hook: String, id: TypeId, measured: bool },
    /// A tracepoint with typed arguments.
    RawTracepoint { name: String, id: TypeId },
    /// A tracepoint with perf's record.
    Tracepoint { subsystem: String, event: String, id: u32 },
    /// An instruction of a program.
    Uprobe(Instruction),
    /// Return of the function of a program that begins with an instruction.
    Uretprobe(Instruction),
}

/// The places that a hook needs, with what its sections there are; returns before entries, so that
/// whatever is noted at entry is seen to return.
pub(crate) fn places(hook: &HookPlan) -> Vec<(Place, Role)> {
    gated(hook, of_hook(hook))
}

/// The places that a call of an enforcer needs. Where a call is hooked by number, the enforcer may be told
/// after its entry; a signal is in time at the return.
pub(crate) fn enforcer_places(hook: &HookPlan) -> Vec<(Place, Role)> {
    let mut places: Vec<_> =
        of_hook(hook).into_iter().map(|(place, _)| (place, Role::Enforce)).collect();
    if matches!(hook.attachment, Attachment::Syscall { .. }) {
        places.push((Place::SyscallExit, Role::Enforce));
    }
    gated(hook, places)
}

/// With the places that denying by LSM needs besides.
fn gated(hook: &HookPlan, mut places: Vec<(Place, Role)>) -> Vec<(Place, Role)> {
    if let Some(Denial::Gates(Gated { gates, .. })) = &hook.denial {
        let exit = match hook.attachment.clone() {
            Attachment::Trampoline { function, id, parameters, syscall } => {
                Place::Fexit { function, id, parameters, syscall, awaited: true }
            }
            Attachment::Kprobe { function, syscall } => {
                Place::Kretprobe { function, syscall, decides: false }
            }
            _ => Place::SyscallExit,
        };
        let gate =
            |gate: &Gate| Place::Lsm { hook: gate.hook.clone(), id: gate.id, measured: false };
        let gates = gates.iter().map(|one| (gate(one), Role::Gate(one.number)));
        places.splice(0..0, gates.chain([(exit, Role::Unmark)]));
    }
    if let (Some(Denial::OverrideReturn), Attachment::Kprobe { function, .. }) =
        (&hook.denial, &hook.attachment)
    {
        places.insert(0, (Place::Override { function: function.clone() }, Role::Replace));
    }
    places
}

fn of_hook(hook: &HookPlan) -> Vec<(Place, Role)> {
    let returns = hook.at_return();
    match hook.attachment.clone() {
        Attachment::Trampoline { function, id, parameters, syscall } => {
            let exit = |awaited| Place::Fexit {
                function: function.clone(),
                id,
                parameters,
                syscall,
                awaited,
            };
            let entry = match hook.denial {
                Some(Denial::Modify) => Place::Modify { function: function.clone(), id, syscall },
                _ => Place::Fentry { function: function.clone(), id, syscall },
            };
            if !returns {
                vec![(entry, Role::Whole)]
            } else if lasts(hook, &function) {
                vec![(exit(false), Role::Whole)]
            } else {
                vec![(exit(true), Role::Return), (entry, Role::Entry)]
            }
        }
        Attachment::Kprobe { function, syscall } => {
            let decides = hook.denial == Some(Denial::OverrideReturn);
            let entry = Place::Kprobe { function: function.clone(), syscall, decides };
            if returns {
                let exit = Place::Kretprobe { function, syscall, decides };
                vec![(exit, Role::Return), (entry, Role::Entry)]
            } else {
                vec![(entry, Role::Whole)]
            }
        }
        Attachment::KprobeMulti { among: functions, .. } if returns => vec![
            (Place::KretprobeMulti { functions: functions.clone() }, Role::Return),
            (Place::KprobeMulti { functions }, Role::Entry),
        ],
        Attachment::KprobeMulti { among: functions, .. } => {
            vec![(Place::KprobeMulti { functions }, Role::Whole)]
        }
        Attachment::Syscall { .. } if returns => {
            vec![(Place::SyscallExit, Role::Return), (Place::SyscallEnter, Role::Entry)]
        }
        Attachment::Syscall { .. } => vec![(Place::SyscallEnter, Role::Whole)],
        Attachment::Lsm { hook: name, id } => {
            let measured = ima::any(&hook.selectors);
            let own = (Place::Lsm { hook: name.clone(), id, measured }, Role::Whole);
            let measure = (Place::Measure { hook: name, id }, Role::Measure);
            if measured { vec![measure, own] } else { vec![own] }
        }
        Attachment::RawTracepoint { name, id } => {
            vec![(Place::RawTracepoint { name, id }, Role::Whole)]
        }
        Attachment::Tracepoint { subsystem, event, id } => {
            vec![(Place::Tracepoint { subsystem, event, id }, Role::Whole)]
        }
        Attachment::Uprobe(at) if returns => {
            vec![(Place::Uretprobe(at.clone()), Role::Return), (Place::Uprobe(at), Role::Entry)]
        }
        Attachment::Uprobe(at) => vec![(Place::Uprobe(at), Role::Whole)],
    }
}

/// Whether everything that the hook reads is the same at the return as it was at the entry, so that
/// one program at the return sees all. Numbers are: a trampoline keeps the arguments. What the
/// arguments of an LSM hook point to is held by its caller, except by hooks that free.
fn lasts(hook: &HookPlan, function: &str) -> bool {
    let held = function.starts_with("security_")
        && !["free", "release", "put"].iter().any(|word| function.contains(word));
    let lasts = |input: &Input| match input.kind.kind() {
        ValueKind::Integer(_) | ValueKind::Capability => input.hops.is_empty() || held,
        // Memory of the process, which it can write meanwhile.
        ValueKind::Text | ValueKind::SocketAddress | ValueKind::UnixAddress => false,
        _ => held,
    };
    let early = act::at_entry(&hook.selectors);
    !early
        && hook.args.iter().chain(&hook.data).all(lasts)
        && !hook.args.iter().any(|arg| arg.return_copy)
}

impl Place {
    /// What programs here get.
    pub(crate) fn shape(&self) -> Shape {
        match self {
            Self::Fentry { syscall: true, .. } | Self::Modify { syscall: true, .. } => {
                Shape::SyscallWords { returned: None }
            }
            Self::Fexit { syscall: true, parameters, .. } => {
                Shape::SyscallWords { returned: Some(*parameters) }
            }
            Self::Fexit { parameters, .. } => Shape::Words { returned: Some(*parameters) },
            Self::Fentry { .. }
            | Self::Modify { .. }
            | Self::Lsm { .. }
            | Self::Measure { .. }
            | Self::RawTracepoint { .. } => Shape::Words { returned: None },
            Self::Kprobe { syscall: true, .. } | Self::Override { .. } => Shape::SyscallFunction,
            Self::Kretprobe { .. } | Self::Kprobe { .. } => Shape::Function,
            Self::KprobeMulti { .. } | Self::KretprobeMulti { .. } => Shape::Functions,
            Self::SyscallEnter => Shape::SyscallEnter,
            Self::SyscallExit => Shape::SyscallExit,
            Self::Tracepoint { .. } => Shape::Record,
            Self::Uprobe(_) | Self::Uretprobe(_) => Shape::Program,
        }
    }

    /// Kind of the programs here.
    pub(crate) fn kind(&self) -> ProgramKind {
        match self {
            Self::Fentry { .. } => ProgramKind::Fentry,
            Self::Modify { .. } => ProgramKind::FmodRet,
            Self::Fexit { .. } => ProgramKind::Fexit,
            Self::Kprobe { .. } | Self::Kretprobe { .. } | Self::Override { .. } => {
                ProgramKind::Kprobe
            }
            Self::KprobeMulti { .. } | Self::KretprobeMulti { .. } => ProgramKind::KprobeMulti,
            Self::SyscallEnter | Self::SyscallExit | Self::RawTracepoint { .. } => {
                ProgramKind::TpBtf
            }
            Self::Lsm { .. } => ProgramKind::Lsm,
            Self::Measure { .. } => ProgramKind::LsmSleepable,
            Self::Tracepoint { .. } => ProgramKind::Tracepoint,
            Self::Uprobe(at) | Self::Uretprobe(at) if at.multi => ProgramKind::UprobeMulti,
            Self::Uprobe(_) | Self::Uretprobe(_) => ProgramKind::Uprobe,
        }
    }

    /// Whether what programs do here never changes: they are attached without a switch.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self, Self::Override { .. } | Self::Measure { .. })
    }

    /// Whether programs at the other place would have calls run whose results are given here. A trampoline
    /// calls the function whatever breakpoints say, or loses what they give (`ftrace_regs_caller` in
    /// arch/x86/kernel/ftrace_64.S).
    pub(crate) fn clashes(&self, other: &Self) -> bool {
        let Self::Override { function: mine } = self else { return false };
        match other {
            Self::Fentry { function, .. }
            | Self::Modify { function, .. }
            | Self::Fexit { function, .. } => function == mine,
            _ => false,
        }
    }

    /// The type that the program is loaded for.
    pub(crate) fn target(&self, btf: &Btf) -> Result<Option<TypeId>, Error> {
        Ok(match self {
            Self::Fentry { id, .. }
            | Self::Modify { id, .. }
            | Self::Fexit { id, .. }
            | Self::Lsm { id, .. }
            | Self::Measure { id, .. }
            | Self::RawTracepoint { id, .. } => Some(*id),
            Self::SyscallEnter => Some(btf.find_typedef("btf_trace_sys_enter")?),
            Self::SyscallExit => Some(btf.find_typedef("btf_trace_sys_exit")?),
            Self::Kprobe { .. }
            | Self::Kretprobe { .. }
            | Self::Override { .. }
            | Self::KprobeMulti { .. }
            | Self::KretprobeMulti { .. }
            | Self::Tracepoint { .. }
            | Self::Uprobe(_)
            | Self::Uretprobe(_) => None,
        })
    }

    /// Attaches a program that was loaded for here.
    pub(crate) fn attach(&self, program: &Program) -> Result<Link, Error> {
        let kprobe = |function: &str, on_return| {
            let place = KprobePlace::Symbol(function, 0);
            Link::kprobe(program, &Kprobe { place, on_return, cookie: 0 })
        };
        Ok(match self {
            Self::Fentry { function: name, .. }
            | Self::Modify { function: name, .. }
            | Self::Fexit { function: name, .. }
            | Self::Lsm { hook: name, .. }
            | Self::Measure { hook: name, .. }
            | Self::RawTracepoint { name, .. } => Link::tracing(program, name, 0)?,
            Self::SyscallEnter => Link::tracing(program, "sys_enter", 0)?,
            Self::SyscallExit => Link::tracing(program, "sys_exit", 0)?,
            Self::Kprobe { function, .. } | Self::Override { function } => kprobe(function, false)?,
            Self::Kretprobe { function, .. } => kprobe(function, true)?,
            Self::KprobeMulti { functions } => together(program, functions, false)?,
            Self::KretprobeMulti { functions } => together(program, functions, true)?,
            Self::Tracepoint { subsystem, event, id } => {
                Link::tracepoint(program, u64::from(*id), &format!("{subsystem}:{event}"), 0)?
            }
            Self::Uprobe(at) => instruction(program, at, false)?,
            Self::Uretprobe(at) => instruction(program, at, true)?,
        })
    }

    /// A short name for programs here: the kernel keeps 15 bytes.
    pub(crate) fn name(&self) -> String {
        let name = match self {
            Self::Fentry { function, .. } => format!("e_{function}"),
            Self::Modify { function, .. } => format!("m_{function}"),
            Self::Fexit { function, .. } => format!("x_{function}"),
            Self::Kprobe { function, .. } => format!("k_{function}"),
            Self::Override { function } => format!("o_{function}"),
            Self::Kretprobe { function, .. } => format!("r_{function}"),
            Self::KprobeMulti { functions } => format!("km_{}", functions.names().len()),
            Self::KretprobeMulti { functions } => format!("rm_{}", functions.names().len()),
            Self::SyscallEnter => "sys_enter".to_owned(),
            Self::SyscallExit => "sys_exit".to_owned(),
            Self::Lsm { hook, measured: false, .. } => format!("l_{hook}"),
            Self::Lsm { hook, measured: true, .. } => format!("h_{hook}"),
            Self::Measure { hook, .. } => format!("i_{hook}"),
            Self::RawTracepoint { name, .. } => format!("t_{name}"),
            Self::Tracepoint { event, .. } => format!("p_{event}"),
            Self::Uprobe(at) => format!("u_{}", identifier(&at.name)),
            Self::Uretprobe(at) => format!("v_{}", identifier(&at.name)),
        };
        format!("tg_{name}")
    }
}

/// Attaches a program to functions, with their indices as cookies.
fn together(program: &Program, functions: &FunctionSet, on_return: bool) -> Result<Link, Error> {
    let names = functions.names().iter().map(String::as_str);
    let symbols: Vec<(&str, u64)> = names.zip(0..).collect();
    Ok(Link::kprobe_multi(program, KprobeMulti::Symbols(&symbols), on_return)?)
}

/// Attaches a program to an instruction of the file that was looked at, whatever its name leads to now.
fn instruction(program: &Program, at: &Instruction, on_return: bool) -> Result<Link, Error> {
    let file = at.file.by_descriptor();
    let (file, pid, cookie) = (file.as_path(), None, 0);
    Ok(if at.multi {
        let (offset, ref_counter) = (at.offset, at.counter);
        let places = &[UprobePlace { offset, ref_counter, cookie }];
        Link::uprobe_multi(program, &UprobeMulti { file, places, pid, on_return })?
    } else {
        // The planner takes none that is larger.
        let ref_counter = u32::try_from(at.counter).unwrap_or_default();
        let offset = at.offset;
        Link::uprobe(program, &Uprobe { file, offset, ref_counter, pid, on_return, cookie })?
    })
}

/// A name with nothing in it that names in BTF do not have.
fn identifier(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fentry { function, .. } => write!(f, "fentry {function}"),
            Self::Modify { function, .. } => write!(f, "fmod_ret {function}"),
            Self::Fexit { function, .. } => write!(f, "fexit {function}"),
            Self::Kprobe { function, .. } => write!(f, "kprobe {function}"),
            Self::Override { function } => write!(f, "override {function}"),
            Self::Kretprobe { function, .. } => write!(f, "kretprobe {function}"),
            Self::KprobeMulti { functions } => {
                write!(f, "kprobe.multi of {} functions", functions.names().len())
            }
            Self::KretprobeMulti { functions } => {
                write!(f, "kretprobe.multi of {} functions", functions.names().len())
            }
            Self::SyscallEnter => f.write_str("tp_btf sys_enter"),
            Self::SyscallExit => f.write_str("tp_btf sys_exit"),
            Self::Lsm { hook, .. } => write!(f, "lsm {hook}"),
            Self::Measure { hook, .. } => write!(f, "lsm.s {hook}"),
            Self::RawTracepoint { name, .. } => write!(f, "tp_btf {name}"),
            Self::Tracepoint { subsystem, event, .. } => {
                write!(f, "tracepoint {subsystem}:{event}")
            }
            Self::Uprobe(at) => write!(f, "uprobe {at}"),
            Self::Uretprobe(at) => write!(f, "uretprobe {at}"),
        }
    }
}
