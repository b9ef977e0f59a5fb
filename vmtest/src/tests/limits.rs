//! What the agent may cost, measured where nothing is emulated.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::agent::Agent;
use crate::elf;
use crate::lab::{Guard, Lab, run};
use crate::test::{Need, Test};

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("limits::ready_within_a_second", ready_within_a_second).needs(&[Need::Host]),
    Test::new("limits::events_come_within_100_ms", events_come_soon).needs(&[Need::Host]),
    Test::new("limits::memory_with_a_thousand_processes", memory).needs(&[Need::Host]),
    Test::new("limits::kernel_memory_of_maps", kernel_memory),
];

fn ready_within_a_second(lab: &Lab) -> Result<()> {
    let agent = lab.agent(&[])?;
    let time = agent.ready_after();
    agent.stop()?;
    ensure!(time < Duration::from_secs(1), "ready after {time:?}");
    Ok(())
}

/// Of ten processes, the median: the machine may be busy with other things.
fn events_come_soon(lab: &Lab) -> Result<()> {
    let mut agent = lab.agent(&[])?;
    agent.settle()?;
    let mut times = Vec::new();
    for number in 0..10 {
        let program = lab.program(&format!("program-{number}"), &elf::exit(0))?;
        let start = Instant::now();
        run(&mut Command::new(&program))?.ok()?;
        agent.wait_for("exec and exit", |events| {
            !events.execs_of(&program).is_empty() && !events.exits_of(&program).is_empty()
        })?;
        times.push(start.elapsed());
    }
    agent.stop()?;
    times.sort();
    ensure!(times[5] < Duration::from_millis(100), "{times:?}");
    Ok(())
}

fn memory(lab: &Lab) -> Result<()> {
    const LIMIT: u64 = 30 << 20;
    let program = lab.program("program", &elf::sleep(120_000))?;
    let mut children = Vec::new();
    let mut agent = lab.agent(&[])?;
    for _ in 0..1000 {
        children.push(Guard(Command::new(&program).spawn()?));
    }
    agent.settle()?;
    let resident = resident(&agent)?;
    drop(children);
    agent.stop()?;
    ensure!(resident < LIMIT, "{resident} bytes are resident, {LIMIT} are allowed");
    Ok(())
}

/// Bytes of the agent that are in memory.
fn resident(agent: &Agent) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// The kernel tells how much each map takes in the `fdinfo` of its descriptor.
fn kernel_memory(lab: &Lab) -> Result<()> {
    const LIMIT: u64 = 4 << 20;
    let agent = lab.agent(&[])?;
    let mut maps = Vec::new();
    for entry in fs::read_dir(format!("/proc/{}/fdinfo", agent.pid()))? {
        // A descriptor may be closed while this reads.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let field = |name: &str| -> Option<u64> {
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        // Two descriptors of one map have the same id.
        if field("map_type:").is_some() {
            maps.push((field("map_id:").context("no map_id")?, field("memlock:").unwrap_or(0)));
        }
    }
    agent.stop()?;
    maps.sort();
    maps.dedup();
    ensure!(!maps.is_empty(), "the agent holds no maps");
    let sum: u64 = maps.iter().map(|(_, bytes)| bytes).sum();
    ensure!(sum < LIMIT, "maps take {sum} bytes, {LIMIT} are allowed: {maps:?}");
    Ok(())
}
