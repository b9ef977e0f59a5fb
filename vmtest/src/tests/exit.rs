//! Exits: once per process, when its last thread ends, with status or signal.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::elf;
use crate::lab::{Guard, Lab, run};
use crate::test::Test;

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("exit::tells_the_status", tells_the_status),
    Test::new("exit::tells_the_signal", tells_the_signal),
    Test::new("exit::comes_with_the_last_thread", comes_with_the_last_thread),
    Test::new("exit::of_a_fork_that_executed_nothing", of_a_fork),
    Test::new("exit::of_a_process_older_than_the_agent", of_an_older_process),
];

fn tells_the_status(lab: &Lab) -> Result<()> {
    let agent = lab.agent(&[])?;
    let mut programs = Vec::new();
    for status in [0, 1, 7, 255] {
        let program = lab.program(&format!("exit-{status}"), &elf::exit(status))?;
        let done = run(&mut Command::new(&program))?;
        ensure!(done.status.code() == Some(status.cast_signed()));
        programs.push((program, status));
    }
    let events = agent.finish()?;
    for (program, status) in programs {
        let exit = events.exit_of(&program)?;
        // 0 is left out in proto-JSON.
        ensure!(exit.number("status").unwrap_or(0) == u64::from(status), "{exit:?}");
        ensure!(exit.text("signal").is_empty(), "{exit:?}");
        ensure!(exit.text("time").ends_with('Z'), "{exit:?}");
        ensure!(exit.exec_id() == events.exec_of(&program)?.exec_id(), "{exit:?}");
    }
    Ok(())
}

fn tells_the_signal(lab: &Lab) -> Result<()> {
    let agent = lab.agent(&[])?;
    let mut tools = Vec::new();
    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGABRT, Signal::SIGUSR1] {
        let tool = lab.tool(signal.as_str())?;
        let done = run(Command::new(&tool).args(["tool", "kill-self", signal.as_str()]))?;
        ensure!(done.status.signal() == Some(signal as i32), "{done:?}");
        tools.push((tool, signal));
    }
    let events = agent.finish()?;
    for (tool, signal) in tools {
        let exit = events.exit_of(&tool)?;
        ensure!(exit.text("signal") == signal.as_str(), "{exit:?}");
        ensure!(exit.number("status").unwrap_or(0) == 0, "{exit:?}");
    }
    Ok(())
}

fn comes_with_the_last_thread(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::first_thread_leaves(3))?;
    let mut agent = lab.agent(&[])?;
    let start = Instant::now();
    let mut child = Guard(Command::new(&program).spawn()?);
    // Half of the time that the second thread takes.
    while start.elapsed() < Duration::from_millis(150) {
        let early = agent.events()?.exits_of(&program).len();
        ensure!(early == 0, "an exit event while a thread still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
    let status = child.0.wait()?;
    let events = agent.finish()?;
    let exit = events.exit_of(&program)?;
    // As wait(2) tells it.
    let code = status.code().context("it was killed")?;
    ensure!(exit.number("status") == Some(u64::from(code.cast_unsigned())), "{status}: {exit:?}");
    ensure!(exit.exec_id() == events.exec_of(&program)?.exec_id(), "{exit:?}");
    Ok(())
}

/// It has the image of the process that it comes from, and an id of its own.
fn of_a_fork(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::fork_and_exit(5))?;
    let agent = lab.agent(&[])?;
    let done = run(Command::new(&program).arg("x"))?.ok()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&program)?;
    let exits = events.exits_of(&program);
    ensure!(exits.len() == 2, "{exits:?}");
    let own = exits.iter().find(|exit| exit.pid() == done.pid).context("no exit of the parent")?;
    let fork = exits.iter().find(|exit| exit.pid() != done.pid).context("no exit of the fork")?;
    ensure!(own.exec_id() == exec.exec_id(), "{own:?}");
    ensure!(fork.exec_id() != exec.exec_id(), "{fork:?}");
    ensure!(fork.number("status") == Some(5), "{fork:?}");
    ensure!(fork.text("process.flags") == "clone", "{fork:?}");
    ensure!(fork.text("process.arguments") == "x", "{fork:?}");
    ensure!(fork.text("process.parent_exec_id") == exec.exec_id(), "{fork:?}");
    ensure!(fork.text("parent.exec_id") == exec.exec_id(), "{fork:?}");
    Ok(())
}

fn of_an_older_process(lab: &Lab) -> Result<()> {
    let tool = lab.tool("tool")?;
    let mut older = Guard(Command::new(&tool).args(["tool", "sleep", "60000"]).spawn()?);
    let mut agent = lab.agent(&[])?;
    agent.wait_for("it is told of", |events| !events.execs_of(&tool).is_empty())?;
    older.0.kill()?;
    older.0.wait()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&tool)?;
    let exit = events.exit_of(&tool)?;
    ensure!(exec.has_flag("procFS"), "{exec:?}");
    ensure!(exit.exec_id() == exec.exec_id(), "{exec:?}\n{exit:?}");
    ensure!(exit.text("signal") == "SIGKILL", "{exit:?}");
    Ok(())
}
