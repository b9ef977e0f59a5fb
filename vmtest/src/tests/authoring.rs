//! Policies that `tetra tracingpolicy new` writes: `check` accepts them on this kernel without a warning, and
//! they do what they are for.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::Agent;
use crate::lab::{Lab, run, within};
use crate::test::{Need, Test};

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("authoring::executions_are_killed", executions_are_killed),
    Test::new("authoring::what_is_watched_is_reported", what_is_watched_is_reported),
    Test::new("authoring::connections_are_reported", connections_are_reported).needs(&[Need::Vm]),
    Test::new("authoring::files_of_a_directory_are_reported", files_are_reported)
        .needs(&[Need::Vm]),
    Test::new("authoring::changes_of_a_file_are_denied", changes_are_denied).needs(&[Need::Vm]),
    Test::new("authoring::changes_below_a_directory_are_denied", directories_are_protected)
        .needs(&[Need::Vm])
        .seconds(240),
    Test::new("authoring::symbolic_links_are_denied", symbolic_links_are_denied).needs(&[Need::Vm]),
    Test::new("authoring::connections_are_denied", connections_are_denied).needs(&[Need::Vm]),
];

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is UTF-8")
}

/// Writes a policy, checks it as strictly as can be, and puts it in force under a name.
fn put(agent: &Agent, lab: &Lab, name: &str, intent: &[&str]) -> Result<()> {
    let arguments = [&["tracingpolicy", "new", "--name", name], intent].concat();
    let written = agent.ask(&arguments)?.ok()?;
    ensure!(written.stdout.starts_with("# "), "no comment: {}", written.stdout);
    let path = lab.policy(&format!("{name}.yaml"), &written.stdout)?;
    let path = text(&path)?;
    let checked = agent.ask(&["tp", "check", "--warnings-as-errors", path])?;
    ensure!(checked.status.success(), "{checked:?}\n{}", written.stdout);
    agent.ask(&["tp", "explain", path])?.ok()?;
    agent.ask(&["tp", "add", path])?.ok()?;
    Ok(())
}

/// How many events of a policy there were.
fn posted(agent: &Agent, name: &str) -> Result<u64> {
    let list = agent.ask(&["tp", "list", "-o", "json"])?.ok()?;
    let list: Value = serde_json::from_str(&list.stdout)?;
    let policies = list["policies"].as_array().context("policies")?;
    let policy = policies.iter().find(|policy| policy["name"] == name);
    let count = &policy.context("the policy is there")?["stats"]["action_counters"]["post"];
    Ok(count.as_str().map_or(Ok(0), str::parse)?)
}

fn executions_are_killed(lab: &Lab) -> Result<()> {
    let agent = lab.agent(&["--tracing-policy-dir="])?;
    let program = lab.program("forbidden", &crate::elf::exit(0))?;
    let near = lab.program("forbidden2", &crate::elf::exit(0))?;
    symlink(&program, lab.path("link"))?;
    put(&agent, lab, "kill", &["--kill-on-exec", &program])?;
    for path in [program.as_str(), text(&lab.path("link"))?] {
        let killed = run(&mut Command::new(path))?;
        ensure!(killed.status.to_string().contains("SIGKILL"), "{path}: {killed:?}");
    }
    run(&mut Command::new(&near))?.ok()?;
    agent.ask(&["tp", "delete", "kill"])?.ok()?;
    run(&mut Command::new(&program))?.ok()?;
    agent.stop()?;
    Ok(())
}

