//! Label selectors over pods, containers, hosts and nodes.

use crate::problem::{Path, Report, excerpt};
use crate::record::{choices, record};
use crate::schema::Decode;
use crate::text::Node;
use serde_json::{Value, json};
use std::collections::BTreeMap;

record! {
    /// Selects by labels; all conditions must hold. An empty selector selects everything.
    pub struct LabelSelector {
        /// Label to exact value.
        match_labels "matchLabels": empty BTreeMap<String, LabelText>;
        /// Label requirements.
        match_expressions "matchExpressions": empty Vec<LabelRequirement>, Atomic;
    }
}

record! {
    /// Null or {}: whether processes of the host are selected.
    rule(
        "!has(self.matchLabels) && !has(self.matchExpressions)",
        "The hostSelector should be either null or {}.",
        |selector| selector.match_labels.is_none() && selector.match_expressions.is_none()
    )
    pub struct HostSelector {
        /// Not allowed: hosts cannot be told apart by labels here.
        match_labels "matchLabels": optional BTreeMap<String, LabelText>;
        /// Not allowed: hosts cannot be told apart by labels here.
        match_expressions "matchExpressions": optional Vec<LabelRequirement>, Atomic;
    }
}

record! {
    /// One label requirement.
    pub struct LabelRequirement {
        /// Label.
        key "key": required String;
        /// How the label relates to the values.
        operator "operator": required LabelOperator;
        /// Values: at least one for In and NotIn, none for Exists and DoesNotExist.
        values "values": empty Vec<String>, Atomic;
    }
}

choices! {
    /// How a label relates to values.
    pub enum LabelOperator {
        /// Has one of the values.
        In "In",
        /// Has none of the values, or is absent.
        NotIn "NotIn",
        /// Is present.
        Exists "Exists",
        /// Is absent.
        DoesNotExist "DoesNotExist",
    }
}

record! {
    /// Restricts to workloads.
    pub struct Workloads {
        /// Pods, by their labels.
        pods "podSelector": optional LabelSelector, Atomic;
        /// Containers, by `name` and `repo`.
        containers "containerSelector": optional LabelSelector, Atomic;
        /// Null or {}: processes of the host.
        host "hostSelector": optional HostSelector, Atomic;
    }
}

/// A label's value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelText(pub String);

/// Whether a text may be a label's value.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_label_name(text)
}

/// Whether a text may be a label's name, without its prefix.
pub(crate) fn is_label_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(inner)
        && ends(text.bytes().next())
        && ends(text.bytes().last())
}

impl Decode for LabelText {
    fn decode(node: &Node, path: &Path<'_>, report: &mut Report) -> Self {
        let text = String::decode(node, path, report);
        if !is_label_value(&text) {
            let message = format!(
                "`{}` is no label value: at most 63 letters, digits, `-`, `_` and `.`, \
                 with a letter or digit at both ends",
                excerpt(&text)
            );
            report.error(node.mark, path, message);
        }
        Self(text)
    }

    fn stand_in() -> Self {
        Self(String::new())
    }

    fn schema() -> Value {
        json!({
            "type": "string",
            "maxLength": 63,
            "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
        })
    }
}
