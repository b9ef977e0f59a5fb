//! Documents as a whole: kinds, names, and problems of all parts at once.

use policy::CheckedPolicy;

fn said(text: &str) -> String {
    CheckedPolicy::read("p", text).map_or_else(|problems| problems.to_string(), |_| String::new())
}

const CLUSTER: &str = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\n";
const NAMESPACED: &str = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicyNamespaced\n";

#[test]
fn what_is_no_policy() {
    for (text, wanted) in [
        ("", "p:1:1: the document is empty: a TracingPolicy is wanted"),
        ("# nothing\n---\n", "p:1:1: the document is empty: a TracingPolicy is wanted"),
        ("policy\n", "p:1:1: a TracingPolicy is wanted, not a string"),
        ("- a\n", "p:1:1: a TracingPolicy is wanted, not a list"),
        ("a: 1\n", "p:1:1 kind: `kind` is missing: write TracingPolicy or TracingPolicyNamespaced"),
        (
            "kind: Pod\n",
            "p:1:7 kind: kind `Pod` is unknown: it can be TracingPolicy or TracingPolicyNamespaced",
        ),
        (
            "kind: TracingPolicy\nmetadata: {name: a}\nspec: {}\n",
            "p:1:1 apiVersion: apiVersion must be cilium.io/v1alpha1",
        ),
    ] {
        assert_eq!(said(text), wanted, "{text:?}");
    }
    assert!(said("a: \"").starts_with("p:1:4: this is not valid YAML: "), "{}", said("a: \""));
}

#[test]
fn names_and_namespaces() {
    for (head, metadata, wanted) in [
        (CLUSTER, "{}", "p:3:11 metadata.name: `name` is missing"),
        (
            CLUSTER,
            "{name: A_b}",
            "p:3:18 metadata.name: `A_b` is no DNS-1123 subdomain: at most 253 lower-case letters, \
             digits, `-` and `.`, with a letter or digit at both ends of each part",
        ),
        (
            CLUSTER,
            "{name: a.b-c.9, nam: a}",
            "p:3:27 metadata.nam: unknown field `nam`: did you mean `name`?",
        ),
        (
            NAMESPACED,
            "{name: a}",
            "p:3:1 metadata.namespace: a TracingPolicyNamespaced needs a namespace",
        ),
        (
            NAMESPACED,
            "{name: a, namespace: b.c}",
            "p:3:32 metadata.namespace: `b.c` is no DNS-1123 label: at most 63 lower-case letters, \
             digits and `-`, with a letter or digit at both ends",
        ),
    ] {
        assert_eq!(said(&format!("{head}metadata: {metadata}\nspec: {{}}\n")), wanted);
    }
}

#[test]
fn namespaced_policies_are_restricted() {
    let text = format!(
        "{NAMESPACED}metadata: {{name: a, namespace: b}}\nspec:\n  hostSelector: {{}}\n  loader: true\n  \
         uprobes: [{{path: /a, symbols: [b]}}]\n  usdts: [{{path: /a, provider: b, name: c}}]\n  \
         kprobes:\n  - call: f\n    selectors: [{{matchWorkloads: {{hostSelector: {{}}}}}}]\n"
    );
    let wanted = "p:1:1: TracingPolicyNamespaced should have a null spec.hostSelector.\n\
         p:6:11 spec.loader: loader cannot be restricted to workloads: use a TracingPolicy without \
         podSelector, containerSelector and hostSelector\n\
         p:7:3 spec.uprobes: a TracingPolicyNamespaced cannot have uprobes: use a TracingPolicy\n\
         p:8:3 spec.usdts: a TracingPolicyNamespaced cannot have usdts: use a TracingPolicy\n\
         p:11:35 spec.kprobes[0].selectors[0].matchWorkloads.hostSelector: a TracingPolicyNamespaced \
         applies to pods of its namespace only: leave hostSelector out, or use a TracingPolicy";
    assert_eq!(said(&text), wanted);
}

#[test]
fn problems_of_all_parts_come_at_once() {
    let text = format!(
        "{CLUSTER}metadata: {{name: B}}\nspec:\n  kprobes:\n  - call: f\n    sycall: false\n    \
         args: [{{index: 0, type: sock}}]\n    selectors:\n    \
         - matchArgs: [{{index: 0, operator: DAddr, values: [x]}}]\n  \
         - call: g\n    args: [{{index: 0, type: sok}}]\n    selectors:\n    \
         - matchArgs: [{{index: 0, operator: DAddr, values: [x]}}]\n  unknown: 1\n"
    );
    let lines: Vec<String> = said(&text).lines().map(str::to_owned).collect();
    let starts: Vec<&str> =
        lines.iter().map(|line| line.split(": ").next().unwrap_or("")).collect();
    assert_eq!(
        starts,
        [
            "p:3:18 metadata.name",
            "p:7:5 spec.kprobes[0].sycall",
            // An unknown field does not hide what else is wrong in the hook,
            "p:10:56 spec.kprobes[0].selectors[0].matchArgs[0].values[0]",
            // but with an unknown type there is nothing to say about values of it.
            "p:12:29 spec.kprobes[1].args[0].type",
            "p:15:3 spec.unknown",
        ]
    );
}