fn what_is_watched_is_reported(lab: &Lab) -> Result<()> {
    let agent = lab.agent(&["--tracing-policy-dir="])?;
    let tool = lab.tool("tool")?;
    put(&agent, lab, "loads", &["--watch-bpf-loads"])?;
    put(&agent, lab, "mounts", &["--watch-mounts"])?;
    put(&agent, lab, "privileges", &["--watch-privilege-change"])?;
    // A policy is loaded, a mount is refused, and root becomes somebody else and asks to be root again.
    put(&agent, lab, "more", &["--watch-mounts"])?;
    lab.shell("mount -t nosuch none /nowhere-to-mount")?;
    ensure!(posted(&agent, "loads")? > 0 && posted(&agent, "mounts")? > 0);
    run(Command::new(&tool).args(["tool", "set-user", "0"]))?.ok()?;
    let became = agent.ask(&["tp", "show", "privileges"])?.ok()?;
    // Where functions can be hooked, root that stays root has gained nothing.
    ensure!(
        became.stdout.contains("commit_creds") || posted(&agent, "privileges")? > 0,
        "{became:?}"
    );
    agent.stop()?;
    Ok(())
}

fn connections_are_reported(lab: &Lab) -> Result<()> {
    let agent = lab.agent(&["--tracing-policy-dir="])?;
    put(&agent, lab, "near", &["--watch-connections", "--to", "127.0.0.0/8"])?;
    put(&agent, lab, "far", &["--watch-connections", "--to", "10.0.0.0/8", "--to", "::1"])?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    TcpStream::connect(listener.local_addr()?)?;
    ensure!(posted(&agent, "near")? == 1, "{}", posted(&agent, "near")?);
    ensure!(posted(&agent, "far")? == 0);
    agent.stop()?;
    Ok(())
}

fn files_are_reported(lab: &Lab) -> Result<()> {
    let agent = lab.agent(&["--tracing-policy-dir="])?;
    let (watched, other) = (lab.path("watched"), lab.path("watched2"));
    fs::create_dir(&watched)?;
    fs::create_dir(&other)?;
    put(&agent, lab, "files", &["--watch-dir", text(&watched)?])?;
    fs::write(other.join("file"), "text")?;
    fs::rename(other.join("file"), other.join("new"))?;
    ensure!(posted(&agent, "files")? == 0);
    let mut before = 0;
    let mut more = |what: &str| -> Result<()> {
        let now = posted(&agent, "files")?;
        ensure!(now > before, "{what}: {before} events still");
        before = now;
        Ok(())
    };
    fs::write(watched.join("file"), "text")?;
    more("writing")?;
    fs::read(watched.join("file"))?;
    more("reading")?;
    fs::rename(watched.join("file"), watched.join("new"))?;
    more("renaming")?;
    fs::set_permissions(watched.join("new"), fs::Permissions::from_mode(0o600))?;
    more("another mode")?;
    fs::remove_file(watched.join("new"))?;
    more("removing")?;
    fs::create_dir(watched.join("dir"))?;
    more("a directory")?;
    agent.stop()?;
    Ok(())
}

fn denied<T>(what: &str, result: std::io::Result<T>) -> Result<()> {
    let kind = result.err().map(|error| error.kind());
    let denied = kind == Some(std::io::ErrorKind::PermissionDenied);
    ensure!(denied, "{what} was not denied: {kind:?}");
    Ok(())
}

fn changes_are_denied(lab: &Lab) -> Result<()> {
    let agent = lab.agent(&["--tracing-policy-dir="])?;
    let (file, near) = (lab.path("file"), lab.path("file2"));
    fs::write(&file, "text")?;
    fs::write(&near, "text")?;
    let mut open = OpenOptions::new().append(true).open(&file)?;
    put(&agent, lab, "deny", &["--deny-write", text(&file)?])?;
    denied("opening for writing", OpenOptions::new().append(true).open(&file))?;
    denied("truncating by opening", File::create(&file))?;
    denied("writing to what was open", open.write_all(b"more"))?;
    denied("truncating", nix::unistd::truncate(&file, 0).map_err(Into::into))?;
    denied("removing", fs::remove_file(&file))?;
    denied("renaming", fs::rename(&file, lab.path("other")))?;
    denied("replacing", fs::rename(&near, &file))?;
    denied("linking", fs::hard_link(&file, lab.path("link")))?;
    denied("another mode", fs::set_permissions(&file, fs::Permissions::from_mode(0o777)))?;
    let mount = |from: &Path, to: &Path| -> Result<bool> {
        let script = format!("mount -o bind {} {}", text(from)?, text(to)?);
        Ok(lab.shell(&script)?.status.success())
    };
    ensure!(!mount(&near, &file)?, "it could be mounted over");
    ensure!(!mount(&file, &near)?, "it could be mounted elsewhere");
    ensure!(fs::read_to_string(&file)? == "text", "it was changed");
    // What is not meant goes on.
    fs::write(&near, "else")?;
    fs::hard_link(&near, lab.path("link"))?;
    fs::rename(&near, lab.path("other"))?;
    // So it does for those who only monitor.
    agent.ask(&["tp", "set-mode", "deny", "monitor"])?.ok()?;
    fs::write(&file, "text")?;
    agent.ask(&["tp", "set-mode", "deny", "enforce"])?.ok()?;
    denied("writing", fs::write(&file, "text"))?;
    agent.ask(&["tp", "delete", "deny"])?.ok()?;
    fs::write(&file, "text")?;
    agent.stop()?;
    Ok(())
}

