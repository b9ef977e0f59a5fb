//! What can be hooked on a kernel, as policies name it: system calls, LSM hooks, tracepoints, functions,
//! each with what it takes and gives, and with the type by which a policy reads each value.
//!
//! Types come from BTF; for records of tracepoints, and for system calls that BTF does not describe, from
//! tracefs. Functions of modules are left out.

use super::attachment::{self, Wants, lacks};
use super::input::{captured, in_user_space};
use super::shape::Shape;
use super::signature::{Parameter, REGISTERS};
use super::tracepoint::{self, is_readable};
use crate::Machine;
use kernel::btf::{Btf, Kind, Prototype};
use kernel::features::Feature;
use kernel::tracefs::{EventFormat, Tracefs};
use policy::document::TypeName;
use std::collections::{BTreeMap, BTreeSet};

/// Kind of place that hooks attach to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookableKind {
    /// A system call: `kprobes` with `syscall: true`.
    Syscall,
    /// A hook of BPF LSM: `lsmhooks`.
    Lsm,
    /// A tracepoint by its record: `tracepoints`.
    Tracepoint,
    /// A tracepoint by its arguments: `tracepoints` with `raw: true`.
    RawTracepoint,
    /// A function of the kernel: `kprobes` with `syscall: false`.
    Function,
}

/// A place that hooks attach to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hookable {
    /// Kind.
    pub kind: HookableKind,
    /// Name: of a tracepoint `SUBSYSTEM/EVENT`.
    pub name: String,
    /// As C declares it.
    pub declaration: String,
    /// What it takes, or its record holds.
    pub values: Vec<Value>,
    /// The policies' type of what it gives; `None`: nothing, or no type stands for it.
    pub result: Option<TypeName>,
    /// Why this kernel lets nobody hook it.
    pub obstacle: Option<String>,
}

/// A value at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// What policies call it: position, from 0.
    pub index: u32,
    /// As C declares it.
    pub declaration: String,
    /// Its name; may be empty.
    pub name: String,
    /// The policies' type for it; `None`: none stands for it.
    pub kind: Option<TypeName>,
    /// Position, from 0, of the value with its length.
    pub length: Option<u32>,
}

/// Functions that the kernel's build makes for each tracepoint or system call: of no use to users.
const MADE: [&str; 12] = [
    "bpf_lsm_",
    "__bpf_trace_",
    "__probestub_",
    "__traceiter_",
    "trace_event_raw_event_",
    "trace_raw_output_",
    "perf_trace_",
    "__x64_",
    "__ia32_",
    "__arm64_",
    "__do_sys_",
    "__se_sys_",
];

/// Names of arguments that hold the length of the buffer before them.
const LENGTHS: [&str; 8] = ["len", "length", "count", "size", "nbytes", "n", "buflen", "bufsiz"];

/// The places of these kinds whose names are wanted, by kind and name.
pub fn hookable(
    machine: &Machine,
    kinds: &[HookableKind],
    wanted: &dyn Fn(&str) -> bool,
) -> Vec<Hookable> {
    let finder = Finder { machine, btf: &machine.btf, wanted };
    let mut found = Vec::new();
    for kind in kinds.iter().collect::<BTreeSet<_>>() {
        match kind {
            HookableKind::Syscall => found.extend(finder.syscalls()),
            HookableKind::Lsm => found.extend(finder.lsm()),
            HookableKind::Tracepoint => found.extend(finder.tracepoints()),
            HookableKind::RawTracepoint => found.extend(finder.raw_tracepoints()),
            HookableKind::Function => found.extend(finder.functions()),
        }
    }
    found.sort_by(|one, other| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
    found.dedup_by(|one, other| (one.kind, &one.name) == (other.kind, &other.name));
    found
}

struct Finder<'m> {
    machine: &'m Machine,
    btf: &'m Btf,
    wanted: &'m dyn Fn(&str) -> bool,
}

