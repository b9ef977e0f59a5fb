//! What a selector's actions are called in events.

use api::tetragon::KprobeAction;
use policy::checked::{Action, Placed};

/// The last action of a list; without any, the event itself is what was done.
pub(super) fn last(actions: &[Placed<Action>]) -> KprobeAction {
    actions.last().map_or(KprobeAction::Post, |action| name(&action.value))
}

fn name(action: &Action) -> KprobeAction {
    match action {
        Action::Post(_) => KprobeAction::Post,
        Action::NoPost => KprobeAction::Nopost,
        Action::Sigkill => KprobeAction::Sigkill,
        Action::Signal(_) => KprobeAction::Signal,
        Action::Override(_) | Action::SetRegisters(_) => KprobeAction::Override,
        Action::GetUrl(_) => KprobeAction::Geturl,
        Action::DnsLookup(_) => KprobeAction::Dnslookup,
        Action::TrackSock(_) => KprobeAction::Tracksock,
        Action::UntrackSock(_) => KprobeAction::Untracksock,
        Action::NotifyEnforcer { .. } => KprobeAction::Notifyenforcer,
        Action::CleanupEnforcerNotification => KprobeAction::Cleanupenforcernotification,
        Action::Set { .. } => KprobeAction::Set,
    }
}
