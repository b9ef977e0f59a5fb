//! Which enforcing actions of a policy are carried out on this kernel, and which are not, or not always.

use super::denial::Gated;
use super::planner::called;
use super::{Denial, EventKind, HookPlan, Plan, gates};
use policy::Problem;
use policy::checked::{Action, Mode};

/// What is missing of an enforcing action.
enum Shortfall {
    /// It is not carried out.
    All(String),
    /// It is carried out, but not always.
    Part(String),
}

impl Shortfall {
    fn why(self) -> String {
        match self {
            Self::All(why) => format!("is not carried out: {why}"),
            Self::Part(why) => format!("is not carried out in all cases: {why}"),
        }
    }
}

/// Signal 9.
const SIGKILL: u8 = 9;

impl Plan {
    /// Enforcing actions that are not carried out on this kernel in all cases, with the reason for each.
    #[must_use]
    pub fn not_enforced(&self) -> Vec<Problem> {
        // The functions of a list all give the same word.
        let mut problems: Vec<Problem> = Vec::new();
        for hook in &self.hooks {
            for action in actions(hook) {
                let Err(shortfall) = self.judge(&action.value, hook) else { continue };
                let message = format!("{} {}", name(&action.value), shortfall.why());
                let place = &action.place;
                let problem = Problem { mark: place.mark, path: place.path.clone(), message };
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
        }
        problems
    }

    /// The mode that the policy has on this kernel until it is changed: one of whose enforcing actions none
    /// is carried out monitors.
    #[must_use]
    pub fn mode(&self) -> Mode {
        let mut actions = self
            .hooks
            .iter()
            .flat_map(|hook| actions(hook).map(move |action| self.judge(&action.value, hook)));
        match self.policy.mode() {
            Mode::Enforce if actions.all(|one| matches!(one, Err(Shortfall::All(_)))) => {
                Mode::Monitor
            }
            mode => mode,
        }
    }

    /// What is missing of an action: whether all of it, and why.
    pub(super) fn shortfall(&self, action: &Action, hook: &HookPlan) -> Option<(bool, String)> {
        let shortfall = self.judge(action, hook).err()?;
        Some((
            matches!(shortfall, Shortfall::All(_)),
            shortfall.why().trim_start_matches("is ").to_owned(),
        ))
    }

    fn judge(&self, action: &Action, hook: &HookPlan) -> Result<(), Shortfall> {
        match action {
            Action::Override(error) => hook.denial.as_ref().map_or(Ok(()), |by| denies(by, *error)),
            Action::NotifyEnforcer { error, signal } => self.enforcers_act(*error, *signal),
            Action::SetRegisters(_) => {
                let why = "changes registers of the process, which this version does on no kernel: \
                           Sigkill ends the process instead, and Set in `usdts` changes an argument \
                           that is in memory";
                Err(Shortfall::All(why.to_owned()))
            }
            Action::Set { .. } => match &hook.denial {
                Some(Denial::Impossible(why)) => Err(Shortfall::All(why.clone())),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Whether the enforcers do what they are told.
    fn enforcers_act(&self, error: i32, signal: u8) -> Result<(), Shortfall> {
        // Without an error there is only a signal, which can be sent anywhere.
        if error == 0 {
            return Ok(());
        }
        // Calls by reason, and how many cannot be made to fail at all.
        let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
        let mut none = 0;
        for enforcer in &self.enforcers {
            let (Some(by), EventKind::Kprobe { function }) = (&enforcer.denial, &enforcer.event)
            else {
                continue;
            };
            let called = called(&enforcer.event, &enforcer.attachment);
            let own = called.is_some_and(gates::is_own);
            let why = match denies(by, error) {
                Ok(()) => continue,
                Err(Shortfall::All(_)) if signal == SIGKILL && own => continue,
                Err(Shortfall::Part(why)) => why,
                Err(Shortfall::All(why)) => {
                    none += 1;
                    why
                }
            };
            match reasons.iter_mut().find(|(known, _)| *known == why) {
                Some((_, functions)) => functions.push(function),
                None => reasons.push((why, vec![function])),
            }
        }
        let say =
            |(why, functions): &(String, Vec<&str>)| format!("{}: {why}", functions.join(", "));
        let said = reasons.iter().map(say).collect::<Vec<_>>().join("; ");
        match (reasons.is_empty(), none == self.enforcers.len() && signal == 0) {
            (true, _) => Ok(()),
            (false, true) => Err(Shortfall::All(said)),
            (false, false) => Err(Shortfall::Part(said)),
        }
    }
}

/// What a shortfall is of.
fn name(action: &Action) -> &'static str {
    match action {
        Action::Override(_) => "Override",
        Action::SetRegisters(_) => "Override of a uprobe",
        Action::NotifyEnforcer { .. } => "NotifyEnforcer",
        Action::Set { .. } => "Set",
        _ => "the action",
    }
}

/// Whether a call is made to fail with an error, whatever it is used for.
fn denies(by: &Denial, error: i32) -> Result<(), Shortfall> {
    match by {
        Denial::Impossible(why) => Err(Shortfall::All(why.clone())),
        Denial::Result | Denial::Modify | Denial::Gates(_) if error == 0 => {
            let why = "with argError 0 the call happens: only bpf_override_return, on kernels that \
                       inject errors into system calls, makes one give 0 without";
            Err(Shortfall::All(why.to_owned()))
        }
        Denial::Gates(Gated { no_answer: Some(none), .. }) if error == -none => {
            let why = format!("the kernel takes argError {error} for no answer: choose another");
            Err(Shortfall::All(why))
        }
        Denial::Gates(Gated { except: Some(except), .. }) => {
            Err(Shortfall::Part(format!("not {}; {}", except.what, except.instead)))
        }
        _ => Ok(()),
    }
}

fn actions(hook: &HookPlan) -> impl Iterator<Item = &policy::checked::Placed<Action>> {
    let selectors = hook.selectors.iter();
    let actions = selectors.flat_map(|one| one.actions.iter().chain(&one.return_actions));
    actions.filter(|action| action.value.is_enforcing())
}
