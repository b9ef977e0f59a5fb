//! What one policy reports while a test does something.

use anyhow::{Result, ensure};

use crate::event::Event;
use crate::lab::Lab;

/// Does some work under an agent with a policy, waits for so many events of the policy, and returns
/// them; more are an error. What the policy shall not report has to come before what it shall.
///
/// * `spec` - content of the policy's `spec`, indented
pub(crate) fn watch(
    lab: &Lab,
    spec: &str,
    count: usize,
    work: impl FnOnce() -> Result<()>,
) -> Result<Vec<Event>> {
    let policy = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: watched}}\n\
         spec:\n{spec}"
    );
    let mut agent = lab.agent_with_policy(&policy)?;
    work()?;
    agent
        .wait_for("what is watched is seen", |events| events.of_policy("watched").len() >= count)?;
    let events = agent.finish()?;
    let events: Vec<_> = events.of_policy("watched").into_iter().cloned().collect();
    ensure!(events.len() == count, "{count} are wanted: {events:?}");
    Ok(events)
}
