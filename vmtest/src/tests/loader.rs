//! Files that are mapped to be executed.

use anyhow::{Result, ensure};

use crate::event::Event;
use crate::lab::{Lab, run};
use crate::test::Test;

/// These tests.
pub(crate) const TESTS: &[Test] =
    &[Test::new("loader::tells_what_a_program_maps", tells_what_a_program_maps)];

const POLICY: &str = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: mapped}\n\
                      spec: {loader: true}\n";

fn tells_what_a_program_maps(lab: &Lab) -> Result<()> {
    let tool = lab.tool("mapper")?;
    let mut agent = lab.agent_with_policy(POLICY)?;
    let pid = run(std::process::Command::new(&tool).args(["tool", "true"]))?.pid;
    let is_own = |event: &&Event| event.text("path") == tool;
    agent.wait_for("its own file is seen", |events| {
        events.of_kind("process_loader").iter().any(is_own)
    })?;
    let events = agent.finish()?;
    let own: Vec<_> = events.of_kind("process_loader").into_iter().filter(is_own).collect();
    let [event] = own[..] else { anyhow::bail!("once is wanted: {own:?}") };
    ensure!(event.pid() == pid && event.binary() == tool, "{event:?}");
    let exec = events.execs_of(&tool).into_iter().find(|exec| exec.pid() == pid);
    ensure!(exec.is_some_and(|exec| exec.exec_id() == event.exec_id()), "{event:?}");
    ensure!(event.envelope("time").as_str().is_some(), "{event:?}");
    Ok(())
}
