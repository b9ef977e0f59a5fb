//! A hook that filters by the beginning of a path and never matches: 200,000 reads and writes of one
//! byte pass `security_file_permission()`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Times, floor, report};
use crate::agent::Agent;
use crate::lab::Lab;

/// Rounds of all variants, one after the other.
const ROUNDS: usize = 7;

const POLICY: &str = r#"apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: data}
spec:
  kprobes:
  - call: security_file_permission
    syscall: false
    args:
    - {index: 0, type: file}
    - {index: 1, type: int}
    selectors:
    - matchArgs:
      - {index: 0, operator: Prefix, values: [/data/]}
"#;

fn copy(lab: &Lab) -> Result<Duration> {
    let started = Instant::now();
    let status = Command::new(lab.binary("dd")?)
        .args(["if=/dev/zero", "of=/dev/null", "bs=1", "count=100000"])
        .stderr(Stdio::null())
        .status()?;
    ensure!(status.success(), "dd: {status}");
    Ok(started.elapsed())
}

/// The benchmark.
pub(super) fn run(lab: &Lab) -> Result<()> {
    let policy = lab.path("policy.yaml");
    std::fs::write(&policy, POLICY)?;
    let policy = format!("--tracing-policy={}", policy.display());
    let mut variants =
        ["bare", "empty program", "floor", "agent", "agent with the policy"].map(Times::new);
    copy(lab)?;
    for round in 0..ROUNDS {
        for (index, variant) in variants.iter_mut().enumerate() {
            let attached = match index {
                1 => Some(floor::empty()?),
                2 => floor::path_prefix().ok(),
                _ => None,
            };
            let flags: Option<&[&str]> = match index {
                3 => Some(&["--tracing-policy-dir="]),
                4 => Some(&["--tracing-policy-dir=", &policy]),
                _ => None,
            };
            let agent = match flags {
                Some(flags) => Some(Agent::start(lab, &format!("{round}-{index}"), flags)?),
                None => None,
            };
            copy(lab)?;
            variant.times.push(copy(lab)?);
            agent.map(Agent::stop).transpose()?;
            drop(attached);
        }
    }
    report("path prefix, filtered out", &variants)
}
