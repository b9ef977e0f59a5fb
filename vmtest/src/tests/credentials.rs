//! What flags add to events: credentials, capabilities, namespaces, what a binary raises.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::elf;
use crate::event::Event;
use crate::lab::{Lab, run};
use crate::test::Test;

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("credentials::are_absent_unless_wanted", absent_unless_wanted),
    Test::new("credentials::of_root_and_of_a_user", of_root_and_of_a_user),
    Test::new("credentials::set_user_id_is_told", set_user_id),
    Test::new("credentials::set_group_id_is_told", set_group_id),
    Test::new("namespaces::of_the_host_and_new_ones", namespaces),
];

fn absent_unless_wanted(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(0))?;
    let agent = lab.agent(&[])?;
    run(&mut Command::new(&program))?.ok()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&program)?;
    for field in ["cap", "process_credentials", "binary_properties", "ns", "user"] {
        ensure!(exec.at(&format!("process.{field}")).is_null(), "{field}: {exec:?}");
    }
    Ok(())
}

fn has_capability(event: &Event, set: &str, name: &str) -> bool {
    event.at(set).as_array().is_some_and(|names| names.iter().any(|one| one == name))
}

fn of_root_and_of_a_user(lab: &Lab) -> Result<()> {
    let roots = lab.program("roots", &elf::exit(0))?;
    let users = lab.program("users", &elf::exit(0))?;
    let agent = lab.agent(&["--enable-process-cred"])?;
    run(&mut Command::new(&roots))?.ok()?;
    run(Command::new(&users).uid(1000).gid(1001))?.ok()?;
    let events = agent.finish()?;
    let (root, user) = (events.exec_of(&roots)?, events.exec_of(&users)?);
    for (event, uid, gid) in [(root, 0, 0), (user, 1000, 1001)] {
        for (field, id) in [("uid", uid), ("euid", uid), ("suid", uid), ("fsuid", uid)]
            .into_iter()
            .chain([("gid", gid), ("egid", gid), ("sgid", gid), ("fsgid", gid)])
        {
            let path = format!("process.process_credentials.{field}");
            ensure!(event.number(&path) == Some(id), "{path}: {event:?}");
        }
    }
    for set in ["process.cap.effective", "process.cap.permitted"] {
        ensure!(has_capability(root, set, "CAP_SYS_ADMIN"), "{set}: {root:?}");
        ensure!(has_capability(root, set, "DAC_OVERRIDE"), "{set}: {root:?}");
        ensure!(!has_capability(user, set, "CAP_SYS_ADMIN"), "{set}: {user:?}");
    }
    let raised = root.at("process.binary_properties.privileges_changed");
    ensure!(raised.is_null(), "{root:?}");
    Ok(())
}

fn set_user_id(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(0))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755))?;
    let agent = lab.agent(&["--enable-process-cred"])?;
    run(Command::new(&program).uid(1000).gid(1000))?.ok()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&program)?;
    let properties = exec.at("process.binary_properties");
    ensure!(properties["setuid"] == 0, "{exec:?}");
    ensure!(properties["setgid"].is_null(), "{exec:?}");
    let raised = json!(["PRIVILEGES_RAISED_EXEC_FILE_SETUID"]);
    ensure!(properties["privileges_changed"] == raised, "{exec:?}");
    ensure!(exec.number("process.uid") == Some(0), "{exec:?}");
    ensure!(exec.number("process.process_credentials.uid") == Some(1000), "{exec:?}");
    ensure!(exec.number("process.process_credentials.euid") == Some(0), "{exec:?}");
    // Only the exec tells of the binary.
    let exit = events.exit_of(&program)?;
    ensure!(exit.at("process.binary_properties").is_null(), "{exit:?}");
    Ok(())
}

fn set_group_id(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(0))?;
    chown(&program, Some(0), Some(1234))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o2755))?;
    let agent = lab.agent(&["--enable-process-cred"])?;
    run(Command::new(&program).uid(1000).gid(1000))?.ok()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&program)?;
    let properties = exec.at("process.binary_properties");
    ensure!(properties["setgid"] == 1234, "{exec:?}");
    ensure!(properties["setuid"].is_null(), "{exec:?}");
    ensure!(exec.number("process.process_credentials.egid") == Some(1234), "{exec:?}");
    Ok(())
}

/// Inode number of one of this process's namespaces.
fn own(namespace: &str) -> Result<u64> {
    Ok(fs::metadata(format!("/proc/self/ns/{namespace}"))?.ino())
}

/// The same of init's; none where a sandbox hides it.
fn of_init(namespace: &str) -> Option<u64> {
    fs::metadata(format!("/proc/1/ns/{namespace}")).map(|file| file.ino()).ok()
}

fn namespaces(lab: &Lab) -> Result<()> {
    let tool = lab.tool("tool")?;
    let program = lab.program("program", &elf::exit(0))?;
    let agent = lab.agent(&["--enable-process-ns"])?;
    run(Command::new(&tool).args(["tool", "unshare", &program]))?.ok()?;
    let events = agent.finish()?;
    let (before, after) = (events.exec_of(&tool)?, events.exec_of(&program)?);
    for name in ["uts", "ipc", "mnt", "pid", "net", "cgroup", "user"] {
        let inode = before.number(&format!("process.ns.{name}.inum"));
        ensure!(inode == Some(own(name)?), "{name}: {before:?}");
        let is_host = before.at(&format!("process.ns.{name}.is_host")) == &json!(true);
        if let Some(init) = of_init(name) {
            ensure!(is_host == (inode == Some(init)), "{name}: {before:?}");
        }
    }
    let pid_for_children = before.number("process.ns.pid_for_children.inum");
    ensure!(pid_for_children == Some(own("pid")?), "{before:?}");
    for name in ["uts", "ipc", "net"] {
        let path = format!("process.ns.{name}.inum");
        ensure!(after.number(&path).is_some(), "{name}: {after:?}");
        ensure!(after.number(&path) != before.number(&path), "{name}: {after:?}");
        ensure!(after.at(&format!("process.ns.{name}.is_host")) != &json!(true), "{after:?}");
    }
    let pid = "process.ns.pid.inum";
    ensure!(after.number(pid) == before.number(pid), "{after:?}");
    Ok(())
}
