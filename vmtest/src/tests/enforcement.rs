//! Policies that interfere, through the whole agent: who is stopped and who is not, modes that are changed
//! while programs run, and what is counted.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::Agent;
use crate::event::Events;
use crate::lab::{Done, Lab, run};
use crate::test::{Need, Test};

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("enforcement::kills_what_matches_as_long_as_it_is_on", kills_while_on),
    Test::new("enforcement::denies_opening_files", denies_opening).needs(&[Need::Vm]),
    Test::new("enforcement::without_event_is_counted", without_event),
    Test::new("enforcement::of_a_rate_suppresses_equal_events", limits_the_rate),
];

const SIGKILL: i32 = 9;
const EPERM: i32 = 1;

/// A policy of one hook, whose lines are given; by command, so that commands find it.
fn add(lab: &Lab, name: &str, hook: &str) -> Result<Agent> {
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec:\n{hook}"
    );
    let path = lab.policy("policy.yaml", &text)?;
    let agent = lab.agent(&["--tracing-policy-dir="])?;
    agent.ask(&["tp", "add", path.to_str().context("a path")?])?.ok()?;
    Ok(agent)
}

/// Calls of symlinkat with targets, by selector.
fn links(selectors: &[(&str, &str, &str)]) -> String {
    let selectors: String = selectors
        .iter()
        .map(|(operator, target, actions)| {
            format!(
                "    - matchArgs:\n      - {{index: 0, operator: {operator}, values: ['{target}']}}\n      \
                 matchActions: {actions}\n"
            )
        })
        .collect();
    format!(
        "  kprobes:\n  - call: sys_symlinkat\n    syscall: true\n    \
         args: [{{index: 0, type: string}}]\n    selectors:\n{selectors}"
    )
}

/// Runs a process that makes a symbolic link, which must not be there.
fn link(lab: &Lab, tool: &str, target: &str, name: &str) -> Result<Done> {
    run(Command::new(tool).args(["tool", "thread-link", target]).arg(lab.path(name)))
}

/// The mode of the only policy in force, and its counters that are not zero.
fn state(agent: &Agent) -> Result<(String, BTreeMap<String, u64>)> {
    let list = agent.ask(&["tp", "list", "-o", "json"])?.ok()?;
    let list: Value = serde_json::from_str(&list.stdout)?;
    let policy = &list["policies"][0];
    ensure!(policy["state"] == "TP_STATE_ENABLED", "{list}");
    let mode = policy["mode"].as_str().context("no mode")?.to_owned();
    let counters = policy["stats"]["action_counters"].as_object().context("no counters")?;
    let count = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let counters = counters.iter().map(|(name, value)| Some((name.clone(), count(value)?)));
    let counters: Option<BTreeMap<_, _>> = counters.collect();
    let mut counters = counters.with_context(|| format!("counters that are no numbers: {list}"))?;
    counters.retain(|_, count| *count > 0);
    Ok((mode, counters))
}

fn ensure_state(agent: &Agent, mode: &str, counters: &[(&str, u64)]) -> Result<()> {
    let expected = counters.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    let found = state(agent)?;
    ensure!(found == (format!("TP_MODE_{mode}"), expected), "{found:?}, not {mode} {counters:?}");
    Ok(())
}

fn set_mode(agent: &Agent, name: &str, mode: &str) -> Result<()> {
    let set = agent.ask(&["tracingpolicy", "set-mode", name, mode])?.ok()?;
    let told = format!("tracing policy \"{name}\" set to mode \"{mode}\"\n");
    ensure!(set.stdout == told, "{set:?}");
    Ok(())
}

/// The actions that events of a policy name.
fn actions<'a>(events: &'a Events, policy: &str) -> Vec<&'a str> {
    events.of_policy(policy).into_iter().map(|event| event.text("action")).collect()
}

fn kills_while_on(lab: &Lab) -> Result<()> {
    let tool = lab.tool("linker")?;
    let (target, near) = ("/target/of/killers", "/target/of/killers2");
    let mut agent = add(lab, "killer", &links(&[("Equal", target, "[{action: Sigkill}]")]))?;
    ensure_state(&agent, "ENFORCE", &[])?;
    link(lab, &tool, near, "near")?.ok()?;
    let killed = link(lab, &tool, target, "killed")?;
    ensure!(killed.status.signal() == Some(SIGKILL), "{killed:?}");
    ensure_state(&agent, "ENFORCE", &[("post", 1), ("signal", 1)])?;
    set_mode(&agent, "killer", "monitor")?;
    link(lab, &tool, target, "monitored")?.ok()?;
    ensure_state(&agent, "MONITOR", &[("post", 2), ("signal", 1), ("monitor_signal", 1)])?;
    set_mode(&agent, "killer", "enforce")?;
    let again = link(lab, &tool, target, "killed-again")?;
    ensure!(again.status.signal() == Some(SIGKILL), "{again:?}");
    ensure_state(&agent, "ENFORCE", &[("post", 3), ("signal", 2), ("monitor_signal", 1)])?;
    let list = agent.ask(&["tp", "list"])?.ok()?;
    let line = list.stdout.lines().nth(1).context("no policy is listed")?;
    let end: Vec<&str> = line.split_whitespace().rev().take(4).collect();
    ensure!(end == ["1", "2", "3", "enforce"], "mode and numbers are others: {line}");
    let unknown = agent.ask(&["tp", "set-mode", "kiler", "monitor"])?;
    ensure!(!unknown.status.success() && unknown.stderr.contains("kiler"), "{unknown:?}");
    agent.wait_for("all three are seen", |events| events.of_policy("killer").len() >= 3)?;
    let events = agent.finish()?;
    ensure!(actions(&events, "killer") == ["KPROBE_ACTION_SIGKILL"; 3], "{events:?}");
    let exits = events.exits_of(&tool);
    let signal = |pid: u64| Some(exits.iter().find(|exit| exit.pid() == pid)?.text("signal"));
    ensure!(signal(killed.pid) == Some("SIGKILL"), "{exits:?}");
    ensure!(exits.iter().filter(|exit| exit.text("signal") == "SIGKILL").count() == 2, "{exits:?}");
    Ok(())
}

