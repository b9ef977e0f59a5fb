//! Policies on programs in user space: their functions, and their static probes.

use std::process::Command;

use ::elf::synthetic::{DATA, Section, Symbol, Synthetic, TEXT, probe_note};
use anyhow::{Result, ensure};
use serde_json::json;

use crate::lab::{Lab, run};
use crate::test::Test;
use crate::watch::watch;

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("programs::tell_what_their_functions_get_and_give", functions),
    Test::new("programs::tell_what_their_static_probes_say", static_probes),
];

/// A program that calls `work(number, "hello")`, which returns 77, and passes the probe `app:done`.
fn program(number: i32) -> Vec<u8> {
    let mut code = vec![0xbf];
    code.extend(number.to_le_bytes()); // mov edi, number
    code.push(0xbe);
    code.extend((DATA as u32).to_le_bytes()); // mov esi, text
    code.extend([0xe8, 10, 0, 0, 0]); // call work
    let done = TEXT + code.len() as u64;
    code.push(0x90);
    code.extend([0x31, 0xff, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05]); // exit(0)
    let work = TEXT + code.len() as u64;
    code.extend([0x90, 0xb8, 77, 0, 0, 0, 0xc3]); // nop; mov eax, 77; ret
    let mut made = Synthetic::new();
    made.text(&code);
    made.data(b"hello\0");
    made.symbol(Symbol::function("work", work, 7));
    let note = probe_note(done, 0, 0, ["app", "done", "-4@%edi 8@%rsi -4@$-9"]);
    made.section(Section::note(".note.stapsdt", &note));
    made.bytes()
}

fn functions(lab: &Lab) -> Result<()> {
    let path = lab.program("hooked", &program(5))?;
    let other = lab.program("other", &program(5))?;
    let spec = format!(
        r#"  uprobes:
  - path: {path}
    message: "work is done"
    symbols: [work]
    args:
    - {{index: 0, type: int}}
    - {{index: 1, type: string, label: what}}
    data:
    - {{index: 0, type: uint64, source: pt_regs, resolve: rdi}}
    return: true
    returnArg: {{index: 0, type: int}}
    selectors:
    - matchArgs:
      - {{index: 1, operator: Prefix, values: [hell]}}
"#
    );
    let events = watch(lab, &spec, 1, || {
        run(&mut Command::new(&other))?.ok()?;
        run(&mut Command::new(&path))?.ok()?;
        Ok(())
    })?;
    let event = &events[0];
    ensure!(event.kind() == "process_uprobe" && event.binary() == path, "{event:?}");
    ensure!(event.text("path") == path && event.text("symbol") == "work", "{event:?}");
    ensure!(event.text("message") == "work is done", "{event:?}");
    let args = json!([
        {"int_arg": 5}, {"string_arg": "hello", "label": "what"}, {"int_arg": 77}
    ]);
    ensure!(event.at("args") == &args, "{event:?}");
    ensure!(event.at("data") == &json!([{"size_arg": "5"}]), "{event:?}");
    Ok(())
}

fn static_probes(lab: &Lab) -> Result<()> {
    let path = lab.program("probed", &program(6))?;
    let spec = format!(
        r#"  usdts:
  - path: {path}
    provider: app
    name: done
    args:
    - {{index: 0, type: int32, label: number}}
    - {{index: 1, type: string}}
    - {{index: 2}}
    selectors:
    - matchArgs:
      - {{args: [0], operator: GT, values: ["5"]}}
"#
    );
    let events = watch(lab, &spec, 1, || run(&mut Command::new(&path))?.ok().map(drop))?;
    let event = &events[0];
    ensure!(event.kind() == "process_usdt" && event.binary() == path, "{event:?}");
    ensure!(event.text("provider") == "app" && event.text("name") == "done", "{event:?}");
    let args = json!([
        {"int_arg": 6, "label": "number"}, {"string_arg": "hello"}, {"int_arg": -9}
    ]);
    ensure!(event.at("args") == &args, "{event:?}");
    Ok(())
}
