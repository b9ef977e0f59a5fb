//! Policies on functions of the kernel: by breakpoint where there is no trampoline, with their results,
//! and together with other hooks in one policy.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::AT_FDCWD;
use nix::unistd::symlinkat;
use serde_json::json;

use crate::event::Event;
use crate::lab::{Lab, run};
use crate::test::{Need, Test};
use crate::watch::watch;

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("functions::of_many_arguments_are_seen", many_arguments).needs(&[Need::Vm]),
    Test::new("functions::of_many_arguments_return", many_arguments_return).needs(&[Need::Vm]),
    Test::new("functions::are_filtered_by_result", filtered_by_result).needs(&[Need::Vm]),
    Test::new("functions::tell_their_result", tell_their_result).needs(&[Need::Vm]),
    Test::new("functions::of_system_calls_are_filtered_by_result", calls_by_result),
    Test::new("functions::of_a_list_are_told_apart", of_a_list).needs(&[Need::Vm]),
    Test::new("functions::of_a_list_are_hooked_alone_when_wanted", of_a_list_alone)
        .needs(&[Need::Vm]),
    Test::new("functions::stand_beside_other_hooks", beside_other_hooks).needs(&[Need::Vm]),
    Test::new("functions::of_calls_read_what_nothing_has_touched", untouched),
];

/// A filter reads a name that is on no page of the process yet where programs can wait for it; elsewhere the
/// event says that it could not be read.
fn untouched(lab: &Lab) -> Result<()> {
    let victim = lab.path("victim");
    let name = victim.to_str().context("a path of the test")?;
    let remover = lab.program("remover", &crate::elf::unlink_untouched(name))?;
    let probe = run(Command::new(lab.binary("tetra")?).arg("probe"))?.ok()?;
    let waits = probe.stdout.contains("fmodret_syscall: true");
    let head = "  kprobes:\n  - call: sys_unlink\n    syscall: true\n    \
                args: [{index: 0, type: string}]\n    selectors:\n";
    let remove = || {
        fs::write(&victim, "")?;
        run(&mut Command::new(&remover))?.ok()?;
        ensure!(!victim.exists(), "it is removed");
        Ok(())
    };
    let spec = match waits {
        true => {
            format!("{head}    - matchArgs: [{{index: 0, operator: Equal, values: [{name}]}}]\n")
        }
        false => format!("{head}    - matchBinaries: [{{operator: In, values: [{remover}]}}]\n"),
    };
    let events = watch(lab, &spec, 1, remove)?;
    let value = events[0].at("args").get(0).context("no argument")?;
    match waits {
        true => ensure!(value["string_arg"] == name, "{value}"),
        false => ensure!(!value["error_arg"].is_null(), "{value}"),
    }
    println!("{value}");
    Ok(())
}

/// `do_mmap` has more arguments than trampolines pass on.
const MMAP: &str = r#"  kprobes:
  - call: do_mmap
    syscall: false
    message: "memory was mapped"
    args:
    - {index: 2, type: uint64, label: length}
    - {index: 3, type: uint64}
    selectors:
    - matchArgs:
      - {index: 2, operator: Equal, values: ["0x123000"]}
      - {index: 3, operator: Mask, values: ["1"]}
"#;

fn many_arguments(lab: &Lab) -> Result<()> {
    let near = lab.program("near", &crate::elf::map(0x12_4000))?;
    let mapper = lab.program("mapper", &crate::elf::map(0x12_3000))?;
    let events = watch(lab, MMAP, 1, || {
        run(&mut Command::new(&near))?.ok()?;
        run(&mut Command::new(&mapper))?.ok()?;
        Ok(())
    })?;
    let event = &events[0];
    ensure!(event.kind() == "process_kprobe" && event.binary() == mapper, "{event:?}");
    ensure!(event.text("function_name") == "do_mmap", "{event:?}");
    ensure!(event.text("message") == "memory was mapped", "{event:?}");
    let args = json!([{"size_arg": "1191936", "label": "length"}, {"size_arg": "1"}]);
    ensure!(event.at("args") == &args, "{event:?}");
    ensure!(event.at("return").is_null(), "{event:?}");
    Ok(())
}