fn denies_opening(lab: &Lab) -> Result<()> {
    let (secret, near) = (lab.path("secret/file"), lab.path("secret2/file"));
    for file in [&secret, &near] {
        fs::create_dir(file.parent().context("a directory")?)?;
        fs::write(file, "text")?;
    }
    let hook = format!(
        "  lsmhooks:\n  - hook: file_open\n    args: [{{index: 0, type: file}}]\n    selectors:\n    \
         - matchArgs:\n      - {{index: 0, operator: Prefix, values: ['{}/']}}\n      \
         matchActions: [{{action: Override, argError: -1}}]\n",
        lab.path("secret").display()
    );
    let open = || fs::read(&secret).map_err(|error| error.raw_os_error());
    let mut agent = add(lab, "denier", &hook)?;
    ensure!(fs::read(&near)? == b"text");
    ensure!(open() == Err(Some(EPERM)), "{:?}", open());
    ensure_state(&agent, "ENFORCE", &[("post", 1), ("override", 1)])?;
    set_mode(&agent, "denier", "monitor")?;
    ensure!(open().is_ok(), "{:?}", open());
    let counters = [("post", 2), ("override", 1), ("monitor_override", 1)];
    ensure_state(&agent, "MONITOR", &counters)?;
    set_mode(&agent, "denier", "enforce")?;
    ensure!(open() == Err(Some(EPERM)), "{:?}", open());
    agent.ask(&["tp", "delete", "denier"])?.ok()?;
    ensure!(open().is_ok(), "{:?}", open());
    agent.wait_for("all three are seen", |events| events.of_policy("denier").len() >= 3)?;
    let events = agent.finish()?;
    ensure!(actions(&events, "denier") == ["KPROBE_ACTION_OVERRIDE"; 3], "{events:?}");
    Ok(())
}

fn without_event(lab: &Lab) -> Result<()> {
    let tool = lab.tool("linker")?;
    let (silent, told) = ("/target/without/event", "/target/with/event");
    let hook = links(&[
        ("Equal", silent, "[{action: NoPost}, {action: Signal, argSig: 15}]"),
        ("Equal", told, "[{action: Post}]"),
    ]);
    let mut agent = add(lab, "silent", &hook)?;
    let ended = link(lab, &tool, silent, "silent")?;
    ensure!(ended.status.signal() == Some(15), "{ended:?}");
    link(lab, &tool, told, "told")?.ok()?;
    agent.wait_for("the other is seen", |events| !events.of_policy("silent").is_empty())?;
    ensure_state(&agent, "ENFORCE", &[("nopost", 1), ("post", 1), ("signal", 1)])?;
    let events = agent.finish()?;
    let seen = events.of_policy("silent");
    let [event] = seen[..] else { anyhow::bail!("one event is wanted: {seen:?}") };
    ensure!(event.text("args.0.string_arg") == told, "{event:?}");
    Ok(())
}

fn limits_the_rate(lab: &Lab) -> Result<()> {
    let tool = lab.tool("linker")?;
    let actions = "[{action: Post, rateLimit: '1h', rateLimitScope: global}]";
    let mut agent = add(lab, "limited", &links(&[("Prefix", "/limited/", actions)]))?;
    for (target, name) in
        [("/limited/a", "1"), ("/limited/a", "2"), ("/limited/b", "3"), ("/limited/a", "4")]
    {
        link(lab, &tool, target, name)?.ok()?;
    }
    agent.wait_for("both targets are seen", |events| events.of_policy("limited").len() >= 2)?;
    ensure_state(&agent, "MONITOR_ONLY", &[("post", 2), ("rate_limited", 2)])?;
    let events = agent.finish()?;
    let seen = events.of_policy("limited");
    let seen: Vec<_> = seen.iter().map(|event| event.text("args.0.string_arg")).collect();
    ensure!(seen == ["/limited/a", "/limited/b"], "{seen:?}");
    Ok(())
}
