//! Owners of sockets, for each policy that tracks them (TrackSock): by address of the `struct sock`.
//!
//! What a policy tracks is its own business: it changes neither the events of other policies nor what they
//! track, and goes with the policy. A policy that takes the place of another of its name finds what was
//! tracked before. Of a policy that tracks more sockets than there is room for, those that were looked at
//! longest ago are forgotten.

use super::maps::{Shape, Wanted};
use crate::emit::map::owner;
use crate::emit::section::Section;
use policy::Policy;
use policy::checked::{Action, Hook, Selector, ValueKind};

/// Name of the map of a policy's sockets ([`owner`]); `own`: its [`digest`](super::digest).
pub(crate) fn name(own: &str) -> String {
    format!("tg_sock_{own}")
}

/// The map of this name.
pub(super) fn map(name: &str) -> Wanted {
    let shape = Shape::Recent { key_size: owner::KEY_SIZE as u32, max_entries: owner::MAX };
    Wanted::new(name, shape, owner::SIZE as u32)
}

/// Whether a section looks at the owners of sockets, or changes them.
pub(crate) fn asked(section: &Section) -> bool {
    let hook = &section.hook;
    let sees = hook.args.iter().any(|input| input.kind.kind() == ValueKind::Socket);
    hook.return_action.is_some() || sees && tracks(&section.policy)
}

/// Whether a policy tracks sockets.
fn tracks(policy: &Policy) -> bool {
    let hook = |hook: &Hook| hook.return_action.is_some() || hook.selectors.iter().any(by_selector);
    policy.hooks.iter().any(hook)
}

fn by_selector(selector: &Selector) -> bool {
    let tracks = |action: &Action| matches!(action, Action::TrackSock(_) | Action::UntrackSock(_));
    selector.actions.iter().any(|action| tracks(&action.value))
}
