//! What a policy asks for that has no effect in this version.
//!
//! Restrictions that cannot be kept are refused: the policy would apply to more than it says. Actions
//! that are not carried out are told, once when the policy is added; its events name them all the same.

use std::collections::BTreeSet;

use policy::checked::{Action, Scope};
use policy::{CheckedPolicy, Mark, Policy, Problem};

/// What of the policy would be ignored though it restricts where the policy applies.
pub fn refused(policy: &CheckedPolicy) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |mark: Mark, path: String, what: &str| {
        let message = format!(
            "{what} needs to know pods and containers, which this version does not: without it the \
             policy would apply to every process"
        );
        problems.push(Problem { mark, path, message });
    };
    let by_workload = |scope: &Scope| scope.pods.is_some() || scope.containers.is_some();
    if policy.namespace.is_some() {
        refuse(Mark::default(), "kind".to_owned(), "a TracingPolicyNamespaced");
    }
    if by_workload(&policy.scope) {
        refuse(Mark::default(), "spec".to_owned(), "podSelector or containerSelector");
    }
    for selector in policy.hooks.iter().flat_map(|hook| &hook.selectors) {
        if selector.workloads.as_ref().is_some_and(by_workload) {
            let place = &selector.place;
            refuse(place.mark, format!("{}.matchWorkloads", place.path), "matchWorkloads");
        }
    }
    problems
}

/// Restrictions that hold for everything as far as this agent can tell.
pub fn not_judged(policy: &CheckedPolicy) -> Vec<&'static str> {
    let found = [
        (
            policy.nodes.is_some(),
            "nodeSelector: labels of nodes are not known: this node is selected",
        ),
        (policy.scope.host, "hostSelector: containers are not known: all processes are the host's"),
    ];
    found.into_iter().filter(|(given, _)| *given).map(|(_, text)| text).collect()
}

/// What of the policy is not carried out, in words that follow "asks for".
pub fn not_carried_out(policy: &CheckedPolicy) -> BTreeSet<&'static str> {
    actions(policy).flat_map(of_action).collect()
}

fn actions(policy: &Policy) -> impl Iterator<Item = &Action> {
    let selectors = policy.hooks.iter().flat_map(|hook| &hook.selectors);
    let actions = selectors.flat_map(|one| one.actions.iter().chain(&one.return_actions));
    actions.map(|action| &action.value)
}

/// Of enforcing actions, planning tells what is not carried out on this kernel.
fn of_action(action: &Action) -> Option<&'static str> {
    match action {
        Action::Post(post) if post.ima_hash => Some("imaHash"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spec: &str) -> CheckedPolicy {
        let text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec: {spec}"
        );
        CheckedPolicy::read("p.yaml", &text).unwrap()
    }

    #[test]
    fn actions_are_named() {
        let policy = read(
            r#"{"kprobes": [{"call": "sys_mount", "selectors": [
                {"matchActions": [{"action": "Sigkill"}, {"action": "Override", "argError": -1}]},
                {"matchActions": [{"action": "Post", "rateLimit": "5m", "kernelStackTrace": true},
                    {"action": "GetUrl", "argUrl": "http://x"}]},
                {"matchActions": [{"action": "NoPost"}]}]}],
            "lsmhooks": [{"hook": "file_open", "selectors": [
                {"matchActions": [{"action": "Post", "imaHash": true}]}]}]}"#,
        );
        let found: Vec<_> = not_carried_out(&policy).into_iter().collect();
        assert_eq!(found, ["imaHash"]);
        assert!(refused(&policy).is_empty());
        assert!(not_carried_out(&read("{kprobes: [{call: sys_mount}]}")).is_empty());
    }

    #[test]
    fn restrictions_to_workloads_are_refused() {
        let of = |spec: &str| -> Vec<String> {
            refused(&read(spec)).into_iter().map(|problem| problem.path).collect()
        };
        assert_eq!(of("{podSelector: {matchLabels: {app: web}}}"), ["spec"]);
        assert_eq!(
            of("{kprobes: [{call: sys_mount, selectors: [{matchWorkloads: {podSelector: {}}}]}]}"),
            ["spec.kprobes[0].selectors[0].matchWorkloads"]
        );
        assert!(of("{hostSelector: {}}").is_empty(), "without pods all processes are the host's");
    }

    #[test]
    fn restrictions_that_cannot_be_judged_are_told() {
        let told = |spec: &str| not_judged(&read(spec)).len();
        assert_eq!(told("{hostSelector: {}}"), 1);
        assert_eq!(told("{nodeSelector: {matchLabels: {a: b}}, hostSelector: {}}"), 2);
        assert_eq!(told("{kprobes: [{call: sys_mount}]}"), 0);
    }
}
