//! What was done about matches, as lists of policies show it: together, and by hook and selector.

use api::tetragon::{TracingPolicyActionCounters, TracingPolicySelectorActionCounters};
use compiler::counters::Done;
use policy::Policy;
use policy::checked::{Hook, Target};

use super::hooks::{call, locations};
use crate::requests::Counters as Requests;

/// What was done, by the hooks of the policy in their order and then by selectors: first without one, then
/// each in its order. Hooks and selectors of which nothing is known may be missing at the end.
pub type BySelector = Vec<Vec<Done>>;

fn counters(done: &Done) -> TracingPolicyActionCounters {
    TracingPolicyActionCounters {
        post: done.posted,
        signal: done.signal,
        monitor_signal: done.monitor_signal,
        r#override: done.overridden,
        monitor_override: done.monitor_overridden,
        notify_enforcer: done.notified,
        monitor_notify_enforcer: done.monitor_notified,
        set: done.set,
        monitor_set: done.monitor_set,
        nopost: done.silent,
        rate_limited: done.limited,
        refused: done.failed,
        ..TracingPolicyActionCounters::default()
    }
}

/// Those of a whole policy.
pub(super) fn all_counters(done: &Done, requests: &Requests) -> TracingPolicyActionCounters {
    TracingPolicyActionCounters {
        requests_answered: requests.answered,
        requests_failed: requests.failed,
        requests_suppressed: requests.suppressed,
        ..counters(done)
    }
}

/// Those of each selector that something was done for.
pub(super) fn by_selector(
    policy: &Policy,
    done: &[Vec<Done>],
) -> Vec<TracingPolicySelectorActionCounters> {
    let mut all = Vec::new();
    for (index, (hook, done)) in policy.hooks.iter().zip(done).enumerate() {
        for (selector, done) in done.iter().enumerate() {
            if *done == Done::default() {
                continue;
            }
            let selector = selector.checked_sub(1);
            let label = selector.and_then(|index| hook.selectors.get(index));
            all.push(TracingPolicySelectorActionCounters {
                hook: text(hook),
                hook_index: Some(index_in_section(policy, index)),
                selector_index: selector.map(|index| index as u32),
                action_counters: Some(counters(done)),
                selector_label: label.map(|one| one.label.clone()).unwrap_or_default(),
            });
        }
    }
    all
}

/// Position of a hook in its section; they stand together.
pub(super) fn index_in_section(policy: &Policy, index: usize) -> u32 {
    let section = |hook: &Hook| std::mem::discriminant(&hook.target);
    let same = |hook: &&Hook| section(hook) == section(&policy.hooks[index]);
    policy.hooks[..index].iter().filter(same).count() as u32
}

/// `kprobe:security_bprm_check`, `tracepoint:sched/sched_switch`
pub(super) fn text(hook: &Hook) -> String {
    match &hook.target {
        Target::Kprobe(function) => format!("kprobe:{}", call(function)),
        Target::Fentry(function) => format!("fentry:{}", call(function)),
        Target::Tracepoint { subsystem, event, .. } => format!("tracepoint:{subsystem}/{event}"),
        Target::Lsm(name) => format!("lsm:{name}"),
        Target::Uprobe(program) => format!("uprobe:{}", locations(program)),
        Target::Usdt { path, provider, name, .. } => format!("usdt:{path}:{provider}/{name}"),
    }
}
