//! `tetra` against a running agent.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::agent::Agent;
use crate::elf;
use crate::event::Event;
use crate::lab::{Guard, Lab, run, within};
use crate::test::{Need, Test};

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("commands::status_and_version", status_and_version),
    Test::new("commands::log_level", log_level),
    Test::new("commands::events_as_json_are_those_of_the_export", events_as_json),
    Test::new("commands::events_in_compact_form", events_in_compact_form),
    Test::new("commands::events_from_standard_input", events_from_standard_input),
    Test::new("commands::dump_of_the_process_cache", dump_of_the_process_cache),
    Test::new("commands::probe", probe),
    Test::new("commands::without_an_agent", without_an_agent),
    Test::new("commands::find_the_agent_by_themselves", find_the_agent),
    Test::new("commands::over_tcp", over_tcp).needs(&[Need::Vm]),
];

fn status_and_version(lab: &Lab) -> Result<()> {
    let agent = lab.agent(&[])?;
    let status = agent.ask(&["status"])?.ok()?;
    ensure!(status.stdout == "Health Status: running\n", "{status:?}");
    let version = agent.ask(&["version"])?.ok()?;
    ensure!(version.stdout.starts_with("CLI version: "), "{version:?}");
    let server = agent.ask(&["version", "--server"])?.ok()?;
    ensure!(server.stdout.contains("Server version: "), "{server:?}");
    agent.stop()?;
    Ok(())
}

fn log_level(lab: &Lab) -> Result<()> {
    let agent = lab.agent(&[])?;
    let before = agent.ask(&["loglevel", "get"])?.ok()?;
    ensure!(before.stdout == "Current log level: LOG_LEVEL_INFO\n", "{before:?}");
    let set = agent.ask(&["loglevel", "set", "debug"])?.ok()?;
    ensure!(set.stdout == "Log level set to: LOG_LEVEL_DEBUG\n", "{set:?}");
    let after = agent.ask(&["loglevel", "get"])?.ok()?;
    ensure!(after.stdout == "Current log level: LOG_LEVEL_DEBUG\n", "{after:?}");
    let wrong = agent.ask(&["loglevel", "set", "chatty"])?;
    ensure!(!wrong.status.success() && wrong.stderr.starts_with("Error: "), "{wrong:?}");
    agent.stop()?;
    Ok(())
}

/// Runs a program while `tetra getevents` listens; returns the lines that tell of the program.
fn listen(
    agent: &Agent,
    program: &str,
    arguments: &[&str],
    format: &[&str],
) -> Result<Vec<String>> {
    let mut listener = Guard(
        agent
            .tetra(&[&["getevents"], format].concat())
            // A pipe would be read for events.
            .stdin(File::open("/dev/null")?)
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let output = listener.0.stdout.take().context("no output")?;
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    // It is listening once it shows anything: so there is something to show, again and again.
    let mut found = Vec::new();
    within(Duration::from_secs(30), "tetra shows events", || {
        run(&mut Command::new("/proc/self/exe"))?;
        Ok(lines.recv_timeout(Duration::from_millis(100)).is_ok())
    })?;
    run(Command::new(program).args(arguments))?;
    within(Duration::from_secs(30), "tetra shows exec and exit", || {
        found.extend(lines.try_iter().filter(|line| line.contains(program)));
        Ok(found.len() >= 2)
    })?;
    Ok(found)
}

fn events_as_json(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(7))?;
    let agent = lab.agent(&["--enable-process-cred", "--enable-process-ns"])?;
    let lines = listen(&agent, &program, &["two words"], &["-o", "json"])?;
    let events = agent.finish()?;
    ensure!(lines.len() == 2, "{lines:?}");
    let exported = [events.exec_of(&program)?, events.exit_of(&program)?];
    for (line, exported) in lines.iter().zip(exported) {
        let event = Event::parse(line)?;
        ensure!(event.kind() == exported.kind(), "{line}");
        ensure!(event.at("process") == exported.at("process"), "{line}\n{exported:?}");
        ensure!(event.at("parent") == exported.at("parent"), "{line}\n{exported:?}");
    }
    Ok(())
}

fn events_in_compact_form(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(7))?;
    let agent = lab.agent(&[])?;
    let format = ["-o", "compact", "--color", "never"];
    let lines = listen(&agent, &program, &["a", "two words"], &format)?;
    let node = std::fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned();
    let expected = [
        format!("🚀 process {node} {program} a \"two words\""),
        format!("💥 exit    {node} {program} a \"two words\" 7"),
    ];
    ensure!(lines == expected, "{lines:#?}");
    agent.stop()?;
    Ok(())
}