fn directories_are_protected(lab: &Lab) -> Result<()> {
    let agent = lab.agent(&["--tracing-policy-dir="])?;
    // As long as paths in machines are.
    let directory = lab.path("directory-of-which-nothing-is-to-change");
    fs::create_dir_all(directory.join("sub"))?;
    fs::write(directory.join("sub/file"), "text")?;
    let shell = lab.busybox("sh")?;
    let path = text(&directory)?;
    put(&agent, lab, "deny", &["--deny-write", path, "--except", &shell])?;
    denied("a file", fs::write(directory.join("new"), "text"))?;
    denied("a directory", fs::create_dir(directory.join("new")))?;
    denied("writing", fs::write(directory.join("sub/file"), "else"))?;
    denied("removing", fs::remove_file(directory.join("sub/file")))?;
    denied("removing a directory", fs::remove_dir(directory.join("sub")))?;
    denied("a symbolic link", symlink("/x", directory.join("link")))?;
    denied("renaming into it", {
        fs::write(lab.path("outside"), "")?;
        fs::rename(lab.path("outside"), directory.join("inside"))
    })?;
    denied("renaming it", fs::rename(&directory, lab.path("gone")))?;
    ensure!(fs::read_to_string(directory.join("sub/file"))? == "text");
    // Its exception may.
    let script = format!("echo else > {path}/sub/file");
    run(Command::new(&shell).args(["-c", &script]))?.ok()?;
    ensure!(fs::read_to_string(directory.join("sub/file"))? == "else\n");
    agent.stop()?;
    Ok(())
}

fn symbolic_links_are_denied(lab: &Lab) -> Result<()> {
    let agent = lab.agent(&["--tracing-policy-dir="])?;
    let file = lab.path("file");
    fs::write(&file, "text")?;
    put(&agent, lab, "deny", &["--deny-symlink-to", text(&file)?])?;
    denied("a link", symlink(&file, lab.path("link")))?;
    let relative = format!("../../../../../../../..{}", text(&file)?);
    denied("a link that leads through the root", symlink(relative, lab.path("link")))?;
    symlink(lab.path("file2"), lab.path("link"))?;
    agent.stop()?;
    Ok(())
}

fn connections_are_denied(lab: &Lab) -> Result<()> {
    let agent = lab.agent(&["--tracing-policy-dir="])?;
    put(&agent, lab, "deny", &["--deny-connections", "--to", "127.0.0.2"])?;
    let listener = TcpListener::bind("0.0.0.0:0")?;
    let port = listener.local_addr()?.port();
    denied("connecting", TcpStream::connect(("127.0.0.2", port)))?;
    TcpStream::connect(("127.0.0.1", port))?;
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    denied("a datagram", socket.send_to(b"text", ("127.0.0.2", port)))?;
    socket.send_to(b"text", ("127.0.0.1", port))?;
    within(Duration::from_secs(5), "the policy's events are counted", || {
        Ok(posted(&agent, "deny")? == 2)
    })?;
    agent.stop()?;
    Ok(())
}
