//! Hooks on functions of the kernel.

use super::attachment::{self, Wants};
use super::list::Missing;
use super::planner::{Found, Planner};
use super::signature::{REGISTERS, Signature};
use super::{Attachment, EventKind, multi};
use kernel::btf::{Btf, Kind, TypeId};
use policy::checked::{Hook, Place};
use std::sync::Arc;

/// Functions that do not come back to their caller, as the kernel marks them (`__noreturn`).
const NEVER_RETURN: [&str; 5] =
    ["do_exit", "do_group_exit", "make_task_dead", "kthread_exit", "kthread_complete_and_exit"];

impl Planner<'_> {
    /// Hooks the function `name`, which stands at `place`.
    pub(super) fn function(&mut self, hook: &Hook, name: &str, place: &Place, missing: Missing) {
        let machine = self.machine;
        let id = machine.btf.find(Kind::Func, name);
        let module = match id {
            Some(_) => None,
            None => match self.symbol(name) {
                Ok(module) => module,
                Err(message) => return self.missing(place, missing, message),
            },
        };
        let wants = Wants::of(hook);
        if wants.result && NEVER_RETURN.contains(&name) {
            let message = format!(
                "`{name}` never returns: remove `return` and `returnCopy`, which wait for that"
            );
            return self.error(place, message);
        }
        let (attachment, reason) = match self.attach(hook, name, id, module.is_some()) {
            Ok(attached) => attached,
            Err(message) => return self.error(place, message),
        };
        if id.is_some() && machine.functions.share_name(name) {
            let message = format!(
                "this kernel has several functions `{name}`: only one is hooked, and it may be \
                 another than the one that is meant"
            );
            self.note(place, message);
        }
        let mut signature = self.signature(name, id, module.as_deref());
        if matches!(attachment, Attachment::Kprobe { .. } | Attachment::KprobeMulti { .. }) {
            signature.typed = false;
            signature.readable = Some(self.registers(id));
        }
        let event = EventKind::Kprobe { function: name.to_owned() };
        let found = Found { event, attachment, reason };
        if let Some(inputs) = self.inputs(hook, &signature, &found.attachment) {
            self.add(hook, found, inputs);
        }
    }

    /// The cheapest way to hook a function, and why that one.
    fn attach(
        &self,
        hook: &Hook,
        name: &str,
        id: Option<TypeId>,
        module: bool,
    ) -> Result<(Attachment, String), String> {
        let machine = self.machine;
        let wants = Wants::of(hook);
        let function = name.to_owned();
        let trampoline = match wants.registers {
            true => Err("the policy reads registers, which trampolines do not keep".to_owned()),
            false => attachment::trampoline(machine, name, id, wants),
        };
        let alone = match trampoline {
            Ok(_) => self.of_list < multi::MANY,
            Err(_) => self.of_list < 2,
        };
        let mut apart = String::new();
        if !alone && !wants.fentry {
            match self.joins(hook, name, id, module) {
                Ok(()) => return Ok(multi::together(name)),
                Err(why) => apart = format!(", not kprobe.multi with the others: {why}"),
            }
        }
        let why = match trampoline {
            Ok(id) => {
                let parameters = machine.btf.prototype(id).map_or(0, |found| found.params.len());
                let parameters = parameters as u32;
                let attachment =
                    Attachment::Trampoline { function, id, parameters, syscall: false };
                let reason = match apart.as_str() {
                    "" => "a trampoline is the cheapest way".to_owned(),
                    apart => format!("a trampoline{apart}"),
                };
                return Ok((attachment, reason));
            }
            Err(why) => why,
        };
        match attachment::kprobe(machine, name, wants) {
            Ok(()) => Ok((
                Attachment::Kprobe { function, syscall: false },
                format!("a kprobe, for want of a trampoline: {why}{apart}"),
            )),
            Err(also) => Err(format!(
                "`{name}` cannot be hooked on this kernel, neither by trampoline: {why}; nor by \
                 kprobe: {also}"
            )),
        }
    }

    /// What is known of a function's arguments.
    fn signature(&self, name: &str, id: Option<TypeId>, module: Option<&str>) -> Signature {
        let base = &self.machine.btf;
        let found = match (id, module) {
            (Some(id), _) => Some((base.clone(), id)),
            (None, Some(module)) => Btf::module(base.clone(), module).ok().and_then(|btf| {
                let id = btf.find(Kind::Func, name)?;
                Some((Arc::new(btf), id))
            }),
            (None, None) => None,
        };
        let prototype = found.and_then(|(btf, id)| {
            let prototype = btf.prototype(id).ok()?;
            Some((btf, id, prototype))
        });
        match prototype {
            Some((btf, id, prototype)) => {
                let text = btf.prototype_text(id);
                Signature::of(btf, text, &prototype)
            }
            None => Signature::unknown(base.clone(), name),
        }
    }

    /// How many of a function's arguments are in registers where a kprobe finds them.
    pub(super) fn registers(&self, id: Option<TypeId>) -> usize {
        let prototype = id.and_then(|id| self.machine.btf.prototype(id).ok());
        let Some(prototype) = prototype else { return REGISTERS };
        let found = |index: &usize| {
            attachment::register_of(self.machine, &prototype, *index) == Some(*index)
        };
        (0..REGISTERS).take_while(found).count()
    }

    /// The module of a function that is no type in the kernel's BTF, or why there is no such function.
    fn symbol(&self, name: &str) -> Result<Option<String>, String> {
        let Some(symbols) = self.symbols() else {
            let known = self.machine.btf.list_funcs().map(|(_, known)| known);
            return Err(format!(
                "this kernel's BTF has no function `{name}`{}",
                nearest(name, known)
            ));
        };
        let mut found = symbols.by_name(name).filter(|symbol| symbol.is_function());
        match (found.next(), found.next()) {
            (Some(symbol), None) => return Ok(symbol.module.map(ToOwned::to_owned)),
            // From Linux 6.6 on no kprobe can be told which.
            (Some(_), Some(_)) => {
                return Err(format!(
                    "this kernel has several functions `{name}`, and nothing tells which is meant"
                ));
            }
            (None, _) => {}
        }
        let functions = || symbols.iter().filter(|symbol| symbol.is_function());
        // Compilers make functions of their own of one: `name.isra.0`, `name.constprop.0`.
        let part = functions().find(|symbol| {
            let rest = symbol.name.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with('.') && !rest.starts_with(".cold"))
        });
        Err(match part {
            Some(part) => format!(
                "this kernel has no function `{name}`: the compiler made `{}` of it, whose \
                 arguments may differ; hook that one or a function that calls it",
                part.name
            ),
            None => {
                let hint = nearest(name, functions().map(|symbol| symbol.name));
                format!("this kernel has no function `{name}`{hint}")
            }
        })
    }
}

/// The end of a message about a function that does not exist.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    // Names of very different length are not near, and there are a hundred thousand.
    let near = known.filter(|other| other.len().abs_diff(name.len()) <= 3);
    let near = match policy::did_you_mean(name, near) {
        _ if name.starts_with("sys_") => "; for the system call write `syscall: true`".to_owned(),
        Some(near) => format!("; the nearest name is `{near}`"),
        None => String::new(),
    };
    format!(
        ": it is misspelt, of another kernel version, of a module that is not loaded, or the compiler \
         put it into its callers{near}"
    )
}
