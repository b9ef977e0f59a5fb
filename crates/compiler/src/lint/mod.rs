//! What a policy that enforces does not stop although it may look so: one warning for each way past it
//! that is known, with what would close it.
//!
//! - `late`: signals that come when the effect has been had
//! - `rewritten`: decisions about memory that the caller can change
//! - `renamed`: decisions about names that files do not keep
//! - `bypassed`: other ways to the same effect
//!
//! A lint looks at a rule: a selector with an enforcing action, at one place. It is told once for all
//! places that a list stands for. There are no lints for policies that monitor only.

mod bypassed;
mod effects;
mod late;
mod renamed;
mod rewritten;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use kernel::btf::Btf;
use policy::Problem;
use policy::checked::{Mode, Selector};

use crate::plan::{Attachment, EventKind, HookPlan, Plan, stem};

/// A selector with an enforcing action, at one place.
struct Rule<'p> {
    plan: &'p Plan,
    btf: &'p Btf,
    hook: &'p HookPlan,
    selector: &'p Selector,
    at: At<'p>,
}

/// Where a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At<'p> {
    /// A system call, by its name in the kernel's tables.
    Syscall(&'p str),
    /// An LSM hook, or the function `security_*` that calls it, by the hook's name.
    Security(&'p str),
}

/// What this kernel lets slip past a policy, by place in the policy.
#[must_use]
pub fn lints(plan: &Plan, btf: &Btf) -> Vec<Problem> {
    let mut lints = Vec::new();
    if plan.policy.mode() == Mode::MonitorOnly {
        return lints;
    }
    let judges = [late::judge, rewritten::judge, renamed::judge, bypassed::judge];
    let mut told = BTreeSet::new();
    for hook in &plan.hooks {
        let Some(at) = at(hook) else { continue };
        for selector in hook.selectors.iter().filter(|selector| enforces(selector)) {
            let rule = Rule { plan, btf, hook, selector, at };
            for (index, judge) in judges.iter().enumerate() {
                let Some(message) = judge(&rule) else { continue };
                let (mark, path) = (selector.place.mark, selector.place.path.clone());
                // Once for all functions of a list.
                if told.insert((path.clone(), index)) {
                    lints.push(Problem { mark, path, message });
                }
            }
        }
    }
    lints
}

fn enforces(selector: &Selector) -> bool {
    selector.actions.iter().any(|action| action.value.is_enforcing())
}

fn at(hook: &HookPlan) -> Option<At<'_>> {
    let syscall = match &hook.attachment {
        Attachment::Trampoline { syscall, .. } | Attachment::Kprobe { syscall, .. } => *syscall,
        Attachment::Syscall { .. } => true,
        _ => false,
    };
    match &hook.event {
        EventKind::Kprobe { function } if syscall => stem(function).map(At::Syscall),
        EventKind::Kprobe { function } => function.strip_prefix("security_").map(At::Security),
        EventKind::Lsm { hook } => Some(At::Security(hook)),
        _ => None,
    }
}

/// `a, b and c`
fn joined(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}
