//! What a policy that does not match costs. Run only when asked for by name (`bench`): it takes a while,
//! and what matters are ratios within one run.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::lab::Lab;
use crate::test::{Need, Test};

/// These benchmarks.
pub(crate) const TESTS: &[Test] = &[Test::new("bench::file_permission_by_prefix", file_permission)
    .needs(&[Need::Vm])
    .seconds(900)];

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

/// 200,000 reads and writes of one byte.
fn copy(lab: &Lab) -> Result<Duration> {
    let started = Instant::now();
    let status = Command::new(lab.binary("busybox")?)
        .args(["dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=100000"])
        .stderr(Stdio::null())
        .status()?;
    ensure!(status.success(), "dd: {status}");
    Ok(started.elapsed())
}

fn file_permission(lab: &Lab) -> Result<()> {
    let policy = lab.path("policy.yaml");
    std::fs::write(&policy, POLICY)?;
    let policy = format!("--tracing-policy={}", policy.display());
    let variants: [(&str, Option<&[&str]>); 3] = [
        ("bare", None),
        ("agent without policies", Some(&["--tracing-policy-dir="])),
        ("agent with the policy", Some(&["--tracing-policy-dir=", &policy])),
    ];
    let mut times = [const { Vec::new() }; 3];
    copy(lab)?;
    for round in 0..ROUNDS {
        for (index, (_, flags)) in variants.iter().enumerate() {
            let agent = match flags {
                Some(flags) => {
                    Some(crate::agent::Agent::start(lab, &format!("{round}-{index}"), flags)?)
                }
                None => None,
            };
            // The first run after a start warms up.
            copy(lab)?;
            times[index].push(copy(lab)?);
            agent.map(crate::agent::Agent::stop).transpose()?;
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2].as_secs_f64()
    };
    let bare = median(&mut times[0]);
    println!("| variant | median | least | most | added |");
    println!("|---|---|---|---|---|");
    for ((name, _), times) in variants.iter().zip(&mut times) {
        let middle = median(times);
        println!(
            "| {name} | {middle:.3} s | {:.3} s | {:.3} s | {:+.0} % |",
            times[0].as_secs_f64(),
            times[times.len() - 1].as_secs_f64(),
            100.0 * (middle / bare - 1.0),
        );
    }
    Ok(())
}
