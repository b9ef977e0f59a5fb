//! Policies that stay in force without the agent: when it is stopped, when it is killed, when the next one
//! starts, and all that at any time.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::signal::Signal;
use nix::unistd::symlinkat;

use crate::agent::Agent;
use crate::lab::{Done, Lab, run, within};
use crate::test::{Need, Test};

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("keep::policies_outlive_the_agent_until_the_next", outlive),
    Test::new("keep::without_the_flag_nothing_stays", nothing_stays),
    Test::new("keep::what_cannot_be_kept_or_stored_is_told", told),
    Test::new("keep::no_call_slips_through_while_agents_come_and_go", races)
        .needs(&[Need::Vm])
        .seconds(240)
        .tells(),
];

const SIGKILL: i32 = 9;

/// Threads that try, and for how long.
const THREADS: usize = 100;
const RACES_FOR: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// What a link to `target` is answered with.
fn policy(name: &str, target: &str, action: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec:\n  \
         kprobes:\n  - call: sys_symlinkat\n    syscall: true\n    args: [{{index: 0, type: string}}]\n    \
         selectors:\n    - matchArgs:\n      - {{index: 0, operator: Equal, values: ['{target}']}}\n      \
         matchActions: [{action}]\n"
    )
}

/// Where the agents of a test pin. Whatever is left there goes with it.
struct Pins(String);

impl Pins {
    fn new(test: &str) -> Self {
        Self(format!("vmtest-{test}-{}", std::process::id()))
    }

    fn path(&self) -> PathBuf {
        Path::new("/sys/fs/bpf").join(&self.0)
    }

    fn agent(&self, lab: &Lab, more: &[&str]) -> Result<Agent> {
        let dir = format!("--bpf-dir={}", self.0);
        let stored = format!("--persist-grpc-policies-dir={}", lab.path("stored").display());
        let mut flags = vec!["--tracing-policy-dir=", &dir, &stored];
        flags.extend(more);
        lab.agent(&flags)
    }

    /// `tetra pinned`, which asks no agent.
    fn ask(&self, lab: &Lab, command: &[&str]) -> Result<Done> {
        let mut tetra = Command::new(lab.binary("tetra")?);
        run(tetra.arg("pinned").args(command).arg("--bpf-dir").arg(self.path()))
    }

    fn list(&self, lab: &Lab) -> Result<Vec<String>> {
        let done = self.ask(lab, &["list"])?.ok()?;
        Ok(done.stdout.lines().skip(1).map(str::to_owned).collect())
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.path());
    }
}

const KEEP: &[&str] = &["--keep-sensors-on-exit", "--persist-grpc-policies"];

/// The signal that ended a process that made a link.
fn link(lab: &Lab, tool: &str, target: &str) -> Result<Option<i32>> {
    let name = lab.path("link");
    let done = run(Command::new(tool).args(["tool", "thread-link", target]).arg(&name))?;
    let _ = fs::remove_file(&name);
    ensure!(done.status.success() || done.status.signal().is_some(), "{done:?}");
    Ok(done.status.signal())
}

