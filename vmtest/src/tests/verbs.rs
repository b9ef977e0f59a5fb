//! Every verb of `tetra` once, against a live agent through its socket: its output has the shape that users
//! and their scripts know.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::fcntl::AT_FDCWD;
use nix::unistd::symlinkat;
use serde_json::Value;

use crate::agent::Agent;
use crate::elf;
use crate::lab::{Done, Lab, run};
use crate::test::Test;

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("verbs::of_policies", of_policies),
    Test::new("verbs::that_need_no_agent", without_agent),
    Test::new("verbs::of_the_agent", of_the_agent),
    Test::new("verbs::about_what_was_seen", about_events),
];

const POLICY: &str = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: links}\nspec:\n  \
                      kprobes:\n  - call: sys_symlinkat\n    syscall: true\n    args: [{index: 0, type: \
                      string}]\n    selectors:\n    - matchArgs: [{index: 0, operator: Prefix, values: \
                      [/nowhere/]}]\n      matchActions: [{action: Signal, argSig: 23}]\n";

/// Runs a command that has to succeed, and gives what it prints.
fn said(agent: &Agent, arguments: &[&str]) -> Result<String> {
    Ok(agent.ask(arguments)?.ok().with_context(|| format!("tetra {arguments:?}"))?.stdout)
}

/// Runs a command that has to fail as all do: exit code 1, `Error: ` on standard error.
fn failed(done: Done) -> Result<String> {
    ensure!(done.status.code() == Some(1) && done.stderr.starts_with("Error: "), "{done:?}");
    Ok(done.stderr)
}

/// The cells of a table's row.
fn cells(line: &str) -> Vec<&str> {
    line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

const COLUMNS: [&str; 12] = [
    "ID",
    "NAME",
    "DOMAIN",
    "STATE",
    "FILTERID",
    "NAMESPACE",
    "SENSORS",
    "KERNELMEMORY",
    "MODE",
    "NPOST",
    "NENFORCE",
    "NMONITOR",
];

fn of_policies(lab: &Lab) -> Result<()> {
    let agent = lab.agent(&["--tracing-policy-dir="])?;
    let path = lab.policy("links.yaml", POLICY)?;
    let path = path.to_str().context("a path")?;
    let added = said(&agent, &["tracingpolicy", "add", path])?;
    ensure!(added == format!("tracing policy \"{path}\" added\n"), "{added}");
    let state = |wanted: &str| -> Result<()> {
        let list = said(&agent, &["tp", "list"])?;
        let lines: Vec<&str> = list.lines().collect();
        ensure!(lines.len() == 2 && cells(lines[0]) == COLUMNS, "{list}");
        let row = cells(lines[1]);
        ensure!(row[1..4] == ["links", "grpc", wanted] && row[5] == "(global)", "{list}");
        Ok(())
    };
    state("enabled")?;
    let json: Value = serde_json::from_str(&said(&agent, &["tp", "list", "-o", "json"])?)?;
    ensure!(json["policies"][0]["state"] == "TP_STATE_ENABLED", "{json}");
    ensure!(said(&agent, &["tp", "domains"])? == "[grpc]\n");
    let shown = said(&agent, &["tp", "show", "links"])?;
    ensure!(shown.contains("State:           enabled\n"), "{shown}");
    let none = failed(agent.ask(&["tp", "show", "link"])?)?;
    ensure!(none.contains("did you mean \"links\"?"), "{none}");
    let set = said(&agent, &["tp", "set-mode", "links", "monitor"])?;
    ensure!(set == "tracing policy \"links\" set to mode \"monitor\"\n", "{set}");
    let disabled = said(&agent, &["tp", "disable", "links"])?;
    ensure!(disabled == "tracing policy \"links\" disabled\n", "{disabled}");
    state("disabled")?;
    let enabled = said(&agent, &["tp", "enable", "links"])?;
    ensure!(enabled == "tracing policy \"links\" enabled\n", "{enabled}");
    state("enabled")?;
    let deleted = said(&agent, &["tp", "delete", "links"])?;
    ensure!(deleted == "tracing policy \"links\" deleted\n", "{deleted}");
    for verb in ["delete", "enable", "disable"] {
        let none = failed(agent.ask(&["tp", verb, "links"])?)?;
        ensure!(none.contains("`tetra tracingpolicy list` prints all"), "{verb}: {none}");
    }
    let modified = said(&agent, &["tp", "modify", path, "--mode", "monitor"])?;
    ensure!(modified.contains("policy-mode"), "{modified}");
    agent.stop()?;
    Ok(())
}

fn without_agent(lab: &Lab) -> Result<()> {
    // Only to have a command at hand: none of these asks it.
    let agent = lab.agent(&["--tracing-policy-dir="])?;
    let path = lab.policy("links.yaml", POLICY)?;
    let path = path.to_str().context("a path")?;
    let checked = said(&agent, &["tp", "check", path])?;
    ensure!(checked.contains(": warning: spec.kprobes[0].selectors[0]: Signal"), "{checked}");
    failed(agent.ask(&["tp", "check", "--warnings-as-errors", path])?)?;
    let wrong = lab.policy("wrong.yaml", &POLICY.replace("sys_symlinkat", "sys_symlinkad"))?;
    let wrong = agent.ask(&["tp", "check", "-o", "json", wrong.to_str().context("a path")?])?;
    let found: Value = serde_json::from_str(&wrong.stdout)?;
    ensure!(found[0]["line"] == 6 && found[0]["severity"] == "error", "{found}");
    let message = found[0]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("did you mean `sys_symlinkat`?"), "{found}");
    failed(wrong)?;
    let explained = said(&agent, &["tp", "explain", path])?;
    ensure!(explained.contains("Looks at the system call symlinkat."), "{explained}");
    let compiled = said(&agent, &["tp", "compile", path])?;
    ensure!(compiled.starts_with("# Plan\n"), "{compiled}");
    let hooks = said(&agent, &["tp", "hooks", "sched_process_exec"])?;
    ensure!(hooks.lines().any(|line| line.starts_with("raw-tracepoint  ")), "{hooks}");
    let fields = said(&agent, &["explain", "tracingpolicy.spec.kprobes.call"])?;
    ensure!(fields.contains("FIELD: call <string> -required-\n"), "{fields}");
    let kinds = said(&agent, &["explain", "--list"])?;
    ensure!(kinds.starts_with("NAME ") && kinds.contains("tgtpn\n"), "{kinds}");
    for (what, wanted) in [
        ("empty", "name: empty\n"),
        ("all-syscalls", "- call: sys_"),
        ("all-syscalls-list", "lists:"),
    ] {
        let text = said(&agent, &["tp", "generate", what])?;
        ensure!(text.contains(wanted), "{what}: {text}");
        let path = lab.policy("generated.yaml", &text)?;
        said(&agent, &["tp", "check", path.to_str().context("a path")?])?;
    }
    let own = lab.tool("tool")?;
    let text = said(&agent, &["tp", "generate", "uprobes", "-b", &own])?;
    ensure!(text.contains(&format!("path: \"{own}\"")), "{text}");
    agent.stop()?;
    Ok(())
}

