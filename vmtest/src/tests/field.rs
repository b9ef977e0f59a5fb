//! Policies that users write, each added and deleted: it loads, or is refused with the true reason at its
//! place. They lie beside this executable when the tests were built where they are.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::lab::Lab;
use crate::test::{Need, Test};

/// These tests.
pub(crate) const TESTS: &[Test] = &[Test::new("field::policies_load_or_say_why", load)
    .needs(&[Need::Vm, Need::Intro])
    .seconds(600)
    .tells()];

const PREFIX: &str = "field-";

/// The policies.
fn policies() -> Result<Vec<PathBuf>> {
    let own = std::env::current_exe()?;
    let directory = own.parent().context("this executable lies in no directory")?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(PREFIX) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn load(lab: &Lab) -> Result<()> {
    let policies = policies()?;
    ensure!(policies.len() > 40, "only {} policies", policies.len());
    let agent = lab.agent(&["--tracing-policy-dir="])?;
    let mut wrong = Vec::new();
    println!("| policy | outcome |");
    println!("|---|---|");
    for path in policies {
        let file = path.to_str().context("a path is not UTF-8")?;
        let name = file.rsplit_once(PREFIX).map_or(file, |(_, name)| name);
        // None of them is to stop what the tests do.
        let added =
            agent.ask(&["--timeout=300s", "tracingpolicy", "add", "--mode", "monitor", file])?;
        if added.status.success() {
            let list = agent.ask(&["tracingpolicy", "list", "-o", "json"])?.stdout;
            let list: serde_json::Value = serde_json::from_str(&list)?;
            let policy = &list["policies"][0];
            let memory = policy["kernel_memory_bytes"].as_str().unwrap_or("0");
            println!("| {name} | {}, {memory} bytes |", policy["state"].as_str().unwrap_or("?"));
            let policy = policy["name"].as_str().context("a policy without a name")?;
            let deleted = agent.ask(&["--timeout=300s", "tracingpolicy", "delete", policy])?;
            if !deleted.status.success() {
                wrong.push(format!("{name} cannot be deleted: {}", deleted.stderr));
            }
        } else {
            let first = added.stderr.lines().next().unwrap_or_default();
            let reason = first.rsplit_once(PREFIX).map_or(first, |(_, reason)| reason);
            println!("| {name} | {reason} |");
            let placed = reason.starts_with(&format!("{name}:")) || first.contains(" spec.");
            if !placed || added.stderr.contains("internal error") {
                wrong.push(format!("{name}: {}", added.stderr));
            }
            // One that could not be loaded stays in the list.
            let list = agent.ask(&["tracingpolicy", "list", "-o", "json"])?.stdout;
            let list: serde_json::Value = serde_json::from_str(&list)?;
            if let Some(policy) = list["policies"][0]["name"].as_str() {
                agent.ask(&["--timeout=300s", "tracingpolicy", "delete", policy])?;
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    agent.stop()?;
    Ok(())
}
