//! Processes that run when the agent starts: all of them, each once, and nothing between them and
//! the first that starts after.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::elf;
use crate::event::Events;
use crate::lab::{Guard, Lab, run};
use crate::test::Test;

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("bootstrap::tells_of_running_processes", tells_of_running_processes),
    Test::new("bootstrap::every_process_has_one_exec_event", every_process_once),
    Test::new("bootstrap::leaves_no_gap_and_no_double", leaves_no_gap),
];

fn tells_of_running_processes(lab: &Lab) -> Result<()> {
    let tool = lab.tool("tool")?;
    let directory = lab.path("somewhere");
    fs::create_dir(&directory)?;
    let child = Guard(
        Command::new(&tool)
            .args(["tool", "sleep", "60000", "two words"])
            .current_dir(&directory)
            .spawn()?,
    );
    let agent = lab.agent(&[])?;
    let events = agent.finish()?;
    let exec = events.exec_of(&tool)?;
    ensure!(exec.has_flag("procFS"), "{exec:?}");
    ensure!(exec.pid() == u64::from(child.0.id()), "{exec:?}");
    ensure!(exec.number("process.uid") == Some(0), "{exec:?}");
    ensure!(exec.text("process.cwd") == directory.to_string_lossy(), "{exec:?}");
    ensure!(exec.text("process.arguments") == r#"tool sleep 60000 "two words""#, "{exec:?}");
    ensure!(exec.number("parent.pid") == Some(std::process::id().into()), "{exec:?}");
    ensure!(exec.text("parent.exec_id") == exec.text("process.parent_exec_id"), "{exec:?}");
    Ok(())
}

fn every_process_once(lab: &Lab) -> Result<()> {
    let before = processes()?;
    let mut agent = lab.agent(&[])?;
    agent.settle()?;
    let after = processes()?;
    let events = agent.stop()?;
    let mut told: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for event in events.0.iter().filter(|event| event.is_exec() && event.has_flag("procFS")) {
        told.entry(event.pid()).or_default().push(event.exec_id());
    }
    for (pid, ids) in &told {
        ensure!(ids.len() == 1, "pid {pid} was told of {} times", ids.len());
    }
    let own = u64::from(std::process::id());
    ensure!(before.iter().any(|(pid, _)| *pid == own), "/proc does not show this process");
    for (pid, start) in before {
        let outlived = after.contains(&(pid, start));
        ensure!(!outlived || told.contains_key(&pid), "pid {pid} runs and was not told of");
    }
    Ok(())
}

/// Pid and start of processes that are not kernel threads.
fn processes() -> Result<Vec<(u64, String)>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        // It may end at any time. Kernel threads have no memory, so nothing is mapped.
        let Ok(maps) = fs::read(entry.path().join("maps")) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let start = stat.rsplit(')').next().and_then(|fields| fields.split(' ').nth(20));
        if let Some(start) = start.filter(|_| !maps.is_empty()) {
            processes.push((pid, start.to_owned()));
        }
    }
    Ok(processes)
}

/// While a shell starts one process after the other, the agent starts: from the first that it
/// tells of, it tells of all, each once, of its end too.
fn leaves_no_gap(lab: &Lab) -> Result<()> {
    let shell = lab.busybox("sh")?;
    let program = lab.program("program", &elf::exit(0))?;
    let stop = lab.path("stop");
    let script = format!(
        "i=0; while [ ! -e {} ]; do {program} $i; i=$((i+1)); done; echo $i",
        stop.display()
    );
    let mut command = Command::new(&shell);
    command.args(["-c", &script]);
    let runner = std::thread::spawn(move || run(&mut command));
    // Some processes come before the agent does.
    std::thread::sleep(Duration::from_millis(300));
    let mut agent = lab.agent(&[])?;
    agent.settle()?;
    fs::write(&stop, "")?;
    let done = runner.join().ok().context("the shell's thread panicked")??.ok()?;
    let started: usize = done.stdout.trim().parse()?;
    let events = agent.finish()?;

    let execs = by_argument(&events, &program, true)?;
    let exits = by_argument(&events, &program, false)?;
    let first = *execs.keys().next().context("no exec was seen")?;
    ensure!(first < started, "the agent came too late for this test");
    for number in first..started {
        let exec = execs.get(&number).with_context(|| format!("{number} of {started}: no exec"))?;
        let exit = exits.get(&number).with_context(|| format!("{number} of {started}: no exit"))?;
        ensure!(exec.len() == 1, "{number}: {} exec events", exec.len());
        ensure!(exit == exec, "{number}: exec of {exec:?}, exit of {exit:?}");
    }
    Ok(())
}

/// Exec ids of execs or exits of a program, by the number that is its argument.
fn by_argument(
    events: &Events,
    program: &str,
    execs: bool,
) -> Result<BTreeMap<usize, Vec<String>>> {
    let found = if execs { events.execs_of(program) } else { events.exits_of(program) };
    let mut numbers: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for event in found {
        let number = event.text("process.arguments").parse()?;
        numbers.entry(number).or_default().push(event.exec_id().to_owned());
    }
    Ok(numbers)
}
