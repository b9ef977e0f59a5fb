//! Where policies come from: files that change, HTTP, rules in Rego; many at once; and an agent that is
//! killed while one is being added.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::policies::{link, links_to};
use crate::agent::Agent;
use crate::http;
use crate::lab::{Guard, Lab, run, within};
use crate::test::Test;

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("sources::an_edited_file_is_in_force_within_a_second", edited).tells(),
    Test::new("sources::no_call_is_missed_or_seen_twice_while_files_change", no_gap).seconds(240),
    Test::new("sources::a_bad_edit_keeps_what_is_in_force", bad_edit),
    Test::new("sources::policies_by_http", by_http),
    Test::new("sources::a_rule_in_rego_denies_from_every_source", denied_by_rule),
    Test::new("sources::policies_made_by_rules_follow_their_data", made_by_rules),
    Test::new("sources::killed_during_an_add_the_next_start_is_clean", killed_during_add)
        .seconds(300),
    Test::new("sources::many_come_and_go_and_nothing_leaks", many).seconds(580).tells(),
];

const IN_FORCE: &str = "the policy's new version is in force";

/// How often the log says something.
fn said(agent: &Agent, what: &str) -> usize {
    agent.log().matches(what).count()
}

/// Emulation is slow; everywhere else a change takes effect within a second.
fn limit(lab: &Lab) -> Duration {
    if lab.in_vm() { Duration::from_secs(15) } else { Duration::from_secs(1) }
}

/// As editors do: written beside, and moved into place.
fn move_into_place(path: &Path, text: &str) -> Result<()> {
    let beside = path.with_file_name(".new");
    fs::write(&beside, text)?;
    fs::rename(beside, path)?;
    Ok(())
}

fn watched(lab: &Lab) -> Result<(PathBuf, Agent)> {
    let dir = lab.path("policies");
    fs::create_dir(&dir)?;
    let agent = lab.agent(&[&format!("--tracing-policy-dir={}", dir.display())])?;
    Ok((dir, agent))
}

fn edited(lab: &Lab) -> Result<()> {
    let tool = lab.tool("linker")?;
    let (dir, mut agent) = watched(lab)?;
    let path = dir.join("links.yaml");
    let started = Instant::now();
    fs::write(&path, links_to("links", "/target/0", ""))?;
    let log = "the policy is in force";
    within(limit(lab) + Duration::from_secs(1), "a new file", || Ok(said(&agent, log) == 1))?;
    println!("a new file is in force after {:?}", started.elapsed());
    for edit in 1..4 {
        let text = links_to("links", &format!("/target/{edit}"), "");
        let started = Instant::now();
        match edit {
            1 => fs::write(&path, text)?,
            _ => move_into_place(&path, &text)?,
        }
        within(limit(lab), "an edited file", || Ok(said(&agent, IN_FORCE) == edit))?;
        println!("edit {edit} is in force after {:?}", started.elapsed());
        link(lab, &tool, &format!("/target/{}", edit - 1), &format!("old{edit}"))?;
        link(lab, &tool, &format!("/target/{edit}"), &format!("new{edit}"))?;
    }
    fs::remove_file(&path)?;
    within(limit(lab), "a removed file", || Ok(said(&agent, "the policy was deleted") == 1))?;
    link(lab, &tool, "/target/3", "after")?;
    agent.wait_for("the links are seen", |events| events.of_policy("links").len() >= 3)?;
    let events = agent.finish()?;
    let seen: Vec<&str> = events
        .of_policy("links")
        .into_iter()
        .filter_map(|event| event.at("args").get(0)?.get("string_arg")?.as_str())
        .collect();
    ensure!(seen == ["/target/1", "/target/2", "/target/3"], "{seen:?}");
    Ok(())
}

/// A policy that sees calls of getppid; its text differs by its message.
fn asks(message: usize) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: asks}}\nspec:\n  \
         kprobes: [{{call: sys_getppid, syscall: true, message: 'version {message}'}}]\n"
    )
}

