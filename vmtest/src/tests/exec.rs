//! Execs: who, what, where, by whom, and the less usual ways to get there.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::time::{ClockId, clock_gettime};

use crate::elf;
use crate::event::Event;
use crate::lab::{Lab, run};
use crate::test::Test;

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("exec::describes_the_process", describes_the_process),
    Test::new("exec::names_the_process_as_documented", names_the_process_as_documented),
    Test::new("exec::from_a_thread_that_is_not_the_first", from_another_thread),
    Test::new("exec::without_a_fork", without_a_fork),
    Test::new("exec::after_vfork", after_vfork),
    Test::new("exec::of_what_is_not_executable_is_not_seen", failed_exec),
    Test::new("exec::by_relative_path", by_relative_path),
    Test::new("exec::by_symbolic_link", by_symbolic_link),
    Test::new("exec::of_a_script", of_a_script),
    Test::new("exec::of_a_file_without_a_name", of_a_file_without_a_name),
    Test::new("exec::in_a_directory_deep_down", in_a_directory_deep_down),
];

fn describes_the_process(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(0))?;
    let directory = lab.path("a directory");
    fs::create_dir(&directory)?;
    let agent = lab.agent(&[])?;
    let done = run(Command::new(&program)
        .args(["plain", "hello world", "--last"])
        .current_dir(&directory)
        .uid(1000)
        .gid(1000))?
    .ok()?;
    let events = agent.finish()?;

    let exec = events.exec_of(&program)?;
    ensure!(exec.pid() == done.pid, "{exec:?}");
    ensure!(exec.number("process.tid") == Some(done.pid), "{exec:?}");
    ensure!(exec.number("process.uid") == Some(1000), "{exec:?}");
    ensure!(exec.number("process.auid") == Some(login_uid()?), "{exec:?}");
    ensure!(exec.text("process.cwd") == directory.to_string_lossy(), "{exec:?}");
    ensure!(exec.text("process.arguments") == r#"plain "hello world" --last"#, "{exec:?}");
    ensure!(exec.text("process.flags") == "execve clone", "{exec:?}");
    ensure!(exec.at("process.in_init_tree") == false, "{exec:?}");
    ensure!(exec.text("process.start_time").ends_with('Z'), "{exec:?}");
    ensure!(exec.envelope("time").is_string(), "{exec:?}");
    ensure!(exec.envelope("node_name") == &serde_json::json!(host_name()?), "{exec:?}");
    // The test's own process, which is older than the agent.
    ensure!(exec.number("parent.pid") == Some(std::process::id().into()), "{exec:?}");
    ensure!(exec.text("parent.binary") == std::env::current_exe()?.to_string_lossy(), "{exec:?}");
    ensure!(exec.text("parent.flags").contains("procFS"), "{exec:?}");
    ensure!(exec.text("parent.exec_id") == exec.text("process.parent_exec_id"), "{exec:?}");

    let exit = events.exit_of(&program)?;
    ensure!(exit.exec_id() == exec.exec_id(), "{exec:?}\n{exit:?}");
    ensure!(exit.at("process.arguments") == exec.at("process.arguments"), "{exit:?}");
    ensure!(exit.text("parent.exec_id") == exec.text("process.parent_exec_id"), "{exit:?}");
    ensure!(exit.text("signal").is_empty() && exit.number("status").is_none_or(|s| s == 0));
    Ok(())
}

fn login_uid() -> Result<u64> {
    match fs::read_to_string("/proc/self/loginuid") {
        Ok(text) => Ok(text.trim().parse()?),
        // A kernel without audit: nobody has one.
        Err(_) => Ok(u32::MAX.into()),
    }
}

fn host_name() -> Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned())
}

/// Node, start and pid of an exec id.
fn decode(exec_id: &str) -> Result<(String, u64, u64)> {
    let text = String::from_utf8(STANDARD.decode(exec_id)?)?;
    let mut parts = text.rsplitn(3, ':');
    let mut next = || parts.next().with_context(|| format!("exec id {text}"));
    let (pid, start, node) = (next()?, next()?, next()?);
    Ok((node.to_owned(), start.parse()?, pid.parse()?))
}

fn monotonic() -> Result<u64> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(time.tv_sec().cast_unsigned() * 1_000_000_000 + time.tv_nsec().cast_unsigned())
}

fn names_the_process_as_documented(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(0))?;
    let agent = lab.agent(&[])?;
    let before = monotonic()?;
    let done = run(&mut Command::new(&program))?.ok()?;
    let after = monotonic()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&program)?;
    let (node, start, pid) = decode(exec.exec_id())?;
    ensure!(node == host_name()? && pid == done.pid, "{node}:{start}:{pid}");
    ensure!(before < start && start < after, "{start} is not from {before} to {after}");

    // Of a process that ran before the agent: its start since boot, in clock ticks.
    let own = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = own.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let ticks: u64 = fields[20].parse()?;
    let (_, start, pid) = decode(exec.text("process.parent_exec_id"))?;
    ensure!(pid == u64::from(std::process::id()) && start == ticks * 10_000_000, "{start} {pid}");
    Ok(())
}

/// The kernel gives such a thread the pid of the first, which is gone then (`de_thread`).
fn from_another_thread(lab: &Lab) -> Result<()> {
    replaced(lab, "thread-exec")
}

fn without_a_fork(lab: &Lab) -> Result<()> {
    replaced(lab, "exec")
}