fn of_the_agent(lab: &Lab) -> Result<()> {
    let agent = lab.agent(&["--tracing-policy-dir="])?;
    let before = said(&agent, &["eventlog", "get"])?;
    ensure!(before.starts_with("Current logging parameters: "), "{before}");
    ensure!(said(&agent, &["eventlog", "set", "--max-backups", "3"])?.is_empty());
    let after = said(&agent, &["eventlog", "get"])?;
    ensure!(after.contains("max_backups:3"), "{after}");
    failed(agent.ask(&["eventlog", "set"])?)?;
    for command in [&["sensors", "list"][..], &["sensors", "enable", "x"], &["sensors", "rm", "x"]]
    {
        let error = failed(agent.ask(command)?)?;
        ensure!(error.contains("is deprecated"), "{error}");
    }
    let told = ["rthooks", "create-container", "--container-id", "/x", "--annotations", "a=b"];
    ensure!(said(&agent, &told)?.is_empty());
    let maps = said(&agent, &["debug", "maps", "-n", "3"])?;
    ensure!(maps.starts_with("ID ") && maps.lines().count() == 5, "{maps}");
    let maps: Value = serde_json::from_str(&said(&agent, &["debug", "maps", "-o", "json"])?)?;
    ensure!(maps["total"]["maps"].as_u64() > Some(3), "{maps}");
    let programs = said(&agent, &["debug", "progs", "--once"])?;
    ensure!(programs.starts_with("Ovh(%)   Id "), "{programs}");
    ensure!(programs.contains("tg_exec"), "{programs}");
    let info: Value = serde_json::from_str(&said(&agent, &["info"])?)?;
    ensure!(info["Name"].is_string() && info["Probes"].is_object(), "{info}");
    let build = said(&agent, &["version", "--server", "--build"])?;
    ensure!(build.contains("Server version: ") && build.contains("Compiler: "), "{build}");
    // Debian's kernels have their configuration in a file of the package, which is not in the machine.
    let config = agent.ask(&["probe", "config"])?;
    ensure!(
        config.stderr.contains("this kernel does not show its configuration")
            || config.stdout.lines().all(|line| line.starts_with("CONFIG_") && line.contains(':')),
        "{config:?}"
    );
    agent.stop()?;
    Ok(())
}

fn about_events(lab: &Lab) -> Result<()> {
    let policy = lab.policy("links.yaml", POLICY)?;
    let policy = policy.to_str().context("a path")?;
    let mut agent = lab.agent_with_policy(POLICY)?;
    let program = lab.program("seen", &elf::exit(3))?;
    run(&mut Command::new(&program))?;
    symlinkat("/nowhere/at-all", AT_FDCWD, &lab.path("link"))?;
    agent.wait_for("what was done", |events| {
        !events.of_policy("links").is_empty() && !events.execs_of(&program).is_empty()
    })?;
    let top = said(&agent, &["top", "--once", "--interval", "500ms", "--view", "policies"])?;
    ensure!(top.starts_with("events ") && top.contains("EVENTS/S"), "{top}");
    ensure!(top.lines().any(|line| cells(line).get(2) == Some(&"links")), "{top}");
    failed(agent.ask(&["top"])?)?;
    let tree = said(&agent, &["tree"])?;
    ensure!(tree.starts_with("PID ") && tree.contains("vmtest"), "{tree}");
    agent.settle()?;
    let export = agent.export();
    let export = export.to_str().context("a path")?;
    let tree = said(&agent, &["tree", export, "--process", "/seen$"])?;
    let line = tree.lines().find(|line| line.contains(&program)).context(tree.clone())?;
    ensure!(line.contains("exit 3"), "{tree}");
    let json: Value = serde_json::from_str(&said(&agent, &["tree", export, "-o", "json"])?)?;
    ensure!(json.as_array().is_some_and(|roots| !roots.is_empty()), "{json}");
    let replay = said(&agent, &["replay", export, "--policy", policy])?;
    ensure!(replay.contains("links: spec.kprobes[0]: matches, selectors[0]"), "{replay}");
    let rows: Vec<Vec<&str>> = replay.lines().map(cells).collect();
    ensure!(
        rows.iter().any(|row| row[..] == ["links", "spec.kprobes[0]", "1", "0", "0"]),
        "{replay}"
    );
    agent.stop()?;
    Ok(())
}
