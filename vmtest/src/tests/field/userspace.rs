//! Policies on functions and probes of programs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use elf::synthetic::{Section, Symbol, Synthetic, TEXT, probe_note};

use super::case::{Case, Report, put, tool_at};
use crate::lab::{Lab, run};

/// Paths of the policies.
const BASH: &str = "/bin/bash";
const LIBRARY: &str = "/lib64/libc.so.6";
const PROBED: &str = "/home/jolsa/tetragon/contrib/tester-progs/usdt";
const PROBED_TO_CHANGE: &str = "/home/jolsa/tetragon/contrib/tester-progs/usdt-override";
/// The process that a policy names.
const PID: u32 = 61697;

pub(super) const CASES: &[Case] = &[
    Case::new("uprobe.yaml").prepare(|_| put(BASH, &shell())).provoke(|_| execute(BASH)).reports(
        &[
            Report::of(
                "process_uprobe",
                &[
                    ("policy_name", "uprobe"),
                    ("path", BASH),
                    ("symbol", "main"),
                    ("process.binary", BASH),
                ],
            ),
            Report::of("process_uprobe", &[("path", BASH), ("symbol", "readline")]),
        ],
    ),
    Case::new("uprobe-pid.yaml").prepare(|_| put(BASH, &shell())).provoke(execute_as).reports(&[
        Report::of(
            "process_uprobe",
            &[
                ("policy_name", "uprobe"),
                ("path", BASH),
                ("symbol", "readline"),
                ("process.pid", "61697"),
            ],
        ),
    ]),
    Case::new("uprobe-host.yaml")
        .prepare(|_| shell_of_first())
        .provoke(|_| {
            run(Command::new("/usr/bin/bash").args(["tool", "true"]))?.ok()?;
            Ok(())
        })
        .reports(&[Report::of(
            "process_uprobe",
            &[
                ("policy_name", "uprobe"),
                ("path", "/procRoot/1/root/usr/bin/bash"),
                ("symbol", "_start"),
                ("process.binary", "/usr/bin/bash"),
            ],
        )]),
    Case::new("uprobe-binaries.yaml")
        .prepare(|_| library().and_then(|()| tool_at("/usr/bin/bash")))
        .provoke(|_| use_library())
        .reports(&[Report::of(
            "process_uprobe",
            &[
                ("policy_name", "uprobe"),
                ("path", LIBRARY),
                ("symbol", "malloc"),
                ("process.binary", "/usr/bin/bash"),
            ],
        )]),
    Case::new("usdt.yaml")
        .prepare(|_| put(PROBED, &probed(["test", "usdt3", "-4@$-7 -8@$1234567"])))
        .provoke(|_| execute(PROBED))
        .reports(&[Report::of(
            "process_usdt",
            &[
                ("policy_name", "usdts"),
                ("path", PROBED),
                ("provider", "test"),
                ("name", "usdt3"),
                ("args.0.int_arg", "-7"),
                ("args.1.long_arg", "1234567"),
            ],
        )]),
    Case::new("usdt-set.yaml")
        .prepare(|_| put(PROBED_TO_CHANGE, &changed()))
        .stops(|_| change())
        .reports(&[Report::of(
            "process_usdt",
            &[
                ("policy_name", "usdts"),
                ("path", PROBED_TO_CHANGE),
                ("provider", "tetragon"),
                ("name", "test_4B"),
                // What the program passed.
                ("args.0.int_arg", "7"),
                ("action", "KPROBE_ACTION_SET"),
            ],
        )]),
];

/// exit(edi)
const EXIT: [u8; 7] = [0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05];
/// `xor edi, edi`
const ZERO: [u8; 2] = [0x31, 0xff];

/// A program whose `main` calls its `readline`.
fn shell() -> Vec<u8> {
    // call readline, behind what follows
    let call = [0xe8, (ZERO.len() + EXIT.len()) as u8, 0, 0, 0];
    let main = [&call[..], &ZERO, &EXIT].concat();
    let mut program = Synthetic::new();
    program.text(&[&main[..], &[0x90, 0xc3]].concat()); // nop; ret
    program.symbol(Symbol::function("main", TEXT, main.len() as u64));
    program.symbol(Symbol::function("readline", TEXT + main.len() as u64, 2));
    program.bytes()
}

/// A program that passes a probe.
fn probed(texts: [&str; 3]) -> Vec<u8> {
    let mut program = Synthetic::new();
    program.text(&[&ZERO[..], &[0x90], &EXIT].concat());
    let probe = TEXT + ZERO.len() as u64;
    program.section(Section::note(".note.stapsdt", &probe_note(probe, 0, 0, texts)));
    program.bytes()
}

/// A program that ends with the number that it passes to its probe in memory: 7, unless that is changed.
fn changed() -> Vec<u8> {
    let before = [
        &[0x48, 0x83, 0xec, 0x10][..],         // sub rsp, 16
        &[0xc7, 0x44, 0x24, 0x0c, 7, 0, 0, 0], // mov dword ptr [rsp + 12], 7
    ]
    .concat();
    let after = [0x8b, 0x7c, 0x24, 0x0c]; // mov edi, [rsp + 12]
    let mut program = Synthetic::new();
    program.text(&[&before[..], &[0x90], &after, &EXIT].concat());
    let probe = TEXT + before.len() as u64;
    let texts = ["tetragon", "test_4B", "-4@12(%rsp) -4@$2 -4@$3"];
    program.section(Section::note(".note.stapsdt", &probe_note(probe, 0, 0, texts)));
    program.bytes()
}

/// Passes the probe whose argument the policy sets to 32.
fn change() -> Result<()> {
    let ended = Command::new(PROBED_TO_CHANGE).status()?;
    ensure!(ended.code() == Some(32), "the argument was not set: {ended}");
    Ok(())
}

fn execute(path: &str) -> Result<()> {
    run(&mut Command::new(path))?.ok()?;
    Ok(())
}

/// Once as the process that is named, once as another.
fn execute_as(lab: &Lab) -> Result<()> {
    execute(BASH)?;
    fs::write("/proc/sys/kernel/pid_max", "4194304")?;
    let starter = lab.program("starter", &crate::elf::start_as(PID))?;
    run(Command::new(starter).arg(BASH))?.ok()?;
    Ok(())
}

/// Where a container's agent finds the host's processes.
fn shell_of_first() -> Result<()> {
    let host = Path::new("/procRoot");
    if host.symlink_metadata().is_err() {
        symlink("/proc", host)?;
    }
    tool_at("/usr/bin/bash")
}

/// The C library, where the policy looks for it.
fn library() -> Result<()> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mut paths = maps.lines().filter_map(|line| line.split_once('/'));
    let found = paths.find(|(_, path)| path.ends_with("/libc.so.6"));
    let (_, found) = found.context("this executable loads no C library")?;
    put(LIBRARY, &fs::read(format!("/{found}"))?)
}

fn use_library() -> Result<()> {
    let mut command = Command::new("/usr/bin/bash");
    command.args(["tool", "true"]).env("LD_LIBRARY_PATH", "/lib64");
    run(&mut command)?.ok()?;
    Ok(())
}
