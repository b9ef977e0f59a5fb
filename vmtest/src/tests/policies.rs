//! Policies from a file and by command: events of what they see, and how they come and go. What a
//! policy can ask for is tested elsewhere.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::event::{Event, Events};
use crate::lab::{Lab, run};
use crate::test::Test;

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("policies::of_a_file_see_calls", see_calls),
    Test::new("policies::name_the_thread_that_called", name_the_thread),
    Test::new("policies::that_are_bad_are_told_and_skipped", bad_ones_are_skipped),
    Test::new("policies::come_and_go_by_command", come_and_go),
    Test::new("policies::lose_nothing_silently", lose_nothing_silently).seconds(240),
];

/// A policy that sees symbolic links to `target`.
pub(super) fn links_to(name: &str, target: &str, more: &str) -> String {
    format!(
        r#"apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: {name}
spec:
  kprobes:
  - call: sys_symlinkat
    syscall: true
    message: "a link was made"
    tags: ["first.tag", "second.tag"]
    return: true
    returnArg:
      index: 0
      type: int
    args:
    - index: 0
      type: string
      label: target
    - index: 2
      type: string
    selectors:
    - matchArgs:
      - index: 0
        operator: Equal
        values: ["{target}"]
{more}"#
    )
}

/// Makes a symbolic link, which must not be there, to `target`.
pub(super) fn link(lab: &Lab, tool: &str, target: &str, name: &str) -> Result<u64> {
    let name = lab.path(name);
    let mut command = std::process::Command::new(tool);
    Ok(run(command.args(["tool", "thread-link", target]).arg(name))?.ok()?.pid)
}

fn see_calls(lab: &Lab) -> Result<()> {
    let tool = lab.tool("linker")?;
    let target = "/the/target/of/this/test";
    let mut agent = lab.agent_with_policy(&links_to("links", target, ""))?;
    link(lab, &tool, "/another/target", "other")?;
    let pid = link(lab, &tool, target, "link")?;
    agent.wait_for("the link is seen", |events| !events.of_policy("links").is_empty())?;
    let events = agent.finish()?;
    let seen = events.of_policy("links");
    let [event] = seen[..] else { anyhow::bail!("one link is wanted: {seen:?}") };
    let exec = events.execs_of(&tool).into_iter().find(|exec| exec.pid() == pid);
    let exec = exec.context("no exec of the linker")?;
    ensure!(event.kind() == "process_kprobe", "{event:?}");
    ensure!(event.exec_id() == exec.exec_id(), "{event:?}");
    ensure!(event.binary() == tool, "{event:?}");
    ensure!(event.text("parent.exec_id") == exec.text("parent.exec_id"), "{event:?}");
    ensure!(!event.text("parent.binary").is_empty(), "{event:?}");
    ensure!(event.text("function_name").ends_with("_sys_symlinkat"), "{event:?}");
    ensure!(event.text("message") == "a link was made", "{event:?}");
    ensure!(event.at("tags") == &serde_json::json!(["first.tag", "second.tag"]), "{event:?}");
    let name = lab.path("link");
    let args = serde_json::json!([
        {"string_arg": target, "label": "target"},
        {"string_arg": name.to_str()},
    ]);
    ensure!(event.at("args") == &args, "{event:?}");
    ensure!(event.at("return") == &serde_json::json!({"int_arg": 0}), "{event:?}");
    ensure!(event.text("action") == "KPROBE_ACTION_POST", "{event:?}");
    ensure!(event.text("return_action") == "KPROBE_ACTION_POST", "{event:?}");
    ensure!(event.envelope("time").as_str() >= exec.envelope("time").as_str(), "{event:?}");
    Ok(())
}

fn name_the_thread(lab: &Lab) -> Result<()> {
    let tool = lab.tool("linker")?;
    let target = "/target/of/a/thread";
    let mut agent = lab.agent_with_policy(&links_to("threads", target, ""))?;
    let pid = link(lab, &tool, target, "link")?;
    agent.wait_for("the link is seen", |events| !events.of_policy("threads").is_empty())?;
    let events = agent.stop()?;
    let event = events.of_policy("threads")[0];
    ensure!(event.pid() == pid, "the process is the leader's: {event:?}");
    let tid = event.number("process.tid").context("no tid")?;
    ensure!(tid != pid, "the thread is the one that called: {event:?}");
    Ok(())
}

fn bad_ones_are_skipped(lab: &Lab) -> Result<()> {
    let target = "/target/of/the/good/one";
    let good = links_to("good", target, "");
    let dir = lab.path("policies");
    fs::create_dir(&dir)?;
    fs::write(dir.join("1-broken.yaml"), good.replace("call:", "cal:"))?;
    fs::write(dir.join("2-missing.yaml"), missing_function())?;
    fs::write(dir.join("3-good.yaml"), &good)?;
    fs::write(dir.join("4-again.yaml"), &good)?;
    let mut agent = lab.agent(&[&format!("--tracing-policy-dir={}", dir.display())])?;
    let log = agent.log();
    for told in [
        "1-broken.yaml:7:5 spec.kprobes[0].cal: unknown field `cal`",
        "2-missing.yaml:6:13 spec.kprobes[0]",
        "there is a policy `good` in domain static already, from ",
        "loaded=1 failed=3",
    ] {
        ensure!(log.contains(told), "{told} is not in the log:\n{log}");
    }
    let list = agent.ask(&["tracingpolicy", "list"])?.ok()?;
    let states: Vec<(&str, &str)> = list
        .stdout
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            Some((words.next()?, words.nth(1)?))
        })
        .collect();
    ensure!(states == [("missing", "load_error"), ("good", "enabled")], "{list:?}");
    ensure!(list.stderr.contains("no_such_function_anywhere"), "{list:?}");
    link(lab, &lab.tool("linker")?, target, "link")?;
    agent.wait_for("the link is seen", |events| !events.of_policy("good").is_empty())?;
    agent.stop()?;
    Ok(())
}

