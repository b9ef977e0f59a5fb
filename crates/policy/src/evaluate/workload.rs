//! Workloads: which of them a policy, or one selector of it, is restricted to.
//!
//! Without any restriction everything is meant, the host included. Otherwise containers are meant when
//! their pod is selected and they are selected themselves, a selector that is not given selecting all;
//! if neither is given, none. The host is meant when `hostSelector` is given. A namespaced policy means
//! containers of its namespace only.

use super::event::{Container, Workload};
use crate::checked::{POD_NAMESPACE, Policy, Scope};
use crate::document::{LabelOperator, LabelSelector};
use std::collections::BTreeMap;

/// Whether a policy is about a workload, before any of its selectors is asked.
#[must_use]
pub fn applies(policy: &Policy, workload: &Workload) -> bool {
    let here = policy.namespace.as_ref().is_none_or(|namespace| match workload {
        Workload::Container(container) => container.namespace == *namespace,
        Workload::Host | Workload::Unknown => false,
    });
    here && includes(&policy.scope, workload)
}

/// Whether a policy is for a node with these labels.
#[must_use]
pub fn applies_to_node(policy: &Policy, labels: &BTreeMap<String, String>) -> bool {
    let label = |key: &str| labels.get(key).map(String::as_str);
    policy.nodes.as_ref().is_none_or(|nodes| selects(nodes, label))
}

/// Whether a workload is among those that a restriction means.
#[must_use]
pub fn includes(scope: &Scope, workload: &Workload) -> bool {
    if !scope.is_restricted() {
        return true;
    }
    match workload {
        Workload::Host => scope.host,
        Workload::Container(container) => {
            (scope.pods.is_some() || scope.containers.is_some())
                && scope.pods.as_ref().is_none_or(|pods| selects(pods, |key| pod(container, key)))
                && scope.containers.as_ref().is_none_or(|containers| {
                    selects(containers, |key| match key {
                        "name" => Some(&container.name),
                        "repo" => Some(&container.repository),
                        _ => None,
                    })
                })
        }
        Workload::Unknown => false,
    }
}

/// A label of a container's pod, or its namespace under the name that stands for it.
fn pod<'a>(container: &'a Container, key: &str) -> Option<&'a str> {
    match key {
        POD_NAMESPACE => Some(&container.namespace),
        key => container.labels.get(key).map(String::as_str),
    }
}

/// Whether something with these labels is selected: all conditions hold. NotIn holds of what does not
/// have the label.
fn selects<'a>(selector: &LabelSelector, label: impl Fn(&str) -> Option<&'a str>) -> bool {
    let mut labels = selector.match_labels.iter();
    let mut expressions = selector.match_expressions.iter();
    labels.all(|(key, value)| label(key) == Some(&value.0))
        && expressions.all(|wanted| {
            let found = label(&wanted.key);
            let one = found.is_some_and(|found| wanted.values.iter().any(|value| value == found));
            match wanted.operator {
                LabelOperator::In => one,
                LabelOperator::NotIn => !one,
                LabelOperator::Exists => found.is_some(),
                LabelOperator::DoesNotExist => found.is_none(),
            }
        })
}
