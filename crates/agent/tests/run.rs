//! A whole run of the service around a source of events that needs no kernel: start, second
//! instance, signals, what is left behind.
//!
//! The agent runs in a process of its own, which is this test binary again with [`DIR`] set. Needs
//! the agent's privileges, so each test says so and passes without them.

// The whole file is tests, its helpers too.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::config::{self, Request};
use agent::hub::Hub;
use agent::lifecycle::privileges;
use agent::policies::{Added, LoadError, Loader, Measures, Named};
use agent::source::{Inspect, Source};
use api::tetragon::get_events_response::Event;
use api::tetragon::{DumpProcessCacheReqArgs, ProcessExec, ProcessInternal};
use policy::PolicyKey;
use policy::checked::Mode;
use rustix::process::{Pid, Signal, kill_process};

/// Names the child's directory.
const DIR: &str = "AGENT_TEST_DIR";
/// Set when the child's source takes its time to stop.
const SLOW: &str = "AGENT_TEST_SLOW";
/// Set when the child's source cannot start.
const BROKEN: &str = "AGENT_TEST_BROKEN";

/// Publishes one event when it is started and one when it is stopped.
#[derive(Default)]
struct TwoEvents {
    hub: Option<Arc<Hub>>,
}

impl TwoEvents {
    fn publish(&self) {
        if let Some(hub) = &self.hub {
            let event = Event::ProcessExec(ProcessExec::default());
            hub.publish(Arc::new(hub.envelope().wrap(event)));
        }
    }
}

impl Source for TwoEvents {
    fn start(&mut self, hub: Arc<Hub>) -> Result<(), Box<dyn Error + Send + Sync>> {
        if std::env::var_os(BROKEN).is_some() {
            return Err("the source is broken".into());
        }
        self.hub = Some(hub);
        self.publish();
        Ok(())
    }

    fn stop(&mut self) {
        if std::env::var_os(SLOW).is_some() {
            std::thread::sleep(Duration::from_secs(60));
        }
        self.publish();
    }

    fn take_over(&mut self) {}

    fn inspect(&self) -> Arc<dyn Inspect> {
        Arc::new(Nothing)
    }

    fn loader(&self) -> Box<dyn Loader> {
        Box::new(Nothing)
    }
}

struct Nothing;

impl Inspect for Nothing {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn processes(&self, _: &DumpProcessCacheReqArgs) -> Result<Vec<ProcessInternal>, String> {
        Err("there are none".to_owned())
    }

    fn stats(&self) -> Result<agent::pipeline::Stats, String> {
        Ok(Default::default())
    }

    fn probes(&self) -> Vec<(String, bool)> {
        Vec::new()
    }
}

/// Takes every policy and does nothing with it.
impl Loader for Nothing {
    fn add(&mut self, policies: &[Named]) -> Vec<Result<Added, LoadError>> {
        let added =
            |(_, policy): &Named| Added { hooks: vec![1; policy.hooks.len()], notes: Vec::new() };
        policies.iter().map(added).map(Ok).collect()
    }

    fn remove(&mut self, _: &PolicyKey) -> Result<(), LoadError> {
        Ok(())
    }

    fn set_mode(&mut self, _: &PolicyKey, _: Mode) -> Result<bool, LoadError> {
        Ok(false)
    }

    fn measures(&mut self) -> HashMap<PolicyKey, Measures> {
        HashMap::new()
    }

    fn close(&mut self) {}
}

#[test]
#[ignore = "is the agent of the other tests"]
fn child() {
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
    let arguments = [
        format!("--export-filename={}", dir.join("export.log").display()),
        "--server-address=127.0.0.1:0".to_owned(),
        "--health-server-address=".to_owned(),
        format!("--tracing-policy-dir={}", dir.join("policies").display()),
    ];
    let request = config::load(arguments.map(Into::into), [], &[]).unwrap();
    let Request::Run(loaded) = request else { panic!("{request:?}") };
    agent::logging::start(&loaded.config.log).unwrap();
    let load = |_: &config::Config| Ok(Box::new(TwoEvents::default()) as Box<dyn Source>);
    match agent::run::run(*loaded, &dir.join("run"), load) {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("Error: {error}");
            std::process::exit(1);
        }
    }
}

struct Agent(Child);

impl Agent {
    fn spawn(dir: &Path, variables: &[&str]) -> Self {
        fs::create_dir_all(dir.join("policies")).unwrap();
        Self(Self::command(dir, variables).spawn().unwrap())
    }

