//! Policies on tracepoints, by perf's record and raw: `process_tracepoint` events.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::event::Event;
use crate::lab::{Lab, run};
use crate::test::{Need, Test};
use crate::watch::watch;

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("tracepoints::filter_numbers_of_the_record", numbers).needs(&[Need::Vm]),
    Test::new("tracepoints::filter_texts_of_the_record", texts).needs(&[Need::Vm]),
    Test::new("tracepoints::pass_raw_arguments", raw),
    Test::new("tracepoints::pass_raw_objects", raw_objects),
];

/// The event of a policy with these tracepoints, of which one is wanted, while processes of the tool
/// `victim` die of two signals; and the id of the second.
fn die(lab: &Lab, tracepoints: &str) -> Result<(Event, u64)> {
    let tool = lab.tool("victim")?;
    let mut pid = 0;
    let event = watch_one(lab, tracepoints, || {
        for signal in ["SIGUSR2", "SIGUSR1"] {
            let done = run(Command::new(&tool).args(["tool", "kill-self", signal]))?;
            ensure!(!done.status.success(), "{signal}: {done:?}");
            pid = done.pid;
        }
        Ok(())
    })?;
    ensure!(event.pid() == pid && event.binary() == tool, "{event:?}");
    Ok((event, pid))
}

/// The event of a policy with these tracepoints, of which one is wanted, while something is done.
fn watch_one(lab: &Lab, tracepoints: &str, work: impl FnOnce() -> Result<()>) -> Result<Event> {
    let mut events = watch(lab, &format!("  tracepoints:\n{tracepoints}"), 1, work)?;
    let event = events.pop().context("no event")?;
    ensure!(event.kind() == "process_tracepoint", "{event:?}");
    Ok(event)
}

fn numbers(lab: &Lab) -> Result<()> {
    // Fields of signal_generate after the four common ones: sig, errno, code, comm, pid, group, result.
    let tracepoint = r#"  - subsystem: signal
    event: signal_generate
    message: "someone dies"
    tags: [observed.signals]
    args:
    - {index: 4, type: int32, label: signal}
    - {index: 8}
    - {index: 7}
    selectors:
    - matchArgs:
      - {index: 0, operator: Equal, values: ["10"]}
"#;
    let (event, pid) = die(lab, tracepoint)?;
    ensure!(event.text("subsys") == "signal" && event.text("event") == "signal_generate");
    ensure!(event.text("message") == "someone dies", "{event:?}");
    ensure!(event.at("tags") == &json!(["observed.signals"]), "{event:?}");
    ensure!(event.text("action") == "KPROBE_ACTION_POST", "{event:?}");
    // Arguments of tracepoints have no labels.
    let args = json!([{"int_arg": 10}, {"int_arg": pid}, {"string_arg": "victim"}]);
    ensure!(event.at("args") == &args, "{event:?}");
    Ok(())
}

fn texts(lab: &Lab) -> Result<()> {
    // Of sched_process_exec: filename (elsewhere in the record), pid, old_pid.
    let tracepoint = r#"  - subsystem: sched
    event: sched_process_exec
    args:
    - {index: 4}
    - {index: 5, type: int}
    selectors:
    - matchArgs:
      - {index: 0, operator: Postfix, values: [/executed-text]}
"#;
    let near = lab.program("executed-texts", &crate::elf::exit(0))?;
    let program = lab.program("executed-text", &crate::elf::exit(0))?;
    let mut pid = 0;
    let event = watch_one(lab, tracepoint, || {
        run(&mut Command::new(near))?.ok()?;
        pid = run(&mut Command::new(&program))?.ok()?.pid;
        Ok(())
    })?;
    let args = json!([{"string_arg": program}, {"int_arg": pid}]);
    ensure!(event.at("args") == &args, "{event:?}");
    Ok(())
}

fn raw(lab: &Lab) -> Result<()> {
    // signal_generate(sig, info, task, group, result)
    let victim = lab.path("victim");
    let tracepoint = format!(
        r#"  - subsystem: signal
    event: signal_generate
    raw: true
    message: "someone dies"
    tags: [observed.signals]
    args:
    - {{index: 0, type: int}}
    - {{index: 2, type: int, resolve: tgid}}
    - {{index: 2, type: string, resolve: comm}}
    selectors:
    - matchBinaries:
      - {{operator: In, values: ["{}"]}}
      matchArgs:
      - {{args: [0], operator: Equal, values: ["10", "11"]}}
"#,
        victim.display()
    );
    let (event, pid) = die(lab, &tracepoint)?;
    ensure!(event.text("subsys") == "signal" && event.text("event") == "signal_generate");
    ensure!(event.text("message") == "someone dies", "{event:?}");
    ensure!(event.at("tags") == &json!(["observed.signals"]), "{event:?}");
    let args = json!([{"int_arg": 10}, {"int_arg": pid}, {"string_arg": "victim"}]);
    ensure!(event.at("args") == &args, "{event:?}");
    Ok(())
}

fn raw_objects(lab: &Lab) -> Result<()> {
    // sched_process_exec(task, old_pid, bprm)
    let program = lab.program("executed", &crate::elf::exit(0))?;
    let tracepoint = format!(
        r#"  - subsystem: sched
    event: sched_process_exec
    raw: true
    args:
    - {{index: 2, type: linux_binprm}}
    selectors:
    - matchArgs:
      - {{index: 0, operator: Equal, values: ["{program}"]}}
"#
    );
    let near = lab.program("executed2", &crate::elf::exit(0))?;
    let event = watch_one(lab, &tracepoint, || {
        run(&mut Command::new(near))?.ok()?;
        run(&mut Command::new(&program))?.ok()?;
        Ok(())
    })?;
    ensure!(event.text("args.0.linux_binprm_arg.path") == program, "{event:?}");
    ensure!(event.text("args.0.linux_binprm_arg.permission") == "-rwxr-xr-x", "{event:?}");
    Ok(())
}