fn no_gap(lab: &Lab) -> Result<()> {
    const AT_ONCE: usize = 20;
    let tool = lab.tool("asker")?;
    let (dir, mut agent) = watched(lab)?;
    let path = dir.join("asks.yaml");
    fs::write(&path, asks(0))?;
    within(limit(lab) * 2, "a new file", || Ok(said(&agent, "the policy is in force") == 1))?;
    let (stop, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let edits = std::thread::scope(|scope| -> Result<usize> {
        let calls = scope.spawn(|| -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                run(Command::new(&tool).args(["tool", "ask-parent", &AT_ONCE.to_string()]))?
                    .ok()?;
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        let edit = || -> Result<usize> {
            let edits = if lab.in_vm() { 4 } else { 10 };
            for edit in 1..=edits {
                move_into_place(&path, &asks(edit))?;
                // Beside the calls, which leave an emulated machine little time.
                within(limit(lab) * 4, "an edited file", || Ok(said(&agent, IN_FORCE) == edit))?;
            }
            Ok(edits)
        };
        let edits = edit();
        stop.store(true, Ordering::Relaxed);
        calls.join().map_err(|_| anyhow::anyhow!("the calls have panicked"))??;
        edits
    })?;
    let made = AT_ONCE * rounds.load(Ordering::Relaxed);
    agent.settle()?;
    let events = agent.finish()?;
    let of_tool = events.of_policy("asks").into_iter().filter(|event| event.binary() == tool);
    let seen: Vec<_> = of_tool.collect();
    ensure!(seen.len() == made, "{} of {made} calls are seen, {edits} edits", seen.len());
    let versions: BTreeSet<&str> = seen.iter().map(|event| event.text("message")).collect();
    ensure!(versions.len() > 1, "{versions:?}");
    Ok(())
}

fn bad_edit(lab: &Lab) -> Result<()> {
    let tool = lab.tool("linker")?;
    let (dir, mut agent) = watched(lab)?;
    let path = dir.join("links.yaml");
    let good = links_to("links", "/target/good", "");
    fs::write(&path, &good)?;
    within(limit(lab) * 2, "a new file", || Ok(said(&agent, "the policy is in force") == 1))?;
    for (bad, told) in [
        (good.replace("call:", "cal:"), "links.yaml:7:5 spec.kprobes[0].cal: unknown field `cal`"),
        (good.replace("sys_symlinkat", "sys_no_such_call"), "sys_no_such_call"),
    ] {
        fs::write(&path, bad)?;
        within(limit(lab) * 2, "the edit is told", || Ok(agent.log().contains(told)))?;
        let list = agent.ask(&["tp", "list", "-o", "json"])?.ok()?;
        let list: serde_json::Value = serde_json::from_str(&list.stdout)?;
        let policy = &list["policies"][0];
        ensure!(policy["state"] == "TP_STATE_ENABLED", "{list}");
        let error = policy["error"].as_str().unwrap_or_default();
        ensure!(error.starts_with("an earlier version stays") && error.contains(told), "{error}");
    }
    link(lab, &tool, "/target/good", "link")?;
    agent.wait_for("the link is seen", |events| !events.of_policy("links").is_empty())?;
    agent.stop()?;
    Ok(())
}

fn by_http(lab: &Lab) -> Result<()> {
    let tool = lab.tool("linker")?;
    let mut agent = lab.agent(&["--tracing-policy-dir="])?;
    let socket = agent.socket();
    let ask = |method: &str, path: &str, body: &str| http::ask(&socket, method, path, body);
    let (status, health) = ask("GET", "/v1/health", "")?;
    ensure!(status == 200 && health["health_status"][0]["details"] == "running", "{health}");
    let (status, added) = ask("POST", "/v1/policies", &links_to("links", "/target/http", ""))?;
    ensure!(status == 201 && added["state"] == "TP_STATE_ENABLED", "{added}");
    ensure!(added["domain"] == "http", "{added}");
    link(lab, &tool, "/target/http", "one")?;
    let second = links_to("links", "/target/second", "");
    let (status, replaced) = ask("PUT", "/v1/policies/links", &second)?;
    ensure!(status == 200 && replaced["id"] == added["id"], "{replaced}");
    link(lab, &tool, "/target/second", "two")?;
    let (status, off) = ask("PATCH", "/v1/policies/links", r#"{"enable": false}"#)?;
    ensure!(status == 200 && off["state"] == "TP_STATE_DISABLED", "{off}");
    link(lab, &tool, "/target/second", "unseen")?;
    let (status, on) = ask("PATCH", "/v1/policies/links", r#"{"enable": true}"#)?;
    ensure!(status == 200 && on["state"] == "TP_STATE_ENABLED", "{on}");
    link(lab, &tool, "/target/second", "three")?;
    let list = agent.ask(&["tp", "list"])?.ok()?;
    ensure!(list.stdout.contains("links") && list.stdout.contains("http"), "{list:?}");
    let (status, wrong) = ask("POST", "/v1/policies", &second.replace("call:", "cal:"))?;
    let problem = wrong["error"]["problems"][0]["line"].as_u64();
    ensure!(status == 400 && problem.is_some(), "{wrong}");
    let (status, gone) = ask("DELETE", "/v1/policies/links", "")?;
    ensure!(status == 204, "{gone}");
    agent.wait_for("the links are seen", |events| events.of_policy("links").len() >= 3)?;
    let events = agent.finish()?;
    ensure!(events.of_policy("links").len() == 3, "{:?}", events.of_policy("links"));
    Ok(())
}

const NO_OVERRIDE: &str = r#"package tetragon.admission

deny contains msg if {
    "Override" in input.actions
    input.namespace != "trusted"
    msg := sprintf("%s: no Override outside namespace trusted", [input.name])
}
"#;

fn denied_by_rule(lab: &Lab) -> Result<()> {
    let (rules, policies) = (lab.path("rules"), lab.path("policies"));
    fs::create_dir(&rules)?;
    fs::create_dir(&policies)?;
    fs::write(rules.join("no-override.rego"), NO_OVERRIDE)?;
    let overriding = |name: &str| {
        let action = "      matchActions: [{action: Override, argError: -1}]\n";
        links_to(name, "/target/denied", action)
    };
    fs::write(policies.join("file.yaml"), overriding("of-file"))?;
    let by_command = lab.policy("command.yaml", &overriding("of-command"))?;
    let agent = lab.agent(&[
        &format!("--tracing-policy-dir={}", policies.display()),
        &format!("--policy-rego-dir={}", rules.display()),
    ])?;
    let message = |name: &str| format!("{name}: no Override outside namespace trusted");
    ensure!(agent.log().contains(&message("of-file")), "{}", agent.log());
    let refused = agent.ask(&["tp", "add", by_command.to_str().context("a path")?])?;
    ensure!(!refused.status.success(), "{refused:?}");
    ensure!(refused.stderr.contains(&message("of-command")), "{refused:?}");
    let socket = agent.socket();
    let (status, refused) = http::ask(&socket, "POST", "/v1/policies", &overriding("of-http"))?;
    let told = refused["error"]["message"].as_str().unwrap_or_default();
    ensure!(status == 403 && told.contains(&message("of-http")), "{refused}");
    // What the rule says nothing about is admitted, and what is in force is not replaced.
    let good = links_to("good", "/target/good", "");
    let (status, added) = http::ask(&socket, "POST", "/v1/policies", &good)?;
    ensure!(status == 201, "{added}");
    let (status, kept) = http::ask(&socket, "PUT", "/v1/policies/good", &overriding("good"))?;
    ensure!(status == 403, "{kept}");
    let list = agent.ask(&["tp", "list", "-o", "json"])?.ok()?;
    let list: serde_json::Value = serde_json::from_str(&list.stdout)?;
    let enabled: Vec<_> = list["policies"]
        .as_array()
        .context("no list")?
        .iter()
        .filter(|policy| policy["state"] == "TP_STATE_ENABLED")
        .map(|policy| policy["name"].clone())
        .collect();
    ensure!(enabled == ["good"], "{list}");
    agent.stop()?;
    Ok(())
}

const MADE: &str = r#"package tetragon.policies

policy contains p if {
    some name, target in data.targets
    p := {
        "apiVersion": "cilium.io/v1alpha1",
        "kind": "TracingPolicy",
        "metadata": {"name": name},
        "spec": {"kprobes": [{
            "call": "sys_symlinkat", "syscall": true,
            "args": [{"index": 0, "type": "string"}],
            "selectors": [{"matchArgs": [{"index": 0, "operator": "Equal", "values": [target]}]}],
        }]},
    }
}
"#;

fn made_by_rules(lab: &Lab) -> Result<()> {
    let tool = lab.tool("linker")?;
    let rules = lab.path("rules");
    fs::create_dir(&rules)?;
    fs::write(rules.join("made.rego"), MADE)?;
    fs::write(rules.join("targets.yaml"), "made-one: /target/one\n")?;
    let mut agent =
        lab.agent(&["--tracing-policy-dir=", &format!("--policy-rego-dir={}", rules.display())])?;
    let names = |agent: &Agent| -> Result<Vec<String>> {
        let (_, list) = http::ask(&agent.socket(), "GET", "/v1/policies?domain=rego", "")?;
        let list = list["policies"].as_array().cloned().unwrap_or_default();
        Ok(list.iter().map(|p| p["name"].as_str().unwrap_or_default().to_owned()).collect())
    };
    ensure!(names(&agent)? == ["made-one"], "{}", agent.log());
    link(lab, &tool, "/target/one", "one")?;
    fs::write(rules.join("targets.yaml"), "made-two: /target/two\n")?;
    within(limit(lab) * 2, "the data is followed", || Ok(names(&agent)? == ["made-two"]))?;
    link(lab, &tool, "/target/two", "two")?;
    fs::write(rules.join("made.rego"), "package tetragon.policies\npolicy contains {")?;
    within(limit(lab) * 2, "the module is told", || Ok(agent.log().contains("made.rego: ")))?;
    ensure!(names(&agent)? == ["made-two"], "{}", agent.log());
    agent.wait_for("both are seen", |events| {
        !events.of_policy("made-one").is_empty() && !events.of_policy("made-two").is_empty()
    })?;
    agent.stop()?;
    Ok(())
}

fn killed_during_add(lab: &Lab) -> Result<()> {
    // Large enough to be under way for a while.
    let hooks: Vec<String> =
        ["getppid", "getpid", "getuid", "getgid", "geteuid", "getegid", "umask"]
            .iter()
            .map(|name| format!("  - {{call: sys_{name}, syscall: true}}\n"))
            .collect();
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: large}}\nspec:\n  \
         kprobes:\n{}",
        hooks.concat()
    );
    let path = lab.policy("large.yaml", &text)?;
    let path = path.to_str().context("a path")?;
    let dir = format!("--bpf-dir=vmtest-killed-{}", std::process::id());
    let stored = format!("--persist-grpc-policies-dir={}", lab.path("stored").display());
    let pins = Path::new("/sys/fs/bpf").join(dir.trim_start_matches("--bpf-dir="));
    let flags = [
        "--tracing-policy-dir=",
        dir.as_str(),
        "--keep-sensors-on-exit",
        "--persist-grpc-policies",
        stored.as_str(),
    ];
    let rounds: &[u64] = if lab.in_vm() { &[20, 400] } else { &[1, 8, 20, 50, 100] };
    for wait in rounds {
        let mut agent = lab.agent(&flags)?;
        let clean = agent.ask(&["tp", "list"])?.ok()?;
        ensure!(!clean.stdout.contains("load") && clean.stderr.is_empty(), "{clean:?}");
        let held = clean.stdout.contains("large");
        let mut adding = agent.tetra(&["--retries=0", "--timeout=5s", "tp", "add", path]);
        let adding = adding.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut adding = Guard(adding);
        std::thread::sleep(Duration::from_millis(*wait));
        agent.signal(Signal::SIGKILL)?;
        agent.wait(Duration::from_secs(5))?;
        adding.0.wait()?;
        // It was stored whole, or not at all.
        let files: Vec<_> = match fs::read_dir(lab.path("stored")) {
            Ok(entries) => entries.flatten().map(|entry| entry.file_name()).collect(),
            Err(_) => Vec::new(),
        };
        let whole = files.iter().filter(|name| !name.to_string_lossy().ends_with(".tmp"));
        ensure!(whole.clone().count() <= 1, "{files:?}");
        ensure!(!held || whole.count() == 1, "what was stored is gone: {files:?}");
    }
    let agent = lab.agent(&flags)?;
    let stored = fs::read_dir(lab.path("stored"))?.count();
    let listed = agent.ask(&["tp", "list"])?.ok()?.stdout.contains("large");
    ensure!(listed == (stored == 1), "{listed} {stored}");
    if listed {
        agent.ask(&["tp", "delete", "large"])?.ok()?;
    }
    agent.ask(&["tp", "add", path])?.ok()?;
    agent.ask(&["tp", "delete", "large"])?.ok()?;
    agent.stop()?;
    // Nobody's programs are left: what the killed ones had pinned the next ones have removed.
    let left: Vec<_> = match fs::read_dir(&pins) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => Vec::new(),
    };
    let _ = fs::remove_dir_all(&pins);
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

/// What an agent holds.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    programs: usize,
    maps: usize,
}

