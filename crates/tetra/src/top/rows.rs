//! What each view lists.

use std::collections::HashSet;

use api::tetragon::TracingPolicyState;

use super::counts::{Counter, Counts};
use super::state::State;
use crate::compact::quoted_words;
use crate::processes::Image;
use crate::tracingpolicy::{done, lower, size};

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum View {
    /// The busiest processes
    Processes,
    /// Policies
    Policies,
    /// The hooks of policies
    Hooks,
    /// Types of events
    Types,
    /// Processes and what they began
    Tree,
}

/// What is in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// What tells it from others.
    pub(super) key: String,
    /// A cell per column.
    pub(super) cells: Vec<String>,
}

impl View {
    /// All, in the order of their keys.
    pub(super) const ALL: [Self; 5] =
        [Self::Processes, Self::Policies, Self::Hooks, Self::Types, Self::Tree];

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Processes => "Processes",
            Self::Policies => "Policies",
            Self::Hooks => "Hooks",
            Self::Types => "Types",
            Self::Tree => "Tree",
        }
    }

    /// The heads of its columns.
    pub(super) fn head(self) -> &'static [&'static str] {
        match self {
            Self::Processes | Self::Tree => &["EVENTS/S", "EVENTS", "PID", "COMMAND"],
            Self::Policies => &[
                "EVENTS/S", "EVENTS", "NAME", "STATE", "MODE", "NPOST", "NENFORCE", "NMONITOR",
                "MEMORY",
            ],
            Self::Hooks => &["EVENTS/S", "EVENTS", "HOOK"],
            Self::Types => &["EVENTS/S", "EVENTS", "TYPE"],
        }
    }

    /// Its lines. `folded`: keys of the tree below which nothing is shown.
    pub(super) fn rows(self, state: &State, by_total: bool, folded: &HashSet<String>) -> Vec<Row> {
        match self {
            Self::Processes => processes(state, by_total),
            Self::Policies => policies(state, by_total),
            Self::Hooks => named(&state.by_hook, by_total),
            Self::Types => named(&state.by_type, by_total),
            Self::Tree => tree(state, folded),
        }
    }
}

fn numbers(counter: Counter) -> Vec<String> {
    vec![format!("{:.1}", counter.rate), counter.total.to_string()]
}

fn named(counts: &Counts, by_total: bool) -> Vec<Row> {
    let row = |(name, counter): (&str, Counter)| Row {
        key: name.to_owned(),
        cells: [numbers(counter), vec![quoted_words(name).into_owned()]].concat(),
    };
    counts.sorted(by_total).into_iter().map(row).collect()
}

fn processes(state: &State, by_total: bool) -> Vec<Row> {
    let row = |(id, counter): (&str, Counter)| {
        let image = state.processes.get(id);
        Row { key: id.to_owned(), cells: [numbers(counter), about(image, id, "")].concat() }
    };
    state.by_process.sorted(by_total).into_iter().map(row).collect()
}

/// Process id and command.
fn about(image: Option<&Image>, id: &str, indent: &str) -> Vec<String> {
    let Some(image) = image else { return vec![String::new(), format!("{indent}{id}")] };
    let mut command = format!("{indent}{}", quoted_words(&image.binary));
    if !image.arguments.is_empty() {
        command.push(' ');
        command.push_str(&quoted_words(&image.arguments));
    }
    if !image.workload.is_empty() {
        command.push_str(&format!("  [{}]", quoted_words(&image.workload)));
    }
    if let Some(ended) = &image.ended {
        command.push_str(&format!("  ({})", quoted_words(&ended.how)));
    }
    vec![image.pid.to_string(), command]
}

/// Also those of which no events came, and those of which events came that are gone.
fn policies(state: &State, by_total: bool) -> Vec<Row> {
    let counted = state.by_policy.sorted(by_total);
    let mut names: Vec<&str> = counted.iter().map(|(name, _)| *name).collect();
    names.extend(state.policies.iter().map(|policy| policy.name.as_str()));
    let mut listed = HashSet::new();
    let mut rows = Vec::new();
    for name in names {
        if !listed.insert(name) {
            continue;
        }
        let mut about = state.policies.iter().filter(|policy| policy.name == name).peekable();
        if about.peek().is_none() {
            let cells = [numbers(state.by_policy.get(name)), vec![name.to_owned()]].concat();
            rows.push(Row { key: name.to_owned(), cells });
            continue;
        }
        // Several may have one name, and events do not say of which they are.
        for policy in about {
            let [post, enforced, monitored] = done(policy);
            let mut state_name = lower(policy.state().as_str_name(), "TP_STATE_");
            if policy.state() == TracingPolicyState::TpStateLoadError {
                state_name = state_name.to_uppercase();
            }
            let shown = match policy.namespace.as_str() {
                "" => name.to_owned(),
                namespace => format!("{namespace}/{name}"),
            };
            let more = vec![
                shown,
                state_name,
                lower(policy.mode().as_str_name(), "TP_MODE_"),
                post.to_string(),
                enforced.to_string(),
                monitored.to_string(),
                size(policy.kernel_memory_bytes),
            ];
            let key = format!("{}/{}/{name}", policy.domain, policy.namespace);
            rows.push(Row { key, cells: [numbers(state.by_policy.get(name)), more].concat() });
        }
    }
    rows
}

fn tree(state: &State, folded: &HashSet<String>) -> Vec<Row> {
    let all = &state.processes;
    let mut rows = Vec::new();
    let mut open: Vec<(&str, String, String)> =
        all.roots().into_iter().rev().map(|id| (id, String::new(), String::new())).collect();
    while let Some((id, own, rail)) = open.pop() {
        let below = all.below(id);
        let is_folded = folded.contains(id) && !below.is_empty();
        let own = if is_folded { own + "[+] " } else { own };
        let cells = [numbers(state.by_process.get(id)), about(all.get(id), id, &own)].concat();
        rows.push(Row { key: id.to_owned(), cells });
        if is_folded {
            continue;
        }
        let last = below.len();
        for (index, id) in below.into_iter().enumerate().rev() {
            let (corner, more) =
                if index + 1 == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            open.push((id, format!("{rail}{corner}"), format!("{rail}{more}")));
        }
    }
    rows
}
