//! Lists of functions, one hook for each member.

use super::planner::Planner;
use kernel::btf::Kind;
use kernel::syscalls::Abi;
use policy::checked::{Function, Hook, List, Members, Place, SyscallAbi, SyscallName};

/// What becomes of a hook whose function does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// The policy is refused.
    Refuse,
    /// It is left out, with a note.
    LeaveOut,
}

/// From so many system calls of one list or of one policy on, they are hooked together where all system calls pass. That
/// costs something at every call; programs for each of them cost memory, and time when they are loaded.
pub(super) const MANY: usize = 64;

impl Missing {
    pub(super) fn of(ignore: bool) -> Self {
        if ignore { Self::LeaveOut } else { Self::Refuse }
    }
}

impl Planner<'_> {
    /// Says that a function does not exist.
    pub(super) fn missing(&mut self, place: &Place, missing: Missing, message: String) {
        match missing {
            Missing::Refuse => self.error(place, message),
            Missing::LeaveOut => self.note(place, format!("left out: {message}")),
        }
    }

    /// Hooks every member of the list `name`.
    pub(super) fn list(&mut self, hook: &Hook, function: &Function, name: &str) {
        let policy = self.policy;
        // The policy's own check saw to it that there is one.
        let Some(list) = policy.list(name) else { return };
        let missing = Missing::of(function.ignore_missing || list.validated);
        match &list.members {
            Members::Functions(names) => self.members(hook, names, list, missing),
            Members::Syscalls(names) => {
                let before = std::mem::replace(&mut self.of_many, names.len() >= MANY);
                for name in names {
                    self.syscall(hook, &symbol(name), &list.place, missing);
                }
                self.of_many = before;
            }
            Members::AllSyscalls => {
                let before = std::mem::replace(&mut self.of_many, true);
                self.all_syscalls(hook, list);
                self.of_many = before;
            }
            Members::Matching(pattern) => self.matching(hook, list, pattern),
        }
    }

    /// Says which system calls of a list that filters ask about do not exist. Those of other machines
    /// are never made here, which is as the policy wants it.
    pub(super) fn calls_exist(&mut self, name: &str) {
        let Some(list) = self.policy.list(name) else { return };
        let (Members::Syscalls(calls), Some(own)) = (&list.members, self.machine.abi()) else {
            return;
        };
        let missing = Missing::of(list.validated);
        for call in calls {
            let abi = call.abi.map_or(own, abi);
            if abi.number(&call.name).is_none() {
                let hint = policy::did_you_mean(&call.name, abi.iter().map(|(_, name)| name))
                    .map(|near| format!(": did you mean `sys_{near}`?"));
                let message =
                    format!("{abi} has no call `sys_{}`{}", call.name, hint.unwrap_or_default());
                self.missing(&list.place, missing, message);
            }
        }
    }

    /// The functions of a list.
    fn members(&mut self, hook: &Hook, names: &[String], list: &List, missing: Missing) {
        let functions = names.iter().filter(|name| !super::syscall::is_wrapper(name)).count();
        self.of_list = functions;
        for name in names {
            self.member(hook, name, list, missing);
        }
        self.of_list = 0;
    }

    /// A function of a list; wrappers of system calls are recognized by their names.
    fn member(&mut self, hook: &Hook, name: &str, list: &List, missing: Missing) {
        if super::syscall::is_wrapper(name) {
            self.syscall(hook, name, &list.place, missing);
        } else {
            self.function(hook, name, &list.place, missing);
        }
    }

    fn all_syscalls(&mut self, hook: &Hook, list: &List) {
        let Some(abi) = self.machine.abi() else {
            return self.error(&list.place, "the system calls of this architecture are not known");
        };
        let served: Vec<&str> =
            abi.iter().map(|(_, name)| name).filter(|name| self.is_served(abi, name)).collect();
        for name in served {
            self.syscall(hook, &format!("sys_{name}"), &list.place, Missing::LeaveOut);
        }
    }

    fn matching(&mut self, hook: &Hook, list: &List, pattern: &str) {
        let machine = self.machine;
        let Ok(pattern) = regex::Regex::new(pattern) else {
            return self.error(&list.place, "the pattern is no regular expression");
        };
        let traceable = machine.tracefs.as_ref().map(kernel::tracefs::Tracefs::filter_functions);
        let mut names: Vec<String> = match traceable {
            Some(Ok(names)) => names.into_iter().map(|(name, _)| name).collect(),
            Some(Err(error)) => {
                self.note(&list.place, format!("functions are taken from BTF instead: {error}"));
                self.described()
            }
            None => self.described(),
        };
        names.retain(|name| pattern.is_match(name));
        names.sort();
        names.dedup();
        if names.is_empty() {
            let message = format!("no function of this kernel matches `{pattern}`");
            return self.error(&list.place, message);
        }
        self.members(hook, &names, list, Missing::LeaveOut);
    }

    /// The functions in BTF.
    fn described(&self) -> Vec<String> {
        let btf = &self.machine.btf;
        btf.of_kind(Kind::Func).map(|id| btf.name(id).to_owned()).collect()
    }
}

/// The ABI of that name.
pub(crate) fn abi(written: SyscallAbi) -> Abi {
    match written {
        SyscallAbi::X64 => Abi::X64,
        SyscallAbi::I386 => Abi::I386,
        SyscallAbi::Arm64 => Abi::Arm64,
        SyscallAbi::Arm32 => Abi::Arm32,
    }
}

/// The kernel function that a list's system call names.
fn symbol(call: &SyscallName) -> String {
    let prefix = match call.abi {
        None => "",
        Some(SyscallAbi::X64) => "__x64_",
        Some(SyscallAbi::I386) => "__ia32_",
        // One wrapper serves both; only the compat table tells them apart.
        Some(SyscallAbi::Arm64) => "__arm64_",
        Some(SyscallAbi::Arm32) => "__arm64_compat_",
    };
    format!("{prefix}sys_{}", call.name)
}