fn outlive(lab: &Lab) -> Result<()> {
    let (tool, pins) = (lab.tool("linker")?, Pins::new("outlive"));
    let (target, other) = ("/forbidden/by/kept", "/not/forbidden");
    let is_killed = || -> Result<bool> {
        ensure!(link(lab, &tool, other)?.is_none(), "others are killed too");
        Ok(link(lab, &tool, target)? == Some(SIGKILL))
    };
    let path = lab.policy("kept.yaml", &policy("kept.v1", target, "{action: Sigkill}"))?;
    let path = path.to_str().context("a path")?;
    ensure!(!is_killed()?, "something else kills");

    let mut first = pins.agent(lab, KEEP)?;
    first.ask(&["tp", "add", path])?.ok()?;
    ensure!(is_killed()?, "not in force");
    let list = pins.list(lab)?;
    ensure!(matches!(&*list, [one] if one.contains(&format!("pid {}", first.pid()))), "{list:?}");
    let refused =
        pins.ask(lab, &["remove", list[0].split_whitespace().next().context("a name")?])?;
    ensure!(refused.stderr.contains("of an agent that runs"), "{refused:?}");
    first.signal(Signal::SIGKILL)?;
    first.wait(Duration::from_secs(5))?;
    let list = pins.list(lab)?;
    let [left] = &*list else { anyhow::bail!("one is left: {list:?}") };
    ensure!(left.contains("gone") && left.ends_with("kept.v1 (grpc)"), "{left}");
    ensure!(is_killed()?, "not in force without the agent");

    let second = pins.agent(lab, KEEP)?;
    let replaced = || Ok(second.log().contains("replaced"));
    within(Duration::from_secs(20), "the earlier programs go", replaced)?;
    let list = pins.list(lab)?;
    ensure!(matches!(&*list, [one] if one.contains("pid")), "{list:?}");
    ensure!(is_killed()?, "not in force with the next agent");
    second.ask(&["tp", "set-mode", "kept.v1", "monitor"])?.ok()?;
    ensure!(!is_killed()?, "the mode was set");
    second.stop()?;
    ensure!(!is_killed()?, "the mode was set, and the agent has ended");

    let third = pins.agent(lab, KEEP)?;
    ensure!(!is_killed()?, "the mode was set, and another agent was started");
    third.ask(&["tp", "set-mode", "kept.v1", "enforce"])?.ok()?;
    ensure!(is_killed()?, "the mode was set again");
    third.stop()?;
    ensure!(is_killed()?, "not in force after an orderly end");
    let removed = pins.ask(lab, &["remove", "--all"])?.ok()?;
    ensure!(removed.stdout.lines().count() == 1, "{removed:?}");
    ensure!(!is_killed()?, "still in force");

    // What is deleted is not kept.
    let fourth = pins.agent(lab, KEEP)?;
    ensure!(is_killed()?, "not stored");
    fourth.ask(&["tp", "delete", "kept.v1"])?.ok()?;
    ensure!(!is_killed()?, "still in force");
    fourth.stop()?;
    ensure!(pins.list(lab)?.is_empty(), "{:?}", pins.list(lab)?);
    let stored = fs::read_dir(lab.path("stored"))?.count();
    ensure!(stored == 0, "{stored} files are left");
    Ok(())
}

fn nothing_stays(lab: &Lab) -> Result<()> {
    let (tool, pins) = (lab.tool("linker")?, Pins::new("nothing"));
    let target = "/forbidden/for/a/while";
    let path = lab.policy("policy.yaml", &policy("passing", target, "{action: Sigkill}"))?;
    let mut agent = pins.agent(lab, &[])?;
    agent.ask(&["tp", "add", path.to_str().context("a path")?])?.ok()?;
    ensure!(link(lab, &tool, target)? == Some(SIGKILL), "not in force");
    agent.signal(Signal::SIGKILL)?;
    agent.wait(Duration::from_secs(5))?;
    ensure!(link(lab, &tool, target)?.is_none(), "still in force");
    ensure!(!pins.path().exists(), "something is pinned");
    let agent = pins.agent(lab, &[])?;
    let list = agent.ask(&["tp", "list"])?.ok()?;
    ensure!(list.stdout.lines().count() == 1, "{list:?}");
    agent.stop()?;
    Ok(())
}

fn told(lab: &Lab) -> Result<()> {
    let pins = Pins::new("told");
    fs::create_dir(lab.path("stored"))?;
    fs::write(lab.path("stored/half::grpc.json"), "{\"yaml\":")?;
    fs::write(lab.path("stored/wrong::grpc.json"), "{\"yaml\":\"kind: Nothing\"}")?;
    let agent = pins.agent(lab, KEEP)?;
    let log = agent.log();
    for wanted in ["half::grpc.json", "wrong::grpc.json:1:7 kind", "failed=2"] {
        ensure!(log.contains(wanted), "{wanted:?} is not in the log:\n{log}");
    }
    agent.stop()?;
    ensure!(lab.path("stored/half::grpc.json").exists(), "what does not read is lost");
    let missing = pins.ask(lab, &["remove", "1-2"])?;
    ensure!(missing.stderr.starts_with("Error: nothing of the name"), "{missing:?}");
    for (flag, wanted) in [
        ("--bpf-dir=a/b", "--bpf-dir has \"a/b\""),
        ("--persist-grpc-policies-dir=relative", "needs an absolute path"),
    ] {
        let mut command = Command::new(lab.binary("tetragon")?);
        let done = run(command.args(["--persist-grpc-policies", flag]))?;
        ensure!(!done.status.success() && done.stderr.contains(wanted), "{done:?}");
    }
    Ok(())
}