fn missing_function() -> &'static str {
    "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: missing\nspec:\n  \
     kprobes: [{call: no_such_function_anywhere, syscall: false}]\n"
}

fn come_and_go(lab: &Lab) -> Result<()> {
    let tool = lab.tool("linker")?;
    let target = "/target/by/command";
    let path = lab.policy("policy.yaml", &links_to("commanded", target, ""))?;
    let file = path.to_str().context("a path")?;
    let mut agent = lab.agent(&["--tracing-policy-dir="])?;
    link(lab, &tool, target, "before")?;
    let added = agent.ask(&["tp", "add", file])?.ok()?;
    ensure!(added.stdout == format!("tracing policy \"{file}\" added\n"), "{added:?}");
    let again = agent.ask(&["tp", "add", file])?;
    ensure!(!again.status.success() && again.stderr.contains("already"), "{again:?}");
    link(lab, &tool, target, "meanwhile")?;
    agent.wait_for("the link is seen", |events| !events.of_policy("commanded").is_empty())?;
    let list = agent.ask(&["tp", "list", "-o", "json"])?.ok()?;
    let list: serde_json::Value = serde_json::from_str(&list.stdout)?;
    let policy = &list["policies"][0];
    ensure!(policy["state"] == "TP_STATE_ENABLED" && policy["domain"] == "grpc", "{list}");
    ensure!(policy["sensors"] == serde_json::json!(["generic_kprobe"]), "{list}");
    let memory: u64 = policy["kernel_memory_bytes"].as_str().context("no memory")?.parse()?;
    ensure!((1..64 << 10).contains(&memory), "{memory} bytes of kernel memory");
    let deleted = agent.ask(&["tp", "delete", "commanded"])?.ok()?;
    ensure!(deleted.stdout == "tracing policy \"commanded\" deleted\n", "{deleted:?}");
    let missing = agent.ask(&["tp", "delete", "commanded"])?;
    ensure!(!missing.status.success() && missing.stderr.contains("no policy"), "{missing:?}");
    link(lab, &tool, target, "after")?;
    // And once more, with a fresh start of everything.
    agent.ask(&["tp", "add", file])?.ok()?;
    link(lab, &tool, target, "again")?;
    let names = ["meanwhile", "again"].map(|name| lab.path(name).display().to_string());
    agent.wait_for("both links are seen", |events| events.of_policy("commanded").len() >= 2)?;
    let events = agent.finish()?;
    let seen: Vec<&str> = events
        .of_policy("commanded")
        .into_iter()
        .filter_map(|event| event.at("args").get(1)?.get("string_arg")?.as_str())
        .collect();
    ensure!(seen == names, "{seen:?}");
    Ok(())
}

/// A ring that is far too small for what a policy sees.
fn lose_nothing_silently(lab: &Lab) -> Result<()> {
    const CALLS: u64 = 50_000;
    let tool = lab.tool("asker")?;
    let text = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: flood\n\
                spec:\n  kprobes: [{call: sys_getppid}]\n";
    let path = lab.policy("policy.yaml", text)?;
    let mut agent = lab.agent(&[
        "--tracing-policy-dir=",
        &format!("--tracing-policy={}", path.display()),
        // For both rings; the base ring has little to do.
        "--rb-size-total=65536",
        // Whatever comes out of the ring is exported.
        "--event-queue-size=1000000",
    ])?;
    let mut command = std::process::Command::new(&tool);
    run(command.args(["tool", "ask-parent", &CALLS.to_string()]))?.ok()?;
    let told = |events: &Events| -> (u64, u64) {
        let count = |event: &Event| event.number("count").unwrap_or(0);
        let of_ring = |event: &&Event| event.text("ring") == "observation";
        let lost = events.of_kind("events_lost");
        let lost = lost.into_iter().filter(of_ring).map(count).sum();
        (events.of_policy("flood").len() as u64, lost)
    };
    agent.wait_for("all calls are seen or told as lost", |events| {
        let (seen, lost) = told(events);
        seen + lost >= CALLS
    })?;
    let events = agent.finish()?;
    let (seen, lost) = told(&events);
    // Others on the machine may call it too.
    let others = events.of_policy("flood").iter().filter(|e| e.binary() != tool).count() as u64;
    ensure!(lost > 0, "a ring of 64 KiB takes {CALLS} calls");
    ensure!(seen - others + lost >= CALLS, "{seen} seen, {others} of others, {lost} lost");
    if lab.in_vm() {
        ensure!(seen + lost <= CALLS + 100, "{seen} seen, {lost} lost of {CALLS}");
    }
    let cause = |event: &&Event| event.text("cause") == "ring full, policy flood";
    ensure!(events.of_kind("events_lost").iter().any(cause), "no loss names the policy");
    // What processes do is told all the same.
    ensure!(events.execs_of(&tool).len() == 1 && events.exits_of(&tool).len() == 1);
    Ok(())
}
