//! Which hook of a policy a recorded event would have come from, and which of its values are which.

use api::tetragon::KprobeArgument;
use api::tetragon::get_events_response::Event;
use kernel::syscalls::Abi;
use policy::CheckedPolicy;
use policy::checked::{Argument, Call, Hook, Locations, Members, Symbol, Target};
use policy::document::TypeName;

/// Whether an event comes from where a hook attaches.
pub(super) fn is_at(policy: &CheckedPolicy, hook: &Hook, event: &Event) -> bool {
    match (&hook.target, event) {
        (Target::Kprobe(function) | Target::Fentry(function), Event::ProcessKprobe(hit)) => {
            match &function.call {
                Call::Function(name) => same_function(name, &hit.function_name),
                Call::List(name) => policy
                    .list(name)
                    .is_some_and(|list| is_member(&list.members, &hit.function_name)),
            }
        }
        (Target::Tracepoint { subsystem, event, .. }, Event::ProcessTracepoint(hit)) => {
            *subsystem == hit.subsys && *event == hit.event
        }
        (Target::Lsm(name), Event::ProcessLsm(hit)) => {
            let recorded = hit.function_name.as_str();
            name == recorded.strip_prefix("bpf_lsm_").unwrap_or(recorded)
        }
        (Target::Uprobe(program), Event::ProcessUprobe(hit)) => {
            let named = |symbol: &Symbol| symbol.name == hit.symbol;
            program.path == hit.path
                && match &program.locations {
                    Locations::Symbols(symbols) => symbols.iter().any(named),
                    Locations::Offsets(offsets) | Locations::Addresses(offsets) => {
                        hit.symbol.is_empty() && offsets.contains(&hit.offset)
                    }
                }
        }
        (Target::Usdt { path, provider, name, .. }, Event::ProcessUsdt(hit)) => {
            (path, provider, name) == (&hit.path, &hit.provider, &hit.name)
        }
        _ => false,
    }
}

/// `sys_openat` and `__x64_sys_openat` are one.
fn same_function(name: &str, recorded: &str) -> bool {
    name == recorded || name.strip_prefix("sys_").is_some_and(|call| is_call(call, None, recorded))
}

/// Whether a function serves a system call, of the machine's own ABI or another.
fn is_call(call: &str, abi: Option<Abi>, recorded: &str) -> bool {
    let abis = abi.map_or_else(|| vec![Abi::X64, Abi::Arm64], |abi| vec![abi]);
    recorded.strip_prefix("sys_") == Some(call)
        || abis.into_iter().any(|abi| abi.functions(call).iter().any(|name| name == recorded))
}

fn is_member(members: &Members, recorded: &str) -> bool {
    match members {
        Members::Functions(names) => names.iter().any(|name| same_function(name, recorded)),
        Members::Syscalls(calls) => calls.iter().any(|call| {
            use policy::checked::SyscallAbi as Of;
            let abi = call.abi.map(|abi| match abi {
                Of::X64 => Abi::X64,
                Of::I386 => Abi::I386,
                Of::Arm64 => Abi::Arm64,
                Of::Arm32 => Abi::Arm32,
            });
            is_call(&call.name, abi, recorded)
        }),
        Members::AllSyscalls => !Abi::served_by(recorded).is_empty(),
        Members::Matching(pattern) => {
            regex::Regex::new(pattern).is_ok_and(|regex| regex.is_match(recorded))
        }
    }
}

/// For each value that a hook asks for, which of the recorded ones it is. `by`: the same place of the
/// policy that made the recording, if that is known; values are found by their labels otherwise.
pub(super) fn places(
    wanted: &[Argument],
    by: Option<&[Argument]>,
    recorded: &[KprobeArgument],
) -> Vec<Option<usize>> {
    // These are not reported.
    let by = by.map(|by| by.iter().filter(|one| one.kind != TypeName::Nop).collect::<Vec<_>>());
    let by = by.filter(|by| by.len() == recorded.len());
    wanted
        .iter()
        .map(|wanted| match &by {
            Some(by) => by.iter().position(|by| reads_same(wanted, by)),
            None => recorded
                .iter()
                .position(|one| !wanted.label.is_empty() && one.label == wanted.label),
        })
        .collect()
}

fn reads_same(one: &Argument, other: &Argument) -> bool {
    one.index == other.index
        && one.source == other.source
        && one.resolve == other.resolve
        && one.btf_type == other.btf_type
        && one.return_copy == other.return_copy
        && (one.kind == other.kind || one.kind.kind() == other.kind.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_calls() {
        for (name, recorded, same) in [
            ("sys_openat", "__x64_sys_openat", true),
            ("__x64_sys_openat", "__x64_sys_openat", true),
            ("sys_openat", "__arm64_sys_openat", true),
            ("sys_open", "__x64_sys_openat", false),
            ("sys_openat", "__ia32_sys_openat", false),
            ("tcp_connect", "tcp_connect", true),
            ("tcp_connect", "tcp_connect_init", false),
        ] {
            assert_eq!(same_function(name, recorded), same, "{name} {recorded}");
        }
    }
}
