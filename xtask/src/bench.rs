//! `cargo xtask bench`: what things cost, in one machine, as Markdown and JSON.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::artifacts::Profile;
use crate::vm;

/// What a line with a result starts with.
const RESULT: &str = "result ";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernel: 6.1, 6.12, 6.12-ei, host, or the path of an image
    #[arg(long, default_value = "6.12")]
    kernel: String,
    /// Run only benchmarks whose name contains this
    filter: Option<String>,
    /// Let the machine's clock count instructions: a nanosecond each, whatever else this one does
    #[arg(long)]
    instructions: bool,
    /// Write the results there, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs the task. The result says whether all benchmarks could be run.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let mut results = Vec::new();
    let filter = format!("bench::{}", args.filter.as_deref().unwrap_or_default());
    let passed = vm::one(&args.kernel, Profile::Release, &filter, args.instructions, |line| {
        match line.strip_prefix(RESULT).map(serde_json::from_str::<Value>) {
            Some(Ok(result)) => results.push(result),
            _ => println!("{line}"),
        }
    })?;
    if let Some(path) = &args.json {
        let clock = if args.instructions { "instructions" } else { "time" };
        let all = json!({"kernel": args.kernel, "clock": clock, "results": results});
        fs::write(path, serde_json::to_string_pretty(&all)? + "\n")
            .with_context(|| path.display().to_string())?;
    }
    Ok(passed)
}
