//! Policies on programs that are executed, and on what they load.

use std::process::Command;

use anyhow::{Result, ensure};

use super::case::{Case, Report, put, tool_at};
use crate::lab::{Lab, run};

const DENIED: &str = "/field/contrib/tester-progs/nop";

pub(super) const CASES: &[Case] = &[
    Case::new("process-exec-elf-begin.yaml")
        .prepare(|_| put("/field/program", &crate::elf::exit(0)))
        .provoke(|_| execute("/field/program"))
        .reports(&[Report::call(&[
            ("policy_name", "process-exec-elf-begin"),
            ("function_name", "security_bprm_creds_from_file"),
            ("args.0.file_arg.path", "/field/program"),
        ])]),
    Case::new("security_bprm_check.yaml")
        .prepare(|_| put("/usr/bin/sample-exec", &crate::elf::exit(0)))
        .provoke(|_| execute("/usr/bin/sample-exec"))
        .reports(&[Report::call(&[
            ("policy_name", "sample-no-exec-id"),
            ("function_name", "security_bprm_check"),
            ("args.0.linux_binprm_arg.path", "/usr/bin/sample-exec"),
        ])]),
    Case::new("lsm_bprm_check.yaml")
        .prepare(|_| put(DENIED, &crate::elf::exit(0)).and_then(|()| tool_at("/usr/bin/bash")))
        .stops(execute_from_bash)
        .reports(&[Report::of(
            "process_lsm",
            &[
                ("policy_name", "lsm"),
                ("function_name", "bprm_check_security"),
                ("process.binary", "/usr/bin/bash"),
                ("args.0.linux_binprm_arg.path", DENIED),
                ("action", "KPROBE_ACTION_OVERRIDE|KPROBE_ACTION_POST"),
            ],
        )]),
    Case::new("loader.yaml").provoke(load_library).reports(LOADED),
    Case::new("library.yaml").provoke(load_library).reports(LOADED),
];

const LOADED: &[Report] =
    &[Report::of("process_loader", &[("process.arguments", "tool true"), ("path", "*/libc.so.6")])];

fn execute(path: &str) -> Result<()> {
    run(&mut Command::new(path))?.ok()?;
    Ok(())
}

fn execute_from_bash(_: &Lab) -> Result<()> {
    execute(DENIED)?;
    let denied = run(Command::new("/usr/bin/bash").args(["tool", "exec", DENIED]))?;
    ensure!(denied.stderr.contains("Operation not permitted"), "{denied:?}");
    Ok(())
}

fn load_library(_: &Lab) -> Result<()> {
    run(Command::new(std::env::current_exe()?).args(["tool", "true"]))?.ok()?;
    Ok(())
}
