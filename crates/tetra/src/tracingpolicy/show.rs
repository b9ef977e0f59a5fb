//! `tetra tracingpolicy show`: all that the agent says of one policy.

use api::tetragon::{ListTracingPoliciesRequest, TracingPolicyActionCounters, TracingPolicyStatus};

use super::list::{lower, size};
use super::{Form, Named};
use crate::error::Error;
use crate::server::Server;
use crate::table;

/// The policy: its state, why it is not in force, its hooks, and what its selectors counted.
///
/// # Errors
/// There is none of that name.
pub(super) async fn run(server: &Server, named: &Named, form: Form) -> Result<String, Error> {
    let request = ListTracingPoliciesRequest { domain: named.domain.clone() };
    let call = async |client: &mut crate::server::Client| {
        client.list_tracing_policies(request.clone()).await
    };
    let answer = server.call(call).await?;
    let is_meant = |policy: &&TracingPolicyStatus| {
        policy.name == named.name && policy.namespace == named.namespace
    };
    let found: Vec<&TracingPolicyStatus> = answer.policies.iter().filter(is_meant).collect();
    if found.is_empty() {
        let known = answer.policies.iter().map(|policy| policy.name.as_str());
        let near = policy::did_you_mean(&named.name, known);
        let hint = near.map(|near| format!(": did you mean \"{near}\"?")).unwrap_or_default();
        return Err(Error::Policy(format!(
            "there is no tracing policy \"{}\"{hint}\n`tetra tracingpolicy list` prints all; --domain and \
             --namespace choose",
            named.name
        )));
    }
    if form == Form::Json {
        return Ok(found
            .iter()
            .map(serde_json::to_string)
            .collect::<Result<Vec<_>, _>>()?
            .join("\n")
            + "\n");
    }
    Ok(found.into_iter().map(text).collect::<Vec<_>>().join("\n"))
}

fn text(policy: &TracingPolicyStatus) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            rows.push(vec![format!("{name}:"), value]);
        }
    };
    row("Name", policy.name.clone());
    row("Namespace", policy.namespace.clone());
    row("Domain", policy.domain.clone());
    row("State", lower(policy.state().as_str_name(), "TP_STATE_"));
    row("Mode", lower(policy.mode().as_str_name(), "TP_MODE_"));
    row("Info", policy.info.clone());
    row("Sensors", policy.sensors.join(", "));
    row("Kernel memory", size(policy.kernel_memory_bytes));
    row("Error", policy.error.clone());
    let mut text = lines(&rows, "");
    if !policy.hook_statuses.is_empty() {
        let head = ["SECTION", "CFGIDX", "DESCRIPTION", "STATUS", "ATTACHED"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(policy.hook_statuses.iter().map(|hook| {
            vec![
                hook.section.clone(),
                hook.hook_idx.to_string(),
                hook.hook_description.clone(),
                lower(hook.state().as_str_name(), "STATUS_"),
                hook.attachments.join(", "),
            ]
        }));
        text.push_str(&format!("Hooks:\n{}", lines(&rows, "  ")));
    }
    text.push_str(&effects(policy));
    let counted = policy.stats.iter().flat_map(|stats| &stats.selector_action_counters);
    let mut rows = vec![["HOOK", "SELECTOR", "COUNTED"].map(str::to_owned).to_vec()];
    rows.extend(counted.map(|one| {
        let selector = selector(one.selector_index, &one.selector_label);
        let counters = one.action_counters.as_ref().map(counters).unwrap_or_default();
        vec![one.hook.clone(), selector, counters]
    }));
    if rows.len() > 1 {
        text.push_str(&format!("Selectors:\n{}", lines(&rows, "  ")));
    }
    text
}

