//! `cargo xtask run`: the agent with a compact view of its events, until Ctrl-C.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::artifacts;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// More flags for the agent
    #[arg(last = true)]
    flags: Vec<String>,
}

const READY_WITHIN: Duration = Duration::from_secs(20);
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// Runs the task. The result says whether agent and command line ended well.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let root = artifacts::repository()?;
    let binaries = artifacts::build(&root, artifacts::Profile::Release, &["agent", "tetra"])?;
    let path = |name: &str| -> Result<PathBuf> {
        let binary = binaries.iter().find(|binary| binary.name == name);
        Ok(binary.with_context(|| format!("the build gave no executable {name}"))?.path.clone())
    };
    // The terminal sends Ctrl-C to all of its processes. This one has to outlive the others.
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }

    let directory = root.join("build/run");
    fs::create_dir_all(&directory)?;
    let log = directory.join("tetragon.log");
    let socket = directory.join("tetragon.sock");
    let address = format!("unix://{}", socket.display());
    let output = File::create(&log)?;
    let mut agent = Command::new(path("tetragon")?)
        .args(["--server-address", &address])
        .args(&args.flags)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        // Out of the terminal's reach: it is stopped below, after its reader.
        .process_group(0)
        .spawn()
        .context("the agent does not start")?;

    let shown = wait_until_ready(&mut agent, &socket, &log, &interrupted).and_then(|ready| {
        if !ready {
            return Ok(true);
        }
        eprintln!("tetragon runs; its log is {}. Ctrl-C ends it.", log.display());
        show_events(&path("tetra")?, &address, &mut agent, &interrupted)
    });
    let stopped = stop(&mut agent);
    let shown = shown?;
    let status = stopped?;
    if !status.success() {
        eprintln!("the agent ended with {status}:\n{}", tail(&log));
    }
    Ok(shown && status.success())
}

/// Waits until the agent answers. False if the user does not want to wait.
fn wait_until_ready(
    agent: &mut Child,
    socket: &Path,
    log: &Path,
    interrupted: &AtomicBool,
) -> Result<bool> {
    let start = Instant::now();
    while UnixStream::connect(socket).is_err() {
        if let Some(status) = agent.try_wait()? {
            bail!("the agent ended with {status}:\n{}", tail(log));
        }
        if interrupted.load(Ordering::Relaxed) {
            return Ok(false);
        }
        ensure!(start.elapsed() < READY_WITHIN, "the agent is not ready:\n{}", tail(log));
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(true)
}

/// Shows events until the user, the agent or the command line ends it.
fn show_events(
    tetra: &Path,
    address: &str,
    agent: &mut Child,
    interrupted: &AtomicBool,
) -> Result<bool> {
    let mut viewer = Command::new(tetra)
        .args(["--server-address", address, "getevents", "-o", "compact"])
        // Not a file or pipe, from which it would read events.
        .stdin(File::open("/dev/null")?)
        .spawn()
        .context("tetra does not start")?;
    loop {
        let wanted = !interrupted.load(Ordering::Relaxed);
        if let Some(status) = viewer.try_wait()? {
            return Ok(!wanted || status.success());
        }
        if !wanted || agent.try_wait()?.is_some() {
            signal(Signal::SIGINT, &viewer)?;
            viewer.wait()?;
            return Ok(!wanted);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn stop(agent: &mut Child) -> Result<std::process::ExitStatus> {
    if let Some(status) = agent.try_wait()? {
        return Ok(status);
    }
    signal(Signal::SIGTERM, agent)?;
    let start = Instant::now();
    while start.elapsed() < STOPPED_WITHIN {
        if let Some(status) = agent.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    agent.kill()?;
    agent.wait()?;
    bail!("the agent did not stop within {} s of SIGTERM and was killed", STOPPED_WITHIN.as_secs())
}

fn signal(signal: Signal, child: &Child) -> Result<()> {
    kill(Pid::from_raw(child.id().cast_signed()), signal).context("sending a signal")
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
