//! Whether a function can be hooked by trampoline or by breakpoint, and why not.

use super::signature::{REGISTERS, sole_member};
use crate::Machine;
use kernel::btf::{Prototype, TypeId};
use kernel::features::Feature;
use policy::checked::{Hook, Source, Target};

/// What a hook asks of its attachment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wants {
    /// The result.
    pub(super) result: bool,
    /// The registers at the hook.
    pub(super) registers: bool,
    /// A trampoline and nothing else.
    pub(super) fentry: bool,
}

impl Wants {
    pub(super) fn of(hook: &Hook) -> Self {
        Self {
            result: hook.return_arg.is_some() || hook.args.iter().any(|arg| arg.return_copy),
            registers: hook.data.iter().any(|arg| matches!(arg.source, Source::Register(_))),
            fentry: matches!(hook.target, Target::Fentry(_)),
        }
    }
}

/// Functions that trampolines themselves use, which the verifier refuses to them (`btf_id_deny` in
/// kernel/bpf/verifier.c).
const DENIED: [&str; 8] = [
    "migrate_disable",
    "migrate_enable",
    "___migrate_enable",
    "rcu_read_unlock_strict",
    "preempt_count_add",
    "preempt_count_sub",
    "__rcu_read_lock",
    "__rcu_read_unlock",
];

/// Whether what runs BPF programs at functions uses a function itself.
pub(super) fn is_denied(name: &str) -> bool {
    DENIED.contains(&name)
}

/// Whether a trampoline can take a function.
pub(super) fn trampoline(
    machine: &Machine,
    name: &str,
    id: Option<TypeId>,
    wants: Wants,
) -> Result<TypeId, String> {
    let feature = |feature| lacks(machine, feature);
    feature(Feature::Fentry).map_err(|why| format!("this kernel has no trampolines ({why})"))?;
    if wants.result {
        feature(Feature::Fexit)
            .map_err(|why| format!("this kernel has no trampolines on return ({why})"))?;
    }
    let id = id.ok_or("this kernel's BTF does not describe it")?;
    let prototype = machine.btf.prototype(id).map_err(|error| error.to_string())?;
    passes(machine, &prototype)?;
    if is_denied(name) {
        return Err("trampolines use it themselves".to_owned());
    }
    if machine.functions.is_traceable(name) == Some(false) {
        return Err("the kernel was built so that it cannot be traced (notrace)".to_owned());
    }
    Ok(id)
}

/// Whether trampolines can pass on what a function takes and gives, each argument in one word:
/// `btf_distill_func_proto` in kernel/bpf/btf.c. More arguments than there are registers for only some
/// kernels can (x86-64 from 6.6 on), so that is not counted on.
pub(super) fn passes(machine: &Machine, prototype: &Prototype) -> Result<(), String> {
    let btf = &machine.btf;
    if prototype.variadic {
        return Err("it takes a variable number of arguments".to_owned());
    }
    let arm = machine.features.architecture() == "aarch64";
    let most = if arm { 8 } else { REGISTERS };
    if prototype.params.len() > most {
        return Err(format!("it takes more than the {most} arguments that trampolines pass on"));
    }
    // From Linux 6.1 on, on x86-64: those that pass structures have flags for them.
    let model = btf.find_struct("btf_func_model");
    let structures = !arm && model.is_ok_and(|model| btf.member_exists(model, "arg_flags"));
    for param in &prototype.params {
        let one_word = structures && btf.size_of(param.ty).is_ok_and(|size| size <= 8);
        if btf.is_composite(param.ty) && !one_word {
            let declared = btf.declaration(param.ty, &param.name);
            return Err(format!("it takes a structure by value (`{declared}`)"));
        }
    }
    match btf.is_composite(prototype.ret) {
        true => Err("it returns a structure by value".to_owned()),
        false => Ok(()),
    }
}

/// Whether a breakpoint can take a function.
pub(super) fn kprobe(machine: &Machine, name: &str, wants: Wants) -> Result<(), String> {
    if wants.fentry {
        return Err(
            "the policy asks for a trampoline (`fentries`): move it to `kprobes`".to_owned()
        );
    }
    let feature = |feature| lacks(machine, feature);
    feature(Feature::Kprobe).map_err(|why| format!("this kernel has no kprobes ({why})"))?;
    if wants.result {
        feature(Feature::Kretprobe)
            .map_err(|why| format!("this kernel has no kretprobes ({why})"))?;
    }
    match machine.functions.refuses_kprobes(name) {
        true => Err("the kernel forbids kprobes there (kprobes/blacklist)".to_owned()),
        false => Ok(()),
    }
}

/// Why the machine does not have a feature, as far as is known.
pub(super) fn lacks(machine: &Machine, feature: Feature) -> Result<(), String> {
    match machine.features.probe(feature).why() {
        None => Ok(()),
        Some(why) => Err(format!("{feature}: {why}")),
    }
}

/// How many registers the arguments before `index` take, and whether that argument is in one at all;
/// `None`: it is on the stack. Structures of up to 16 bytes are in one or two registers.
pub(super) fn register_of(machine: &Machine, prototype: &Prototype, index: usize) -> Option<usize> {
    let size = |ty| machine.btf.size_of(ty).unwrap_or(8);
    let mut register = 0;
    for param in prototype.params.iter().take(index) {
        let composite = machine.btf.is_composite(param.ty);
        // One number in a structure is passed as that number; all else would need the ABI's rules.
        if composite && (size(param.ty) > 8 || sole_member(&machine.btf, param.ty).is_none()) {
            return None;
        }
        register += 1;
    }
    (register < REGISTERS).then_some(register)
}
