//! Hooks on system calls.
//!
//! The kernel serves each in a wrapper that takes the caller's registers (`__x64_sys_openat`), on which
//! trampolines and kprobes attach. Where it has neither, the tracepoints that every system call passes
//! through tell calls apart by number. Whatever the way, events name the wrapper.

use super::attachment::{self, Wants, lacks};
use super::list::Missing;
use super::planner::{Found, Planner};
use super::shape::Shape;
use super::signature::{Origin, REGISTERS, Signature};
use super::{Attachment, EventKind};
use kernel::btf::{Kind, TypeId};
use kernel::features::Feature;
use kernel::syscalls::Abi;
use policy::checked::{Hook, Place};

/// What wrappers of all architectures start with.
const WRAPPERS: [(&str, Abi); 5] = [
    ("__x64_sys_", Abi::X64),
    ("__ia32_compat_sys_", Abi::I386),
    ("__ia32_sys_", Abi::I386),
    ("__arm64_compat_sys_", Abi::Arm32),
    ("__arm64_sys_", Abi::Arm64),
];

/// A system call that a policy names.
struct Call<'a> {
    abi: Abi,
    /// What events call it.
    event: String,
    /// The name without prefix: of the call (`stat`) or of the function that serves it (`newstat`).
    stem: &'a str,
    number: Option<u32>,
    /// Names that the function serving it can have.
    functions: Vec<String>,
}

/// The name of the system call that a wrapper serves.
pub(crate) fn stem(wrapper: &str) -> Option<&str> {
    WRAPPERS.iter().find_map(|(prefix, _)| wrapper.strip_prefix(prefix))
}

/// Whether a function's name is that of a wrapper of a system call.
pub(super) fn is_wrapper(name: &str) -> bool {
    WRAPPERS.iter().any(|(prefix, _)| name.starts_with(prefix))
}

impl<'a> Call<'a> {
    fn read(name: &'a str, native: Abi) -> Result<Self, String> {
        let wrapper = WRAPPERS.iter().find_map(|(prefix, abi)| {
            let stem = name.strip_prefix(prefix)?;
            Some((*prefix, *abi, stem))
        });
        let (prefix, abi, stem) = match (wrapper, name.strip_prefix("sys_")) {
            (Some(wrapper), _) => wrapper,
            (None, Some(stem)) => (native.prefixes()[0], native, stem),
            (None, None) => {
                return Err(format!(
                    "`{name}` is no system call: write `syscall: false` to hook the function of \
                     that name"
                ));
            }
        };
        if abi.compat() != native.compat() {
            return Err(format!(
                "`{name}` is of another architecture: write `sys_{stem}`, which is right on all"
            ));
        }
        let function = format!("{prefix}{stem}");
        let (number, functions) = match abi.number(stem) {
            Some(number) => (Some(number), abi.functions(stem)),
            None => {
                let mut served = Abi::served_by(&function).into_iter();
                let number = served.find(|(by, _)| *by == abi).map(|(_, number)| number);
                (number, vec![function.clone()])
            }
        };
        let event = if wrapper.is_some() { name.to_owned() } else { function };
        Ok(Self { abi, event, stem, number, functions })
    }

    /// The name that the kernel's own functions for it end with: `newstat` for `stat`.
    fn stems(&self) -> impl Iterator<Item = &str> {
        let own = self.functions.iter().filter_map(|function| {
            WRAPPERS.iter().find_map(|(prefix, _)| function.strip_prefix(prefix))
        });
        own.chain([self.stem])
    }
}

/// Whether a hook has actions that need more than to see the call.
fn enforces(hook: &Hook) -> bool {
    hook.selectors.iter().any(|selector| {
        let mut actions = selector.actions.iter().chain(&selector.return_actions);
        actions.any(|action| action.value.is_enforcing())
    })
}

