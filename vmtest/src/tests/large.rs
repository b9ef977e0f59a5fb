//! Policies with hundreds of hooks: they come and go in seconds and leave nothing in the kernel.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kernel::link::link_ids;
use kernel::map::map_ids;
use kernel::program::program_ids;
use kernel::syscalls::Abi;

use crate::agent::Agent;
use crate::lab::{Lab, within};
use crate::test::{Need, Test};

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("large::a_hundred_hooks", hundred_hooks).needs(&[Need::Vm]).seconds(300).tells(),
    Test::new("large::a_hundred_functions", hundred_functions)
        .needs(&[Need::Vm])
        .seconds(300)
        .tells(),
    Test::new("large::four_hundred_system_calls", four_hundred_calls)
        .needs(&[Need::Vm])
        .seconds(300)
        .tells(),
];

/// No machine of these tests takes longer than this to load or unload one.
const LIMIT: Duration = Duration::from_secs(60);

/// Names of system calls, of 64-bit callers and then of 32-bit ones.
fn calls() -> impl Iterator<Item = String> {
    let compat = Abi::I386.iter().map(|(_, name)| format!("i386/sys_{name}"));
    Abi::X64.iter().map(|(_, name)| format!("sys_{name}")).chain(compat)
}

fn policy(spec: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: large}}\nspec:\n{spec}"
    )
}

fn hundred_hooks(lab: &Lab) -> Result<()> {
    let mut spec = "  kprobes:\n".to_owned();
    for call in calls().take(100) {
        spec += &format!(
            "  - {{call: {call}, syscall: true, ignore: {{callNotFound: true}}, selectors: \
             [{{matchBinaries: [{{operator: In, values: [/none]}}]}}]}}\n"
        );
    }
    come_and_go(lab, "100 hooks", &policy(&spec))
}

fn four_hundred_calls(lab: &Lab) -> Result<()> {
    let names: Vec<String> = calls().take(400).collect();
    let spec = format!(
        "  lists:\n  - {{name: calls, type: syscalls, validated: true, values: [{}]}}\n  kprobes:\n  \
         - call: list:calls\n    syscall: true\n    selectors:\n    \
         - matchBinaries: [{{operator: In, values: [/none]}}]\n",
        names.join(", ")
    );
    come_and_go(lab, "400 system calls", &policy(&spec))
}

/// A list of functions, by one link where the kernel has kprobe.multi, and each for itself.
fn hundred_functions(lab: &Lab) -> Result<()> {
    let all = std::fs::read_to_string("/sys/kernel/tracing/available_filter_functions")?;
    let names = all.lines().filter(|name| name.starts_with("security_") && !name.contains(' '));
    let names: Vec<&str> = names.take(100).collect();
    ensure!(names.len() == 100, "{} functions", names.len());
    let spec = |option: &str| {
        format!(
            "  options: [{option}]\n  lists:\n  - {{name: functions, values: [{}]}}\n  kprobes:\n  \
             - call: list:functions\n    syscall: false\n    selectors:\n    \
             - matchBinaries: [{{operator: In, values: [/none]}}]\n",
            names.join(", ")
        )
    };
    come_and_go(lab, "100 functions", &policy(&spec("")))?;
    let alone = "{name: disable-kprobe-multi, value: \"1\"}";
    come_and_go(lab, "100 functions, each for itself", &policy(&spec(alone)))
}

/// How many objects the kernel has, and what is pinned.
fn objects() -> Result<BTreeMap<&'static str, usize>> {
    let mut pins = 0;
    let mut directories = vec![Path::new("/sys/fs/bpf").to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten() {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => directories.push(entry.path()),
                false => pins += 1,
            }
        }
    }
    Ok([
        ("programs", program_ids()?.len()),
        ("maps", map_ids()?.len()),
        ("links", link_ids()?.len()),
        ("pins", pins),
    ]
    .into())
}

fn ask(agent: &Agent, arguments: &[&str]) -> Result<Duration> {
    let started = Instant::now();
    agent.ask(&[&["tracingpolicy"], arguments].concat())?.ok()?;
    Ok(started.elapsed())
}

fn come_and_go(lab: &Lab, what: &str, text: &str) -> Result<()> {
    let file = lab.policy("large.yaml", text)?;
    let file = file.to_str().context("a path is not UTF-8")?;
    let agent = lab.agent(&["--tracing-policy-dir="])?;
    // What is there as long as there are policies comes with the first one. It shares no place with the
    // other, whose head would stay.
    let first =
        policy("  tracepoints: [{subsystem: sched, event: sched_process_exec, raw: true}]\n")
            .replace("name: large", "name: first");
    let first = lab.policy("first.yaml", &first)?;
    ask(&agent, &["add", first.to_str().context("a path is not UTF-8")?])?;
    let before = objects()?;
    for round in ["first", "again"] {
        let loaded = ask(&agent, &["add", file])?;
        let during = objects()?;
        ensure!(during["links"] > 0 && during["programs"] > before["programs"], "{during:?}");
        let listed = agent.ask(&["tracingpolicy", "list", "-o", "json"])?.ok()?.stdout;
        let listed: serde_json::Value = serde_json::from_str(&listed)?;
        let all = listed["policies"].as_array().context("no policies")?;
        let own = all.iter().find(|policy| policy["name"] == "large").context("not listed")?;
        let memory = own["kernel_memory_bytes"].as_str().unwrap_or("0");
        let removed = ask(&agent, &["delete", "large"])?;
        println!(
            "{what} ({round}): loaded in {:.2} s, {memory} bytes, {during:?}; removed in {:.2} s",
            loaded.as_secs_f64(),
            removed.as_secs_f64()
        );
        ensure!(loaded < LIMIT && removed < LIMIT, "{what}: {loaded:?}, {removed:?}");
        // The kernel frees what nobody holds when no CPU can still be in it.
        let mut left = BTreeMap::new();
        let gone =
            within(Duration::from_secs(20), "the policy leaves nothing in the kernel", || {
                left = objects()?;
                Ok(left == before)
            });
        gone.with_context(|| format!("before {before:?}, left {left:?}"))?;
    }
    agent.stop()?;
    Ok(())
}
