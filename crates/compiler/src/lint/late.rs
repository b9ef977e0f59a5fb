//! A signal is handled when the call returns (`exit_to_user_mode_loop()`): what the call does has happened
//! then. Only calls whose effects outlive the caller are told of; of others it has nothing when it is dead.

use policy::checked::Action;

use super::{At, Rule, effects};
use crate::plan::gates;

pub(super) fn judge(rule: &Rule<'_>) -> Option<String> {
    let actions = rule.selector.actions.iter().map(|action| &action.value);
    let (mut signal, mut denied) = (None, false);
    for action in actions {
        match action {
            Action::Sigkill => signal = Some("Sigkill"),
            Action::Signal(_) => signal = Some("Signal"),
            _ => denied |= action.is_enforcing(),
        }
    }
    let signal = signal.filter(|_| !denied)?;
    let (what, lasts) = match rule.at {
        At::Syscall(name) => (format!("the system call {name}"), effects::CALLS.contains(&name)),
        At::Security(hook) => {
            (format!("what {hook} is asked about"), effects::HOOKS.contains(&hook))
        }
    };
    if !lasts {
        return None;
    }
    let instead = match rule.at {
        At::Syscall(name) => match gates::of(name) {
            Ok(_) => "add `{action: Override, argError: -1}`, which denies it".to_owned(),
            Err(why) => format!("to deny it: {why}"),
        },
        At::Security(_) => "add `{action: Override, argError: -1}`, which denies it".to_owned(),
    };
    Some(format!(
        "{signal} takes effect when the call returns: {what} has been carried out then; {instead}"
    ))
}
