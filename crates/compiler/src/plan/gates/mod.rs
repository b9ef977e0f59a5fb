//! Which hooks of the kernel's security modules each system call passes before it takes effect.
//!
//! Override of a system call means that it does not happen and gives the policy's error. Kernels
//! without error injection have no way to answer at the call's entry. There the entry marks the task,
//! and LSM programs at the hooks listed here answer for a marked task: *deny by LSM*. What must hold of
//! an entry: whatever successful way the call takes, it passes one of the hooks before anything has
//! changed, in the task that made the call, and the kernel hands the hook's result on to the caller.
//! Hooks without result, or whose result the kernel drops, are no gates.
//!
//! A hook is named as in the kernel's `lsm_hook_defs.h`; programs attach to `bpf_lsm_NAME`. Programs
//! that give 0 leave the decision to the hook's default (`LSM_RET_DEFAULT`), so that gates of one call
//! do not change others.
//!
//! Some of these hooks are called with spin locks held or in RCU read sections (`task_setrlimit`,
//! `task_kill`, `inode_permission`): programs at gates must not be sleepable. That of `inode_permission`
//! is called for each directory of each path that anyone looks up, and is a gate only where there is no
//! other.
//!
//! Hooks on inodes (`inode_*`) are not called for inodes that the kernel keeps to itself (`IS_PRIVATE`):
//! those of anonymous files, which have no name and no permissions that matter.

mod files;
mod processes;
#[cfg(test)]
mod tests;
mod uncovered;

use kernel::btf::{Btf, Kind};

/// What programs of LSM hooks attach to, without the hook's name.
const PREFIX: &str = "bpf_lsm_";

/// The gates of some system calls that are served alike.
#[derive(Debug)]
pub struct Gates {
    /// The system calls, by their names in the tables of x86-64 and arm64.
    pub calls: &'static [&'static str],
    /// All ways through the call; each has its gate.
    pub ways: &'static [Way],
    /// What the caller sees of the policy's error.
    pub answer: Answer,
    /// Successful uses of the call that pass no gate; `None`: there are none.
    pub except: Option<Except>,
    /// Uses that pass none and harm nobody but the caller; `None`: there are none.
    pub harmless: Option<&'static str>,
    /// Where in the kernel the hooks are called, and before what.
    pub site: &'static str,
}

/// Successful uses of a call that pass no gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Except {
    /// Which.
    pub what: &'static str,
    /// What would work for them.
    pub instead: &'static str,
}

/// The gate of one way through a system call.
#[derive(Debug, PartialEq, Eq)]
pub enum Way {
    /// The first of these hooks that the kernel has; one of them is needed.
    First(&'static [&'static str]),
    /// This hook if the kernel has it. Kernels without it do not have this way.
    IfAny(&'static str),
}

/// What the caller of a denied system call sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The policy's error.
    Policy,
    /// The policy's error, except that the kernel takes this one (positive) for "not decided": a policy
    /// with this error denies nothing.
    PolicyExcept(i32),
    /// This error (positive), whatever the policy says.
    Always(i32),
    /// The policy's error, but this one (positive) for some uses: which.
    PolicyOr(i32, &'static str),
    /// No error, as the call never tells one; a sentence on what it gives.
    Silent(&'static str),
}

/// Why a system call cannot be denied by LSM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoGate {
    /// Some of its ways pass no hook whose answer counts.
    #[error("{why}; {instead}")]
    Uncovered {
        /// Why.
        why: &'static str,
        /// What would work.
        instead: &'static str,
    },
    /// No gates are known for it.
    #[error(
        "no LSM hook is known that it passes; `Sigkill` ends its caller, and a hook on the kernel \
         function that does the work can tell of it"
    )]
    Unknown,
    /// This kernel lacks a hook.
    #[error("this kernel has no LSM hook {}", .0.join(" or "))]
    Missing(&'static [&'static str]),
    /// A hook of this kernel gives no error number.
    #[error("the LSM hook {0} of this kernel gives no error")]
    NoError(&'static str),
}

