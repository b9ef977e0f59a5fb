//! What a policy asks for that has no effect in this version.
//!
//! Restrictions that cannot be kept are refused: the policy would apply to more than it says.

use policy::checked::Scope;
use policy::{CheckedPolicy, Mark, Problem};

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
/// `node_labels`: whether the labels of this node are known.
pub fn not_judged(policy: &CheckedPolicy, node_labels: bool) -> Vec<&'static str> {
    let found = [
        (
            policy.nodes.is_some() && !node_labels,
            "nodeSelector: the labels of this node are not known: it is selected; --node-labels \
             tells them",
        ),
        (policy.scope.host, "hostSelector: containers are not known: all processes are the host's"),
    ];
    found.into_iter().filter(|(given, _)| *given).map(|(_, text)| text).collect()
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
        let told = |spec: &str| not_judged(&read(spec), false).len();
        assert_eq!(told("{hostSelector: {}}"), 1);
        assert_eq!(told("{nodeSelector: {matchLabels: {a: b}}, hostSelector: {}}"), 2);
        assert_eq!(told("{kprobes: [{call: sys_mount}]}"), 0);
        let with_labels = not_judged(&read("{nodeSelector: {matchLabels: {a: b}}}"), true);
        assert!(with_labels.is_empty(), "the store judges it");
    }
}