fn many_arguments_return(lab: &Lab) -> Result<()> {
    // More than there are addresses is ENOMEM.
    let spec = r#"  kprobes:
  - call: do_mmap
    syscall: false
    return: true
    args:
    - {index: 2, type: uint64}
    returnArg: {index: 0, type: int64}
    selectors:
    - matchReturnArgs:
      - {index: 0, operator: Equal, values: ["-12"]}
"#;
    let fits = lab.program("fits", &crate::elf::map(0x12_3000))?;
    let fails = lab.program("fails", &crate::elf::map(1 << 60))?;
    let events = watch(lab, spec, 1, || {
        run(&mut Command::new(&fits))?.ok()?;
        run(&mut Command::new(&fails))?.ok()?;
        Ok(())
    })?;
    let event = &events[0];
    ensure!(event.binary() == fails, "{event:?}");
    ensure!(event.at("args") == &json!([{"size_arg": (1_u64 << 60).to_string()}]), "{event:?}");
    ensure!(event.at("return") == &json!({"long_arg": "-12"}), "{event:?}");
    Ok(())
}

fn filtered_by_result(lab: &Lab) -> Result<()> {
    let spec = r#"  kprobes:
  - call: do_mkdirat
    syscall: false
    return: true
    args:
    - {index: 1, type: filename, label: name}
    - {index: 2, type: uint16}
    returnArg: {index: 0, type: int, label: result}
    selectors:
    - matchArgs:
      - {index: 1, operator: Postfix, values: [/made]}
      matchReturnArgs:
      - {index: 0, operator: NotEqual, values: ["0"]}
"#;
    let made = lab.path("made");
    let events = watch(lab, spec, 1, || {
        fs::create_dir(&made)?;
        ensure!(fs::create_dir(&made).is_err(), "it is there already");
        Ok(())
    })?;
    let event = &events[0];
    ensure!(event.text("function_name") == "do_mkdirat", "{event:?}");
    let args = json!([{"string_arg": made.to_str(), "label": "name"}, {"uint_arg": 0o777}]);
    ensure!(event.at("args") == &args, "{event:?}");
    // EEXIST. Results have no labels.
    ensure!(event.at("return") == &json!({"int_arg": -17}), "{event:?}");
    Ok(())
}

/// As policies of older releases ask for it.
fn tell_their_result(lab: &Lab) -> Result<()> {
    let spec = r#"  kprobes:
  - call: do_mkdirat
    syscall: false
    return: true
    args:
    - {index: 1, type: filename}
    returnArg: {index: 0, type: int}
    returnArgAction: Post
    selectors:
    - matchArgs:
      - {index: 1, operator: Postfix, values: [/made]}
"#;
    let made = lab.path("made");
    let events = watch(lab, spec, 2, || {
        fs::create_dir(lab.path("made2"))?;
        fs::create_dir(&made)?;
        ensure!(fs::create_dir(&made).is_err(), "it is there already");
        Ok(())
    })?;
    let results: Vec<_> = events.iter().map(|event| event.at("return.int_arg").clone()).collect();
    ensure!(results == [json!(0), json!(-17)], "{events:?}");
    let actions = |event: &Event| {
        event.text("action") == "KPROBE_ACTION_POST"
            && event.text("return_action") == "KPROBE_ACTION_POST"
    };
    ensure!(events.iter().all(actions), "{events:?}");
    Ok(())
}

fn calls_by_result(lab: &Lab) -> Result<()> {
    let spec = format!(
        r#"  kprobes:
  - call: sys_symlinkat
    syscall: true
    return: true
    args:
    - {{index: 0, type: string}}
    returnArg: {{index: 0, type: int}}
    selectors:
    - matchArgs:
      - {{index: 0, operator: Equal, values: ["{}"]}}
      matchReturnArgs:
      - {{index: 0, operator: Equal, values: ["-17"]}}
"#,
        lab.path("target").display()
    );
    let (target, other) = (lab.path("target"), lab.path("target2"));
    let events = watch(lab, &spec, 1, || {
        symlinkat(&target, AT_FDCWD, &lab.path("link"))?;
        // Fails in the same way, with another target.
        ensure!(symlinkat(&other, AT_FDCWD, &lab.path("link")).is_err());
        ensure!(symlinkat(&target, AT_FDCWD, &lab.path("link")).is_err());
        Ok(())
    })?;
    let event = &events[0];
    ensure!(event.at("return") == &json!({"int_arg": -17}), "{event:?}");
    ensure!(event.at("args") == &json!([{"string_arg": target.to_str()}]), "{event:?}");
    Ok(())
}