fn events_from_standard_input(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(7))?;
    let agent = lab.agent(&[])?;
    run(&mut Command::new(&program))?;
    let export = agent.export();
    let tetra = lab.binary("tetra")?;
    agent.finish()?.exec_of(&program)?;
    let mut child = Guard(
        Command::new(tetra)
            .args(["getevents", "-o", "compact", "--color", "never"])
            .stdin(File::open(export)?)
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let mut text = String::new();
    child.0.stdout.take().context("no output")?.read_to_string(&mut text)?;
    ensure!(child.0.wait()?.success());
    let own: Vec<&str> = text.lines().filter(|line| line.contains(&program)).collect();
    ensure!(own.len() == 2, "{own:?}");
    ensure!(own[0].starts_with("🚀 process ") && own[0].trim_end().ends_with(&program), "{own:?}");
    ensure!(own[1].starts_with("💥 exit    ") && own[1].ends_with(" 7"), "{own:?}");
    Ok(())
}

fn dump_of_the_process_cache(lab: &Lab) -> Result<()> {
    let tool = lab.tool("tool")?;
    let mut agent = lab.agent(&[])?;
    let child = Guard(Command::new(&tool).args(["tool", "sleep", "60000"]).spawn()?);
    agent.settle()?;
    let dump = agent.ask(&["dump", "processcache"])?.ok()?;
    ensure!(dump.stdout.contains(&tool), "{dump:?}");
    // Each line, or the whole, is JSON.
    let whole: Result<Value, _> = serde_json::from_str(&dump.stdout);
    let lines: Result<Vec<Value>, _> = dump.stdout.lines().map(serde_json::from_str).collect();
    ensure!(whole.is_ok() || lines.is_ok(), "not JSON: {}", dump.stdout);
    kill(Pid::from_raw(child.0.id().cast_signed()), Signal::SIGKILL)?;
    agent.stop()?;
    Ok(())
}

/// One `name: bool` a line.
fn probe(lab: &Lab) -> Result<()> {
    let probe = run(Command::new(lab.binary("tetra")?).arg("probe"))?.ok()?;
    ensure!(probe.stdout.lines().count() > 5, "{probe:?}");
    for line in probe.stdout.lines() {
        let (name, value) = line.split_once(": ").with_context(|| line.to_owned())?;
        ensure!(!name.is_empty() && ["true", "false"].contains(&value), "{line}");
    }
    Ok(())
}

fn without_an_agent(lab: &Lab) -> Result<()> {
    let address = format!("unix://{}", lab.path("nobody").display());
    let mut command = Command::new(lab.binary("tetra")?);
    command.args(["--server-address", &address, "--timeout", "3s", "--retries", "0", "status"]);
    let status = run(&mut command)?;
    ensure!(status.status.code() == Some(1), "{status:?}");
    ensure!(status.stderr.starts_with("Error: "), "{status:?}");
    Ok(())
}

/// The agent leaves its address where `tetra` looks for it.
fn find_the_agent(lab: &Lab) -> Result<()> {
    let agent = lab.agent(&[])?;
    let status = run(Command::new(lab.binary("tetra")?).arg("status"))?.ok()?;
    ensure!(status.stdout == "Health Status: running\n", "{status:?}");
    agent.stop()?;
    Ok(())
}

/// With a TCP address there also is the unix socket at its usual place.
fn over_tcp(lab: &Lab) -> Result<()> {
    let address = "127.0.0.1:54999";
    let mut child = Guard(
        Command::new(lab.binary("tetragon")?)
            .args(["--server-address", address, "--health-server-address="])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?,
    );
    for address in [address, "unix:///var/run/tetragon/tetragon.sock"] {
        within(Duration::from_secs(30), "the agent answers", || {
            let mut status = Command::new(lab.binary("tetra")?);
            status.args(["--server-address", address, "--retries", "0", "status"]);
            Ok(run(&mut status)?.stdout == "Health Status: running\n")
        })
        .with_context(|| address.to_owned())?;
    }
    kill(Pid::from_raw(child.0.id().cast_signed()), Signal::SIGTERM)?;
    ensure!(child.0.wait()?.success());
    Ok(())
}