/// What the threads that try know.
#[derive(Default)]
struct Race {
    /// Odd while the policy is known to be enforced all the time.
    enforced: AtomicU64,
    over: AtomicBool,
    denied: AtomicU64,
    made: AtomicU64,
}

impl Race {
    /// Tries to make the link until it is over. Gives the number of links that were made in spite of the
    /// policy.
    fn try_on(&self, target: &str, name: &Path) -> Result<u64> {
        let mut slipped = 0;
        while !self.over.load(Ordering::Relaxed) {
            let before = self.enforced.load(Ordering::SeqCst);
            let result = symlinkat(target, AT_FDCWD, name);
            let exists = fs::symlink_metadata(name).is_ok();
            let after = self.enforced.load(Ordering::SeqCst);
            let enforced = before % 2 == 1 && before == after;
            match result {
                Ok(()) if enforced => slipped += 1,
                Err(Errno::EPERM) if exists => slipped += 1,
                Ok(()) => drop(self.made.fetch_add(1, Ordering::Relaxed)),
                Err(Errno::EPERM) => drop(self.denied.fetch_add(1, Ordering::Relaxed)),
                Err(error) => return Err(error).context("making a link"),
            }
            if exists {
                fs::remove_file(name)?;
            }
            // Agents need time too: the more of them come and go the better.
            std::thread::sleep(PAUSE);
        }
        Ok(slipped)
    }
}

fn races(lab: &Lab) -> Result<()> {
    let pins = Pins::new("races");
    let target = "/forbidden/whatever/happens";
    let text = policy("race", target, "{action: Override, argError: -1}");
    let path = lab.policy("race.yaml", &text)?;
    let mut agent = pins.agent(lab, KEEP)?;
    agent.ask(&["tp", "add", path.to_str().context("a path")?])?.ok()?;
    let race = Race::default();
    race.enforced.store(1, Ordering::SeqCst);
    let (mut toggled, mut killed, mut stopped) = (0, 0, 0);
    let slipped = std::thread::scope(|scope| -> Result<u64> {
        let names = (0..THREADS).map(|number| lab.path(&format!("link-{number}")));
        let race = &race;
        let threads: Vec<_> =
            names.map(|name| scope.spawn(move || race.try_on(target, &name))).collect();
        let mut come_and_go = || -> Result<()> {
            let until = Instant::now() + RACES_FOR;
            while Instant::now() < until {
                // Monitor, and back, at times.
                if (killed + stopped) % 3 == 1 {
                    race.enforced.fetch_add(1, Ordering::SeqCst);
                    agent.ask(&["tp", "set-mode", "race", "monitor"])?.ok()?;
                    std::thread::sleep(Duration::from_millis(50));
                    agent.ask(&["tp", "set-mode", "race", "enforce"])?.ok()?;
                    race.enforced.fetch_add(1, Ordering::SeqCst);
                    toggled += 1;
                }
                if (killed + stopped) % 4 == 3 {
                    agent.signal(Signal::SIGTERM)?;
                    stopped += 1;
                } else {
                    agent.signal(Signal::SIGKILL)?;
                    killed += 1;
                }
                agent.wait(Duration::from_secs(30))?;
                agent = pins.agent(lab, KEEP)?;
            }
            Ok(())
        };
        let went = come_and_go();
        race.over.store(true, Ordering::Relaxed);
        let mut slipped = 0;
        for thread in threads {
            slipped += thread.join().ok().context("a thread panicked")??;
        }
        went?;
        Ok(slipped)
    })?;
    let (denied, made) = (race.denied.into_inner(), race.made.into_inner());
    println!(
        "{THREADS} threads: {denied} links denied, {made} made in mode monitor, {slipped} slipped \
         through; mode changed {toggled} times, agent killed {killed} times, stopped {stopped} times"
    );
    ensure!(slipped == 0, "{slipped} links were made in spite of the policy");
    ensure!(denied > 0 && made > 0 && killed > 0 && toggled > 0, "nothing was tried");
    Ok(())
}
