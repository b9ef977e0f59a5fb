//! What admission rules are told of a policy.

use std::collections::BTreeSet;

use policy::checked::Mode;
use policy::{CheckedPolicy, Problems};
use serde_json::{Value, json};

use super::super::actions;
use super::super::text::Origin;

/// The input: `policy`, the document as it is written, and what it means, so that rules need not know all
/// ways to write it: `actions` are those of all its selectors, macros included; `hooks` where it attaches,
/// as in statistics (`kprobe:tcp_connect`); `enforces` whether it stops anything in its mode.
pub(super) fn input(
    policy: &CheckedPolicy,
    domain: &str,
    origin: Origin,
) -> Result<Value, Problems> {
    let document = policy::to_json(&policy.file, &policy.text)?;
    let actions: BTreeSet<&str> = policy
        .hooks
        .iter()
        .flat_map(|hook| &hook.selectors)
        .flat_map(|selector| selector.actions.iter().chain(&selector.return_actions))
        .map(|action| action.value.name())
        .collect();
    let hooks: Vec<String> = policy.hooks.iter().map(actions::text).collect();
    let mode = match policy.mode() {
        Mode::Enforce => "enforce",
        Mode::Monitor => "monitor",
        Mode::MonitorOnly => "monitor_only",
    };
    Ok(json!({
        "policy": document,
        "name": policy.name,
        "namespace": policy.namespace.as_deref().unwrap_or_default(),
        "domain": domain,
        "source": origin.name(),
        "file": policy.file,
        "mode": mode,
        "enforces": policy.mode() == Mode::Enforce,
        "actions": actions,
        "hooks": hooks,
    }))
}