    fn command(dir: &Path, variables: &[&str]) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--ignored", "--nocapture"]).env(DIR, dir);
        command.envs(variables.iter().map(|name| (name, "1")));
        command.stdout(Stdio::null()).stderr(fs::File::create(dir.join("stderr")).unwrap());
        command
    }

    /// Spawns and waits until it is ready.
    fn start(dir: &Path, variables: &[&str]) -> Self {
        let mut agent = Self::spawn(dir, variables);
        let exported = || fs::read(dir.join("export.log")).is_ok_and(|text| !text.is_empty());
        until(|| {
            assert_eq!(agent.0.try_wait().unwrap(), None, "{}", stderr(dir));
            exported() && info(dir).contains(&format!("\"pid\":{},", agent.0.id()))
        });
        agent
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until(|| {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Fails when it has ended already, as it should have.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "waited too long");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn stderr(dir: &Path) -> String {
    fs::read_to_string(dir.join("stderr")).unwrap()
}

fn info(dir: &Path) -> String {
    fs::read_to_string(dir.join("run/tetragon-info.json")).unwrap_or_default()
}

fn left_behind(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("run")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A directory for a test; `None`, said, where the agent may not run.
fn lab() -> Option<tempfile::TempDir> {
    if let Err(error) = privileges::check() {
        eprintln!("skipped: {error}");
        return None;
    }
    Some(tempfile::tempdir().unwrap())
}

#[test]
fn a_signal_stops_it_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let Some(dir) = lab() else { return };
        let mut agent = Agent::start(dir.path(), &[]);
        let mut files = left_behind(dir.path());
        files.sort();
        assert_eq!(files, ["tetragon-info.json", "tetragon.pid", "tetragon.sock"]);
        let info = info(dir.path());
        assert!(info.contains("\"server_address\":\"127.0.0.1:"), "{info}");
        agent.signal(signal);
        assert_eq!(agent.wait().code(), Some(0), "{}", stderr(dir.path()));
        assert_eq!(left_behind(dir.path()), Vec::<String>::new());
        let export = fs::read_to_string(dir.path().join("export.log")).unwrap();
        assert_eq!(export.lines().count(), 2, "the event of the stop is written too");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let Some(dir) = lab() else { return };
    let mut agent = Agent::start(dir.path(), &[SLOW]);
    agent.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(agent.0.try_wait().unwrap(), None);
    agent.signal(Signal::INT);
    let begin = Instant::now();
    assert_eq!(agent.wait().code(), Some(130));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_second_instance_is_refused_until_the_first_is_gone() {
    let Some(dir) = lab() else { return };
    let mut first = Agent::start(dir.path(), &[]);
    let mut second = Agent::spawn(dir.path(), &[]);
    assert_eq!(second.wait().code(), Some(1));
    let wanted = format!("Error: another tetragon is running with pid {};", first.0.id());
    assert!(stderr(dir.path()).contains(&wanted), "{}", stderr(dir.path()));
    assert!(dir.path().join("run/tetragon.sock").exists(), "the first one's socket is left alone");
    // Killed, it leaves its files; the next one does not mind.
    first.signal(Signal::KILL);
    assert_eq!(first.wait().signal(), Some(9));
    assert_eq!(left_behind(dir.path()).len(), 3);
    let mut third = Agent::start(dir.path(), &[]);
    third.signal(Signal::TERM);
    assert_eq!(third.wait().code(), Some(0), "{}", stderr(dir.path()));
}

#[test]
fn a_source_that_cannot_start_ends_it_with_an_error_and_nothing_left() {
    let Some(dir) = lab() else { return };
    let mut agent = Agent::spawn(dir.path(), &[BROKEN]);
    assert_eq!(agent.wait().code(), Some(1));
    assert!(stderr(dir.path()).contains("Error: the source is broken"), "{}", stderr(dir.path()));
    assert_eq!(left_behind(dir.path()), Vec::<String>::new());
}

#[test]
fn policies_of_files_are_loaded_and_bad_ones_told() {
    let Some(dir) = lab() else { return };
    let policies = dir.path().join("policies");
    fs::create_dir(&policies).unwrap();
    let good = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: good}\n\
                spec: {kprobes: [{call: sys_mount}]}\n";
    fs::write(policies.join("1-bad.yaml"), good.replace("call", "cal")).unwrap();
    fs::write(policies.join("2-good.yaml"), good).unwrap();
    let mut agent = Agent::start(dir.path(), &[]);
    until(|| stderr(dir.path()).contains("Tetragon is ready"));
    let log = stderr(dir.path());
    let told = "1-bad.yaml:4:19 spec.kprobes[0].cal: unknown field `cal`";
    assert!(log.contains(told), "{log}");
    assert!(log.contains("loaded=1 failed=1"), "{log}");
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait().code(), Some(0));
}

#[test]
fn a_directory_of_policies_that_is_not_there_ends_it() {
    let Some(dir) = lab() else { return };
    fs::write(dir.path().join("policies"), "no directory").unwrap();
    let mut command = Agent::command(dir.path(), &[]);
    let status = command.status().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(stderr(dir.path()).contains("cannot read --tracing-policy-dir"));
    assert_eq!(left_behind(dir.path()), Vec::<String>::new());
}
