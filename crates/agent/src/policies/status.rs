//! Policies as lists show them.

use api::tetragon as wire;
use policy::checked::Mode;
use policy::{Policy, PolicyKey};
use wire::{HookState, TracingPolicyMode, TracingPolicyState};

use super::loader::sensors;
use super::{Measures, actions, hooks};

/// What became of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is being put in force.
    Loading,
    /// It is in force, each of its hooks at so many places.
    Enabled(Vec<usize>),
    /// It could not be put in force: why.
    LoadError(String),
    /// It is being taken out of force.
    Unloading,
    /// It could not be taken out of force, and still is: why.
    Error(String),
    /// It is not in force because a client wants that.
    Disabled,
    /// It is not in force because it is not for this node.
    Skipped,
}

/// What a list has to show of a policy.
pub(super) struct Shown<'a> {
    pub(super) id: u64,
    pub(super) key: &'a PolicyKey,
    pub(super) policy: &'a Policy,
    pub(super) state: &'a State,
    /// Why something else that was to take its place did not.
    pub(super) trouble: Option<&'a str>,
    pub(super) measures: Measures,
}

impl Shown<'_> {
    pub(super) fn status(&self) -> wire::TracingPolicyStatus {
        let hook_statuses = match self.state {
            State::Enabled(places) => hooks::statuses(self.policy, places, &self.measures),
            _ => Vec::new(),
        };
        let all_loaded =
            hook_statuses.iter().all(|status| status.state() == HookState::StatusLoaded);
        let (state, error) = match self.state {
            State::Enabled(_) if all_loaded => (TracingPolicyState::TpStateEnabled, ""),
            State::Enabled(_) => (TracingPolicyState::TpStatePartiallyEnabled, ""),
            State::Loading => (TracingPolicyState::TpStateLoading, ""),
            State::LoadError(error) => (TracingPolicyState::TpStateLoadError, error.as_str()),
            State::Unloading => (TracingPolicyState::TpStateUnloading, ""),
            State::Error(error) => (TracingPolicyState::TpStateError, error.as_str()),
            State::Disabled => (TracingPolicyState::TpStateDisabled, ""),
            State::Skipped => (TracingPolicyState::TpStateSkipped, ""),
        };
        let error = self.trouble.unwrap_or(error);
        let Measures { done, by_selector, requests, .. } = &self.measures;
        // Deprecated, but clients read it.
        #[allow(deprecated)]
        wire::TracingPolicyStatus {
            id: self.id,
            name: self.key.name.clone(),
            namespace: self.key.namespace.clone(),
            domain: self.key.domain.clone(),
            sensors: sensors(self.policy),
            enabled: matches!(self.state, State::Enabled(_)),
            hook_statuses,
            error: error.to_owned(),
            state: state.into(),
            kernel_memory_bytes: self.measures.memory,
            mode: mode(self.policy, self.measures.mode).into(),
            stats: Some(wire::TracingPolicyStats {
                action_counters: Some(actions::all_counters(done, requests)),
                selector_action_counters: actions::by_selector(self.policy, by_selector),
            }),
            ..wire::TracingPolicyStatus::default()
        }
    }
}

/// The mode in force.
fn mode(policy: &Policy, now: Option<Mode>) -> TracingPolicyMode {
    match now.unwrap_or_else(|| policy.mode()) {
        Mode::Enforce => TracingPolicyMode::TpModeEnforce,
        Mode::Monitor => TracingPolicyMode::TpModeMonitor,
        Mode::MonitorOnly => TracingPolicyMode::TpModeMonitorOnly,
    }
}
