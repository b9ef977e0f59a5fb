//! Functions that are hooked together: one program on one link of kprobe.multi (Linux 5.18, CONFIG_FPROBE)
//! for all functions of a list, and another pair for their returns.
//!
//! The link's cookies tell the program which function it is; a cookie is the function's index in its
//! [`FunctionSet`]. The kernel takes all functions of a link or none (ESRCH, EINVAL), so only those are
//! put there that ftrace can patch, which is what `available_filter_functions` lists. All others are
//! hooked each for itself.
//!
//! The return of a call is told by the stack pointer of its entry. Until Linux 6.13 kprobe.multi sees
//! returns by rethook, which gives it as kretprobes do. Since then it is fgraph that gives the
//! registers, and their stack pointer is that of its own frame (`return_to_handler` in
//! arch/x86/kernel/ftrace_64.S): returns are not hooked together there.

use super::attachment::{self, Wants, lacks};
use super::planner::Planner;
use super::signature::REGISTERS;
use super::{Attachment, HookPlan};
use kernel::btf::TypeId;
use kernel::features::Feature;
use policy::checked::{Action, Hook};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// From so many functions of one list on, they are hooked together also where trampolines can take them. A trampoline costs less at each
/// call; a program and a trampoline for each function cost memory, and time when they are loaded.
pub(super) const MANY: usize = 16;

/// Functions that are hooked together: their names, sorted, each once.
#[derive(Debug, Clone, Default)]
pub struct FunctionSet(Arc<[String]>);

impl FunctionSet {
    /// The functions of these names.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let names: BTreeSet<String> = names.into_iter().collect();
        Self(names.into_iter().collect())
    }

    /// Their names, in the order of their indices.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The index of a function.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.0.binary_search_by(|known| known.as_str().cmp(name)).ok()
    }
}

impl Ord for FunctionSet {
    fn cmp(&self, other: &Self) -> Ordering {
        // Hooks of one list have the same one.
        match Arc::ptr_eq(&self.0, &other.0) {
            true => Ordering::Equal,
            false => self.0.cmp(&other.0),
        }
    }
}

impl PartialOrd for FunctionSet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for FunctionSet {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for FunctionSet {}

impl Hash for FunctionSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Planner<'_> {
    /// Whether the function can be hooked together with others; else why not. `module`: whether it is of
    /// a module.
    pub(super) fn joins(
        &self,
        hook: &Hook,
        name: &str,
        id: Option<TypeId>,
        module: bool,
    ) -> Result<(), String> {
        let machine = self.machine;
        let wants = Wants::of(hook);
        if self.policy.settings.disable_kprobe_multi {
            return Err("the policy says disable-kprobe-multi".to_owned());
        }
        lacks(machine, Feature::KprobeMulti)
            .map_err(|why| format!("this kernel has no kprobe.multi ({why})"))?;
        if self.enforcing || overrides(hook) {
            return Err("its result is to be replaced".to_owned());
        }
        if wants.registers {
            return Err("the policy reads registers, of which it does not keep all".to_owned());
        }
        if module {
            return Err("it is of a module, which can go".to_owned());
        }
        attachment::kprobe(machine, name, wants)?;
        if attachment::is_denied(name) {
            return Err("it uses that function itself".to_owned());
        }
        match machine.functions.is_traceable(name) {
            Some(true) => {}
            Some(false) => return Err("ftrace cannot patch it".to_owned()),
            None => return Err("the kernel does not tell what ftrace can patch".to_owned()),
        }
        let parameters = id.and_then(|id| machine.btf.prototype(id).ok());
        let parameters = parameters.map_or(0, |prototype| prototype.params.len());
        if self.registers(id) < parameters.min(REGISTERS) {
            return Err("not all of its arguments are in registers of their own".to_owned());
        }
        let btf = &machine.btf;
        let by_rethook = btf.find_struct("fprobe").is_ok_and(|it| btf.member_exists(it, "rethook"));
        match wants.result && !by_rethook {
            true => Err("on this kernel its returns do not tell of which call they are".to_owned()),
            false => Ok(()),
        }
    }
}

/// How a function is attached that is hooked together with others, and why so; [`join`] says with which.
pub(super) fn together(name: &str) -> (Attachment, String) {
    let reason = "kprobe.multi: one program and one link for the functions of the list";
    let among = FunctionSet::default();
    (Attachment::KprobeMulti { function: name.to_owned(), among }, reason.to_owned())
}

/// Whether a hook makes calls fail.
fn overrides(hook: &Hook) -> bool {
    hook.selectors.iter().any(|selector| {
        let mut actions = selector.actions.iter().chain(&selector.return_actions);
        actions.any(|action| matches!(action.value, Action::Override(_)))
    })
}

/// Says of the hooks that are attached together with which others they are: those of the same list.
pub(super) fn join(hooks: &mut [HookPlan]) {
    let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for hook in hooks.iter() {
        if let Attachment::KprobeMulti { function, .. } = &hook.attachment {
            lists.entry(hook.place.path.clone()).or_default().push(function.clone());
        }
    }
    let sets: BTreeMap<String, FunctionSet> =
        lists.into_iter().map(|(path, names)| (path, FunctionSet::new(names))).collect();
    for hook in hooks {
        if let Attachment::KprobeMulti { among, .. } = &mut hook.attachment
            && let Some(set) = sets.get(&hook.place.path)
        {
            *among = set.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_sorted_and_have_each_function_once() {
        let set = FunctionSet::new(["b", "a", "b"].map(str::to_owned));
        assert_eq!(set.names(), ["a", "b"]);
        assert_eq!([set.index("a"), set.index("b"), set.index("c")], [Some(0), Some(1), None]);
        assert_eq!(set, FunctionSet::new(["a", "b"].map(str::to_owned)));
        assert!(set < FunctionSet::new(["a", "c"].map(str::to_owned)));
    }
}
