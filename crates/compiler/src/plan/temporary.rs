//! Stands in for the planner until it is there: system calls with declared types only. To be removed.

use super::*;
impl Plan {
    pub fn new(policy: Arc<CheckedPolicy>, _m: &crate::Machine) -> Result<Self, policy::Problems> {
        use policy::checked::{Argument, Call, Target};
        let input = |a: &Argument, source: Source| Input {
            place: a.place.clone(),
            kind: a.kind,
            label: a.label.clone(),
            source,
            hops: vec![],
            length: a.size_argument.map(|i| Source::Argument { index: i, pointee: None }),
            return_copy: a.return_copy,
            max_data: a.max_data,
        };
        let mut hooks = vec![];
        for hook in &policy.hooks {
            let Target::Kprobe(f) = &hook.target else { continue };
            let Call::Function(name) = &f.call else { continue };
            let number =
                kernel::syscalls::Abi::X64.number(name.trim_start_matches("sys_")).unwrap();
            hooks.push(Arc::new(HookPlan {
                place: hook.place.clone(),
                event: EventKind::Kprobe { function: format!("__x64_{name}") },
                attachment: Attachment::Syscall { number, compat: false },
                reason: String::new(),
                args: hook
                    .args
                    .iter()
                    .map(|a| input(a, Source::Argument { index: a.index, pointee: None }))
                    .collect(),
                data: vec![],
                returned: hook
                    .return_arg
                    .as_ref()
                    .map(|a| input(a, Source::Returned { pointee: None })),
                selectors: hook.selectors.clone(),
                message: hook.message.clone(),
                tags: hook.tags.clone(),
            }));
        }
        Ok(Plan { policy, hooks, notes: vec![] })
    }
}
