//! `cargo xtask vm`: the system tests, on several kernels.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::artifacts::{CRATE_TEST, Profile};
use crate::kernels::Kernel;
use crate::qemu::{Clock, End, Machine};
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
    /// Machines to run at once [default: one for each processor]
    #[arg(long)]
    jobs: Option<usize>,
    /// Seconds that the tests may take on one kernel
    #[arg(long, default_value_t = 1800)]
    timeout: u64,
    /// More arguments for the test binary
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// The test that runs the tests of crates' own, which take longest.
const CRATE_TESTS: &str = "crates::pass_their_own_tests";

/// Tests of what hangs on error injection: who may deny what, and how. On a kernel that differs from another
/// one in nothing else the rest would only be seen twice.
const OF_ERROR_INJECTION: [&str; 9] = [
    "smoke::",
    // bad_policies:: as well.
    "policies::",
    "functions::",
    "lsm::",
    "intro::",
    "field::",
    "enforcement::",
    "evasion::",
    "keep::no_call_slips_through",
];

impl Args {
    /// Arguments of the test binary's `run` command on a kernel.
    fn for_tests(&self, kernel: &str, beside: &[(String, PathBuf)]) -> Vec<String> {
        let mut arguments: Vec<String> = self.filter.iter().cloned().collect();
        let covered = kernels::covered_by(kernel)
            .is_some_and(|by| beside.iter().any(|(other, _)| other == by));
        if covered && self.filter.is_none() && self.kernel.is_empty() {
            arguments.extend(OF_ERROR_INJECTION.map(str::to_owned));
        }
        if !self.crate_tests() {
            arguments.push(format!("--skip={CRATE_TESTS}"));
        }
        arguments.push(format!("--kernel={kernel}"));
        arguments.extend(self.arguments.iter().cloned());
        arguments
    }

    /// Whether the tests of crates' own run: they take half an hour on an emulated machine, so only when
    /// they are asked for.
    fn crate_tests(&self) -> bool {
        self.filter.as_ref().is_some_and(|filter| CRATE_TESTS.contains(filter.as_str()))
    }
}

/// What happened on one kernel.
struct Run {
    kernel: String,
    report: Report,
    time: Duration,
}

/// What all runs share.
struct Session<'a> {
    args: &'a Args,
    root: PathBuf,
    stage: PathBuf,
    clock: Clock,
}

/// Runs the tests whose names contain `filter` on one kernel; each line of their output goes to `line`.
/// The result says whether all passed.
pub(crate) fn one(
    kernel: &str,
    profile: Profile,
    filter: &str,
    instructions: bool,
    line: impl FnMut(&str),
) -> Result<bool> {
    let root = artifacts::repository()?;
    let stage = artifacts::stage(&root, profile, false)?;
    let args = Args {
        kernel: vec![kernel.to_owned()],
        filter: Some(filter.to_owned()),
        list: false,
        keep: false,
        jobs: None,
        timeout: 1800,
        arguments: Vec::new(),
    };
    let clock = if instructions { Clock::Instructions } else { Clock::Time };
    let session = Session { args: &args, root, stage, clock };
    let run = match kernels::find(&session.root, kernel)? {
        Kernel::Host => session.on_host(line)?,
        Kernel::Image { name, path } => session.in_machine(&name, &path, &[], line)?,
    };
    run.report.failed.iter().for_each(|name| println!("failed: {name}"));
    Ok(run.report.failed.is_empty())
}

/// Runs the task. The result says whether all tests passed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let root = artifacts::repository()?;
    let stage = artifacts::stage(&root, Profile::Stage, args.crate_tests())?;
    let names =
        if args.kernel.is_empty() { kernels::default_names(&root) } else { args.kernel.clone() };
    let session = Session { args, root, stage, clock: Clock::Time };
    if args.list {
        return Ok(Command::new(session.test_binary()).arg("list").status()?.success());
    }
    // All are found before any is run, so that a wrong name does not cost the time of the others.
    let mut machines = Vec::new();
    let mut on_host = false;
    for name in &names {
        match kernels::find(&session.root, name)? {
            Kernel::Host => on_host = true,
            Kernel::Image { name, path } => machines.push((name, path)),
        }
    }
    let mut runs = session.in_machines(&machines)?;
    // Last and alone: what is measured there should be the agent, not other kernels.
    if on_host {
        runs.push(session.on_host(|line| println!("{line}"))?);
    }
    Ok(summarize(&runs))
}

