//! With every flag on, every documented field of a process is there.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::elf;
use crate::lab::{Lab, run};
use crate::test::Test;

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("fields::all_are_there_when_wanted", all_are_there),
    Test::new("fields::ancestors_lead_to_init", ancestors_lead_to_init),
    Test::new("fields::secrets_are_redacted", secrets_are_redacted),
    Test::new("fields::environment_is_cut_to_the_names_wanted", names_wanted),
];

fn all_are_there(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(0))?;
    let agent = lab.agent(&[
        "--enable-process-cred",
        "--enable-process-ns",
        "--enable-process-environment-variables",
        "--enable-ancestors=base",
        "--username-metadata=unix",
        "--cluster-name=test-cluster",
    ])?;
    run(Command::new(&program).arg("x"))?.ok()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&program)?;
    let exit = events.exit_of(&program)?;
    for event in [exec, exit] {
        for field in [
            "exec_id",
            "pid",
            "uid",
            "cwd",
            "binary",
            "arguments",
            "flags",
            "start_time",
            "auid",
            "parent_exec_id",
            "cap",
            "ns",
            "tid",
            "process_credentials",
            "in_init_tree",
            "environment_variables",
        ] {
            ensure!(!event.at(&format!("process.{field}")).is_null(), "no {field}: {event:?}");
        }
        for field in ["exec_id", "pid", "uid", "cwd", "binary", "flags", "start_time", "tid"] {
            ensure!(!event.at(&format!("parent.{field}")).is_null(), "no {field}: {event:?}");
        }
        for field in ["node_name", "time", "cluster_name"] {
            ensure!(!event.envelope(field).is_null(), "no {field}: {event:?}");
        }
        ensure!(event.at("ancestors").is_array(), "no ancestors: {event:?}");
        ensure!(event.envelope("cluster_name") == "test-cluster", "{event:?}");
        for field in
            ["uid", "gid", "euid", "egid", "suid", "sgid", "fsuid", "fsgid", "caps", "user_ns"]
        {
            let path = format!("process.process_credentials.{field}");
            ensure!(!event.at(&path).is_null(), "no {path}: {event:?}");
        }
        for name in ["uts", "ipc", "mnt", "pid", "pid_for_children", "net", "cgroup", "user"] {
            let path = format!("process.ns.{name}");
            ensure!(!event.at(&path).is_null(), "no {path}: {event:?}");
        }
    }
    ensure!(exit.text("time").ends_with('Z'), "{exit:?}");
    ensure!(exec.at("process.user.name") == "root", "{exec:?}");
    Ok(())
}

fn ancestors_lead_to_init(lab: &Lab) -> Result<()> {
    let outer = lab.tool("outer")?;
    let program = lab.program("program", &elf::exit(0))?;
    let agent = lab.agent(&["--enable-ancestors=base"])?;
    run(Command::new(&outer).args(["tool", "start", "1", &program]))?.ok()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&program)?;
    ensure!(exec.text("parent.binary") == outer, "{exec:?}");
    let ancestors = exec.at("ancestors").as_array().context("no ancestors")?;
    let first = ancestors.first().context("no grandparent")?;
    ensure!(first["pid"] == std::process::id(), "{exec:?}");
    ensure!(first["exec_id"] == *events.exec_of(&outer)?.at("process.parent_exec_id"), "{exec:?}");
    for pair in ancestors.windows(2) {
        ensure!(pair[0]["parent_exec_id"] == pair[1]["exec_id"], "{exec:?}");
    }
    let last = ancestors.last().context("no ancestors")?;
    ensure!(last["pid"] == 1, "{exec:?}");
    Ok(())
}

fn secrets_are_redacted(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(0))?;
    let filter =
        r#"--redaction-filters={"redact": ["--password(?:\\s+|=)(\\S+)", "TOKEN=(\\S+)"]}"#;
    let agent = lab.agent(&[filter, "--enable-process-environment-variables"])?;
    run(Command::new(&program)
        .args(["--password", "abc", "--name", "me"])
        .env_clear()
        .env("TOKEN", "def"))?
    .ok()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&program)?;
    ensure!(exec.text("process.arguments") == "--password ***** --name me", "{exec:?}");
    let variables = exec.at("process.environment_variables");
    ensure!(variables == &json!([{ "Key": "TOKEN", "Value": "*****" }]), "{exec:?}");
    Ok(())
}

fn names_wanted(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(0))?;
    let agent = lab.agent(&[
        "--enable-process-environment-variables",
        "--filter-environment-variables=B,PATH",
    ])?;
    run(Command::new(&program).env_clear().env("A", "1").env("B", "2").arg0("odd"))?.ok()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&program)?;
    let variables = exec.at("process.environment_variables");
    ensure!(variables == &json!([{ "Key": "B", "Value": "2" }]), "{exec:?}");
    Ok(())
}
