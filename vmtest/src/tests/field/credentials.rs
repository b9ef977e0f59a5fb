//! Policies on credentials and capabilities.

use std::process::Command;

use anyhow::Result;

use super::case::{Case, Report};
use crate::lab::{Lab, run};

pub(super) const CASES: &[Case] = &[
    Case::new("creds-capability-usage.yaml").provoke(name_host_in_namespace).reports(&[
        Report::call(&[
            ("policy_name", "creds-capability-checks"),
            ("function_name", "cap_capable"),
            ("args.1.capability_arg.name", "CAP_SYS_ADMIN"),
            ("return.int_arg", "0"),
        ]),
    ]),
    Case::new("kprobe_commit_creds.yaml").provoke(set_users).reports(&[Report::call(&[
        ("policy_name", "commit-creds"),
        ("function_name", "commit_creds"),
        ("args.0.process_credentials_arg.uid", "0"),
    ])]),
    Case::new("process-creds-changed.yaml").provoke(change_credentials).reports(&[
        Report::call(&[
            ("policy_name", "process-creds-changed"),
            ("function_name", "commit_creds"),
            ("args.0.process_credentials_arg.uid", "0"),
        ]),
        Report::call(&[
            ("policy_name", "process-creds-changed"),
            ("function_name", "override_creds"),
        ]),
        Report::call(&[
            ("policy_name", "process-creds-changed"),
            ("function_name", "revert_creds"),
        ]),
    ]),
    Case::new("process-creds-installed.yaml").provoke(name_host_in_namespace).reports(&[
        Report::call(&[
            ("policy_name", "process-creds-changed"),
            ("function_name", "commit_creds"),
            ("args.0.process_credentials_arg.uid", "0"),
        ]),
    ]),
    Case::new("privileges-setuid-root.yaml").provoke(set_users).reports(&[
        Report::call(&[
            ("policy_name", "privileges-setuid-root"),
            ("function_name", "__sys_setuid"),
            ("args.0.int_arg", "0"),
            ("return.int_arg", "0"),
        ]),
        Report::call(&[("function_name", "__sys_setgid"), ("args.0.int_arg", "0")]),
        Report::call(&[
            ("function_name", "__sys_setresuid"),
            ("args.0.int_arg", "0"),
            ("args.1.int_arg", "0"),
            ("args.2.int_arg", "0"),
        ]),
        Report::call(&[("function_name", "__sys_setresgid"), ("args.1.int_arg", "0")]),
        Report::call(&[("function_name", "__sys_setfsuid"), ("args.0.int_arg", "0")]),
        Report::call(&[("function_name", "__sys_setfsgid"), ("args.0.int_arg", "0")]),
    ]),
];

/// In a pid namespace, since these policies leave the host's processes out.
fn name_host_in_namespace(lab: &Lab) -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["tool", "pid-namespace"]).arg(lab.binary("busybox")?).args(["hostname", "vm"]);
    run(&mut command)?.ok()?;
    Ok(())
}

fn set_users(_: &Lab) -> Result<()> {
    run(Command::new(std::env::current_exe()?).args(["tool", "set-user", "0"]))?.ok()?;
    Ok(())
}

fn change_credentials(lab: &Lab) -> Result<()> {
    name_host_in_namespace(lab)?;
    // What the real user may do is asked with other credentials (access_override_creds).
    run(Command::new(std::env::current_exe()?).args(["tool", "may-read", "/etc/passwd"]))?.ok()?;
    Ok(())
}
