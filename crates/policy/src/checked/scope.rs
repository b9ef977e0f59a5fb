//! Which workloads and nodes a policy, or one selector of it, applies to.

use super::checker::Checker;
use crate::document::{
    LabelOperator, LabelRequirement, LabelSelector, is_label_name, is_label_value,
};
use crate::problem::{Path, excerpt};

/// Restriction to workloads. Without any the policy applies to everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Pods, by their labels and [`POD_NAMESPACE`].
    pub pods: Option<LabelSelector>,
    /// Containers, by `name` and `repo`.
    pub containers: Option<LabelSelector>,
    /// Processes of the host.
    pub host: bool,
}

/// The label of pods that stands for their namespace.
pub const POD_NAMESPACE: &str = "k8s:io.kubernetes.pod.namespace";

impl Scope {
    /// Whether there is any restriction.
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        self.pods.is_some() || self.containers.is_some() || self.host
    }
}

/// The selectors of a policy or of one of its selectors, with their paths.
pub(crate) struct Written<'a> {
    pub(crate) pods: Option<&'a LabelSelector>,
    pub(crate) containers: Option<&'a LabelSelector>,
    pub(crate) host: bool,
}

pub(crate) fn check(written: &Written<'_>, path: &Path<'_>, checker: &mut Checker<'_>) -> Scope {
    if let Some(pods) = written.pods {
        check_selector(pods, &path.key("podSelector"), checker, |key| {
            if key == POD_NAMESPACE { Ok(()) } else { label_key(key) }
        });
    }
    if let Some(containers) = written.containers {
        check_selector(containers, &path.key("containerSelector"), checker, |key| {
            if matches!(key, "name" | "repo") {
                Ok(())
            } else {
                Err(format!(
                    "containers have no `{}`: they are selected by name or repo",
                    excerpt(key)
                ))
            }
        });
    }
    if written.host && checker.namespaced {
        checker.error(
            &path.key("hostSelector"),
            "a TracingPolicyNamespaced applies to pods of its namespace only: \
             leave hostSelector out, or use a TracingPolicy",
        );
    }
    Scope {
        pods: written.pods.cloned(),
        containers: written.containers.cloned(),
        host: written.host,
    }
}

/// Checks a selector over the labels of nodes.
pub(crate) fn check_nodes(nodes: &LabelSelector, path: &Path<'_>, checker: &mut Checker<'_>) {
    check_selector(nodes, path, checker, label_key);
}

fn check_selector(
    selector: &LabelSelector,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
    check_key: impl Fn(&str) -> Result<(), String>,
) {
    let labels = path.key("matchLabels");
    for key in selector.match_labels.keys() {
        checker.ok(&labels.key(key), check_key(key));
    }
    let expressions = path.key("matchExpressions");
    for (index, expression) in selector.match_expressions.iter().enumerate() {
        let path = expressions.index(index);
        checker.ok(&path.key("key"), check_key(&expression.key));
        check_requirement(expression, &path, checker);
    }
}

fn check_requirement(written: &LabelRequirement, path: &Path<'_>, checker: &mut Checker<'_>) {
    let values = path.key("values");
    let operator = written.operator;
    match operator {
        LabelOperator::In | LabelOperator::NotIn if written.values.is_empty() => {
            checker.error(&values, format!("`{operator}` needs at least one value"));
        }
        LabelOperator::Exists | LabelOperator::DoesNotExist if !written.values.is_empty() => {
            checker.error(&values, format!("`{operator}` takes no values"));
        }
        _ => {
            checker.each(&written.values, &values, |value| {
                if is_label_value(value) {
                    Ok(())
                } else {
                    Err(format!("`{}` is no label value", excerpt(value)))
                }
            });
        }
    }
}

fn label_key(key: &str) -> Result<(), String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if is_label_name(name) && prefix.is_none_or(super::policy::is_subdomain) {
        return Ok(());
    }
    Err(format!(
        "`{}` is no label: write NAME or DOMAIN/NAME, the name of at most 63 letters, digits, `-`, \
         `_` and `.`",
        excerpt(key)
    ))
}
