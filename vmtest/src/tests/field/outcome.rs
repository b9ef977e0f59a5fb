//! What became of a policy on a kernel, as it is printed, recorded and compared: one line of JSON each.
//! `cargo xtask field-table` records what the tests print, and makes a table of it.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::{Value, json};

use crate::event::Event;
use crate::test;

/// What is recorded: lines as [`Outcome::line`] makes them, without what precedes the JSON.
const RECORDED: &str = include_str!("outcomes.jsonl");

/// What precedes an outcome in the output.
const MARK: &str = "outcome ";

/// What became of a policy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All that was to be reported was.
    Reports {
        /// What was seen, see [`event_name`].
        events: BTreeSet<String>,
        /// Functions that this kernel does not have, which the policy accepts.
        missing: Vec<String>,
        /// Why it is refused before words in it are replaced, if there are some.
        unfilled: Option<String>,
        /// What the agent warns of.
        warnings: Vec<String>,
    },
    /// It is in force, but nothing can make it report.
    Silent {
        /// Why so.
        reason: String,
        /// What the agent warns of.
        warnings: Vec<String>,
    },
    /// It is not loaded.
    Refused {
        /// Why, as the user reads it.
        reason: String,
    },
}

impl Outcome {
    fn json(&self, policy: &str) -> Value {
        let mut json = match self {
            Self::Reports { events, .. } => json!({"outcome": "reports", "events": events}),
            Self::Silent { reason, .. } => json!({"outcome": "silent", "reason": reason}),
            Self::Refused { reason } => json!({"outcome": "refused", "reason": reason}),
        };
        if let Self::Reports { missing, unfilled, .. } = self {
            if !missing.is_empty() {
                json["missing"] = json!(missing);
            }
            if let Some(reason) = unfilled {
                json["unfilled"] = json!(reason);
            }
        }
        if let Self::Reports { warnings, .. } | Self::Silent { warnings, .. } = self
            && !warnings.is_empty()
        {
            json["warnings"] = json!(warnings);
        }
        json["policy"] = json!(policy);
        json["kernel"] = json!(test::kernel());
        json
    }

    /// The line that tells of it.
    pub(super) fn line(&self, policy: &str) -> String {
        format!("{MARK}{}", self.json(policy))
    }

    /// How it differs from what is recorded, if it does: other words for the same are told only. Nothing is
    /// recorded of kernels other than the usual.
    pub(super) fn difference(&self, policy: &str) -> Result<Option<String>> {
        let now = self.json(policy);
        let mut of_kernel = Vec::new();
        for line in RECORDED.lines() {
            let recorded: Value = serde_json::from_str(line)?;
            if recorded["kernel"] == now["kernel"] {
                of_kernel.push(recorded);
            }
        }
        let recorded = of_kernel.iter().find(|recorded| recorded["policy"] == now["policy"]);
        Ok(match recorded {
            Some(recorded) if *recorded == now => None,
            Some(recorded) if is_same(recorded, &now) => {
                println!("reworded, to be recorded anew: {now}, recorded is {recorded}");
                None
            }
            Some(recorded) => Some(format!("differs: {now}, recorded is {recorded}")),
            None if of_kernel.is_empty() => None,
            None => Some(format!("differs: {now}, nothing is recorded")),
        })
    }
}

/// Whether the same became of it, whatever the words for it.
fn is_same(recorded: &Value, now: &Value) -> bool {
    ["outcome", "events", "missing"].iter().all(|member| recorded[member] == now[member])
}

/// What an event is called in the table: function, symbol, probe or tracepoint.
pub(super) fn event_name(event: &Event) -> String {
    let text = |path| event.text(path);
    match event.kind() {
        "process_uprobe" => text("symbol").to_owned(),
        "process_usdt" => format!("{}:{}", text("provider"), text("name")),
        "process_tracepoint" => format!("{}:{}", text("subsys"), text("event")),
        "process_loader" => "loader".to_owned(),
        _ => text("function_name").to_owned(),
    }
}

/// The first reason of those that a refusal gives, from its place in the file on.
pub(super) fn reason(stderr: &str, file: &str) -> Option<String> {
    let of_file = format!("{file}:");
    Some(stderr.split_once(&of_file)?.1.trim().to_owned())
}

/// What the agent warns of when it takes a policy, by lines of its log.
pub(super) fn warnings(log: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    for line in log.lines() {
        let Some((_, said)) = line.split_once(" level=warning msg=") else { continue };
        if let Some(said) = said.strip_prefix("\"policy ") {
            let said = said.split_once(": ").map_or(said, |(_, said)| said);
            let said = said.strip_prefix("policy:").unwrap_or(said);
            warnings.push(said.strip_suffix('"').unwrap_or(said).replace("\\\"", "\""));
        } else if said.starts_with("\"the policy ") {
            warnings.push(said.to_owned());
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_start_at_their_place() {
        let reason = |stderr| reason(stderr, "a.yaml").unwrap_or_default();
        assert_eq!(reason("Error: /x/a.yaml:7:5 spec.x: no"), "7:5 spec.x: no");
        assert_eq!(reason("Error: no"), "");
    }

    #[test]
    fn warnings_of_policies_are_taken_from_the_log() {
        let log = "time=1 level=info msg=\"policy a: x\"\n\
                   time=1 level=warning msg=\"policy a: policy:1:2 spec: is \\\"b\\\"\"\n\
                   time=1 level=warning msg=\"events were lost\" count=3\n\
                   time=1 level=warning msg=\"the policy observes only\" policy=a\n";
        let expected = ["1:2 spec: is \"b\"", "\"the policy observes only\" policy=a"];
        assert_eq!(warnings(log), expected);
    }

    #[test]
    fn what_is_recorded_can_be_read() {
        for line in RECORDED.lines() {
            let recorded: Value = serde_json::from_str(line).unwrap();
            assert!(recorded["policy"].is_string() && recorded["kernel"].is_string(), "{line}");
        }
    }
}
