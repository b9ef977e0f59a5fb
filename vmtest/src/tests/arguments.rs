//! Arguments and environment: whole, whatever is in them, and flagged where they are cut.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::elf;
use crate::lab::{Lab, run};
use crate::test::Test;

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("arguments::with_odd_characters", with_odd_characters),
    Test::new("arguments::of_200_kB_come_whole", long_ones_come_whole),
    Test::new("arguments::beyond_the_bound_are_cut_and_flagged", beyond_the_bound),
    Test::new("arguments::may_be_absent_altogether", may_be_absent),
    Test::new("environment::is_absent_unless_wanted", environment_unless_wanted),
    Test::new("environment::comes_when_wanted", environment_when_wanted),
    Test::new("environment::of_200_kB_comes_whole", long_environment),
];

fn with_odd_characters(lab: &Lab) -> Result<()> {
    let agent = lab.agent(&[])?;
    let invalid = OsStr::from_bytes(b"a\xffb");
    let cases: &[(&[&OsStr], &str)] = &[
        (&["two\nlines".as_ref(), "tab\there".as_ref()], "two\nlines tab\there"),
        (&[invalid], "a\u{fffd}b"),
        (&["".as_ref(), "leading".as_ref()], "leading"),
        (&["mid".as_ref(), "".as_ref(), "dle".as_ref()], "mid  dle"),
        (&["trailing".as_ref(), "".as_ref()], "trailing"),
        (&["has space".as_ref(), "not".as_ref()], " \"has space\" not"),
        (&["a".as_ref(), "say \"hi\" now".as_ref()], "a \"say \"hi\" now\""),
        (&["grüße".as_ref(), "日本語".as_ref(), "\u{1}".as_ref()], "grüße 日本語 \u{1}"),
    ];
    let mut expected = Vec::new();
    for (number, (arguments, text)) in cases.iter().enumerate() {
        let program = lab.program(&format!("program-{number}"), &elf::exit(0))?;
        run(Command::new(&program).args(*arguments))?.ok()?;
        expected.push((program, *text));
    }
    let events = agent.finish()?;
    for (program, text) in expected {
        let exec = events.exec_of(&program)?;
        ensure!(exec.text("process.arguments") == text, "wanted {text:?}: {exec:?}");
        ensure!(exec.text("process.flags") == "execve clone", "{exec:?}");
    }
    Ok(())
}

/// `count` arguments of 2,000 bytes, all different.
fn long_arguments(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number:0>2000}")).collect()
}

fn long_ones_come_whole(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(0))?;
    let agent = lab.agent(&[])?;
    let arguments = long_arguments(100);
    run(Command::new(&program).args(&arguments))?.ok()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&program)?;
    let seen = exec.text("process.arguments");
    ensure!(seen.len() == 100 * 2001 - 1, "{} bytes of arguments", seen.len());
    ensure!(seen == arguments.join(" "), "other arguments than were passed");
    ensure!(!exec.has_flag("truncArgs") && !exec.has_flag("errorArgs"), "wrong flags");
    Ok(())
}

fn beyond_the_bound(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(0))?;
    let agent = lab.agent(&[])?;
    let arguments = long_arguments(300);
    run(Command::new(&program).args(&arguments))?.ok()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&program)?;
    let seen = exec.text("process.arguments");
    // 256 KiB is the bound, with the path of the program.
    ensure!((200_000..=262_144).contains(&seen.len()), "{} bytes of arguments", seen.len());
    ensure!(arguments.join(" ").starts_with(seen), "other arguments than were passed");
    ensure!(exec.has_flag("truncArgs"), "flags: {}", exec.text("process.flags"));
    Ok(())
}

/// Since 5.18 the kernel passes one empty argument where there is none.
fn may_be_absent(lab: &Lab) -> Result<()> {
    let tool = lab.tool("tool")?;
    let program = lab.program("program", &elf::exit(0))?;
    let agent = lab.agent(&[])?;
    run(Command::new(&tool).args(["tool", "no-arguments", &program]))?.ok()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&program)?;
    ensure!(exec.text("process.arguments").is_empty(), "{exec:?}");
    ensure!(exec.text("process.flags") == "execve", "{exec:?}");
    events.exit_of(&program)?;
    Ok(())
}

fn environment_unless_wanted(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(0))?;
    let agent = lab.agent(&[])?;
    run(Command::new(&program).env("SECRET", "x"))?.ok()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&program)?;
    ensure!(exec.at("process.environment_variables").is_null(), "{exec:?}");
    Ok(())
}

fn environment_when_wanted(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(0))?;
    let agent = lab.agent(&["--enable-process-environment-variables"])?;
    run(Command::new(&program).env_clear().env("A", "1").env("B", "two words").env("C", "x=y"))?
        .ok()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&program)?;
    let variables = exec.at("process.environment_variables");
    // The Rust library passes variables in the order of their names.
    let expected = json!([
        { "Key": "A", "Value": "1" },
        { "Key": "B", "Value": "two words" },
        { "Key": "C", "Value": "x=y" },
    ]);
    ensure!(variables == &expected, "{exec:?}");
    Ok(())
}

fn long_environment(lab: &Lab) -> Result<()> {
    let program = lab.program("program", &elf::exit(0))?;
    let agent = lab.agent(&["--enable-process-environment-variables"])?;
    let value = "v".repeat(100_000);
    run(Command::new(&program).env_clear().env("A", &value).env("B", &value).arg("x"))?.ok()?;
    let events = agent.finish()?;
    let exec = events.exec_of(&program)?;
    let expected = json!([{ "Key": "A", "Value": value }, { "Key": "B", "Value": value }]);
    ensure!(exec.at("process.environment_variables") == &expected, "not the whole environment");
    ensure!(exec.text("process.arguments") == "x", "{}", exec.text("process.arguments"));
    Ok(())
}