impl Finder<'_> {
    fn functions(&self) -> Vec<Hookable> {
        let own =
            |name: &str| (self.wanted)(name) && !MADE.iter().any(|prefix| name.starts_with(prefix));
        let functions = self.btf.list_funcs().filter(|(_, name)| own(name));
        let hookable = |(id, name): (_, &str)| {
            let prototype = self.btf.prototype(id).ok()?;
            let wants = Wants { result: false, registers: false, fentry: false };
            let mut values = self.values(&prototype, false);
            let obstacle = match attachment::trampoline(self.machine, name, Some(id), wants) {
                Ok(_) => None,
                Err(no_trampoline) => {
                    // Kprobes find only what is in a register of its own.
                    for (at, value) in values.iter_mut().enumerate() {
                        if attachment::register_of(self.machine, &prototype, at) != Some(at) {
                            value.kind = None;
                        }
                    }
                    attachment::kprobe(self.machine, name, wants)
                        .err()
                        .map(|no_kprobe| format!("{no_trampoline}; {no_kprobe}"))
                }
            };
            Some(Hookable {
                kind: HookableKind::Function,
                name: name.to_owned(),
                declaration: self.btf.prototype_text(id),
                values,
                result: self.result(&prototype),
                obstacle,
            })
        };
        functions.filter_map(hookable).collect()
    }

    fn lsm(&self) -> Vec<Hookable> {
        let hooks = self.btf.list_funcs().filter_map(|(id, name)| {
            let name = name.strip_prefix("bpf_lsm_")?;
            (self.wanted)(name).then_some((id, name))
        });
        let hookable = |(id, name): (_, &str)| {
            let prototype = self.btf.prototype(id).ok()?;
            let passes = || attachment::passes(self.machine, &prototype);
            Some(Hookable {
                kind: HookableKind::Lsm,
                name: name.to_owned(),
                declaration: self.btf.prototype_text(id).replacen("bpf_lsm_", "", 1),
                values: self.values(&prototype, false),
                result: None,
                obstacle: lacks(self.machine, Feature::Lsm).and_then(|()| passes()).err(),
            })
        };
        hooks.filter_map(hookable).collect()
    }

    fn syscalls(&self) -> Vec<Hookable> {
        let Some(abi) = self.machine.abi() else { return Vec::new() };
        let calls = abi.iter().map(|(_, name)| name).filter(|name| (self.wanted)(name));
        let hookable = |name: &str| {
            let functions = abi.functions(name);
            // A function that is not described may be there all the same: those without arguments are not.
            let served = functions.iter().any(|function| {
                self.btf.find(Kind::Func, function).is_some()
                    || self.machine.functions.has_wrapper(function)
            });
            if !served {
                return None;
            }
            let stems = functions.iter().filter_map(|function| super::stem(function));
            let stems: Vec<&str> = stems.chain([name]).collect();
            let (declaration, values) = self.syscall_values(name, &stems);
            let wants = Wants { result: false, registers: false, fentry: false };
            let function = functions.first()?;
            let id = self.btf.find(Kind::Func, function);
            let obstacle = attachment::trampoline(self.machine, function, id, wants)
                .map(|_| ())
                .or_else(|_| attachment::kprobe(self.machine, function, wants))
                .or_else(|_| lacks(self.machine, Feature::TpBtf))
                .err();
            Some(Hookable {
                kind: HookableKind::Syscall,
                name: format!("sys_{name}"),
                declaration,
                values,
                result: Some(TypeName::Int64),
                obstacle,
            })
        };
        calls.filter_map(hookable).collect()
    }

    /// What a system call takes, as far as anything tells.
    fn syscall_values(&self, name: &str, stems: &[&str]) -> (String, Vec<Value>) {
        let typed = stems.iter().find_map(|stem| {
            let id = self.btf.find(Kind::Func, &format!("__do_sys_{stem}"))?;
            Some((id, self.btf.prototype(id).ok()?))
        });
        if let Some((id, prototype)) = typed {
            let text = self.btf.prototype_text(id).replacen("__do_", "", 1);
            return (text, self.values(&prototype, true));
        }
        let tracefs = self.machine.tracefs.as_ref();
        let format = tracefs.and_then(|tracefs| {
            let event = |stem: &&str| tracefs.event("syscalls", &format!("sys_enter_{stem}")).ok();
            stems.iter().find_map(event)
        });
        let Some(format) = format else {
            return (format!("long sys_{name}(...)"), Vec::new());
        };
        let fields = format.own_fields().filter(|field| field.name != "__syscall_nr");
        let read: Vec<Read> = fields
            .map(|field| Read {
                name: field.name.clone(),
                declaration: spaced(&field.ty, &field.name),
                shape: Shape::of_c(self.btf, &field.ty),
            })
            .collect();
        let declared: Vec<&str> = read.iter().map(|read| read.declaration.as_str()).collect();
        let text = format!("long sys_{name}({})", declared.join(", "));
        (text, self.typed(&read, true))
    }

    fn tracepoints(&self) -> Vec<Hookable> {
        let Some(tracefs) = &self.machine.tracefs else { return Vec::new() };
        let mut found = Vec::new();
        for (subsystem, event) in events(tracefs) {
            let name = format!("{subsystem}/{event}");
            if !(self.wanted)(&name) && !(self.wanted)(&event) {
                continue;
            }
            let Ok(format) = tracefs.event(&subsystem, &event) else { continue };
            let values = self.fields(&format);
            let declared: Vec<&str> =
                values.iter().map(|value| value.declaration.as_str()).collect();
            found.push(Hookable {
                kind: HookableKind::Tracepoint,
                declaration: format!("{name}({})", declared.join(", ")),
                name,
                values,
                result: None,
                obstacle: lacks(self.machine, Feature::Tracepoint).err(),
            });
        }
        found
    }

    fn fields(&self, format: &EventFormat) -> Vec<Value> {
        let fields = format.fields.iter().enumerate();
        let own = fields.filter(|(_, f)| is_readable(f) && !f.name.starts_with("common_"));
        let value = |(index, field): (usize, &kernel::tracefs::EventField)| Value {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            declaration: spaced(&field.ty, &field.name),
            name: field.name.clone(),
            // Arrays are recognized, and have their length in the record.
            kind: tracepoint::Value::of(self.btf, field).kind(field).map(|kind| match kind {
                TypeName::CharBuf | TypeName::ConstBuf => TypeName::Auto,
                kind => kind,
            }),
            length: None,
        };
        own.map(value).collect()
    }

    fn raw_tracepoints(&self) -> Vec<Hookable> {
        let mut subsystems: BTreeMap<String, String> = BTreeMap::new();
        if let Some(tracefs) = &self.machine.tracefs {
            subsystems.extend(events(tracefs).map(|(subsystem, event)| (event, subsystem)));
        }
        let known = self.btf.of_kind(Kind::Typedef).filter_map(|id| {
            let event = self.btf.name(id).strip_prefix("btf_trace_")?;
            // Those that only programs can attach to are in no subsystem of tracefs.
            let subsystem = subsystems.get(event).map_or("raw", String::as_str);
            let name = format!("{subsystem}/{event}");
            ((self.wanted)(&name) || (self.wanted)(event)).then_some((name, event))
        });
        let hookable = |(name, event): (String, &str)| {
            let prototype = self.btf.tracepoint_prototype(event).ok()?;
            let values = self.values(&prototype, false);
            let declared: Vec<&str> =
                values.iter().map(|value| value.declaration.as_str()).collect();
            Some(Hookable {
                kind: HookableKind::RawTracepoint,
                declaration: format!("{name}({})", declared.join(", ")),
                name,
                values,
                result: None,
                obstacle: lacks(self.machine, Feature::TpBtf).err(),
            })
        };
        known.filter_map(hookable).collect()
    }

    fn values(&self, prototype: &Prototype, user: bool) -> Vec<Value> {
        let read = |param: &kernel::btf::Param| Read {
            name: param.name.clone(),
            declaration: self.btf.declaration(param.ty, &param.name),
            shape: Parameter::of(self.btf, param.ty).shape,
        };
        self.typed(&prototype.params.iter().map(read).collect::<Vec<_>>(), user)
    }

    /// The types of arguments. A pointer to bytes with a length behind it is a buffer.
    fn typed(&self, read: &[Read], user: bool) -> Vec<Value> {
        let mut values = Vec::new();
        for (at, Read { name, declaration, shape }) in read.iter().enumerate() {
            let length = read
                .get(at + 1)
                .filter(|next| next.shape.is_integer() && LENGTHS.contains(&next.name.as_str()));
            let buffer = shape.inferred(true) == Some(TypeName::CharBuf) && length.is_some();
            let kind = if buffer { Some(TypeName::CharBuf) } else { shape.inferred(false) };
            let object = matches!(shape, Shape::Object(_));
            let kind = kind.filter(|kind| {
                !object
                    && at < REGISTERS
                    && (!user || in_user_space(*kind))
                    && captured(self.btf, *kind, "").is_ok()
                    && !matches!(kind, TypeName::CharIovec)
            });
            let index = u32::try_from(at).unwrap_or(u32::MAX);
            let length = buffer.then_some(index + 1);
            let (name, declaration) = (name.clone(), declaration.clone());
            values.push(Value { index, name, declaration, kind, length });
        }
        values
    }

    fn result(&self, prototype: &Prototype) -> Option<TypeName> {
        let shape = Parameter::of(self.btf, prototype.ret).shape;
        let object = matches!(shape, Shape::Object(_));
        shape.inferred(false).filter(|kind| !object && captured(self.btf, *kind, "").is_ok())
    }
}

/// An argument as it is declared.
struct Read {
    name: String,
    declaration: String,
    shape: Shape,
}

/// Subsystem and name of every tracepoint.
fn events(tracefs: &Tracefs) -> impl Iterator<Item = (String, String)> {
    let subsystems = tracefs.subsystems().unwrap_or_default();
    subsystems.into_iter().flat_map(|subsystem| {
        let events = tracefs.events(&subsystem).unwrap_or_default();
        events.into_iter().map(move |event| (subsystem.clone(), event)).collect::<Vec<_>>()
    })
}

/// A type and a name, as C writes them.
fn spaced(ty: &str, name: &str) -> String {
    if ty.ends_with('*') { format!("{ty}{name}") } else { format!("{ty} {name}") }
}
