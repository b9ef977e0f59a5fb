//! What became of each hook of a policy in force, and of what it is to enforce. Only hooks of functions, of
//! the kernel or of programs, can be left out.

use api::tetragon::{EffectiveAction, HookState, HookStatus};
use compiler::plan::Effect;
use policy::Policy;
use policy::checked::{Call, Function, Locations, Members, Program, Symbol, Target};

use super::Measures;
use super::actions::index_in_section;

/// Section of the policy that hooks of kernel functions are said to stand in; that of `fentries` is the
/// same to clients.
const FUNCTIONS: &str = "kprobes";
/// Section of those of programs' functions.
const PROGRAMS: &str = "uprobes";
/// Those of the others.
const TRACEPOINTS: &str = "tracepoints";
const LSM: &str = "lsmhooks";
const USDTS: &str = "usdts";

/// All hooks. `places` says for each hook of the policy how many places it is attached to, `measures` how,
/// and what its enforcing actions become, if that is known.
pub(super) fn statuses(policy: &Policy, places: &[usize], measures: &Measures) -> Vec<HookStatus> {
    let mut statuses = Vec::new();
    for (at, (hook, &places)) in policy.hooks.iter().zip(places).enumerate() {
        let of_function = |function| (FUNCTIONS, state(policy, function, places), call(function));
        let there = |section, description| (section, HookState::StatusLoaded, description);
        let (section, state, hook_description) = match &hook.target {
            Target::Kprobe(function) | Target::Fentry(function) => of_function(function),
            Target::Uprobe(program) => (PROGRAMS, of_program(places), locations(program)),
            Target::Tracepoint { subsystem, event, .. } => {
                there(TRACEPOINTS, format!("{subsystem}/{event}"))
            }
            Target::Lsm(name) => there(LSM, name.clone()),
            Target::Usdt { path, provider, name, .. } => {
                there(USDTS, format!("{path}:{provider}/{name}"))
            }
        };
        let effects = measures.effects.get(at).into_iter().flatten();
        let ways = measures.ways.get(at).into_iter().flatten();
        statuses.push(HookStatus {
            section: section.to_owned(),
            state: state.into(),
            hook_description,
            hook_idx: index_in_section(policy, at),
            effective_actions: effects.map(|effect| effective(policy, at, effect)).collect(),
            attachments: ways.map(way).collect(),
        });
    }
    statuses
}

/// `fentry`, `kprobe.multi x100`
fn way(&(name, places): &(&str, usize)) -> String {
    match places {
        1 => name.to_owned(),
        places => format!("{name} x{places}"),
    }
}

fn effective(policy: &Policy, hook: usize, effect: &Effect) -> EffectiveAction {
    let selector = policy.hooks.get(hook).and_then(|hook| hook.selectors.get(effect.selector));
    EffectiveAction {
        selector_index: effect.selector as u32,
        selector_label: selector.map(|one| one.label.clone()).unwrap_or_default(),
        action: effect.action.clone(),
        becomes: effect.becomes.join("; or "),
        in_full: effect.in_full,
    }
}

pub(super) fn call(function: &Function) -> String {
    match &function.call {
        Call::Function(name) => name.clone(),
        Call::List(name) => format!("list:{name}"),
    }
}

/// A program's functions are all there or the policy is refused, unless the file is another one than
/// wanted and that is ignored.
fn of_program(places: usize) -> HookState {
    match places {
        0 => HookState::StatusDigestRejected,
        _ => HookState::StatusLoaded,
    }
}

/// `/bin/bash:readline,main`, `/bin/bash:offsets=4096`, `/bin/bash:addrs=4198400`
pub(super) fn locations(program: &Program) -> String {
    let numbers =
        |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let locations = match &program.locations {
        Locations::Symbols(symbols) => {
            let name = |symbol: &Symbol| match symbol.offset {
                0 => symbol.name.clone(),
                offset => format!("{}+{offset:#x}", symbol.name),
            };
            symbols.iter().map(name).collect::<Vec<_>>().join(",")
        }
        Locations::Offsets(offsets) => format!("offsets={}", numbers(offsets)),
        Locations::Addresses(addresses) => format!("addrs={}", numbers(addresses)),
    };
    format!("{}:{locations}", program.path)
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
        let ways = vec![vec![("fentry", 1)], vec![], vec![("fentry", 2), ("kprobe", 1)]];
        let measures = Measures { ways, ..Measures::default() };
        let statuses = statuses(&policy, &[1, 0, 3, 2, 400, 1, 1], &measures);
        assert_eq!(statuses[0].attachments, ["fentry"]);
        assert_eq!(statuses[2].attachments, ["fentry x2", "kprobe"]);
        assert!(statuses[1].attachments.is_empty() && statuses[6].attachments.is_empty());
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
            (0, "file_open", HookState::StatusLoaded),
        ];
        assert_eq!(told, expected);
        let (lsm, functions) = statuses.split_last().unwrap();
        assert!(functions.iter().all(|status| status.section == "kprobes"));
        assert_eq!(lsm.section, "lsmhooks");
    }

    #[test]
    fn of_programs_by_their_locations() {
        let text = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\n\
            spec:\n  uprobes:\n  - {path: /bin/a, symbols: [main, main+0x10]}\n  \
            - {path: /bin/b, offsets: [1, 2]}\n  - {path: /bin/b, addrs: [3]}\n";
        let policy = CheckedPolicy::read("p.yaml", text).unwrap();
        let statuses = statuses(&policy, &[2, 2, 0], &Measures::default());
        let told: Vec<_> = statuses
            .iter()
            .map(|status| (status.hook_idx, status.hook_description.as_str(), status.state()))
            .collect();
        let expected = [
            (0, "/bin/a:main,main+0x10", HookState::StatusLoaded),
            (1, "/bin/b:offsets=1,2", HookState::StatusLoaded),
            (2, "/bin/b:addrs=3", HookState::StatusDigestRejected),
        ];
        assert_eq!(told, expected);
        assert!(statuses.iter().all(|status| status.section == "uprobes"));
    }
}
