//! How long policies take to load, and what memory the kernel keeps for them: one that hooks a system
//! call, then thirty on as many, as `tetra tracingpolicy add` and the agent's own figures say.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{RESULT, Times, report};
use crate::agent::Agent;
use crate::lab::Lab;

/// System calls that policies here hook.
const CALLS: [&str; 30] = [
    "symlinkat",
    "linkat",
    "renameat2",
    "unlinkat",
    "mkdirat",
    "fchmodat",
    "fchownat",
    "mknodat",
    "truncate",
    "ftruncate",
    "chdir",
    "chroot",
    "mount",
    "umount2",
    "pivot_root",
    "setns",
    "unshare",
    "ptrace",
    "bpf",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "setuid",
    "setgid",
    "setreuid",
    "capset",
    "prctl",
    "personality",
    "acct",
];
/// Rounds.
const ROUNDS: usize = 5;

fn policy(call: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {{name: on-{}}}
spec:
  kprobes:
  - call: sys_{call}
    syscall: true
    args:
    - {{index: 0, type: uint64}}
    - {{index: 1, type: uint64}}
    selectors:
    - matchArgs:
      - {{index: 1, operator: Equal, values: [\"1234567\", \"7654321\"]}}
",
        call.replace('_', "-")
    )
}

/// The benchmark.
pub(super) fn run(lab: &Lab) -> Result<()> {
    let mut files = Vec::new();
    for call in CALLS {
        std::fs::create_dir_all(lab.path("policies"))?;
        let file = lab.path(&format!("policies/{call}.yaml"));
        std::fs::write(&file, policy(call))?;
        files.push(file);
    }
    let directory = format!("--tracing-policy-dir={}", lab.path("policies").display());
    let names = ["tetra --help", "add the first", "add one more", "delete one"];
    let mut commands = names.map(Times::new);
    let mut ready = ["agent ready", "agent ready with 30 policies"].map(Times::new);
    let mut memory = 0;
    for round in 0..ROUNDS {
        for (index, times) in ready.iter_mut().enumerate() {
            let policies = if index == 0 { "--tracing-policy-dir=" } else { directory.as_str() };
            let agent = Agent::start(lab, &format!("{index}-{round}"), &[policies])?;
            times.times.push(agent.ready_after());
            if index == 0 {
                let file = |n: usize| files[n].to_str().context("a path is not UTF-8");
                let (first, second) = (file(0)?, file(1)?);
                let all: [&[&str]; 4] = [
                    &["--help"],
                    &["tracingpolicy", "add", first],
                    &["tracingpolicy", "add", second],
                    &["tracingpolicy", "delete", "on-symlinkat"],
                ];
                for (arguments, times) in all.iter().zip(&mut commands) {
                    let started = Instant::now();
                    let done = agent.ask(arguments)?;
                    ensure!(done.status.success(), "{}", done.stderr);
                    times.times.push(started.elapsed());
                }
                let list = agent.ask(&["tracingpolicy", "list", "-o", "json"])?.stdout;
                let list: serde_json::Value = serde_json::from_str(&list)?;
                memory = list["policies"][0]["kernel_memory_bytes"]
                    .as_str()
                    .and_then(|text| text.parse::<u64>().ok())
                    .context("the list names no memory")?;
            }
            agent.stop()?;
        }
    }
    report("a policy, by command", &commands)?;
    report("start of the agent", &ready)?;
    println!("kernel memory of one policy: {memory} bytes");
    let result =
        json!({"benchmark": "kernel memory of one policy", "unit": "bytes", "median": memory});
    println!("{RESULT}{}", serde_json::to_string(&result)?);
    Ok(())
}
