//! How an Override is carried out: what makes a call fail, on this kernel.
//!
//! | the hook is | first choice | else | else |
//! |---|---|---|---|
//! | an LSM hook | the program's own result | | |
//! | `security_*` | a fmod_ret program in the entry program's place | refused | |
//! | a system call | the same | `bpf_override_return` in a kprobe | deny by LSM |
//!
//! The first two ways of a system call need a kernel that injects errors into system calls; they answer in
//! place of the call, whatever it is used for. The policy's option `override-method` chooses between them.
//!
//! Deny by LSM: the program at the entry marks the thread; programs at the LSM hooks that the system call
//! passes before it takes effect ([`gates`]) return the error while the thread is in that system call.

use super::attachment::{self, Wants, lacks};
use super::gates::{Answer, Except};
use super::planner::Planner;
use super::{Attachment, gates};
use kernel::btf::{Kind, TypeId};
use kernel::features::Feature;
use policy::checked::{Action, OverrideMethod, Selector};
use std::fmt;

/// How an Override is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Denial {
    /// By the result of the hook's own program.
    Result,
    /// By a fmod_ret program in the place of the one at the entry.
    Modify,
    /// By `bpf_override_return`, which the program at the entry, a kprobe, calls.
    OverrideReturn,
    /// By programs at LSM hooks.
    Gates(Gated),
    /// Not at all: why. The policy monitors.
    Impossible(String),
}

/// Where a system call is denied by LSM.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gated {
    /// The LSM hooks, of which the call passes one.
    pub gates: Vec<Gate>,
    /// Uses of the call that pass none.
    pub except: Option<Except>,
    /// An error (positive) that the kernel takes for no answer.
    pub no_answer: Option<i32>,
}

/// An LSM hook that a system call passes before it takes effect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gate {
    /// Its name, without `bpf_lsm_`.
    pub hook: String,
    /// Type of `bpf_lsm_HOOK` in the kernel's BTF.
    pub id: TypeId,
    /// Its number ([`gates::number`]).
    pub number: u8,
}

/// Whether a number is one that LSM hooks and fmod_ret programs deny with.
pub(super) fn is_error(error: i32) -> bool {
    (-4095..0).contains(&error)
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Result => f.write_str("by the result of the LSM program"),
            Self::Modify => f.write_str("by a fmod_ret program at the entry"),
            Self::OverrideReturn => f.write_str("by bpf_override_return in a kprobe at the entry"),
            Self::Gates(Gated { gates, .. }) => {
                let names: Vec<&str> = gates.iter().map(|gate| gate.hook.as_str()).collect();
                write!(f, "by LSM, at {}", names.join(", "))
            }
            Self::Impossible(why) => write!(f, "not carried out: {why}"),
        }
    }
}

