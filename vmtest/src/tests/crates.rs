//! The integration tests of the crates that ask the kernel: maps, programs, links, probes, base programs.
//!
//! They are executables of their own, which lie beside this one. A test of theirs that this kernel has
//! no means for says so in its output and passes.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::lab::{Guard, Lab};
use crate::test::{Need, Test};

/// These tests.
pub(crate) const TESTS: &[Test] =
    &[Test::new("crates::pass_their_own_tests", pass_their_own_tests)
        // On this machine's kernel `cargo test` runs them.
        .needs(&[Need::Vm])
        .tells()
        .seconds(3000)];

/// What the names of their executables start with.
const PREFIX: &str = "crate-test-";
/// How long one may take on an emulated machine, where most take 5 to 60 s.
const LIMIT: Duration = Duration::from_secs(300);

fn pass_their_own_tests(lab: &Lab) -> Result<()> {
    let own = lab.binary("vmtest")?;
    let directory = own.parent().context("this executable is in no directory")?;
    let mut executables: Vec<_> = fs::read_dir(directory)?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .map(|entry| entry.path())
        .collect();
    executables.sort();
    ensure!(!executables.is_empty(), "there are none in {}", directory.display());
    // All of them, so that one that fails does not hide another.
    let mut failed = Vec::new();
    for executable in &executables {
        let started = Instant::now();
        let result = pass(executable, lab);
        let name = executable.file_name().unwrap_or_default().to_string_lossy();
        eprintln!("    {name}: {:.1} s", started.elapsed().as_secs_f32());
        if let Err(error) = result {
            failed.push(format!("{name}: {error:#}"));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// Runs one executable to its end; what it prints is part of the error.
fn pass(executable: &Path, lab: &Lab) -> Result<()> {
    // A file holds more than a pipe that nobody reads while it runs.
    let printed = lab.path("printed");
    let output = File::create(&printed)?;
    let child = Command::new(executable)
        .current_dir(lab.path(""))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()?;
    let mut child = Guard(child);
    let end = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.0.try_wait()? {
            break status;
        }
        if Instant::now() > end {
            bail!("not done after {LIMIT:?}: {}", fs::read_to_string(printed)?);
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    ensure!(status.success(), "{status}: {}", String::from_utf8_lossy(&fs::read(printed)?));
    Ok(())
}
