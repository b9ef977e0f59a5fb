//! Containers, known by the names of their cgroups.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::elf;
use crate::lab::{Guard, Lab, run};
use crate::test::{Need, Test};

/// These tests. They make cgroups, which on a machine in use belong to others.
pub(crate) const TESTS: &[Test] = &[
    Test::new("cgroup::names_of_containers_are_known", names_of_containers).needs(&[Need::Vm]),
    Test::new("cgroup::deep_down", deep_down).needs(&[Need::Vm]),
    Test::new("cgroup::of_a_process_older_than_the_agent", of_an_older_process).needs(&[Need::Vm]),
    Test::new("cgroup::of_a_fork_that_executed_nothing", of_a_fork).needs(&[Need::Vm]),
];

const HIERARCHY: &str = "/sys/fs/cgroup";
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// What `process.docker` shows of it.
const SHORT_ID: &str = "0123456789abcdef0123456789abcde";

/// Makes a cgroup with all that are above it.
fn make(path: &str) -> Result<PathBuf> {
    let path = Path::new(HIERARCHY).join(path);
    fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// A command that moves itself into a cgroup before it executes a program.
fn command_in(lab: &Lab, cgroup: &Path, program: &str, arguments: &str) -> Result<Command> {
    let mut command = Command::new(lab.binary("busybox")?);
    let script = format!("echo $$ > {}/cgroup.procs; exec {program} {arguments}", cgroup.display());
    command.arg0("sh").args(["-c", &script]);
    Ok(command)
}

fn names_of_containers(lab: &Lab) -> Result<()> {
    let pod = "12345678_1234_1234_1234_123456789abc";
    let cases = [
        (format!("docker/{ID}"), SHORT_ID),
        (format!("system.slice/docker-{ID}.scope"), SHORT_ID),
        (format!("kubepods/burstable/pod{pod}/{ID}"), SHORT_ID),
        (format!("kubepods.slice/kubepods-pod{pod}.slice/cri-containerd-{ID}.scope"), SHORT_ID),
        (format!("kubepods.slice/kubepods-pod{pod}.slice/crio-{ID}.scope"), SHORT_ID),
        (format!("machine.slice/libpod-{ID}.scope"), SHORT_ID),
        ("user.slice/user-1000.slice/session-1.scope".to_owned(), ""),
        ("system.slice/ssh.service".to_owned(), ""),
    ];
    let agent = lab.agent(&[])?;
    let mut expected = Vec::new();
    for (number, (cgroup, id)) in cases.iter().enumerate() {
        let program = lab.program(&format!("program-{number}"), &elf::exit(0))?;
        run(&mut command_in(lab, &make(cgroup)?, &program, "")?)?.ok()?;
        expected.push((program, cgroup, *id));
    }
    let events = agent.finish()?;
    for (program, cgroup, id) in expected {
        let exec = events.exec_of(&program)?;
        ensure!(exec.text("process.docker") == id, "in {cgroup}: {exec:?}");
        ensure!(events.exit_of(&program)?.text("process.docker") == id, "exit in {cgroup}");
    }
    Ok(())
}

fn deep_down(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(0))?;
    let mut path = "level-0".to_owned();
    for level in 1..40 {
        path.push_str(&format!("/level-{level}-with-a-name-of-some-length"));
    }
    let agent = lab.agent(&[])?;
    let cgroup = make(&format!("{path}/docker-{ID}.scope"))?;
    run(&mut command_in(lab, &cgroup, &program, "")?)?.ok()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&program)?;
    ensure!(exec.text("process.docker") == SHORT_ID, "{exec:?}");
    let wrong = exec.text("process.flags").contains("Cgroup");
    ensure!(!wrong, "an error was flagged: {exec:?}");
    Ok(())
}

fn of_an_older_process(lab: &Lab) -> Result<()> {
    let tool = lab.tool("tool")?;
    let cgroup = make(&format!("older/docker-{ID}.scope"))?;
    let child = Guard(command_in(lab, &cgroup, &tool, "tool sleep 60000")?.spawn()?);
    // Until it is the tool and no longer the shell.
    crate::lab::within(std::time::Duration::from_secs(20), "the tool runs", || {
        Ok(fs::read_link(format!("/proc/{}/exe", child.0.id()))? == Path::new(&tool))
    })?;
    let events = lab.agent(&[])?.finish()?;
    let exec = events.exec_of(&tool)?;
    ensure!(exec.has_flag("procFS"), "{exec:?}");
    ensure!(exec.text("process.docker") == SHORT_ID, "{exec:?}");
    Ok(())
}

fn of_a_fork(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::fork_and_exit(5))?;
    let cgroup = make(&format!("forks/docker-{ID}.scope"))?;
    let agent = lab.agent(&[])?;
    run(&mut command_in(lab, &cgroup, &program, "")?)?.ok()?;
    let events = agent.finish()?;
    let exits = events.exits_of(&program);
    ensure!(exits.len() == 2, "{exits:?}");
    for exit in exits {
        ensure!(exit.text("process.docker") == SHORT_ID, "{exit:?}");
    }
    Ok(())
}
