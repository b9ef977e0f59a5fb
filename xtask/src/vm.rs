//! `cargo xtask vm`: the system tests, on several kernels.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use std::io::{BufRead, BufReader};

use anyhow::{Context, Result};

use crate::kernels::Kernel;
use crate::qemu::{End, Machine};
use crate::report::{Report, seconds};
use crate::{artifacts, initramfs, kernels};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernels: 6.1, 6.12, 6.12-ei, host, or the path of an image; all when not given
    #[arg(long, value_name = "KERNEL", num_args = 1)]
    kernel: Vec<String>,
    /// Run only tests whose name contains this
    filter: Option<String>,
    /// List the tests instead
    #[arg(long)]
    list: bool,
    /// Keep the tests' scratch directories (host) and the initramfs (VM)
    #[arg(long)]
    keep: bool,
    /// Seconds that the tests may take on one kernel
    #[arg(long, default_value_t = 1500)]
    timeout: u64,
    /// More arguments for the test binary
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// What happened on one kernel.
struct Run {
    kernel: String,
    report: Report,
    time: Duration,
}

/// Runs the task. The result says whether all tests passed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let root = artifacts::repository()?;
    let stage = artifacts::stage(&root)?;
    let test_binary = stage.join("vmtest");
    if args.list {
        return Ok(Command::new(test_binary).arg("list").status()?.success());
    }
    let names =
        if args.kernel.is_empty() { kernels::default_names(&root) } else { args.kernel.clone() };
    // All are found before any is run, so that a wrong name does not cost the time of the others.
    let found: Vec<Kernel> =
        names.iter().map(|name| kernels::find(&root, name)).collect::<Result<_>>()?;

    let mut runs = Vec::new();
    for kernel in &found {
        println!("\n== {}", kernel.name());
        let start = Instant::now();
        let report = match kernel {
            Kernel::Host => on_host(&test_binary, args)?,
            Kernel::Image { name, path } => in_machine(&root, &stage, name, path, args)?,
        };
        runs.push(Run { kernel: kernel.name().to_owned(), report, time: start.elapsed() });
    }
    Ok(summarize(&runs))
}

/// Arguments of the test binary's `run` command.
fn test_arguments(args: &Args) -> Vec<String> {
    let mut arguments: Vec<String> = args.filter.iter().cloned().collect();
    arguments.extend(args.arguments.iter().cloned());
    arguments
}

fn on_host(test_binary: &Path, args: &Args) -> Result<Report> {
    let mut command = Command::new(test_binary);
    command.arg("run").args(test_arguments(args)).stdout(Stdio::piped());
    if args.keep {
        command.arg("--keep");
    }
    let mut child = command.spawn().context("the test binary does not run")?;
    let output = child.stdout.take().context("the tests' output is not there")?;
    let mut report = Report::default();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        report.line(&line);
    }
    child.wait()?;
    report.finish("the run as a whole");
    Ok(report)
}

fn in_machine(root: &Path, stage: &Path, name: &str, image: &Path, args: &Args) -> Result<Report> {
    let directory: PathBuf = root.join("build/vm").join(name);
    fs::create_dir_all(&directory)?;
    let machine = Machine {
        kernel: image.to_owned(),
        // Another run on the same kernel may be under way.
        initramfs: directory.join(format!("initramfs-{}", std::process::id())),
        console: directory.join(format!("console-{}.log", std::process::id())),
        timeout: Duration::from_secs(args.timeout),
    };
    fs::write(&machine.initramfs, initramfs::build(stage, &test_arguments(args))?)?;
    let start = Instant::now();
    let mut report = Report::default();
    let mut first = true;
    let end = machine.run(|line| {
        if std::mem::take(&mut first) {
            println!("booted in {}", seconds(start.elapsed()));
        }
        println!("{line}");
        report.line(line);
    })?;
    if !args.keep {
        fs::remove_file(&machine.initramfs)?;
    }
    if end == End::TimedOut {
        println!("stopped after {}", seconds(machine.timeout));
    }
    let finished = report.failed.len();
    report.finish("the run as a whole");
    if report.failed.len() > finished {
        println!("the run broke off; end of the console:\n{}", machine.console_tail(40));
    }
    let complaints = machine.kernel_complaints();
    if !complaints.is_empty() {
        println!("the kernel complained:");
        complaints.iter().for_each(|line| println!("    {line}"));
        report.failed.push("kernel without complaints".to_owned());
    }
    fs::rename(&machine.console, directory.join("console.log"))?;
    Ok(report)
}

/// Prints what happened where, and the closing line with the totals.
fn summarize(runs: &[Run]) -> bool {
    println!("\n== all kernels");
    for run in runs {
        let report = &run.report;
        println!(
            "{:<10} {:>4} passed {:>4} failed {:>4} skipped {:>10}",
            run.kernel,
            report.passed,
            report.failed.len(),
            report.skipped.len(),
            seconds(run.time),
        );
        report.failed.iter().for_each(|name| println!("    failed: {name}"));
        report.skipped.iter().for_each(|(name, why)| println!("    skipped: {name}: {why}"));
    }
    let passed: usize = runs.iter().map(|run| run.report.passed).sum();
    let failed: usize = runs.iter().map(|run| run.report.failed.len()).sum();
    println!("{passed} passed, {failed} failed");
    failed == 0
}
