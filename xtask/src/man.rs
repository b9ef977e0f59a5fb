//! The manual's pages of `tetra`, made from its flags by itself.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

/// Where they go.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the pages
    #[arg(default_value = "build/man")]
    directory: PathBuf,
}

/// Writes them.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--package", "tetra", "--", "man"]).arg(&args.directory);
    let status = command.status().context("cargo does not start")?;
    Ok(status.success())
}
