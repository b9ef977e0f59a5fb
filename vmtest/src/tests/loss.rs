//! When the ring is too small: every record that is lost is told of.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::elf;
use crate::event::Event;
use crate::lab::Lab;
use crate::test::Test;

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("loss::is_counted_and_told_of", is_counted).seconds(240),
    Test::new("loss::does_not_happen_in_a_ring_that_is_large_enough", large_enough).seconds(240),
];

const COUNT: usize = 2000;

/// While the agent is stopped, a shell starts many processes. With `lossy`, waits until losses are told:
/// before, the ring may still be full, and what ends the test would be lost too.
fn start_behind_its_back(
    lab: &Lab,
    flags: &[&str],
    lossy: bool,
) -> Result<(String, crate::event::Events)> {
    let program = lab.program("program", &elf::exit(0))?;
    let mut agent = lab.agent(flags)?;
    agent.signal(Signal::SIGSTOP)?;
    let script = format!("i=0; while [ $i -lt {COUNT} ]; do {program} $i; i=$((i+1)); done");
    let done = lab.shell(&script)?.ok();
    agent.signal(Signal::SIGCONT)?;
    done?;
    if lossy {
        agent.wait_for("losses are told", |events| !events.of_kind("events_lost").is_empty())?;
    }
    Ok((program, agent.finish()?))
}

fn is_counted(lab: &Lab) -> Result<()> {
    let (program, events) = start_behind_its_back(lab, &["--rb-size-total=65536"], true)?;
    let losses: Vec<&Event> = events
        .of_kind("events_lost")
        .into_iter()
        .filter(|event| event.text("ring") == "base")
        .collect();
    ensure!(!losses.is_empty(), "records of {COUNT} processes fit into 64 KiB, or nobody tells");
    let mut lost = 0;
    for loss in losses {
        let count = loss.number("count").context("no count")?;
        let first = loss.number("first_seq").unwrap_or(0);
        let last = loss.number("last_seq").context("no last_seq")?;
        loss.number("cpu").context("no cpu")?;
        // The counts are exact, the numbers are not: what the kernel counted is told before a record
        // shows where the gap ends, and a small record may fit between larger ones that did not.
        ensure!(count > 0 && first <= last, "{loss:?}");
        ensure!(!loss.text("cause").is_empty(), "{loss:?}");
        lost += count;
    }
    // Each process has a fork, an exec and an exit record. Fork records that arrive are not seen
    // here, so the sum has a span; others on the machine add to it, so only the lower end is firm.
    let execs = events.execs_of(&program).len() as u64;
    let exits = events.exits_of(&program).len() as u64;
    let missing = 2 * COUNT as u64 - execs - exits;
    ensure!(missing > 0, "nothing is missing, but {lost} are said to be lost");
    ensure!(lost >= missing, "{missing} execs and exits are missing, {lost} are said to be lost");
    if lab.in_vm() {
        // Nobody else does anything; the shell is two records more, forks one each.
        let most = missing + COUNT as u64 + 20;
        ensure!(lost <= most, "{missing} execs and exits are missing, {lost} are said to be lost");
    }
    Ok(())
}

fn large_enough(lab: &Lab) -> Result<()> {
    let (program, events) = start_behind_its_back(lab, &["--rb-size-total=16M"], false)?;
    let losses = events.of_kind("events_lost");
    ensure!(losses.is_empty(), "{losses:?}");
    ensure!(events.execs_of(&program).len() == COUNT);
    ensure!(events.exits_of(&program).len() == COUNT);
    Ok(())
}