impl Planner<'_> {
    /// How the hook's Overrides are carried out, or why its Sets are not; `None`: there is nothing to say. `syscall`: the name of the system
    /// call, without prefix.
    pub(super) fn denial(
        &self,
        selectors: &[Selector],
        attachment: &Attachment,
        syscall: Option<&str>,
    ) -> Option<Denial> {
        let sets = |one: &Selector| {
            one.actions.iter().any(|action| matches!(action.value, Action::Set { .. }))
        };
        if selectors.iter().any(sets) {
            let writes = lacks(self.machine, Feature::ProbeWriteUser);
            let why =
                |why| format!("this kernel lets no program write to memory of processes ({why})");
            return writes.err().map(|missing| Denial::Impossible(why(missing)));
        }
        let actions = |one: &Selector| {
            let mut all = one.actions.iter().chain(&one.return_actions);
            all.any(|action| matches!(action.value, Action::Override(_)))
        };
        if !selectors.iter().any(actions) {
            return None;
        }
        let late = |one: &Selector| {
            one.return_actions.iter().any(|action| matches!(action.value, Action::Override(_)))
        };
        if selectors.iter().any(late) {
            let why = "matchReturnActions are of a call that is over";
            return Some(Denial::Impossible(why.to_owned()));
        }
        // Only bpf_override_return gives what is no error.
        let all = selectors.iter().flat_map(|one| &one.actions);
        let errors = all.into_iter().all(|action| match action.value {
            Action::Override(error) => is_error(error),
            _ => true,
        });
        Some(self.means(attachment, syscall, errors))
    }

    /// What makes a call fail that is hooked so. `syscall`: as above; `errors`: whether all that it is to
    /// give are errors.
    pub(super) fn means(
        &self,
        attachment: &Attachment,
        syscall: Option<&str>,
        errors: bool,
    ) -> Denial {
        let found = match (attachment, syscall) {
            (Attachment::Lsm { id, .. }, _) => self.decides(*id).map(|()| Denial::Result),
            (Attachment::Trampoline { function, syscall: false, .. }, _)
                if function.starts_with("security_") =>
            {
                self.of_security_function()
            }
            (_, Some(name)) => self.of_syscall(attachment, name, errors),
            _ => Err("only system calls, LSM hooks and functions `security_*` on kernels with \
                      trampolines can be made to fail"
                .to_owned()),
        };
        found.unwrap_or_else(Denial::Impossible)
    }

    fn of_security_function(&self) -> Result<Denial, String> {
        match self.policy.settings.override_method {
            Some(OverrideMethod::OverrideReturn) => Err("bpf_override_return does not reach \
                 functions `security_*`: leave the option `override-method` out"
                .to_owned()),
            _ => lacks(self.machine, Feature::FmodRet).map(|()| Denial::Modify),
        }
    }

    fn of_syscall(
        &self,
        attachment: &Attachment,
        name: &str,
        errors: bool,
    ) -> Result<Denial, String> {
        let modify = match attachment {
            Attachment::Trampoline { .. } => lacks(self.machine, Feature::FmodRetSyscall),
            _ => Err("its entry is not hooked by trampoline".to_owned()),
        };
        let replace = match attachment {
            Attachment::Trampoline { function, .. } | Attachment::Kprobe { function, .. } => {
                let wants = Wants { result: false, registers: false, fentry: false };
                attachment::kprobe(self.machine, function, wants)
                    .and_then(|()| lacks(self.machine, Feature::OverrideReturn))
            }
            _ => Err("its entry is not hooked by kprobe".to_owned()),
        };
        let chosen = |method: &str, why: String| {
            let gates = self.gates(name).map(|gated| Denial::Gates(gated).to_string());
            let without = gates.map(|way| format!(", and it is denied {way}")).unwrap_or_default();
            format!("`override-method: {method}` is not to be had ({why}): leave it out{without}")
        };
        match (self.policy.settings.override_method, modify, replace) {
            (None, _, Ok(())) if !errors => Ok(Denial::OverrideReturn),
            (None | Some(OverrideMethod::FmodRet), Ok(()), _) => Ok(Denial::Modify),
            (None | Some(OverrideMethod::OverrideReturn), _, Ok(())) => Ok(Denial::OverrideReturn),
            (Some(OverrideMethod::FmodRet), Err(why), _) => Err(chosen("fmod-ret", why)),
            (Some(OverrideMethod::OverrideReturn), _, Err(why)) => {
                Err(chosen("override-return", why))
            }
            (None, Err(_), Err(_)) => self.gates(name).map(Denial::Gates).map_err(|why| {
                format!(
                    "{why} (and the kernel injects no errors into system calls, which would do \
                     without)"
                )
            }),
        }
    }

    /// Whether the result of an LSM hook decides about anything.
    fn decides(&self, id: TypeId) -> Result<(), String> {
        let btf = &self.machine.btf;
        let prototype = btf.prototype(id).map_err(|error| error.to_string())?;
        match btf.name(prototype.ret) {
            "int" => Ok(()),
            _ => Err("the hook only tells what happened: its result makes nothing fail".to_owned()),
        }
    }

    /// What users should know of how a system call is denied by LSM.
    pub(super) fn remarks(syscall: &str) -> Vec<String> {
        let Ok(gates) = gates::of(syscall) else { return Vec::new() };
        let mut remarks = Vec::new();
        match gates.answer {
            Answer::Policy | Answer::PolicyExcept(_) => {}
            Answer::Always(error) => {
                remarks.push(format!("the caller gets error {error}, whatever argError says"));
            }
            Answer::PolicyOr(error, uses) => {
                remarks.push(format!("with {uses} the caller gets error {error}"));
            }
            Answer::Silent(what) => remarks.push(format!("the caller gets no error: {what}")),
        }
        remarks.extend(gates.harmless.map(|what| format!("not denied: {what}")));
        remarks
    }

    fn gates(&self, syscall: &str) -> Result<Gated, String> {
        lacks(self.machine, Feature::Lsm)
            .map_err(|why| format!("this kernel runs no LSM programs ({why})"))?;
        let btf = &self.machine.btf;
        let id = |hook: &str| btf.find(Kind::Func, &format!("bpf_lsm_{hook}"));
        let gates = gates::of(syscall).map_err(|error| error.to_string())?;
        let names = gates.hooks(btf).map_err(|error| error.to_string())?;
        let gate = |hook: &'static str| {
            Some(Gate { hook: hook.to_owned(), id: id(hook)?, number: gates::number(hook)? })
        };
        let no_answer = match gates.answer {
            Answer::PolicyExcept(error) => Some(error),
            _ => None,
        };
        let (gates, except) = (names.into_iter().filter_map(gate).collect(), gates.except);
        Ok(Gated { gates, except, no_answer })
    }
}
