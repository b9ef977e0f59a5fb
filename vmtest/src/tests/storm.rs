//! Many processes in a short time: none lost, none doubled, each with the right parent.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::elf;
use crate::event::Events;
use crate::lab::{Lab, run};
use crate::test::{Need, Test};

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("storm::ten_thousand_by_a_shell", ten_thousand).seconds(600),
    Test::new("storm::many_at_once", many_at_once).seconds(240),
    Test::new("storm::parents_that_are_gone", parents_that_are_gone).seconds(240),
    Test::new("storm::pids_that_come_again", pids_that_come_again).needs(&[Need::Vm]).seconds(240),
];

/// Every number below `count` was an argument of one exec and one exit of the program, of the same
/// process, whose parent is the only process that executed `parent`.
fn all_there(events: &Events, parent: &str, program: &str, count: usize) -> Result<()> {
    let losses = events.of_kind("events_lost");
    ensure!(losses.is_empty(), "{losses:?}");
    let parent = events.exec_of(parent)?.exec_id();
    let mut ids = HashMap::new();
    for exec in events.execs_of(program) {
        let number: usize = exec.text("process.arguments").parse()?;
        let twice = ids.insert(exec.exec_id(), number);
        ensure!(twice.is_none(), "exec id of {number} and {twice:?}");
        ensure!(exec.text("process.parent_exec_id") == parent, "{exec:?}");
        ensure!(exec.text("parent.exec_id") == parent, "{exec:?}");
    }
    let numbers: BTreeSet<usize> = ids.values().copied().collect();
    ensure!(ids.len() == count, "{} execs of {count}", ids.len());
    ensure!(numbers.into_iter().eq(0..count), "other processes than were started");
    let mut ended = HashSet::new();
    for exit in events.exits_of(program) {
        ensure!(ids.contains_key(exit.exec_id()), "exit without exec: {exit:?}");
        ensure!(ended.insert(exit.exec_id()), "second exit: {exit:?}");
        ensure!(exit.text("parent.exec_id") == parent, "{exit:?}");
    }
    ensure!(ended.len() == count, "{} exits of {count}", ended.len());
    Ok(())
}

fn ten_thousand(lab: &Lab) -> Result<()> {
    const COUNT: usize = 10_000;
    let shell = lab.busybox("sh")?;
    let program = lab.program("program", &elf::exit(0))?;
    let agent = lab.agent(&[])?;
    let script = format!("i=0; while [ $i -lt {COUNT} ]; do {program} $i; i=$((i+1)); done");
    run(Command::new(&shell).args(["-c", &script]))?.ok()?;
    all_there(&agent.finish()?, &shell, &program, COUNT)
}

fn many_at_once(lab: &Lab) -> Result<()> {
    const COUNT: usize = 2000;
    let shell = lab.busybox("sh")?;
    let program = lab.program("program", &elf::exit(0))?;
    let agent = lab.agent(&[])?;
    let script = format!(
        "i=0; while [ $i -lt {COUNT} ]; do {program} $i & i=$((i+1)); \
         [ $((i % 100)) = 0 ] && wait; done; wait"
    );
    run(Command::new(&shell).args(["-c", &script]))?.ok()?;
    all_there(&agent.finish()?, &shell, &program, COUNT)
}

/// The parent ends before, while or after its child starts to run.
fn parents_that_are_gone(lab: &Lab) -> Result<()> {
    const COUNT: usize = 200;
    let parent = lab.tool("parent")?;
    let program = lab.program("program", &elf::exit(0))?;
    let mut agent = lab.agent(&[])?;
    let script = format!(
        "i=0; while [ $i -lt {COUNT} ]; do {parent} tool orphan {program} $i; i=$((i+1)); done"
    );
    lab.shell(&script)?.ok()?;
    agent.wait_for("all orphans ended", |events| events.exits_of(&program).len() == COUNT)?;
    let events = agent.finish()?;
    let mut parents = HashMap::new();
    for exec in events.execs_of(&parent) {
        // `tool orphan PROGRAM NUMBER`
        let number = exec.text("process.arguments").rsplit(' ').next().context("no arguments")?;
        parents.insert(number.to_owned(), exec.exec_id());
    }
    ensure!(parents.len() == COUNT, "{} parents", parents.len());
    let execs = events.execs_of(&program);
    ensure!(execs.len() == COUNT, "{} orphans", execs.len());
    for exec in execs {
        let parent_id = parents.get(exec.text("process.arguments")).copied();
        ensure!(Some(exec.text("process.parent_exec_id")) == parent_id, "{exec:?}");
        ensure!(Some(exec.text("parent.exec_id")) == parent_id, "{exec:?}");
        ensure!(exec.text("parent.binary") == parent, "{exec:?}");
    }
    Ok(())
}

fn pids_that_come_again(lab: &Lab) -> Result<()> {
    const COUNT: usize = 2000;
    const PID_MAX: &str = "/proc/sys/kernel/pid_max";
    let shell = lab.busybox("sh")?;
    let program = lab.program("program", &elf::exit(0))?;
    let agent = lab.agent(&[])?;
    let usual = fs::read(PID_MAX)?;
    fs::write(PID_MAX, "1000")?;
    let script = format!("i=0; while [ $i -lt {COUNT} ]; do {program} $i; i=$((i+1)); done");
    let done = run(Command::new(&shell).args(["-c", &script]));
    fs::write(PID_MAX, usual)?;
    done?.ok()?;
    let events = agent.finish()?;
    let pids: HashSet<u64> = events.execs_of(&program).iter().map(|exec| exec.pid()).collect();
    ensure!(pids.len() < 1000, "no pid came twice");
    all_there(&events, &shell, &program, COUNT)
}