/// A process that executes twice is two images, the first of which is the second's parent.
fn replaced(lab: &Lab, how: &str) -> Result<()> {
    let first = lab.tool("first")?;
    let second = lab.program("second", &elf::exit(0))?;
    let agent = lab.agent(&[])?;
    let done = run(Command::new(&first).args(["tool", how, &second, "x"]))?.ok()?;
    let events = agent.finish()?;
    let before = events.exec_of(&first)?;
    let after = events.exec_of(&second)?;
    ensure!(before.text("process.flags") == "execve clone", "{before:?}");
    ensure!(after.text("process.flags") == "execve", "{after:?}");
    ensure!(before.pid() == done.pid && after.pid() == done.pid, "{before:?}\n{after:?}");
    ensure!(after.number("process.tid") == Some(done.pid), "{after:?}");
    ensure!(after.text("process.arguments") == "x", "{after:?}");
    ensure!(before.exec_id() != after.exec_id());
    is_child(after, before)?;
    ensure!(after.text("parent.binary") == first, "{after:?}");
    ensure!(events.exit_of(&second)?.exec_id() == after.exec_id());
    let ended = events.exits_of(&first);
    ensure!(ended.is_empty(), "the process has not ended with its first image: {ended:?}");
    Ok(())
}

fn is_child(child: &Event, parent: &Event) -> Result<()> {
    ensure!(child.text("process.parent_exec_id") == parent.exec_id(), "{child:?}\n{parent:?}");
    ensure!(child.text("parent.exec_id") == parent.exec_id(), "{child:?}\n{parent:?}");
    Ok(())
}

fn after_vfork(lab: &Lab) -> Result<()> {
    let parent = lab.program("parent", &elf::vfork_and_exec())?;
    let child = lab.program("child", &elf::exit(0))?;
    let agent = lab.agent(&[])?;
    let done = run(Command::new(&parent).args([&child, "x"]))?.ok()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&child)?;
    ensure!(exec.text("process.flags") == "execve clone", "{exec:?}");
    ensure!(exec.text("process.arguments") == "x", "{exec:?}");
    ensure!(exec.pid() != done.pid, "{exec:?}");
    is_child(exec, events.exec_of(&parent)?)?;
    events.exit_of(&child)?;
    events.exit_of(&parent)?;
    Ok(())
}

fn failed_exec(lab: &Lab) -> Result<()> {
    let garbage = lab.program("garbage", b"neither ELF nor script")?;
    let missing = lab.path("missing").to_string_lossy().into_owned();
    let agent = lab.agent(&[])?;
    for path in [&garbage, &missing] {
        ensure!(Command::new(path).spawn().is_err(), "{path} was executed");
    }
    let events = agent.finish()?;
    for path in [&garbage, &missing] {
        let seen = events.execs_of(path);
        ensure!(seen.is_empty(), "{seen:?}");
    }
    Ok(())
}

fn by_relative_path(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(0))?;
    let agent = lab.agent(&[])?;
    run(Command::new("./program").current_dir(lab.path("")))?.ok()?;
    agent.finish()?.exec_of(&program)?;
    Ok(())
}

/// The name is the one that was used, not the one that it leads to.
fn by_symbolic_link(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(0))?;
    let link = lab.path("link").to_string_lossy().into_owned();
    symlink(&program, &link)?;
    let agent = lab.agent(&[])?;
    run(&mut Command::new(&link))?.ok()?;
    let events = agent.finish()?;
    events.exec_of(&link)?;
    ensure!(events.execs_of(&program).is_empty());
    Ok(())
}

/// The name is the script's, the arguments are those that the interpreter got.
fn of_a_script(lab: &Lab) -> Result<()> {
    let interpreter = lab.program("interpreter", &elf::exit(0))?;
    let script = lab.program("script", format!("#!{interpreter} option\n").as_bytes())?;
    let agent = lab.agent(&[])?;
    run(Command::new(&script).arg("x"))?.ok()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&script)?;
    ensure!(exec.text("process.arguments") == format!("option {script} x"), "{exec:?}");
    Ok(())
}

fn of_a_file_without_a_name(lab: &Lab) -> Result<()> {
    let tool = lab.tool("tool")?;
    let program = lab.program("program", &elf::exit(0))?;
    let agent = lab.agent(&["--enable-process-cred"])?;
    let done = run(Command::new(&tool).args(["tool", "memfd-exec", &program, "x"]))?.ok()?;
    let events = agent.finish()?;
    let before = events.exec_of(&tool)?;
    let exec = events
        .0
        .iter()
        .find(|event| event.is_exec() && event.pid() == done.pid && event.binary() != tool)
        .context("the exec of the memfd was not seen")?;
    ensure!(exec.binary().contains("/fd/") || exec.binary().contains("memfd:"), "{exec:?}");
    ensure!(exec.text("process.arguments") == "x", "{exec:?}");
    is_child(exec, before)?;
    let inode = "process.binary_properties.file.inode";
    ensure!(exec.number(&format!("{inode}.number")).is_some_and(|number| number != 0), "{exec:?}");
    ensure!(exec.number(&format!("{inode}.links")) == Some(0), "{exec:?}");
    let named = before.at("process.binary_properties.file");
    ensure!(named.is_null(), "a file with a name is told of: {before:?}");
    Ok(())
}

/// A path may be longer than one walk of the kernel's buffers: 4096 bytes are promised.
fn in_a_directory_deep_down(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(0))?;
    let mut directory = lab.path("deep");
    while directory.as_os_str().len() < 3500 {
        directory.push("a-directory-with-a-name-of-some-length");
    }
    fs::create_dir_all(&directory)?;
    let agent = lab.agent(&[])?;
    run(Command::new(&program).current_dir(&directory))?.ok()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&program)?;
    ensure!(exec.text("process.cwd") == directory.to_string_lossy(), "{exec:?}");
    Ok(())
}
