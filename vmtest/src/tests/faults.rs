//! What goes wrong around the agent: it says so, and loses nothing that it need not lose.

use std::fs::{self, File};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;

use crate::agent::Agent;
use crate::elf;
use crate::event::Event;
use crate::lab::{Guard, Lab, run};
use crate::test::Test;

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("faults::a_second_instance_is_refused", second_instance),
    Test::new("faults::an_instance_that_was_killed_is_not_in_the_way", killed_instance),
    Test::new("faults::a_busy_socket_is_refused", busy_socket),
    Test::new("faults::wrong_settings_are_refused", wrong_settings),
    Test::new("faults::a_user_is_told_what_is_needed", not_root),
    Test::new("faults::a_client_that_stops_reading_harms_nobody", stalled_client).seconds(240),
    Test::new("faults::a_full_disk_costs_only_what_does_not_fit", full_disk).seconds(240),
];

const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// Starts an agent that is expected to refuse, and returns its log.
fn refused(lab: &Lab, name: &str, flags: &[&str]) -> Result<String> {
    let mut agent = Agent::spawn(lab, name, flags)?;
    let status = agent.wait(ENDS_WITHIN).with_context(|| format!("flags {flags:?}"))?;
    ensure!(status.code() == Some(1), "{flags:?}: {status}\n{}", agent.log());
    Ok(agent.log())
}

fn second_instance(lab: &Lab) -> Result<()> {
    let first = lab.agent(&[])?;
    let log = refused(lab, "second", &[])?;
    ensure!(log.contains(&first.pid().to_string()), "it does not say who is there:\n{log}");
    // The first is none the worse for it.
    let program = lab.program("program", &elf::exit(0))?;
    run(&mut Command::new(&program))?.ok()?;
    first.ask(&["status"])?.ok()?;
    first.finish()?.exec_of(&program)?;
    Ok(())
}

fn killed_instance(lab: &Lab) -> Result<()> {
    let mut first = lab.agent(&[])?;
    first.signal(Signal::SIGKILL)?;
    first.wait(ENDS_WITHIN)?;
    // In the same directory: the socket of the first is still there.
    let program = lab.program("program", &elf::exit(0))?;
    let mut second = lab.agent(&[])?;
    run(&mut Command::new(&program))?.ok()?;
    second.wait_for("the exec is seen", |events| !events.execs_of(&program).is_empty())?;
    second.stop()?;
    Ok(())
}

fn busy_socket(lab: &Lab) -> Result<()> {
    fs::create_dir(lab.path("agent"))?;
    let socket = lab.path("agent/socket");
    let _listener = UnixListener::bind(&socket)?;
    let log = refused(lab, "agent", &[])?;
    ensure!(log.contains(&*socket.to_string_lossy()), "it does not name the socket:\n{log}");
    ensure!(socket.exists(), "it removed a socket that somebody listens on");
    Ok(())
}

fn wrong_settings(lab: &Lab) -> Result<()> {
    fs::create_dir(lab.path("settings"))?;
    fs::write(lab.path("settings/event-queue-size"), "many\n")?;
    let settings = format!("--config-dir={}", lab.path("settings").display());
    let missing = format!("--config-dir={}", lab.path("missing").display());
    let directory = format!("--export-filename={}", lab.path("settings").display());
    for (flag, culprit) in [
        ("--no-such-flag", "no-such-flag"),
        ("--event-queue-size=many", "event-queue-size"),
        (settings.as_str(), "event-queue-size"),
        (missing.as_str(), "missing"),
        (directory.as_str(), "export-filename"),
        ("--server-address=nonsense", "nonsense"),
        ("--btf=/dev/null", "/dev/null"),
    ] {
        let log = refused(lab, "agent", &[flag])?;
        ensure!(log.contains(culprit), "{flag}: the log does not name {culprit}:\n{log}");
    }
    Ok(())
}

fn not_root(lab: &Lab) -> Result<()> {
    // Where a user may write, so that nothing else is in the way.
    let directory = lab.path("user");
    fs::create_dir(&directory)?;
    nix::unistd::chown(&directory, Some(1000.into()), Some(1000.into()))?;
    let agent = lab.program("tetragon", &fs::read(lab.binary("tetragon")?)?)?;
    let address = format!("--server-address=unix://{}", directory.join("socket").display());
    let done = run(Command::new(agent)
        .args([&address, "--health-server-address="])
        .current_dir(&directory)
        .uid(1000)
        .gid(1000))?;
    let said = format!("{}{}", done.stdout, done.stderr);
    ensure!(done.status.code() == Some(1), "{done:?}");
    ensure!(said.contains("root") || said.contains("CAP_"), "{said}");
    Ok(())
}

/// Starts a program many times, with the numbers from `first` as arguments.
fn start_many(lab: &Lab, program: &str, first: usize, count: usize) -> Result<()> {
    let end = first + count;
    lab.shell(&format!("i={first}; while [ $i -lt {end} ]; do {program} $i; i=$((i+1)); done"))?;
    Ok(())
}

fn stalled_client(lab: &Lab) -> Result<()> {
    const COUNT: usize = 1500;
    let program = lab.program("program", &elf::exit(0))?;
    let agent = lab.agent(&["--event-queue-size=100"])?;
    // Its output is a pipe that nobody reads, so soon it can write no more, and then reads no more.
    let stalled = Guard(
        agent
            .tetra(&["getevents", "-o", "json"])
            .stdin(File::open("/dev/null")?)
            .stdout(Stdio::piped())
            .spawn()?,
    );
    std::thread::sleep(Duration::from_millis(500));
    start_many(lab, &program, 0, COUNT)?;
    // Another client is served meanwhile, and the agent can be stopped.
    agent.ask(&["status"])?.ok()?;
    let events = agent.finish()?;
    ensure!(events.execs_of(&program).len() == COUNT, "{}", events.execs_of(&program).len());
    ensure!(events.exits_of(&program).len() == COUNT, "{}", events.exits_of(&program).len());
    drop(stalled);
    Ok(())
}

fn full_disk(lab: &Lab) -> Result<()> {
    let small = lab.path("small");
    fs::create_dir(&small)?;
    mount(Some("tmpfs"), &small, Some("tmpfs"), MsFlags::empty(), Some("size=1m"))?;
    let result = on_full_disk(lab);
    umount2(&small, MntFlags::MNT_DETACH)?;
    result
}

fn on_full_disk(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(0))?;
    let export = lab.path("small/events.json");
    let mut agent = Agent::spawn_exporting_to(lab, "agent", &export, &[])?;
    agent.wait_until_ready()?;
    // Leaves room for a part of what comes.
    let filler = lab.path("small/filler");
    fs::write(&filler, vec![0; 700 * 1024])?;
    start_many(lab, &program, 0, 600)?;
    std::thread::sleep(Duration::from_secs(1));
    agent.ask(&["status"])?.ok().context("the agent no longer answers")?;
    fs::remove_file(&filler)?;

    let after = lab.program("after", &elf::exit(0))?;
    run(&mut Command::new(&after))?.ok()?;
    agent.wait_for("exporting goes on when there is room", |events| {
        !events.exits_of(&after).is_empty()
    })?;
    let log = agent.log();
    agent.stop()?;
    let said = log.lines().any(|line| line.contains("events.json") || line.contains("space"));
    ensure!(said, "nothing about it in the log:\n{log}");
    // Not one line is torn.
    for line in fs::read_to_string(&export)?.lines() {
        Event::parse(line)?;
    }
    Ok(())
}
