//! The integration tests of the crates that ask the kernel: maps, programs, links, probes, base programs.
//!
//! They are executables of their own, which lie beside this one. A test of theirs that this kernel has
//! no means for says so in its output and passes.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::lab::{Lab, run};
use crate::test::Test;

/// These tests.
pub(crate) const TESTS: &[Test] =
    &[Test::new("crates::pass_their_own_tests", pass_their_own_tests).seconds(600)];

/// What the names of their executables start with.
const PREFIX: &str = "crate-test-";

fn pass_their_own_tests(lab: &Lab) -> Result<()> {
    let own = lab.binary("vmtest")?;
    let directory = own.parent().context("this executable is in no directory")?;
    let mut count = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            run(Command::new(entry.path()).current_dir(lab.path("")))?.ok()?;
            count += 1;
        }
    }
    ensure!(count > 0, "there are none in {}", directory.display());
    Ok(())
}
