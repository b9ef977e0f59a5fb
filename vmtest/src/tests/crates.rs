//! The integration tests of the crates that ask the kernel: maps, programs, links, probes, base programs.
//!
//! They are executables of their own, which lie beside this one. A test of theirs that this kernel has
//! no means for says so in its output and passes.

use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::lab::{Lab, run};
use crate::test::{Need, Test};

/// These tests.
pub(crate) const TESTS: &[Test] =
    &[Test::new("crates::pass_their_own_tests", pass_their_own_tests)
        // On this machine's kernel `cargo test` runs them.
        .needs(&[Need::Vm])
        .tells()
        .seconds(1200)];

/// What the names of their executables start with.
const PREFIX: &str = "crate-test-";

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
        let result = run(Command::new(executable).current_dir(lab.path("")))?.ok();
        let name = executable.file_name().unwrap_or_default().to_string_lossy();
        eprintln!("    {name}: {:.1} s", started.elapsed().as_secs_f32());
        if let Err(error) = result {
            failed.push(format!("{name}: {error:#}"));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}
