//! How an Override is carried out: what makes a call fail, on this kernel.
//!
//! | the hook is | first choice | else |
//! |---|---|---|
//! | an LSM hook | the program's own result | |
//! | `security_*` | a fmod_ret program in the entry program's place | refused |
//! | a system call | the same, where the kernel injects errors into system calls | deny by LSM |
//!
//! Deny by LSM: the program at the entry marks the thread; programs at the LSM hooks that the system call
//! passes before it takes effect ([`gates`]) return the error while the thread is in that system call.

use super::attachment::lacks;
use super::gates::Answer;
use super::planner::Planner;
use super::{Attachment, Plan, gates};
use kernel::btf::{Kind, TypeId};
use kernel::features::Feature;
use policy::Problem;
use policy::checked::{Action, Mode, Placed, Selector};
use std::fmt;

/// Whether an enforcing action of a hook is carried out; else why not.
fn carried_out(action: &Action, denial: Option<&Denial>) -> Result<(), String> {
    let never = |name: &str| Err(format!("{name} is not carried out by this version"));
    match action {
        Action::Override(_) => match denial {
            Some(Denial::Impossible(why)) => Err(format!("Override is not carried out: {why}")),
            _ => Ok(()),
        },
        Action::SetRegisters(_) => never("Override of a uprobe"),
        Action::NotifyEnforcer { .. } => never("NotifyEnforcer"),
        Action::Set { .. } => never("Set"),
        _ => Ok(()),
    }
}

/// How an Override is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Denial {
    /// By the result of the hook's own program.
    Result,
    /// By a fmod_ret program in the place of the one at the entry.
    Modify,
    /// By programs at these LSM hooks, of which the system call passes one.
    Gates(Vec<Gate>),
    /// Not at all: why. The policy monitors.
    Impossible(String),
}

/// An LSM hook that a system call passes before it takes effect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gate {
    /// Its name, without `bpf_lsm_`.
    pub hook: String,
    /// Type of `bpf_lsm_HOOK` in the kernel's BTF.
    pub id: TypeId,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Result => f.write_str("by the result of the LSM program"),
            Self::Modify => f.write_str("by a fmod_ret program at the entry"),
            Self::Gates(gates) => {
                let names: Vec<&str> = gates.iter().map(|gate| gate.hook.as_str()).collect();
                write!(f, "by LSM, at {}", names.join(", "))
            }
            Self::Impossible(why) => write!(f, "not carried out: {why}"),
        }
    }
}

impl Plan {
    /// Enforcing actions that are not carried out on this kernel, with the reason for each.
    #[must_use]
    pub fn not_enforced(&self) -> Vec<Problem> {
        let judged = self.enforcing().filter_map(|(action, denial)| {
            let why = carried_out(&action.value, denial).err()?;
            let place = &action.place;
            Some(Problem { mark: place.mark, path: place.path.clone(), message: why })
        });
        // The functions of a list all give the same word.
        let mut problems: Vec<Problem> = Vec::new();
        for problem in judged {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        problems
    }

    /// The mode that the policy has on this kernel until it is changed: one of whose enforcing actions none
    /// is carried out monitors.
    #[must_use]
    pub fn mode(&self) -> Mode {
        let enforces = |(action, denial): (&Placed<Action>, Option<&Denial>)| {
            carried_out(&action.value, denial).is_ok()
        };
        match self.policy.mode() {
            Mode::Enforce if !self.enforcing().any(enforces) => Mode::Monitor,
            mode => mode,
        }
    }

    fn enforcing(&self) -> impl Iterator<Item = (&Placed<Action>, Option<&Denial>)> {
        self.hooks.iter().flat_map(|hook| {
            let selectors = hook.selectors.iter();
            let actions = selectors.flat_map(|one| one.actions.iter().chain(&one.return_actions));
            let enforcing = actions.filter(|action| action.value.is_enforcing());
            enforcing.map(|action| (action, hook.denial.as_ref()))
        })
    }
}

impl Planner<'_> {
    /// How the hook's Overrides are carried out; `None`: it has none. `syscall`: the name of the system
    /// call, without prefix.
    pub(super) fn denial(
        &self,
        selectors: &[Selector],
        attachment: &Attachment,
        syscall: Option<&str>,
    ) -> Option<Denial> {
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
        Some(match (attachment, syscall) {
            (Attachment::Lsm { id, .. }, _) => match self.decides(*id) {
                Ok(()) => Denial::Result,
                Err(why) => Denial::Impossible(why),
            },
            (Attachment::Trampoline { function, syscall: false, .. }, _)
                if function.starts_with("security_") =>
            {
                match lacks(self.machine, Feature::FmodRet) {
                    Ok(()) => Denial::Modify,
                    Err(why) => Denial::Impossible(why),
                }
            }
            (Attachment::Trampoline { syscall: true, .. }, Some(_))
                if lacks(self.machine, Feature::FmodRetSyscall).is_ok() =>
            {
                Denial::Modify
            }
            (_, Some(name)) => match self.gates(name) {
                Ok(gates) => Denial::Gates(gates),
                Err(why) => Denial::Impossible(format!(
                    "{why} (and the kernel injects no errors into system calls, which would do \
                     without)"
                )),
            },
            _ => Denial::Impossible(
                "only system calls, LSM hooks and functions `security_*` on kernels with \
                 trampolines can be made to fail"
                    .to_owned(),
            ),
        })
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
    pub(super) fn remarks(syscall: &str, selectors: &[Selector]) -> Vec<String> {
        let Ok(gates) = gates::of(syscall) else { return Vec::new() };
        let mut remarks = Vec::new();
        match gates.answer {
            Answer::Policy => {}
            Answer::PolicyExcept(error) => {
                let all = selectors.iter().flat_map(|one| &one.actions);
                if all.into_iter().any(|action| action.value == Action::Override(-error)) {
                    remarks.push(format!(
                        "argError: -{error} denies nothing: the kernel takes it for no answer; choose another"
                    ));
                }
            }
            Answer::Always(error) => {
                remarks.push(format!("the caller gets error {error}, whatever argError says"));
            }
            Answer::Silent(what) => remarks.push(format!("the caller gets no error: {what}")),
        }
        remarks.extend(gates.except.map(|except| format!("not denied: {except}")));
        remarks
    }

    fn gates(&self, syscall: &str) -> Result<Vec<Gate>, String> {
        lacks(self.machine, Feature::Lsm)
            .map_err(|why| format!("this kernel runs no LSM programs ({why})"))?;
        let btf = &self.machine.btf;
        let id = |hook: &str| btf.find(Kind::Func, &format!("bpf_lsm_{hook}"));
        let gates = gates::of(syscall).map_err(|error| error.to_string())?;
        let names = gates.hooks(btf).map_err(|error| error.to_string())?;
        let gate = |hook: &'static str| Some(Gate { hook: hook.to_owned(), id: id(hook)? });
        Ok(names.into_iter().filter_map(gate).collect())
    }
}
