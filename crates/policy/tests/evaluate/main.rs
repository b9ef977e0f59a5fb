//! What the evaluator says, operator by operator and selector by selector: a case that matches beside
//! one that just does not.

mod laws;
mod processes;
mod returns;
mod values;

use policy::CheckedPolicy;
use policy::evaluate::{Event, Match, Selectors, Value};

/// A policy with this spec.
fn read(spec: &str) -> CheckedPolicy {
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec:\n{spec}"
    );
    CheckedPolicy::read("p", &text).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// What the first hook of a policy matches.
fn evaluate(policy: &CheckedPolicy, event: &Event) -> Option<Match> {
    let hook = &policy.hooks[0];
    let selectors = Selectors::new(&hook.selectors, &policy.lists, |_| None);
    selectors.unwrap_or_else(|problems| panic!("{problems:?}")).evaluate(event)
}

/// Whether the one selector `{selector}` of a hook without arguments holds.
fn selects(selector: &str, event: &Event) -> bool {
    let policy = read(&format!("  kprobes:\n  - call: f\n    selectors: [{{{selector}}}]\n"));
    evaluate(&policy, event).is_some()
}

/// Whether a filter on one argument of a type holds of a value.
fn holds(kind: &str, operator: &str, values: &str, value: &Value) -> bool {
    let size = if kind == "char_buf" { ", sizeArgIndex: 1" } else { "" };
    let policy = read(&format!(
        "  lists: [{{name: dups, type: syscalls, values: [sys_dup, i386/sys_dup2]}}, \
         {{name: all, type: generated_syscalls}}]\n  \
         tracepoints:\n  - {{subsystem: s, event: e, args: [{{index: 4, type: {kind}{size}}}], \
         selectors: [{{matchArgs: [{{index: 0, operator: {operator}, values: {values}}}]}}]}}\n"
    ));
    evaluate(&policy, &Event { args: vec![value.clone()], ..Event::default() }).is_some()
}
