//! Init of a test VM: mounts what a system has mounted, runs the tests, switches off.
//!
//! Tests are not run by pid 1 itself, which the kernel treats specially (no default signal actions,
//! parent of all orphans). The console stays the kernel's: what the tests print goes to the second
//! serial port.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, sethostname, sync};

/// Source and type, where, options.
const MOUNTS: [(&str, &str, &str); 12] = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", ""),
    ("devpts", "/dev/pts", ""),
    ("tmpfs", "/dev/shm", "mode=1777"),
    ("tmpfs", "/tmp", "mode=1777"),
    ("tmpfs", "/run", "mode=755"),
    ("tracefs", "/sys/kernel/tracing", ""),
    ("debugfs", "/sys/kernel/debug", ""),
    ("securityfs", "/sys/kernel/security", ""),
    ("bpf", "/sys/fs/bpf", "mode=700"),
    ("cgroup2", "/sys/fs/cgroup", ""),
];

/// The port that xtask reads.
const OUTPUT: &str = "/dev/ttyS1";

/// Set for the tests' processes in a VM.
pub(crate) const IN_VM: &str = "VMTEST_IN_VM";

/// Runs the system from here to its end.
pub(crate) fn run() -> ExitCode {
    if let Err(error) = run_tests() {
        eprintln!("init: {error:#}");
    }
    sync();
    // With -no-reboot this ends the machine, and unlike power-off it needs no ACPI.
    let Err(error) = reboot(RebootMode::RB_AUTOBOOT);
    eprintln!("init: reboot: {error}");
    ExitCode::FAILURE
}

fn run_tests() -> Result<()> {
    for (kind, target, options) in MOUNTS {
        mount_at(kind, target, options)?;
    }
    sethostname("vm").context("setting the host name")?;
    let busybox = |arguments: &[&str]| Command::new("/bin/busybox").args(arguments).status();
    busybox(&["ip", "link", "set", "lo", "up"]).context("busybox does not run")?;

    let arguments = fs::read_to_string("/vmtest.arguments").context("/vmtest.arguments")?;
    let output = File::options().write(true).open(OUTPUT).context(OUTPUT)?;
    let tests = Command::new("/bin/vmtest")
        .arg("run")
        .args(arguments.lines())
        .env(IN_VM, "1")
        .env("PATH", "/bin")
        .env("HOME", "/root")
        .current_dir("/root")
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("the tests do not start")?;
    let tests = Pid::from_raw(tests.id().cast_signed());
    // Orphans come here to be reaped.
    loop {
        match waitpid(None::<Pid>, None) {
            Ok(status) if status.pid() == Some(tests) => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("waiting for the tests"),
        }
    }
}

fn mount_at(kind: &str, target: &str, options: &str) -> Result<()> {
    if !Path::new(target).exists() {
        fs::create_dir(target).with_context(|| format!("creating {target}"))?;
    }
    mount(Some(kind), target, Some(kind), MsFlags::empty(), Some(options))
        .with_context(|| format!("mounting {kind} on {target}"))
}
