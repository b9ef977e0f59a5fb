//! Policies on system calls.

use std::process::Command;

use anyhow::{Result, ensure};

use super::case::{Case, Report, busybox_at, tool_at};
use crate::lab::{Lab, run};

pub(super) const CASES: &[Case] = &[
    Case::new("sys_setuid.yaml").provoke(set_user).reports(&[Report::call(&[
        ("policy_name", "syscalls"),
        ("function_name", "__x64_sys_setuid"),
        ("args.0.int_arg", "0"),
    ])]),
    Case::new("sys_ptrace.yaml").provoke(|lab| tool(lab, &["trace-me"])).reports(&[Report::call(
        &[
            ("policy_name", "syscalls"),
            ("function_name", "__x64_sys_ptrace"),
            ("args.0.int_arg", "0"),
        ],
    )]),
    Case::new("sys_clock_settime.yaml").provoke(set_clock).reports(&[Report::call(&[
        ("policy_name", "sys-clock-settime"),
        ("function_name", "__x64_sys_clock_settime"),
        ("args.0.int_arg", "1"),
    ])]),
    Case::new("sys_pivot_root.yaml").provoke(pivot_root).reports(&[Report::call(&[
        ("policy_name", "sys-pivot-root"),
        ("function_name", "__x64_sys_pivot_root"),
        ("args.0.string_arg", "/no/such/root"),
        ("args.1.string_arg", "/no/such/place"),
    ])]),
    Case::new("write.yaml").provoke(write).reports(&[Report::call(&[
        ("policy_name", "sys-write"),
        ("function_name", "__x64_sys_write"),
        ("process.arguments", "echo provoked"),
        ("args.0.int_arg", "1"),
        // "provoked\n"
        ("args.1.bytes_arg", "cHJvdm9rZWQK"),
        ("args.2.size_arg", "9"),
    ])]),
    Case::new("list-syscalls.yaml").provoke(duplicate).reports(&[
        Report::call(&[("policy_name", "list-syscalls"), ("function_name", "__x64_sys_dup")]),
        Report::call(&[("policy_name", "list-syscalls"), ("function_name", "__x64_sys_dup2")]),
    ]),
    Case::new("list-syscalls-generated.yaml")
        .prepare(|lab| busybox_at(lab, "/usr/bin/kill"))
        .provoke(kill)
        .reports(&[
            Report::call(&[
                ("policy_name", "all-syscalls-for-kill"),
                ("function_name", "__x64_sys_write"),
                ("process.binary", "/usr/bin/kill"),
            ]),
            Report::call(&[
                ("policy_name", "all-syscalls-for-kill"),
                ("function_name", "__x64_sys_exit_group"),
                ("process.binary", "/usr/bin/kill"),
            ]),
        ]),
    Case::new("list-generated-ftrace.yaml")
        .prepare(|lab| busybox_at(lab, "/usr/bin/kill"))
        .provoke(kill)
        .reports(&[Report::call(&[
            ("policy_name", "all-ksys-for-kill"),
            ("function_name", "ksys_write"),
            ("process.binary", "/usr/bin/kill"),
        ])]),
    Case::new("killer.yaml")
        .prepare(|_| tool_at("/usr/bin/bash"))
        .stops(duplicate_in_bash)
        .reports(&[Report::of(
            "process_tracepoint",
            &[
                ("policy_name", "kill-syscalls"),
                ("subsys", "raw_syscalls"),
                ("event", "sys_enter"),
                ("process.binary", "/usr/bin/bash"),
                ("action", "KPROBE_ACTION_NOTIFYENFORCER"),
            ],
        )]),
];

/// Runs a command of `vmtest tool`, which has to go well.
fn tool(_: &Lab, arguments: &[&str]) -> Result<()> {
    run(Command::new(std::env::current_exe()?).arg("tool").args(arguments))?.ok()?;
    Ok(())
}

fn set_user(lab: &Lab) -> Result<()> {
    tool(lab, &["set-user", "0"])
}

/// As in a container that was entered: a process that its first process did not start.
fn set_clock(lab: &Lab) -> Result<()> {
    let own = std::env::current_exe()?;
    tool(lab, &["pid-namespace", &own.to_string_lossy(), "tool", "set-clock"])
}

fn pivot_root(lab: &Lab) -> Result<()> {
    let busybox = lab.binary("busybox")?;
    let arguments = ["pivot_root", "/no/such/root", "/no/such/place"];
    let refused =
        tool(lab, &[&["pid-namespace", &busybox.to_string_lossy()], &arguments[..]].concat());
    ensure!(refused.is_err(), "the root was changed");
    Ok(())
}

fn write(lab: &Lab) -> Result<()> {
    run(Command::new(lab.binary("busybox")?).args(["echo", "provoked"]))?.ok()?;
    Ok(())
}

fn duplicate(lab: &Lab) -> Result<()> {
    tool(lab, &["duplicate"])
}

/// Under this name anything counts as kill(1).
fn kill(_: &Lab) -> Result<()> {
    use std::os::unix::process::CommandExt;
    run(Command::new("/usr/bin/kill").arg0("echo").arg("provoked"))?.ok()?;
    Ok(())
}

fn duplicate_in_bash(lab: &Lab) -> Result<()> {
    use std::os::unix::process::ExitStatusExt;
    duplicate(lab)?;
    let killed = run(Command::new("/usr/bin/bash").args(["tool", "duplicate"]))?;
    ensure!(killed.status.signal() == Some(9), "it was not killed: {killed:?}");
    Ok(())
}
