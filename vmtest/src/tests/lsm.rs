//! Policies on LSM hooks: `process_lsm` events. Machines in use may forbid LSM programs, so these run
//! in VMs.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use anyhow::{Result, bail, ensure};
use serde_json::json;

use crate::event::Event;
use crate::lab::{Lab, run};
use crate::test::{Need, Test};

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("lsm::sees_files_opened", files_opened).needs(&[Need::Vm]),
    Test::new("lsm::sees_programs_executed", programs_executed).needs(&[Need::Vm]),
    Test::new("lsm::sees_names_removed", names_removed).needs(&[Need::Vm]),
    Test::new("lsm::sees_signals_and_addresses", signals_and_addresses).needs(&[Need::Vm]),
];

/// The events of these hooks, the list's elements.
fn watch(
    lab: &Lab,
    hooks: &str,
    count: usize,
    work: impl FnOnce() -> Result<()>,
) -> Result<Vec<Event>> {
    let events = crate::watch::watch(lab, &format!("  lsmhooks:\n{hooks}"), count, work)?;
    ensure!(events.iter().all(|event| event.kind() == "process_lsm"), "{events:?}");
    Ok(events)
}

fn files_opened(lab: &Lab) -> Result<()> {
    let (wanted, near) = (lab.path("file"), lab.path("file2"));
    fs::write(&wanted, "text")?;
    fs::write(&near, "text")?;
    let hooks = format!(
        r#"  - hook: file_open
    message: "the file was opened"
    tags: [observed.files]
    args:
    - {{index: 0, type: file, label: opened}}
    - {{index: 0, type: int, resolve: f_flags, label: flags}}
    selectors:
    - matchArgs:
      - {{index: 0, operator: Equal, values: ["{}"]}}
"#,
        wanted.display()
    );
    let events = watch(lab, &hooks, 1, || {
        fs::read(&near)?;
        fs::read(&wanted)?;
        Ok(())
    })?;
    let event = &events[0];
    ensure!(event.pid() == u64::from(std::process::id()), "{event:?}");
    ensure!(event.text("function_name") == "file_open", "{event:?}");
    ensure!(event.text("message") == "the file was opened", "{event:?}");
    ensure!(event.at("tags") == &json!(["observed.files"]), "{event:?}");
    ensure!(event.text("action") == "KPROBE_ACTION_POST", "{event:?}");
    ensure!(event.text("args.0.file_arg.path") == wanted.to_string_lossy(), "{event:?}");
    ensure!(event.text("args.0.file_arg.permission") == "-rw-r--r--", "{event:?}");
    ensure!(event.text("args.0.label") == "opened" && event.text("args.1.label") == "flags");
    // O_LARGEFILE and, since O_CLOEXEC is the descriptor's, nothing else.
    ensure!(event.number("args.1.int_arg") == Some(0x8000), "{event:?}");
    Ok(())
}

fn programs_executed(lab: &Lab) -> Result<()> {
    let near = lab.program("other", &crate::elf::exit(0))?;
    let program = lab.program("program", &crate::elf::exit(0))?;
    let hooks = r#"  - hook: bprm_check_security
    args:
    - {index: 0, type: linux_binprm}
    selectors:
    - matchArgs:
      - {index: 0, operator: Postfix, values: [/program]}
"#;
    let mut pid = 0;
    let events = watch(lab, hooks, 1, || {
        run(&mut Command::new(&near))?.ok()?;
        pid = run(&mut Command::new(&program))?.ok()?.pid;
        Ok(())
    })?;
    let event = &events[0];
    ensure!(event.pid() == pid, "{event:?}");
    // The process is still what it was: the image is only just being judged.
    ensure!(event.binary() == std::env::current_exe()?.to_string_lossy(), "{event:?}");
    ensure!(event.text("function_name") == "bprm_check_security", "{event:?}");
    ensure!(event.text("args.0.linux_binprm_arg.path") == program, "{event:?}");
    Ok(())
}

/// Two hooks on the same place and one on another.
fn names_removed(lab: &Lab) -> Result<()> {
    let here = lab.path("here");
    let there = lab.path("there");
    for dir in [&here, &there] {
        fs::create_dir(dir)?;
        fs::write(dir.join("name"), "")?;
        fs::create_dir(dir.join("dir"))?;
    }
    let hook = |hook: &str, message: &str, dir: &std::path::Path| {
        format!(
            r#"  - hook: {hook}
    message: {message}
    args:
    - {{index: 0, type: path}}
    - {{index: 1, type: dentry}}
    selectors:
    - matchArgs:
      - {{index: 0, operator: Equal, values: ["{}"]}}
"#,
            dir.display()
        )
    };
    let hooks = [
        hook("path_unlink", "first", &here),
        hook("path_unlink", "second", &here),
        hook("path_unlink", "nobody", &lab.path("her")),
        hook("path_rmdir", "third", &there),
    ]
    .concat();
    let events = watch(lab, &hooks, 3, || {
        for dir in [&here, &there] {
            fs::remove_file(dir.join("name"))?;
            fs::remove_dir(dir.join("dir"))?;
        }
        Ok(())
    })?;
    let told: Vec<_> = events
        .iter()
        .map(|event| ["function_name", "message", "args.0.path_arg.path"].map(|at| event.text(at)))
        .collect();
    let [here, there] = [&here, &there].map(|dir| dir.to_string_lossy().into_owned());
    let wanted = [
        ["path_unlink", "first", &here],
        ["path_unlink", "second", &here],
        ["path_rmdir", "third", &there],
    ];
    ensure!(told == wanted, "{told:?}");
    for (event, name) in events.iter().zip(["name", "name", "dir"]) {
        let path = event.at("args.1").to_string();
        ensure!(path.contains(&format!("/{name}\"")), "{event:?}");
    }
    Ok(())
}

fn signals_and_addresses(lab: &Lab) -> Result<()> {
    let hooks = r#"  - hook: task_kill
    args:
    - {index: 0, type: int, resolve: tgid}
    - {index: 2, type: int}
    selectors:
    - matchArgs:
      - {index: 2, operator: InMap, values: ["10", "40:50"]}
  - hook: socket_bind
    args:
    - {index: 1, type: sockaddr, label: address}
    selectors:
    - matchArgs:
      - {index: 1, operator: SAddr, values: [127.0.0.2/31]}
"#;
    let tool = lab.tool("victim")?;
    let mut port = 0;
    let mut pid = 0;
    let events = watch(lab, hooks, 2, || {
        run(Command::new(&tool).args(["tool", "kill-self", "SIGUSR2"]))?;
        pid = run(Command::new(&tool).args(["tool", "kill-self", "SIGUSR1"]))?.pid;
        TcpListener::bind("127.0.0.1:0")?;
        port = TcpListener::bind("127.0.0.3:0")?.local_addr()?.port();
        TcpListener::bind("127.0.0.4:0")?;
        Ok(())
    })?;
    let [signal, address] = &events[..] else { bail!("{events:?}") };
    ensure!(signal.text("function_name") == "task_kill" && signal.pid() == pid, "{signal:?}");
    ensure!(signal.at("args") == &json!([{"int_arg": pid}, {"int_arg": 10}]), "{signal:?}");
    ensure!(address.text("function_name") == "socket_bind", "{address:?}");
    ensure!(address.text("args.0.sockaddr_arg.addr") == "127.0.0.3", "{address:?}");
    // It asks for any port.
    ensure!(port != 0 && address.number("args.0.sockaddr_arg.port").unwrap_or(0) == 0);
    ensure!(address.text("args.0.label") == "address", "{address:?}");
    Ok(())
}
