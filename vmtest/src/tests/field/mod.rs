//! Policies that users write, each as it stands: it is added, made to report, looked at, and deleted; or it
//! is refused, with the true reason. They lie beside this executable when the tests were built where they
//! are. What becomes of each on which kernel is recorded, and has to stay so.

mod calls;
mod case;
mod credentials;
mod execution;
mod files;
mod kernel;
mod network;
mod outcome;
mod userspace;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::agent::Agent;
use crate::lab::{Lab, within};
use crate::test::{Need, Test};
use case::Case;
use outcome::Outcome;

/// These tests.
pub(crate) const TESTS: &[Test] = &[Test::new("field::policies_do_what_they_say", try_all)
    .needs(&[Need::Vm, Need::Field])
    .seconds(1200)
    .tells()];

/// What the names of the policies start with, beside this executable.
pub(crate) const PREFIX: &str = "field-";

/// How long an event may take to come, when what provokes it is done.
const SEEN_WITHIN: Duration = Duration::from_secs(60);

fn cases() -> impl Iterator<Item = &'static Case> {
    [
        calls::CASES,
        files::CASES,
        credentials::CASES,
        execution::CASES,
        network::CASES,
        kernel::CASES,
        userspace::CASES,
    ]
    .into_iter()
    .flatten()
}

/// Names of the policies that are there.
fn policies() -> Result<BTreeSet<String>> {
    let own = std::env::current_exe()?;
    let directory = own.parent().context("this executable lies in no directory")?;
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        found.extend(name.strip_prefix(PREFIX).map(str::to_owned));
    }
    Ok(found)
}

/// Goes on after what is wrong with one policy, and tells of all at the end.
fn try_all(lab: &Lab) -> Result<()> {
    let there = policies()?;
    let tried: BTreeSet<String> = cases().map(|case| case.file.to_owned()).collect();
    ensure!(there == tried, "policies without a case, or the reverse: {:?}", &there ^ &tried);
    let mut agent = lab.agent(&["--tracing-policy-dir="])?;
    let mut wrong = Vec::new();
    for case in cases() {
        let start = Instant::now();
        match try_one(lab, &mut agent, case) {
            Ok(outcome) => {
                println!("{}", outcome.line(case.file));
                wrong.extend(outcome.difference(case.file)?);
            }
            Err(error) => wrong.push(format!("wrong: {}: {error:#}", case.file)),
        }
        // Whatever happened, the next one is alone.
        delete_all(&agent)?;
        println!("{} took {:.1} s", case.file, start.elapsed().as_secs_f64());
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    agent.stop()?;
    Ok(())
}

fn try_one(lab: &Lab, agent: &mut Agent, case: &Case) -> Result<Outcome> {
    (case.prepare)(lab).context("before it is added")?;
    let original = lab.binary(&format!("{PREFIX}{}", case.file))?;
    let mut unfilled = None;
    if !case.filled.is_empty() {
        let Err(reason) = add(agent, &original, case.file)? else {
            bail!("it loads with words that stand for something else")
        };
        delete_all(agent)?;
        unfilled = Some(reason);
    }
    if case.stopped {
        let happens = (case.provoke)(lab).is_err();
        ensure!(happens, "what it is to stop does not happen without it either");
    }
    let policy = lab.policy(case.file, &case.text(&original)?)?;
    let logged = agent.log().len();
    if let Err(reason) = add(agent, &policy, case.file)? {
        return Ok(Outcome::Refused { reason });
    }
    let warnings = outcome::warnings(&agent.log()[logged..]);
    let status = list(agent)?[0].take();
    let missing = missing_hooks(&status)?;
    let unlooked = (case.never)()?.is_none() && !case.stopped;
    ensure!(!(enforces(&status) && unlooked), "it enforces, and nothing looks at the effect");
    let before = agent.events()?.0.len();
    (case.provoke)(lab).context("provoking an event")?;
    if let Some(reason) = (case.never)()? {
        agent.settle()?;
        let seen = agent.events()?;
        let seen = case.reports.iter().find_map(|report| report.among(seen, before));
        ensure!(seen.is_none(), "reported, although {reason}: {seen:?}");
        return Ok(Outcome::Silent { reason, warnings });
    }
    let mut events = BTreeSet::new();
    for report in case.reports {
        let mut found = None;
        let waited = within(SEEN_WITHIN, "reported", || {
            found = report.among(agent.events()?, before).map(outcome::event_name);
            Ok(found.is_some())
        });
        if waited.is_err() {
            let seen = &agent.events()?.0[before..];
            let seen = seen.iter().filter(|event| event.kind() == report.kind).take(6);
            let seen: Vec<_> = seen.map(|event| format!("{event:?}")).collect();
            bail!("not reported: {:?}; but:\n  {}", report.members, seen.join("\n  "));
        }
        events.extend(found);
    }
    ensure!(!events.is_empty(), "nothing is said of what it has to report");
    Ok(Outcome::Reports { events, missing, unfilled, warnings })
}

/// Adds a policy; the inner error is the reason why it is refused.
fn add(agent: &Agent, path: &Path, name: &str) -> Result<Result<(), String>> {
    let file = path.to_str().context("a path is not UTF-8")?;
    let added = agent.ask(&["--timeout=300s", "tracingpolicy", "add", file])?;
    if added.status.success() {
        return Ok(Ok(()));
    }
    let first = added.stderr.lines().next().unwrap_or_default();
    let reason = outcome::reason(first, name)
        .with_context(|| format!("a reason without a place: {}", added.stderr))?;
    ensure!(!added.stderr.contains("internal error"), "{}", added.stderr);
    Ok(Err(reason))
}

fn list(agent: &Agent) -> Result<Value> {
    let list = agent.ask(&["tracingpolicy", "list", "-o", "json"])?.ok()?;
    Ok(serde_json::from_str::<Value>(&list.stdout)?["policies"].take())
}

/// Deletes all policies, one that could not be loaded among them.
fn delete_all(agent: &Agent) -> Result<()> {
    let list = list(agent)?;
    for policy in list.as_array().into_iter().flatten() {
        let name = policy["name"].as_str().context("a policy without a name")?;
        agent.ask(&["--timeout=300s", "tracingpolicy", "delete", name])?.ok()?;
    }
    Ok(())
}

/// Whether a policy in force has actions that stop or change anything.
fn enforces(policy: &Value) -> bool {
    let mut hooks = policy["hook_statuses"].as_array().into_iter().flatten();
    hooks.any(|hook| hook["effective_actions"].as_array().is_some_and(|all| !all.is_empty()))
}

/// Functions of a policy in force that this kernel does not have.
fn missing_hooks(policy: &Value) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for hook in policy["hook_statuses"].as_array().into_iter().flatten() {
        let name = hook["hook_description"].as_str().context("a hook without description")?;
        if hook["state"] != "STATUS_LOADED" {
            missing.push(name.to_owned());
        }
    }
    let partly = policy["state"] == "TP_STATE_PARTIALLY_ENABLED";
    ensure!(partly || policy["state"] == "TP_STATE_ENABLED", "{policy}");
    ensure!(partly != missing.is_empty(), "{policy}");
    Ok(missing)
}
