//! `cargo xtask field-table`: records what becomes of the policies that users write, on each kernel, and makes
//! the table in `docs` of it. The system tests print an outcome for each policy, and compare it with what is
//! recorded; this takes what they print for true, unless an event that had to come did not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::artifacts::{Profile, repository};
use crate::kernels;
use crate::vm;

/// Where outcomes are recorded, one line of JSON each.
const RECORDED: &str = "vmtest/src/tests/field/outcomes.jsonl";
/// The table.
const TABLE: &str = "docs/field-policies.md";

/// What lines with an outcome start with, and those with what no table may say.
const OUTCOME: &str = "outcome ";
const WRONG: &str = "wrong: ";

/// What stands above the table.
const HEAD: &str = "\
# Policies of users

What becomes of policies that users of the existing system have written (its public examples), on which
kernel. The system test `field::policies_do_what_they_say` adds each as it stands, provokes its events, looks
at what they say, and at the effect where the policy interferes; then it deletes the policy. The test fails
when something is other than here. This page is made by `cargo xtask field-table`.

- **reports**: in force, and the events came;
- **in part**: the same, but this kernel does not have all functions, which the policy accepts;
- **loads**: in force, but nothing can make it report here;
- **refused**: not loaded, for the reason below.
";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernels to try anew, as for `vm`; all machines' when not given
    #[arg(long, value_name = "KERNEL", num_args = 1)]
    kernel: Vec<String>,
    /// Try none: only make the table of what is recorded
    #[arg(long, conflicts_with = "kernel")]
    no_run: bool,
}

/// Runs the task. The result says whether all could be recorded.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let root = repository()?;
    let recorded = root.join(RECORDED);
    let mut outcomes = read(&recorded)?;
    let kernels = match (args.no_run, args.kernel.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => {
            kernels::default_names(&root).into_iter().filter(|name| name != "host").collect()
        }
        (false, false) => args.kernel.clone(),
    };
    let mut all = true;
    for kernel in &kernels {
        let (mut new, mut wrong) = (Vec::new(), false);
        // It fails where what is recorded is other than what is found.
        vm::one(kernel, Profile::Stage, "field::", false, |line| {
            println!("{line}");
            wrong |= line.trim_start().starts_with(WRONG);
            new.extend(line.trim_start().strip_prefix(OUTCOME).map(serde_json::from_str::<Value>));
        })?;
        let new: Vec<Value> = new.into_iter().collect::<Result<_, _>>()?;
        if wrong || new.is_empty() {
            println!("not recorded: {kernel}");
            all = false;
            continue;
        }
        outcomes.retain(|outcome| outcome["kernel"] != kernel.as_str());
        outcomes.extend(new);
    }
    outcomes.sort_by_key(|outcome| (text(outcome, "policy"), text(outcome, "kernel")));
    let lines: String = outcomes.iter().map(|outcome| format!("{outcome}\n")).collect();
    fs::write(&recorded, lines).context(RECORDED)?;
    fs::write(root.join(TABLE), table(&outcomes)?).context(TABLE)?;
    Ok(all)
}

fn read(path: &Path) -> Result<Vec<Value>> {
    let lines = fs::read_to_string(path).context(RECORDED)?;
    lines.lines().map(|line| serde_json::from_str(line).context(RECORDED)).collect()
}

fn text(outcome: &Value, member: &str) -> String {
    outcome[member].as_str().unwrap_or_default().to_owned()
}

fn texts(outcome: &Value, member: &str) -> Vec<String> {
    let texts = outcome[member].as_array().into_iter().flatten();
    texts.map(|text| text.as_str().unwrap_or_default().to_owned()).collect()
}

