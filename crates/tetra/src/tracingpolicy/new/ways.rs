//! How rules of a new policy can be attached on a kernel.

use compiler::Machine;
use kernel::btf::{Kind, Prototype};
use kernel::features::Feature;

use super::draft::At;

/// What a kernel offers.
pub(super) struct Ways<'m> {
    machine: &'m Machine,
    lsm: bool,
    modify: bool,
    functions: bool,
}

impl<'m> Ways<'m> {
    /// Finds out what the kernel offers.
    pub(super) fn of(machine: &'m Machine) -> Self {
        let has = |feature| machine.features.probe(feature).is_yes();
        Self {
            machine,
            lsm: has(Feature::Lsm),
            modify: has(Feature::FmodRet),
            functions: has(Feature::Fentry) || has(Feature::Kprobe),
        }
    }

    /// Whether functions of the kernel can be hooked, to look on.
    pub(super) fn sees_functions(&self) -> bool {
        self.functions
    }

    /// Whether the kernel has a tracepoint of a name.
    pub(super) fn has_tracepoint(&self, event: &str) -> bool {
        self.machine.btf.tracepoint_prototype(event).is_ok()
    }

    /// A security hook at which calls are denied, if the kernel has it: by LSM, or else in the place of the
    /// function that asks the LSMs.
    pub(super) fn deny_at(&self, hook: &str) -> Option<Security> {
        let at = match self.lsm || !self.modify {
            true => At::Lsm(hook.to_owned()),
            false => At::Function(format!("security_{hook}")),
        };
        self.security(hook, at)
    }

    /// Why calls cannot be denied.
    pub(super) fn cannot_deny(&self) -> Option<String> {
        (!self.lsm && !self.modify).then(|| {
            "this kernel can deny nothing: it needs BPF LSM (CONFIG_BPF_LSM=y, and `bpf` in `lsm=` of its \
             command line), or trampolines that replace results; the policy is written for one that can"
                .to_owned()
        })
    }

    /// A security hook at which calls are seen, if the kernel has it.
    pub(super) fn watch_at(&self, hook: &str) -> Option<Security> {
        let at = match self.functions || !self.lsm {
            true => At::Function(format!("security_{hook}")),
            false => At::Lsm(hook.to_owned()),
        };
        self.security(hook, at)
    }

    /// Why security hooks cannot be seen.
    pub(super) fn cannot_watch(&self) -> Option<String> {
        (!self.functions && !self.lsm).then(|| {
            "this kernel lets no functions be hooked, neither by trampoline nor by kprobe, and runs no LSM \
             programs; the policy is written for one that does"
                .to_owned()
        })
    }

    fn security(&self, hook: &str, at: At) -> Option<Security> {
        let function = match &at {
            At::Lsm(_) => format!("bpf_lsm_{hook}"),
            _ => format!("security_{hook}"),
        };
        let btf = &self.machine.btf;
        let prototype = btf.prototype(btf.find(Kind::Func, &function)?).ok()?;
        Some(Security { arguments: arguments(self.machine, &prototype), at })
    }
}

/// A security hook of a kernel.
pub(super) struct Security {
    /// Where to attach.
    pub(super) at: At,
    /// Name of each argument, and of the structure that it points to.
    arguments: Vec<(String, String)>,
}

impl Security {
    /// Position of the argument of a name, or else of the one that points to a structure, counted among
    /// those: kernels add arguments and name them anew.
    pub(super) fn index(&self, name: &str, structure: &str, nth: usize) -> Option<u32> {
        let named = self.arguments.iter().position(|(known, _)| known == name);
        let typed = || {
            let all = self.arguments.iter().enumerate();
            all.filter(|(_, (_, of))| of == structure).nth(nth).map(|(at, _)| at)
        };
        u32::try_from(named.or_else(typed)?).ok()
    }
}

fn arguments(machine: &Machine, prototype: &Prototype) -> Vec<(String, String)> {
    let btf = &machine.btf;
    let structure = |ty| btf.pointee(ty).map(|to| btf.name(btf.peel(to)).to_owned());
    let params = prototype.params.iter();
    params.map(|param| (param.name.clone(), structure(param.ty).unwrap_or_default())).collect()
}