impl Held {
    fn of(agent: &Agent) -> Result<Self> {
        let (mut descriptors, mut programs, mut maps) = (0, 0, 0);
        for entry in fs::read_dir(format!("/proc/{}/fdinfo", agent.pid()))? {
            descriptors += 1;
            // It may be closed by now.
            let info = fs::read_to_string(entry?.path()).unwrap_or_default();
            programs += usize::from(info.contains("prog_tag:"));
            maps += usize::from(info.contains("map_type:"));
        }
        Ok(Self { descriptors, programs, maps })
    }
}

fn resident(agent: &Agent) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Numbers that look random and are the same in each run.
fn shuffle(list: &mut [usize]) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for index in (1..list.len()).rev() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = (state >> 33) as usize % (index + 1);
        list.swap(index, other);
    }
}

fn many(lab: &Lab) -> Result<()> {
    const CLIENTS: usize = 8;
    let policies = if lab.in_vm() { 20 } else { 200 };
    let workload = lab.tool("worker")?;
    let mut agent = lab.agent(&[
        "--tracing-policy-dir=",
        "--event-queue-size=1000000",
        // What is kept of the processes shall not count.
        "--process-cache-gc-interval=2s",
    ])?;
    let socket = agent.socket();
    let text = |index: usize| match index % 3 {
        0 => links_to(&format!("many-{index}"), &format!("/many/{index}"), ""),
        1 => asks(index).replace("name: asks", &format!("name: many-{index}")),
        _ => links_to(&format!("many-{index}"), "/many/all", "")
            .replace("sys_symlinkat", "sys_mount"),
    };
    let add = |index: usize| -> Result<()> {
        let (status, answer) = http::ask(&socket, "POST", "/v1/policies", &text(index))?;
        ensure!(status == 201, "{index}: {answer}");
        Ok(())
    };
    let delete = |index: usize| -> Result<()> {
        let path = format!("/v1/policies/many-{index}");
        let (status, answer) = http::ask(&socket, "DELETE", &path, "")?;
        ensure!(status == 204, "{index}: {answer}");
        Ok(())
    };
    // What loading needs is given up when nothing has been loaded for a while.
    let idle = |agent: &Agent, as_before: Option<&Held>| -> Result<Held> {
        let end = Instant::now() + Duration::from_secs(40);
        let mut last = Held::of(agent)?;
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let now = Held::of(agent)?;
            let settled = as_before.is_none_or(|before| *before == now);
            if (settled && now == last) || Instant::now() > end {
                return Ok(now);
            }
            last = now;
        }
    };
    let before = idle(&agent, None)?;
    // Once, so that memory that is kept for good does not count.
    let few = policies / 10;
    (0..few).try_for_each(add)?;
    (0..few).try_for_each(delete)?;
    let warm = idle(&agent, Some(&before))?;
    ensure!(warm == before, "{before:?} became {warm:?}");
    let memory = resident(&agent)?;

    let stop = AtomicBool::new(false);
    let (lists, rounds) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let started = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let mut threads = Vec::new();
        for _ in 0..CLIENTS {
            threads.push(scope.spawn(|| -> Result<()> {
                while !stop.load(Ordering::Relaxed) {
                    let (status, list) = http::ask(&socket, "GET", "/v1/policies", "")?;
                    ensure!(status == 200, "{list}");
                    lists.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(50));
                }
                Ok(())
            }));
        }
        threads.push(scope.spawn(|| -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                run(Command::new(&workload).args(["tool", "true"]))?.ok()?;
                rounds.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        }));
        let mut order: Vec<usize> = (0..policies).collect();
        let mut work = || -> Result<()> {
            shuffle(&mut order);
            // Half of them first; then they come and go in turn.
            let (first, second) = order.split_at(policies / 2);
            first.iter().try_for_each(|index| add(*index))?;
            let mut going: Vec<usize> = first.to_vec();
            for (index, gone) in second.iter().zip(first) {
                add(*index)?;
                delete(*gone)?;
                going.retain(|index| index != gone);
                going.push(*index);
            }
            shuffle(&mut going);
            going.iter().try_for_each(|index| delete(*index))
        };
        let worked = work();
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a client has panicked"))??;
        }
        worked
    })
    .with_context(|| agent.log())?;
    let (lists, rounds) = (lists.into_inner(), rounds.into_inner());
    println!(
        "{policies} policies came and went in {:?}, {lists} lists, {rounds} processes",
        started.elapsed()
    );
    let after = idle(&agent, Some(&before))?;
    ensure!(after == before, "{before:?} became {after:?}");
    let grown = resident(&agent)?.saturating_sub(memory);
    println!("held: {after:?}; resident memory {memory} kB and {grown} kB more");
    ensure!(grown < 24 << 10, "{grown} kB more are resident");
    agent.settle()?;
    let events = agent.finish()?;
    ensure!(events.of_kind("events_lost").is_empty(), "{:?}", events.of_kind("events_lost"));
    let (execs, exits) = (events.execs_of(&workload).len(), events.exits_of(&workload).len());
    ensure!(execs == rounds && exits == rounds, "{execs} and {exits} of {rounds}");
    Ok(())
}
