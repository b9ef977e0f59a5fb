//! The list of policies, for people. Scripts read it by columns, so these are fixed.

use api::tetragon::{
    HookStatus, TracingPolicyActionCounters, TracingPolicyState, TracingPolicyStatus,
};

use crate::table;

const HEAD: [&str; 12] = [
    "ID",
    "NAME",
    "DOMAIN",
    "STATE",
    "FILTERID",
    "NAMESPACE",
    "SENSORS",
    "KERNELMEMORY",
    "MODE",
    "NPOST",
    "NENFORCE",
    "NMONITOR",
];

const HOOK_HEAD: [&str; 4] = ["SECTION", "CFGIDX", "DESCRIPTION", "STATUS"];

/// The table. Below a policy of which some hooks are not in force, those are listed.
pub(super) fn text(policies: &[TracingPolicyStatus]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(policies.iter().map(row));
    let mut lines = table::lines(&rows).into_iter();
    let indent = " ".repeat(table::widths(&rows)[0]);
    let mut text = String::new();
    let mut push = |indent: &str, line: &str| {
        text.push_str(indent);
        text.push_str(line);
        text.push('\n');
    };
    lines.by_ref().take(1).for_each(|head| push("", &head));
    for (policy, line) in policies.iter().zip(lines) {
        push("", &line);
        if policy.state() == TracingPolicyState::TpStatePartiallyEnabled {
            let mut hooks = vec![HOOK_HEAD.map(str::to_owned).to_vec()];
            hooks.extend(policy.hook_statuses.iter().map(hook_row));
            table::lines(&hooks).iter().for_each(|line| push(&indent, line));
        }
    }
    text
}

/// A line for each policy that is not in force, saying why.
pub(super) fn failures(policies: &[TracingPolicyStatus]) -> Vec<String> {
    policies
        .iter()
        .filter(|policy| !policy.error.is_empty())
        .map(|policy| format!("{}: {}", policy.name, policy.error))
        .collect()
}

/// What a policy's actions did: events posted, interferences, and those that monitoring left out.
pub(crate) fn done(policy: &TracingPolicyStatus) -> [u64; 3] {
    let counters = policy.stats.as_ref().and_then(|stats| stats.action_counters);
    let TracingPolicyActionCounters {
        post,
        signal,
        monitor_signal,
        r#override,
        monitor_override,
        notify_enforcer,
        monitor_notify_enforcer,
        set,
        monitor_set,
        nopost: _,
        rate_limited: _,
        refused: _,
        requests_answered: _,
        requests_failed: _,
        requests_suppressed: _,
    } = counters.unwrap_or_default();
    let enforced = signal + r#override + notify_enforcer + set;
    let monitored = monitor_signal + monitor_override + monitor_notify_enforcer + monitor_set;
    [post, enforced, monitored]
}

fn row(policy: &TracingPolicyStatus) -> Vec<String> {
    let [post, enforced, monitored] = done(policy);
    let namespace = match policy.namespace.as_str() {
        "" => "(global)",
        namespace => namespace,
    };
    vec![
        policy.id.to_string(),
        policy.name.clone(),
        policy.domain.clone(),
        lower(policy.state().as_str_name(), "TP_STATE_"),
        policy.filter_id.to_string(),
        namespace.to_owned(),
        policy.sensors.join(","),
        size(policy.kernel_memory_bytes),
        lower(policy.mode().as_str_name(), "TP_MODE_"),
        post.to_string(),
        enforced.to_string(),
        monitored.to_string(),
    ]
}

fn hook_row(hook: &HookStatus) -> Vec<String> {
    vec![
        hook.section.clone(),
        hook.hook_idx.to_string(),
        hook.hook_description.clone(),
        lower(hook.state().as_str_name(), "STATUS_"),
    ]
}

/// The name of a state without what all states begin with, in lower case.
pub(crate) fn lower(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}

/// `2.40 MB`; `999 B`.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = ' ';
    for next in "kMGTPE".chars() {
        value /= 1000.0;
        unit = next;
        if value < 1000.0 {
            break;
        }
    }
    format!("{value:.2} {unit}B")
}

#[cfg(test)]
mod tests {
    use api::tetragon::{HookState, TracingPolicyMode, TracingPolicyStats};

    use super::*;

    fn policy() -> TracingPolicyStatus {
        TracingPolicyStatus {
            id: 1,
            name: "lseek-test".into(),
            domain: "grpc".into(),
            state: TracingPolicyState::TpStateEnabled.into(),
            mode: TracingPolicyMode::TpModeMonitorOnly.into(),
            sensors: vec!["generic_kprobe".into()],
            kernel_memory_bytes: 2_400_000,
            stats: Some(TracingPolicyStats {
                action_counters: Some(TracingPolicyActionCounters {
                    post: 12,
                    ..TracingPolicyActionCounters::default()
                }),
                ..TracingPolicyStats::default()
            }),
            ..TracingPolicyStatus::default()
        }
    }

    #[test]
    fn columns() {
        assert_eq!(
            text(&[policy()]),
            "ID   NAME         DOMAIN   STATE     FILTERID   NAMESPACE   SENSORS          \
             KERNELMEMORY   MODE           NPOST   NENFORCE   NMONITOR\n\
             1    lseek-test   grpc     enabled   0          (global)    generic_kprobe   \
             2.40 MB        monitor_only   12      0          0\n"
        );
        assert_eq!(text(&[]).lines().count(), 1);
    }

    #[test]
    fn sums_and_namespaces() {
        let mut policy = policy();
        policy.namespace = "web".into();
        policy.sensors.push("generic_lsm".into());
        policy.stats = Some(TracingPolicyStats {
            action_counters: Some(TracingPolicyActionCounters {
                post: 1,
                signal: 2,
                monitor_signal: 20,
                r#override: 3,
                monitor_override: 30,
                notify_enforcer: 4,
                monitor_notify_enforcer: 40,
                set: 5,
                monitor_set: 50,
                nopost: 100,
                rate_limited: 1000,
                refused: 10_000,
                requests_answered: 100_000,
                requests_failed: 1_000_000,
                requests_suppressed: 10_000_000,
            }),
            ..TracingPolicyStats::default()
        });
        let text = text(&[policy]);
        let cells: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(cells[5..7], ["web", "generic_kprobe,generic_lsm"]);
        assert_eq!(cells[10..], ["1", "14", "140"]);
    }

    #[test]
    fn hooks_of_a_policy_that_is_partly_in_force() {
        let mut partly = policy();
        partly.state = TracingPolicyState::TpStatePartiallyEnabled.into();
        partly.hook_statuses = vec![HookStatus {
            section: "kprobes".into(),
            state: HookState::StatusCallNotFound.into(),
            hook_description: "no_such_call".into(),
            hook_idx: 3,
            ..HookStatus::default()
        }];
        let text = text(&[partly, policy()]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[1].contains("partially_enabled"));
        assert_eq!(lines[2], "     SECTION   CFGIDX   DESCRIPTION    STATUS");
        assert_eq!(lines[3], "     kprobes   3        no_such_call   call_not_found");
        assert_eq!(lines[4].find("lseek"), Some(5));
    }

    #[test]
    fn failures_say_why() {
        let mut failed = policy();
        failed.state = TracingPolicyState::TpStateLoadError.into();
        failed.error = "no such function".into();
        assert_eq!(failures(&[policy(), failed]), ["lseek-test: no such function"]);
    }

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (2_404_999, "2.40 MB"),
            (65_536, "65.54 kB"),
            (3_000_000_000, "3.00 GB"),
            (u64::MAX, "18.45 EB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
