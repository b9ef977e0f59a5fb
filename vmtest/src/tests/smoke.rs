//! The kernel has what everything else rests on, and the harness works.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::lab::Lab;
use crate::test::{Need, Test};

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("smoke::kernel_describes_its_types", kernel_describes_its_types),
    Test::new("smoke::vm_has_a_system_mounted", vm_has_a_system_mounted).needs(&[Need::Vm]),
    Test::new("smoke::agent_starts_and_stops", agent_starts_and_stops),
];

/// BTF starts with a magic number in host byte order (Documentation/bpf/btf.rst).
fn kernel_describes_its_types(_: &Lab) -> Result<()> {
    let btf = fs::read("/sys/kernel/btf/vmlinux").context("no BTF")?;
    ensure!(btf.starts_with(&0xeb9f_u16.to_ne_bytes()), "/sys/kernel/btf/vmlinux is not BTF");
    for event in ["sched_process_exec", "sched_process_fork", "sched_process_exit"] {
        let name = format!("btf_trace_{event}\0");
        let found = btf.windows(name.len()).any(|window| window == name.as_bytes());
        ensure!(found, "BTF has no {name}: no typed tracepoint {event}");
    }
    Ok(())
}

fn vm_has_a_system_mounted(_: &Lab) -> Result<()> {
    for path in [
        "/proc/self/status",
        "/sys/kernel/tracing/events/sched",
        "/sys/kernel/debug/tracing",
        "/sys/fs/bpf",
        "/sys/fs/cgroup/cgroup.procs",
        "/dev/null",
        "/dev/shm",
        "/var/run",
    ] {
        fs::metadata(path).with_context(|| path.to_owned())?;
    }
    let modules = fs::read_to_string("/sys/kernel/security/lsm")?;
    ensure!(modules.trim().split(',').any(|name| name == "bpf"), "BPF LSM is off: {modules}");
    ensure!(std::process::id() != 1, "tests run as pid 1");
    Ok(())
}

/// SIGTERM is what [`crate::agent::Agent::finish`] sends; Ctrl-C does the same.
fn agent_starts_and_stops(lab: &Lab) -> Result<()> {
    let events = lab.agent(&[])?.finish()?;
    ensure!(!events.0.is_empty(), "nothing was exported");
    let mut agent = lab.agent(&[])?;
    let mode = fs::metadata(agent.socket())?.permissions().mode();
    ensure!(mode & 0o007 == 0, "the socket's mode is {mode:o}");
    agent.signal(Signal::SIGINT)?;
    let status = agent.wait(Duration::from_secs(20))?;
    ensure!(status.success(), "{status}: {}", agent.log());
    ensure!(!agent.socket().exists(), "the socket is left behind");
    Ok(())
}