impl Planner<'_> {
    /// Whether the kernel is known to have a function for a call of an ABI.
    pub(super) fn is_served(&self, abi: Abi, name: &str) -> bool {
        let serving = self.serving(&abi.functions(name));
        serving.is_some_and(|(_, id)| id.is_some() || self.symbols().is_some())
    }

    /// The first of these functions that the kernel has, and its type in BTF. Calls without arguments
    /// have no type.
    fn serving(&self, functions: &[String]) -> Option<(String, Option<TypeId>)> {
        let btf = &self.machine.btf;
        let typed = functions.iter().find_map(|function| {
            let id = btf.find(Kind::Func, function)?;
            Some((function.clone(), Some(id)))
        });
        typed.or_else(|| match self.symbols() {
            Some(symbols) => functions
                .iter()
                .find(|function| symbols.by_name(function).next().is_some())
                .map(|function| (function.clone(), None)),
            None => functions.first().map(|function| (function.clone(), None)),
        })
    }

    /// Hooks the system call `name`, which stands at `place`.
    pub(super) fn syscall(&mut self, hook: &Hook, name: &str, place: &Place, missing: Missing) {
        let Some(native) = self.machine.abi() else {
            return self.error(place, "the system calls of this architecture are not known");
        };
        let call = match Call::read(name, native) {
            Ok(call) => call,
            Err(message) => return self.missing(place, missing, message),
        };
        // Without symbols to look it up in, only calls with a number are known to be any.
        let known = |(_, id): &(String, Option<TypeId>)| {
            id.is_some() || call.number.is_some() || self.symbols().is_some()
        };
        let serving = self.serving(&call.functions).filter(known);
        let Some((function, id)) = serving else {
            let known = call.abi.iter().map(|(_, name)| name);
            let hint = match policy::did_you_mean(call.stem, known) {
                Some(near) if near != call.stem => format!(": did you mean `sys_{near}`?"),
                _ if call.number.is_none() => format!(": {} has no such call", call.abi),
                _ => ": it was built without".to_owned(),
            };
            let message = format!("this kernel has no system call `{name}`{hint}");
            return self.missing(place, missing, message);
        };
        if Wants::of(hook).result && matches!(call.stem, "exit" | "exit_group") {
            let message = format!(
                "`{name}` never returns: remove `return` and `returnCopy`, which wait for that"
            );
            return self.missing(place, missing, message);
        }
        let (attachment, reason) = match self.attach_syscall(&call, &function, id, hook) {
            Ok(attached) => attached,
            Err(message) => return self.error(place, message),
        };
        let signature = self.syscall_signature(&call, &function);
        let found = Found { event: EventKind::Kprobe { function: call.event }, attachment, reason };
        if let Some(inputs) = self.inputs(hook, &signature, &found.attachment) {
            self.add(hook, found, inputs);
        }
    }

    fn attach_syscall(
        &self,
        call: &Call<'_>,
        function: &str,
        id: Option<TypeId>,
        hook: &Hook,
    ) -> Result<(Attachment, String), String> {
        let machine = self.machine;
        let wants = Wants::of(hook);
        let name = function.to_owned();
        if let Some(id) = id {
            self.takes_registers(id)?;
        }
        if self.of_many
            && !wants.fentry
            && let Some(number) = call.number
            && lacks(machine, Feature::TpBtf).is_ok()
            && !enforces(hook)
        {
            let compat = call.abi.is_32bit();
            let reason = "by its number: one program for the many system calls that are hooked";
            return Ok((Attachment::Syscall { number, compat }, reason.to_owned()));
        }
        let no_trampoline = match attachment::trampoline(machine, function, id, wants) {
            Ok(id) => {
                let attachment =
                    Attachment::Trampoline { function: name, id, parameters: 1, syscall: true };
                return Ok((attachment, "a trampoline is the cheapest way".to_owned()));
            }
            Err(why) => why,
        };
        let no_kprobe = match attachment::kprobe(machine, function, wants) {
            Ok(()) => {
                let reason = format!("a kprobe, for want of a trampoline: {no_trampoline}");
                return Ok((Attachment::Kprobe { function: name, syscall: true }, reason));
            }
            Err(why) => why,
        };
        let no_number = match (call.number, wants.fentry) {
            (_, true) => "the policy asks for a trampoline".to_owned(),
            (None, false) => "its number is not known".to_owned(),
            (Some(number), false) => match lacks(machine, Feature::TpBtf) {
                Ok(()) => {
                    let compat = call.abi.is_32bit();
                    let reason = format!(
                        "by its number, for want of a trampoline: {no_trampoline}; and of a kprobe: \
                         {no_kprobe}"
                    );
                    return Ok((Attachment::Syscall { number, compat }, reason));
                }
                Err(why) => format!("this kernel has no typed tracepoints ({why})"),
            },
        };
        Err(format!(
            "`{function}` cannot be hooked on this kernel, neither by trampoline: {no_trampoline}; \
             nor by kprobe: {no_kprobe}; nor by its number: {no_number}"
        ))
    }

    /// Whether a wrapper takes the caller's registers, as those of x86-64 and arm64 do.
    fn takes_registers(&self, id: TypeId) -> Result<(), String> {
        let btf = &self.machine.btf;
        let prototype = btf.prototype(id).map_err(|error| error.to_string())?;
        let pointee = prototype.params.first().and_then(|param| btf.pointee(param.ty));
        match (prototype.params.len(), pointee.map(|to| btf.name(to))) {
            (1, Some("pt_regs")) => Ok(()),
            _ => Err(format!(
                "`{}` does not take the registers of a system call: write `syscall: false` to hook it as a \
                 function",
                btf.prototype_text(id)
            )),
        }
    }

    /// What a call takes: as the function says that its wrapper calls, or as its tracepoint says.
    fn syscall_signature(&self, call: &Call<'_>, serving: &str) -> Signature {
        let machine = self.machine;
        // Calls of 32-bit programs that need no conversion share the function of 64-bit ones.
        let infix = if serving.contains("_compat_sys_") { "compat_sys_" } else { "sys_" };
        let function = call.stems().find_map(|stem| {
            let id = machine.btf.find(Kind::Func, &format!("__do_{infix}{stem}"))?;
            Some((id, machine.btf.prototype(id).ok()?))
        });
        let format = || {
            let tracefs = machine.tracefs.as_ref().filter(|_| infix == "sys_")?;
            call.stems().find_map(|stem| {
                let format = tracefs.event("syscalls", &format!("sys_enter_{stem}")).ok()?;
                Some((stem.to_owned(), format))
            })
        };
        let signature = match function {
            Some((id, prototype)) => {
                let text = machine.btf.prototype_text(id).replacen("__do_", "", 1);
                Signature::of(machine.btf.clone(), text, &prototype)
            }
            None => match format() {
                Some((stem, format)) => Signature::of_format(machine.btf.clone(), &stem, &format),
                None => {
                    let name = format!("sys_{}", call.stem);
                    let long = Shape::Integer { size: 8, signed: true, size_t: false };
                    let mut unknown = Signature::unknown(machine.btf.clone(), &name);
                    unknown.result = Some(super::signature::Parameter {
                        ty: None,
                        shape: long,
                        text: "long".to_owned(),
                    });
                    unknown
                }
            },
        };
        Signature { typed: false, origin: Origin::Syscall, readable: Some(REGISTERS), ..signature }
    }
}