/// Makes directories and links under an agent with these flags; gives what a list of functions told.
fn listed(lab: &Lab, flags: &[&str]) -> Result<Vec<String>> {
    let policy = format!(
        r#"apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {{name: listed}}
spec:
  lists:
  - name: functions
    values: [security_inode_mkdir, security_inode_rmdir, security_inode_symlink, security_inode_link,
      security_inode_rename, security_inode_unlink, security_inode_mknod, security_inode_setxattr,
      security_inode_removexattr, security_sb_mount, security_sb_umount, security_sb_remount,
      security_socket_bind, security_socket_listen, security_task_setnice, security_ptrace_traceme]
  kprobes:
  - call: list:functions
    syscall: false
    return: true
    returnArg: {{index: 0, type: int}}
    selectors:
    - matchPIDs: [{{operator: In, followForks: false, values: [{}]}}]
"#,
        std::process::id()
    );
    let file = lab.policy("listed.yaml", &policy)?;
    let file = format!("--tracing-policy={}", file.display());
    let mut agent = lab.agent(&[&[file.as_str()], flags].concat())?;
    let [directory, one, other] = ["directory", "one", "other"].map(|name| lab.path(name));
    fs::create_dir(&directory)?;
    fs::remove_dir(&directory)?;
    symlinkat("/nowhere", AT_FDCWD, &one)?;
    fs::rename(&one, &other)?;
    fs::hard_link(&other, &one)?;
    fs::create_dir(&directory)?;
    agent.wait_for("the list is seen", |events| events.of_policy("listed").len() >= 6)?;
    let events = agent.finish()?;
    let told = events.of_policy("listed").into_iter().map(|event| {
        ensure!(event.at("return") == &json!({"int_arg": 0}), "{event:?}");
        Ok(event.text("function_name").to_owned())
    });
    told.collect()
}

const LISTED: [&str; 6] = ["mkdir", "rmdir", "symlink", "rename", "link", "mkdir"];

fn is_as_done(told: &[String]) -> Result<()> {
    let wanted = LISTED.map(|name| format!("security_inode_{name}"));
    ensure!(told == wanted, "{told:?}");
    Ok(())
}

fn of_a_list(lab: &Lab) -> Result<()> {
    is_as_done(&listed(lab, &[])?)
}

fn of_a_list_alone(lab: &Lab) -> Result<()> {
    is_as_done(&listed(lab, &["--disable-kprobe-multi"])?)
}

fn beside_other_hooks(lab: &Lab) -> Result<()> {
    let file = lab.path("file");
    fs::write(&file, "text")?;
    let spec = format!(
        r#"  kprobes:
  - call: sys_symlinkat
    syscall: true
    message: called
    args: [{{index: 0, type: string}}]
    selectors: [{{matchArgs: [{{index: 0, operator: Equal, values: [/beside]}}]}}]
  - call: do_mkdirat
    syscall: false
    message: entered
    tags: [of.a.function]
    args: [{{index: 1, type: filename}}]
    selectors: [{{matchArgs: [{{index: 1, operator: Postfix, values: [/made]}}]}}]
  tracepoints:
  - subsystem: signal
    event: signal_generate
    message: recorded
    args: [{{index: 4, type: int}}]
    selectors: [{{matchArgs: [{{index: 0, operator: Equal, values: ["10"]}}]}}]
  - subsystem: signal
    event: signal_generate
    raw: true
    message: raw
    args: [{{index: 0, type: int}}]
    selectors: [{{matchArgs: [{{index: 0, operator: Equal, values: ["10"]}}]}}]
  lsmhooks:
  - hook: file_open
    message: judged
    args: [{{index: 0, type: file}}]
    selectors: [{{matchArgs: [{{index: 0, operator: Equal, values: ["{}"]}}]}}]
"#,
        file.display()
    );
    let tool = lab.tool("victim")?;
    let events = watch(lab, &spec, 5, || {
        for target in ["/besides", "/beside"] {
            symlinkat(target, AT_FDCWD, &lab.path(&target[1..]))?;
        }
        fs::create_dir(lab.path("made"))?;
        for signal in ["SIGUSR1", "SIGUSR2"] {
            run(Command::new(&tool).args(["tool", "kill-self", signal]))?;
        }
        fs::read(&file)?;
        Ok(())
    })?;
    let mut told: Vec<_> =
        events.iter().map(|event| (event.text("message"), event.kind())).collect();
    // Of the two at one moment, either may be first.
    told[2..4].sort_unstable();
    let wanted = [
        ("called", "process_kprobe"),
        ("entered", "process_kprobe"),
        ("raw", "process_tracepoint"),
        ("recorded", "process_tracepoint"),
        ("judged", "process_lsm"),
    ];
    if told != wanted {
        bail!("{told:?}");
    }
    let tags: Vec<_> = events.iter().filter(|event| !event.at("tags").is_null()).collect();
    ensure!(tags.len() == 1 && tags[0].at("tags") == &json!(["of.a.function"]), "{tags:?}");
    Ok(())
}