/// System calls that cannot be denied by LSM.
#[derive(Debug)]
pub struct Uncovered {
    /// Names, as in [`Gates::calls`].
    pub calls: &'static [&'static str],
    /// Why not.
    pub why: &'static str,
    /// What would work.
    pub instead: &'static str,
    /// What it changes ends with the process that makes it, so that `Sigkill` undoes it.
    pub own: bool,
}

/// All calls that have gates, by subject.
pub fn all() -> impl Iterator<Item = &'static Gates> {
    files::GATES.iter().chain(processes::GATES)
}

/// All calls that are known to have none.
pub fn uncovered() -> impl Iterator<Item = &'static Uncovered> {
    uncovered::UNCOVERED.iter()
}

/// Whether what a system call changes ends with the process that makes it.
pub fn is_own(call: &str) -> bool {
    uncovered().any(|one| one.own && one.calls.contains(&call))
}

/// The gates of a system call, by its name in the tables of x86-64 and arm64 (`symlinkat`, `umount2`).
///
/// # Errors
///
/// [`NoGate::Uncovered`] and [`NoGate::Unknown`].
pub fn of(call: &str) -> Result<&'static Gates, NoGate> {
    if let Some(gates) = all().find(|gates| gates.calls.contains(&call)) {
        return Ok(gates);
    }
    match uncovered().find(|uncovered| uncovered.calls.contains(&call)) {
        Some(&Uncovered { why, instead, .. }) => Err(NoGate::Uncovered { why, instead }),
        None => Err(NoGate::Unknown),
    }
}

/// The number of a hook among all that are gates, below [`HOOKS_MAX`].
pub fn number(hook: &str) -> Option<u8> {
    let ways = all().flat_map(|gates| gates.ways);
    let mut hooks: Vec<&str> = ways.flat_map(Way::hooks).copied().collect();
    hooks.sort_unstable();
    hooks.dedup();
    hooks.binary_search(&hook).ok().and_then(|number| u8::try_from(number).ok())
}

/// Hooks that can be gates, at most.
pub const HOOKS_MAX: usize = 128;

impl Way {
    /// The hooks that it names.
    fn hooks(&self) -> &[&'static str] {
        match self {
            Self::First(hooks) => hooks,
            Self::IfAny(hook) => std::slice::from_ref(hook),
        }
    }
}

impl Gates {
    /// The hooks that programs have to attach to on the kernel with these types: all of them are needed.
    ///
    /// # Errors
    ///
    /// [`NoGate::Missing`] if the kernel lacks a needed hook, [`NoGate::NoError`] if one gives no `int`.
    pub fn hooks(&self, btf: &Btf) -> Result<Vec<&'static str>, NoGate> {
        let mut hooks = Vec::new();
        for way in self.ways {
            let found = match way {
                Way::First(alternatives) => {
                    let found = alternatives.iter().copied().find(|hook| has(btf, hook));
                    Some(found.ok_or(NoGate::Missing(alternatives))?)
                }
                Way::IfAny(hook) => Some(*hook).filter(|hook| has(btf, hook)),
            };
            hooks.extend(found);
        }
        match hooks.iter().find(|hook| !gives_int(btf, hook)) {
            Some(hook) => Err(NoGate::NoError(hook)),
            None => Ok(hooks),
        }
    }
}

fn has(btf: &Btf, hook: &str) -> bool {
    btf.find(Kind::Func, &format!("{PREFIX}{hook}")).is_some()
}

fn gives_int(btf: &Btf, hook: &str) -> bool {
    btf.find(Kind::Func, &format!("{PREFIX}{hook}"))
        .and_then(|id| btf.prototype(id).ok())
        .is_some_and(|prototype| btf.name(btf.peel(prototype.ret)) == "int")
}

/// Calls that pass these ways and give the policy's error.
const fn gates(calls: &'static [&'static str], ways: &'static [Way], site: &'static str) -> Gates {
    Gates { calls, ways, answer: Answer::Policy, except: None, harmless: None, site }
}

impl Gates {
    const fn except(self, what: &'static str, instead: &'static str) -> Self {
        Self { except: Some(Except { what, instead }), ..self }
    }

    const fn harmless(self, what: &'static str) -> Self {
        Self { harmless: Some(what), ..self }
    }

    const fn answer(self, answer: Answer) -> Self {
        Self { answer, ..self }
    }
}