impl Session<'_> {
    fn test_binary(&self) -> PathBuf {
        self.stage.join("vmtest")
    }

    /// Runs several machines at a time; the results are in the order of the machines.
    fn in_machines(&self, machines: &[(String, PathBuf)]) -> Result<Vec<Run>> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.args.jobs.unwrap_or(processors).clamp(1, machines.len().max(1));
        let next = AtomicUsize::new(0);
        let worker = || -> Result<Vec<(usize, Run)>> {
            let mut runs = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((name, image)) = machines.get(index) else { return Ok(runs) };
                let prefix = if jobs > 1 { format!("{name:<8} ") } else { String::new() };
                let line = |line: &str| println!("{prefix}{line}");
                runs.push((index, self.in_machine(name, image, machines, line)?));
            }
        };
        let mut runs = Vec::new();
        std::thread::scope(|scope| -> Result<()> {
            let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(worker)).collect();
            for worker in workers {
                let Ok(done) = worker.join() else { bail!("running a machine panicked") };
                runs.extend(done?);
            }
            Ok(())
        })?;
        runs.sort_by_key(|(index, _)| *index);
        Ok(runs.into_iter().map(|(_, run)| run).collect())
    }

    /// Runs one machine; each line of its output goes to `print`.
    fn in_machine(
        &self,
        name: &str,
        image: &Path,
        beside: &[(String, PathBuf)],
        mut print: impl FnMut(&str),
    ) -> Result<Run> {
        let directory = self.root.join("build/vm").join(name);
        fs::create_dir_all(&directory)?;
        let machine = Machine {
            kernel: image.to_owned(),
            // Another run on the same kernel may be under way.
            initramfs: directory.join(format!("initramfs-{}", std::process::id())),
            console: directory.join(format!("console-{}.log", std::process::id())),
            timeout: Duration::from_secs(self.args.timeout),
            clock: self.clock,
        };
        // Without the tests of crates the archive is a tenth as large, and unpacked as much sooner.
        let crate_tests = self.args.crate_tests();
        let wanted = |file: &str| crate_tests || !file.starts_with(CRATE_TEST);
        let arguments = self.args.for_tests(name, beside);
        let initramfs = initramfs::build(&self.stage, wanted, &arguments)?;
        fs::write(&machine.initramfs, initramfs)?;
        print(&format!("== {name}"));
        let start = Instant::now();
        let mut report = Report::default();
        let mut first = true;
        let end = machine.run(|line| {
            if std::mem::take(&mut first) {
                print(&format!("booted in {}", seconds(start.elapsed())));
            }
            print(line);
            report.line(line);
        })?;
        if !self.args.keep {
            fs::remove_file(&machine.initramfs)?;
        }
        if end == End::TimedOut {
            print(&format!("stopped after {}", seconds(machine.timeout)));
        }
        let before = report.failed.len();
        report.finish("the run as a whole");
        if report.failed.len() > before {
            print("the run broke off; end of the console:");
            machine.console_tail(40).lines().for_each(&mut print);
        }
        let complaints = machine.kernel_complaints();
        if !complaints.is_empty() {
            print("the kernel complained:");
            complaints.iter().for_each(|line| print(&format!("    {line}")));
            report.failed.push("kernel without complaints".to_owned());
        }
        fs::rename(&machine.console, directory.join("console.log"))?;
        Ok(Run { kernel: name.to_owned(), report, time: start.elapsed() })
    }

    fn on_host(&self, mut print: impl FnMut(&str)) -> Result<Run> {
        print("== host");
        let start = Instant::now();
        let mut command = Command::new(self.test_binary());
        command.arg("run").args(self.args.for_tests("host", &[])).stdout(Stdio::piped());
        if self.args.keep {
            command.arg("--keep");
        }
        let mut child = command.spawn().context("the test binary does not run")?;
        let output = child.stdout.take().context("the tests' output is not there")?;
        let mut report = Report::default();
        for line in BufReader::new(output).lines() {
            let line = line?;
            print(&line);
            report.line(&line);
        }
        child.wait()?;
        report.finish("the run as a whole");
        Ok(Run { kernel: "host".to_owned(), report, time: start.elapsed() })
    }
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
