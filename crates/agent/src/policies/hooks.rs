//! What became of each hook of a policy in force. Only hooks of functions can be left out, so only
//! those are told.

use api::tetragon::{HookState, HookStatus};
use policy::Policy;
use policy::checked::{Call, Function, Members, Target};

/// Section of the policy that such hooks are said to stand in; that of `fentries` is the same to
/// clients.
const SECTION: &str = "kprobes";

/// The hooks of functions. `places` says for each hook of the policy how many places it is attached to.
pub(super) fn statuses(policy: &Policy, places: &[usize]) -> Vec<HookStatus> {
    let (mut kprobes, mut fentries) = (0, 0);
    let mut statuses = Vec::new();
    for (hook, &places) in policy.hooks.iter().zip(places) {
        let (function, index) = match &hook.target {
            Target::Kprobe(function) => (function, &mut kprobes),
            Target::Fentry(function) => (function, &mut fentries),
            _ => continue,
        };
        statuses.push(HookStatus {
            section: SECTION.to_owned(),
            state: state(policy, function, places).into(),
            hook_description: match &function.call {
                Call::Function(name) => name.clone(),
                Call::List(name) => format!("list:{name}"),
            },
            hook_idx: *index,
        });
        *index += 1;
    }
    statuses
}

fn state(policy: &Policy, function: &Function, places: usize) -> HookState {
    let wanted = match &function.call {
        Call::Function(_) => 1,
        Call::List(name) => match policy.list(name).map(|list| &list.members) {
            Some(Members::Functions(names)) => names.len(),
            Some(Members::Syscalls(names)) => names.len(),
            // Whatever there is, is what was asked for.
            Some(Members::AllSyscalls | Members::Matching(_)) | None => 1,
        },
    };
    match places {
        0 => HookState::StatusCallNotFound,
        some if some < wanted => HookState::StatusPartialCallNotFound,
        _ => HookState::StatusLoaded,
    }
}

#[cfg(test)]
mod tests {
    use policy::CheckedPolicy;

    use super::*;

    #[test]
    fn by_number_of_places() {
        let text = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\n\
            spec:\n  lists:\n  - {name: three, type: syscalls, values: [sys_dup, sys_dup2, sys_dup3]}\n  \
            - {name: all, type: generated_syscalls}\n  \
            kprobes:\n  - {call: sys_mount}\n  - {call: sys_gone}\n  - {call: 'list:three'}\n  \
            - {call: 'list:three'}\n  - {call: 'list:all'}\n  lsmhooks:\n  - {hook: file_open}\n  \
            fentries:\n  - {call: sys_dup}\n";
        let policy = CheckedPolicy::read("p.yaml", text).unwrap();
        // The order of hooks is that of sections: kprobes, fentries, ..., lsmhooks.
        let statuses = statuses(&policy, &[1, 0, 3, 2, 400, 1, 1]);
        let told: Vec<_> = statuses
            .iter()
            .map(|status| (status.hook_idx, status.hook_description.as_str(), status.state()))
            .collect();
        let expected = [
            (0, "sys_mount", HookState::StatusLoaded),
            (1, "sys_gone", HookState::StatusCallNotFound),
            (2, "list:three", HookState::StatusLoaded),
            (3, "list:three", HookState::StatusPartialCallNotFound),
            (4, "list:all", HookState::StatusLoaded),
            (0, "sys_dup", HookState::StatusLoaded),
        ];
        assert_eq!(told, expected);
        assert!(statuses.iter().all(|status| status.section == "kprobes"));
    }
}
