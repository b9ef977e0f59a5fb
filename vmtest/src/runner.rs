//! Runs tests one after the other, each in a process group of its own.
//!
//! A test that panics, hangs or leaves processes behind does not touch the next: its group is killed
//! when it ends or its time is over. On a machine in use the tests get a mount namespace with their
//! own `/run` and BPF file system, so that an agent that already runs there is not in their way.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, geteuid};

use crate::init::IN_VM;
use crate::lab::Lab;
use crate::test::{KERNEL, Test, in_vm};
use crate::tests::all;

/// How one test ended.
enum Outcome {
    Passed,
    Failed(String),
}

#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// `run [--keep] [--skip=PART] [--kernel=NAME] [FILTER...]`
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    match run_all(arguments) {
        Ok(counts) => {
            println!(
                "{} passed, {} failed, {} skipped",
                counts.passed, counts.failed, counts.skipped
            );
            if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// `list`
pub(crate) fn list() -> ExitCode {
    for test in all() {
        println!("{:<50} {:?}", test.name, test.needs);
    }
    ExitCode::SUCCESS
}

/// `one NAME DIRECTORY`: one test, in this process.
pub(crate) fn one(arguments: &[OsString]) -> ExitCode {
    let [name, directory] = arguments else {
        eprintln!("usage: vmtest one NAME DIRECTORY");
        return ExitCode::from(2);
    };
    let Some(test) = all().find(|test| test.name == name) else {
        eprintln!("no test {name:?}");
        return ExitCode::from(2);
    };
    match Lab::new(PathBuf::from(directory)).and_then(|lab| (test.run)(&lab)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run_all(arguments: &[OsString]) -> Result<Counts> {
    let mut keep = false;
    let mut filters = Vec::new();
    let mut skipped = None;
    let mut kernel = "";
    for argument in arguments {
        let argument = argument.to_str().context("an argument is not UTF-8")?;
        match argument {
            "--keep" => keep = true,
            _ if argument.starts_with("--skip=") => skipped = argument.strip_prefix("--skip="),
            _ if let Some(name) = argument.strip_prefix("--kernel=") => kernel = name,
            _ => {
                ensure!(!argument.starts_with('-'), "unknown flag {argument}");
                filters.push(argument);
            }
        }
    }
    ensure!(geteuid().is_root(), "system tests load BPF programs and need root");
    if !in_vm() {
        keep_apart().context("making a mount namespace for the tests")?;
    }
    let base = std::env::temp_dir().join(format!("vmtest-{}", std::process::id()));
    let tests: Vec<&Test> = all()
        .filter(|test| {
            let asked = filters.iter().any(|part| test.name.contains(part));
            // What takes long only when it is asked for.
            let asked_only = test.name.starts_with("bench::");
            let wanted = skipped.is_none_or(|part| !test.name.contains(part));
            asked || wanted && filters.is_empty() && !asked_only
        })
        .collect();
    println!("running {} tests on Linux {}", tests.len(), kernel_release()?);
    let mut counts = Counts::default();
    for test in tests {
        if let Some(why) = test.obstacle() {
            println!("test {} ... skipped: {why}", test.name);
            counts.skipped += 1;
            continue;
        }
        let directory = base.join(test.name.replace("::", "-"));
        fs::create_dir_all(&directory)?;
        let start = Instant::now();
        let outcome = run_one(test, kernel, &directory)?;
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Outcome::Passed => {
                println!("test {} ... ok ({seconds:.1}s)", test.name);
                if test.tells || test.name.starts_with("bench::") {
                    print!("{}", fs::read_to_string(directory.join("output"))?);
                }
                counts.passed += 1;
            }
            Outcome::Failed(output) => {
                println!("test {} ... FAILED ({seconds:.1}s)", test.name);
                output.lines().for_each(|line| println!("    {line}"));
                counts.failed += 1;
            }
        }
        if !keep {
            fs::remove_dir_all(&directory)?;
        }
    }
    if keep {
        println!("kept: {}", base.display());
    } else {
        fs::remove_dir_all(&base)?;
    }
    Ok(counts)
}

fn kernel_release() -> Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned())
}

/// Moves this process into a mount namespace whose changes nobody else sees.
fn keep_apart() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
    mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), Some("mode=700"))?;
    Ok(())
}

/// Runs a test in a child. `directory` has to exist; the test's output is kept in it.
fn run_one(test: &Test, kernel: &str, directory: &Path) -> Result<Outcome> {
    let output_path = directory.join("output");
    let output = File::create(&output_path)?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["one", test.name])
        // The same everywhere.
        .env_clear()
        .envs(std::env::var(IN_VM).map(|value| (IN_VM, value)))
        .env(KERNEL, kernel)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .arg(directory)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("the test's process does not start")?;
    let deadline = Instant::now() + test.timeout;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() > deadline {
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    kill_group(Pid::from_raw(child.id().cast_signed()));
    let ended = match status {
        Some(status) if status.success() => return Ok(Outcome::Passed),
        Some(status) => ended(status),
        None => format!("stopped after {} s", test.timeout.as_secs()),
    };
    let output = fs::read(&output_path)?;
    Ok(Outcome::Failed(format!("{}{ended}", String::from_utf8_lossy(&output))))
}

/// Kills whatever a test left behind and waits for its end: an agent that still lets go of its
/// programs would be in the way of the next.
fn kill_group(group: Pid) {
    let deadline = Instant::now() + Duration::from_secs(10);
    // An error means that nobody is there.
    while killpg(group, Signal::SIGKILL).is_ok() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        // The error or panic message says it already.
        (Some(1 | 101), _) => String::new(),
        (Some(code), _) => format!("the test's process exited with {code}"),
        (None, signal) => format!("the test's process was killed by signal {signal:?}"),
    }
}
