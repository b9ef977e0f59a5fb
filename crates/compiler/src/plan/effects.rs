//! What the enforcing actions of a policy become on this kernel, for people who have to know what they can
//! rely on.

use super::{Attachment, Denial, EventKind, HookPlan, Plan};
use policy::checked::{Action, Hook};

/// What an enforcing action of a selector becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The selector, by its position.
    pub selector: usize,
    /// The action, with what it is given: `Override -1`.
    pub action: String,
    /// How it is carried out, and what of it is not: `denied by LSM, at inode_symlink`. Of a list whose
    /// functions differ, each way once.
    pub becomes: Vec<String>,
    /// Whether it is carried out always, on all functions.
    pub in_full: bool,
}

impl Plan {
    /// What the enforcing actions of one of the policy's hooks become, in the order in which they stand
    /// there. Nothing where the hook is left out.
    #[must_use]
    pub fn effects(&self, hook: &Hook) -> Vec<Effect> {
        let mut effects: Vec<Effect> = Vec::new();
        for planned in self.hooks.iter().filter(|planned| planned.place == hook.place) {
            let mut nth = 0;
            for (selector, one) in planned.selectors.iter().enumerate() {
                let entry = one.actions.iter().map(|action| (action, false));
                let all = entry.chain(one.return_actions.iter().map(|action| (action, true)));
                for (action, late) in all.filter(|(action, _)| action.value.is_enforcing()) {
                    let (becomes, in_full) = self.becomes(&action.value, planned, late);
                    if nth == effects.len() {
                        let action = named(&action.value);
                        let becomes = Vec::new();
                        effects.push(Effect { selector, action, becomes, in_full: true });
                    }
                    let effect = &mut effects[nth];
                    effect.in_full &= in_full;
                    if !effect.becomes.contains(&becomes) {
                        effect.becomes.push(becomes);
                    }
                    nth += 1;
                }
            }
        }
        effects
    }

    /// How an action is carried out, and whether that is always so.
    fn becomes(&self, action: &Action, hook: &HookPlan, late: bool) -> (String, bool) {
        let when = if late { "when the call returns" } else { moment(hook) };
        let how = match action {
            Action::Override(_) => match &hook.denial {
                Some(Denial::Gates(_) | Denial::Result) => format!("denied {}", shown(hook)),
                _ => format!("the call is not made, {}", shown(hook)),
            },
            Action::NotifyEnforcer { error: 0, .. } => "signal at the enforcer's calls".to_owned(),
            Action::NotifyEnforcer { .. } => self.enforced(),
            Action::Set { .. } => "the argument is overwritten, by bpf_probe_write_user".to_owned(),
            _ => format!("signal sent {when}"),
        };
        match self.shortfall(action, hook) {
            None => (how, true),
            Some((true, why)) => (why, false),
            Some((false, why)) => (format!("{how}; {why}"), false),
        }
    }

    /// How the calls of the enforcer fail, with their number for each way.
    fn enforced(&self) -> String {
        let mut ways: Vec<(String, usize)> = Vec::new();
        for call in &self.enforcers {
            let way = call.denial.as_ref().map(Denial::to_string).unwrap_or_default();
            match ways.iter_mut().find(|(known, _)| *known == way) {
                Some((_, count)) => *count += 1,
                None => ways.push((way, 1)),
            }
        }
        let told = |(way, count): &(String, usize)| match count {
            1 => format!("1 call {way}"),
            count => format!("{count} calls {way}"),
        };
        let ways: Vec<String> = ways.iter().map(told).collect();
        format!("the enforcer's calls fail: {}", ways.join("; "))
    }
}

/// When a hook sees what it is about.
fn moment(hook: &HookPlan) -> &'static str {
    match (&hook.event, &hook.attachment) {
        (_, Attachment::Lsm { .. }) => "at the LSM hook",
        (EventKind::Tracepoint { .. }, _) => "at the tracepoint",
        (EventKind::Uprobe { .. } | EventKind::Usdt { .. }, _) => "at the instruction",
        _ => "at the entry",
    }
}

fn shown(hook: &HookPlan) -> String {
    hook.denial.as_ref().map(Denial::to_string).unwrap_or_default()
}

/// The action as it stands in policies, with what it is given.
fn named(action: &Action) -> String {
    match action {
        Action::Sigkill => "Sigkill".to_owned(),
        Action::Signal(signal) => format!("Signal {signal}"),
        Action::Override(error) => format!("Override {error}"),
        Action::SetRegisters(_) => "Override".to_owned(),
        Action::NotifyEnforcer { error, signal } => {
            format!("NotifyEnforcer with error {error}, signal {signal}")
        }
        Action::Set { value, .. } => format!("Set {value}"),
        other => format!("{other:?}"),
    }
}