/// What each enforcing action becomes on the agent's node.
fn effects(policy: &TracingPolicyStatus) -> String {
    let mut text = String::new();
    for hook in &policy.hook_statuses {
        for action in &hook.effective_actions {
            let selector = selector(Some(action.selector_index), &action.selector_label);
            text.push_str(&format!(
                "  {} {}, selector {selector}: {} {} {}\n",
                hook.section,
                hook.hook_description,
                action.action,
                if action.in_full { "->" } else { "DEGRADED ->" },
                action.becomes,
            ));
        }
    }
    if text.is_empty() { text } else { format!("Enforcement here:\n{text}") }
}

/// `1 (secrets)`
fn selector(index: Option<u32>, label: &str) -> String {
    let number = index.map(|index| index.to_string()).unwrap_or_default();
    match label {
        "" => number,
        label => format!("{number} ({label})"),
    }
}

fn lines(rows: &[Vec<String>], indent: &str) -> String {
    table::lines(rows).into_iter().map(|line| format!("{indent}{line}\n")).collect()
}

/// The counters that are not zero.
fn counters(counters: &TracingPolicyActionCounters) -> String {
    let all = [
        ("post", counters.post),
        ("nopost", counters.nopost),
        ("signal", counters.signal),
        ("override", counters.r#override),
        ("notify_enforcer", counters.notify_enforcer),
        ("set", counters.set),
        ("monitor_signal", counters.monitor_signal),
        ("monitor_override", counters.monitor_override),
        ("monitor_notify_enforcer", counters.monitor_notify_enforcer),
        ("monitor_set", counters.monitor_set),
        ("rate_limited", counters.rate_limited),
        ("refused", counters.refused),
        ("requests_answered", counters.requests_answered),
        ("requests_failed", counters.requests_failed),
        ("requests_suppressed", counters.requests_suppressed),
    ];
    let counted = all.iter().filter(|(_, count)| *count > 0);
    match counted.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>() {
        none if none.is_empty() => "nothing yet".to_owned(),
        counted => counted.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use api::tetragon::{
        EffectiveAction, HookStatus, TracingPolicySelectorActionCounters, TracingPolicyState,
        TracingPolicyStats,
    };

    use super::*;

    #[test]
    fn what_is_known_is_told() {
        let policy = TracingPolicyStatus {
            name: "links".into(),
            domain: "grpc".into(),
            state: TracingPolicyState::TpStateEnabled.into(),
            kernel_memory_bytes: 4480,
            hook_statuses: vec![HookStatus {
                section: "kprobes".into(),
                hook_description: "sys_symlinkat".into(),
                attachments: vec!["fentry".into()],
                effective_actions: vec![EffectiveAction {
                    selector_index: 1,
                    selector_label: "secrets".into(),
                    action: "Override -1".into(),
                    becomes: "denied by LSM, at inode_symlink".into(),
                    in_full: true,
                }],
                ..HookStatus::default()
            }],
            stats: Some(TracingPolicyStats {
                selector_action_counters: vec![TracingPolicySelectorActionCounters {
                    hook: "sys_symlinkat".into(),
                    selector_index: Some(1),
                    selector_label: "secrets".into(),
                    action_counters: Some(TracingPolicyActionCounters {
                        post: 3,
                        signal: 2,
                        ..TracingPolicyActionCounters::default()
                    }),
                    ..TracingPolicySelectorActionCounters::default()
                }],
                ..TracingPolicyStats::default()
            }),
            ..TracingPolicyStatus::default()
        };
        let text = text(&policy);
        for line in [
            "Name:            links",
            "State:           enabled",
            "Kernel memory:   4.48 kB",
            "  sys_symlinkat   1 (secrets)   post 3, signal 2",
            "  SECTION   CFGIDX   DESCRIPTION     STATUS        ATTACHED",
            "  kprobes   0        sys_symlinkat   unspecified   fentry",
            "  kprobes sys_symlinkat, selector 1 (secrets): Override -1 -> denied by LSM, at inode_symlink",
        ] {
            assert!(text.lines().any(|known| known == line), "{line:?} is not in:\n{text}");
        }
        assert!(!text.contains("Error"), "{text}");
    }
}