/// The page.
fn table(outcomes: &[Value]) -> Result<String> {
    let kernels: BTreeSet<String> =
        outcomes.iter().map(|outcome| text(outcome, "kernel")).collect();
    let mut policies: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for outcome in outcomes {
        policies.entry(text(outcome, "policy")).or_default().push(outcome);
    }
    let mut page = HEAD.to_owned();
    let columns = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut head = vec!["policy".to_owned(), "events".to_owned()];
    head.extend(kernels.iter().cloned());
    writeln!(page)?;
    page += &columns(&head);
    page += &format!("|{}\n", "---|".repeat(head.len()));
    for (policy, outcomes) in &policies {
        let events: BTreeSet<String> =
            outcomes.iter().flat_map(|outcome| texts(outcome, "events")).collect();
        let events: Vec<String> = events.iter().map(|event| format!("`{event}`")).collect();
        let mut row = vec![policy.clone(), events.join(", ")];
        for kernel in &kernels {
            let of_kernel = outcomes.iter().find(|outcome| text(outcome, "kernel") == *kernel);
            row.push(of_kernel.map_or(String::new(), |outcome| cell(outcome)));
        }
        page += &columns(&row);
    }
    page += "\n## Reasons\n\n";
    for (policy, outcomes) in &policies {
        // Equal ones of several kernels are one.
        let mut notes: Vec<(String, Vec<String>)> = Vec::new();
        for outcome in outcomes {
            for note in notes_of(outcome) {
                match notes.iter_mut().find(|(known, _)| *known == note) {
                    Some((_, kernels)) => kernels.push(text(outcome, "kernel")),
                    None => notes.push((note, vec![text(outcome, "kernel")])),
                }
            }
        }
        for (note, kernels) in notes {
            writeln!(page, "- **{policy}** on {}: {note}", kernels.join(", "))?;
        }
    }
    Ok(page)
}

fn cell(outcome: &Value) -> String {
    match text(outcome, "outcome").as_str() {
        "reports" if !texts(outcome, "missing").is_empty() => "in part".to_owned(),
        "silent" => "loads".to_owned(),
        other => other.to_owned(),
    }
}

/// What is worth knowing beside the table.
fn notes_of(outcome: &Value) -> Vec<String> {
    let (missing, unfilled) = (texts(outcome, "missing"), text(outcome, "unfilled"));
    let mut notes = Vec::new();
    if !missing.is_empty() {
        notes.push(format!("there is no `{}`", missing.join("`, `")));
    }
    if !unfilled.is_empty() {
        notes.push(format!(
            "tried with addresses in place of the words that stand for them; as it stands: {}",
            quoted(&unfilled)
        ));
    }
    notes.extend(outcome["reason"].as_str().map(quoted));
    let warnings = texts(outcome, "warnings");
    notes.extend(warnings.iter().map(|warning| format!("warns: {}", quoted(warning))));
    notes
}

/// A text as it stands: what looks like an HTML element would vanish.
fn quoted(text: &str) -> String {
    text.replace('<', "\\<")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_is_of_what_is_recorded() {
        let root = repository().unwrap();
        let page = fs::read_to_string(root.join(TABLE)).unwrap();
        assert!(page == table(&read(&root.join(RECORDED)).unwrap()).unwrap(), "make it anew");
    }

    #[test]
    fn equal_reasons_of_several_kernels_are_one() {
        let refused = |kernel| json!({"policy": "b.yaml", "kernel": kernel, "outcome": "refused", "reason": "no"});
        let outcomes = [
            json!({"policy": "a.yaml", "kernel": "6.1", "outcome": "reports", "events": ["f"],
                   "missing": ["g"]}),
            json!({"policy": "a.yaml", "kernel": "6.12", "outcome": "silent", "reason": "why",
                   "warnings": ["beware"]}),
            refused("6.1"),
            refused("6.12"),
        ];
        let page = table(&outcomes).unwrap();
        let (_, page) = page.split_once("| policy").unwrap();
        assert_eq!(
            page,
            " | events | 6.1 | 6.12 |\n|---|---|---|---|\n| a.yaml | `f` | in part | loads |\n\
             | b.yaml |  | refused | refused |\n\n## Reasons\n\n\
             - **a.yaml** on 6.1: there is no `g`\n- **a.yaml** on 6.12: why\n\
             - **a.yaml** on 6.12: warns: beware\n\
             - **b.yaml** on 6.1, 6.12: no\n"
        );
    }
}
