//! Stacks of events: that of the kernel and that of the program, for each kind of hook.
//!
//! The program's functions keep frame pointers, which compilers leave out where nobody asks for them: it is
//! made byte by byte.

#![allow(clippy::unwrap_used)]
#![cfg(target_arch = "x86_64")] // the program is made of its instructions

mod harness;

use compiler::observed::{FilePlace, Observation, Stacks};
use elf::synthetic::{Symbol, Synthetic, TEXT, TEXT_OFFSET};
use harness::{Harness, Place, policy};
use kernel::features::Feature;
use kernel::kallsyms::Kallsyms;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where in the code the functions are; `_start` is at 0.
const OUTER: u64 = 0x40;
const INNER: u64 = 0x60;
/// Where they come back to: in `_start`, in `outer` and, from the system call, in `inner`.
const CALLS: [u64; 3] = [INNER + 16, OUTER + 9, 5];

/// A program in which `_start` calls `outer`, which calls `inner`, which calls umask(2) with `mask`.
fn program(place: &Place, mask: u8) -> PathBuf {
    let mut code = vec![0xcc; 0x80];
    let mut put = |at: u64, bytes: &[u8]| {
        code[at as usize..][..bytes.len()].copy_from_slice(bytes);
    };
    let call = |from: u64, to: u64| {
        let distance = (to as i64 - from as i64 - 5) as i32;
        [&[0xe8][..], &distance.to_le_bytes()].concat()
    };
    let enter = [0x55, 0x48, 0x89, 0xe5]; // push rbp; mov rbp, rsp
    let leave = [0x5d, 0xc3]; // pop rbp; ret
    put(0, &call(0, OUTER));
    put(5, &[0x31, 0xff, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05]); // exit(0)
    put(OUTER, &[&enter[..], &call(OUTER + 4, INNER), &leave].concat());
    let umask = [0xb8, 95, 0, 0, 0, 0xbf, mask, 0, 0, 0, 0x0f, 0x05]; // mov eax; mov edi; syscall
    put(INNER, &[&enter[..], &umask, &leave].concat());
    let mut made = Synthetic::new();
    made.text(&code);
    made.build_id(&BUILD_ID);
    for (name, at, size) in [("_start", 0, 14), ("outer", OUTER, 11), ("inner", INNER, 18)] {
        made.symbol(Symbol::function(name, TEXT + at, size));
    }
    let path = place.0.join(format!("calls-{mask}"));
    if !path.exists() {
        made.write(&path);
    }
    path
}

const BUILD_ID: [u8; 20] = *b"of the program calls";

const BOTH: &str = "[{action: Post, kernelStackTrace: true, userStackTrace: true}]";
const RETURN: &str = "return: true\nreturnArg: {index: 0, type: int}";

/// Does this when umask(2) is called with `mask`, and what `more` says.
fn on_umask(mask: u8, actions: &str, more: &str) -> String {
    policy(
        "stacks",
        "kprobes",
        &format!(
            "call: sys_umask\nsyscall: true\n{more}\nargs:\n- {{index: 0, type: int}}\nselectors:\n- matchArgs:\n  - {{index: 0, operator: Equal, values: ['{mask}']}}\n  matchActions: {actions}"
        ),
    )
}

/// What is seen while the program runs.
fn run(harness: &mut Harness, path: &Path) -> Vec<Observation> {
    harness.everything_during(|| assert!(Command::new(path).status().unwrap().success()))
}

fn one(mut seen: Vec<Observation>) -> Observation {
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen.remove(0)
}

/// The program's stack, at an instruction of `inner`.
fn calls(kernel: &[u64], inner: u64) -> Stacks {
    let places = [inner, CALLS[1], CALLS[2]];
    let file = |at: &u64| Some(FilePlace { build_id: BUILD_ID, offset: TEXT_OFFSET + at });
    Stacks {
        kernel: kernel.to_vec(),
        user: places.iter().map(|at| TEXT + at).collect(),
        files: places.iter().map(file).collect(),
    }
}

/// Whether the kernel's stack leads through a function.
fn leads_through(symbols: &Kallsyms, stacks: &Stacks, functions: &[&str]) -> bool {
    stacks.kernel.iter().any(|address| {
        let found = symbols.resolve(*address);
        found.is_some_and(|(symbol, _)| functions.contains(&symbol.name))
    })
}

/// Where the kernel's stack begins in system calls.
const ENTRY: &[&str] = &["do_syscall_64"];

#[test]
fn both_stacks_of_a_system_call() {
    let Some(mut harness) = Harness::new() else { return };
    let place = Place::new("stacks");
    let path = program(&place, 0o31);
    let symbols = Kallsyms::read().unwrap();
    for more in ["", RETURN] {
        harness.load(&on_umask(0o31, BOTH, more));
        let Observation { stacks, .. } = one(run(&mut harness, &path));
        assert!(leads_through(&symbols, &stacks, ENTRY), "{more}: {stacks:x?}");
        assert_eq!(stacks, calls(&stacks.kernel, CALLS[0]), "{more}");
        assert!(run(&mut harness, &program(&place, 0o32)).is_empty());
        harness.remove("stacks");
    }
}

#[test]
fn only_what_the_selector_asks_for() {
    let Some(mut harness) = Harness::new() else { return };
    let place = Place::new("stacks-of-selectors");
    for more in ["", RETURN] {
        let hook = format!(
            "call: sys_umask\nsyscall: true\n{more}\nargs:\n- {{index: 0, type: int}}\nselectors:
- matchArgs:
  - {{index: 0, operator: Equal, values: ['27']}}
  matchActions: [{{action: Post, kernelStackTrace: true}}]
- matchArgs:
  - {{index: 0, operator: Equal, values: ['28']}}
  matchActions: [{{action: Post, userStackTrace: true}}]
- matchArgs:
  - {{index: 0, operator: Equal, values: ['29']}}
"
        );
        harness.load(&policy("stacks", "kprobes", &hook));
        for (mask, kernel, user) in [(27, true, false), (28, false, true), (29, false, false)] {
            let Observation { stacks, .. } = one(run(&mut harness, &program(&place, mask)));
            let got = (!stacks.kernel.is_empty(), !stacks.user.is_empty());
            assert_eq!(got, (kernel, user), "{mask} {more}");
        }
        harness.remove("stacks");
    }
}

/// A selector whose entry part holds does not lend its stack to one that matches by what is returned.
#[test]
fn stacks_of_selectors_that_differ_in_the_return() {
    let Some(mut harness) = Harness::new() else { return };
    let place = Place::new("stacks-at-return");
    let path = program(&place, 30);
    let hook = "
call: sys_umask
syscall: true
return: true
returnArg: {index: 0, type: int}
args:
- {index: 0, type: int}
selectors:
- matchArgs:
  - {index: 0, operator: Equal, values: ['30']}
  matchReturnArgs:
  - {index: 0, operator: Equal, values: ['RESULT']}
  matchActions: [{action: Post, userStackTrace: true}]
- matchArgs:
  - {index: 0, operator: Equal, values: ['30']}
  matchReturnArgs:
  - {index: 0, operator: NotEqual, values: ['RESULT']}
  matchReturnActions: [{action: Post, kernelStackTrace: true}]
";
    for (result, first) in [("18", true), ("19", false)] {
        harness.load(&policy("stacks", "kprobes", &hook.replace("RESULT", result)));
        let seen = one(harness.everything_during(|| {
            let shell = ["-c", "umask 022; exec \"$0\""];
            let status = Command::new("/bin/sh").args(shell).arg(&path).status();
            assert!(status.unwrap().success());
        }));
        assert_eq!(seen.selector, Some(usize::from(!first)));
        assert_eq!(seen.stacks.user.is_empty(), !first);
        assert_eq!(seen.stacks.kernel.is_empty(), first);
        harness.remove("stacks");
    }
}

#[test]
fn stacks_do_not_make_events_differ() {
    let Some(mut harness) = Harness::new() else { return };
    let place = Place::new("stacks-limited");
    let path = program(&place, 33);
    let actions = "[{action: Post, rateLimit: 1m, rateLimitScope: global, userStackTrace: true}]";
    harness.load(&on_umask(33, actions, ""));
    let seen = harness.everything_during(|| {
        assert!(Command::new(&path).status().unwrap().success());
        let status = Command::new("/bin/sh").args(["-c", "umask 041"]).status();
        assert!(status.unwrap().success());
    });
    assert_eq!(one(seen).stacks, calls(&[], CALLS[0]));
}

/// Typed, and by perf's record where that can be had.
#[test]
fn stacks_at_tracepoints() {
    let Some(mut harness) = Harness::new() else { return };
    let place = Place::new("stacks-at-tracepoints");
    let path = program(&place, 28);
    let symbols = Kallsyms::read().unwrap();
    let actions = format!("  matchActions: {BOTH}");
    let perf = format!(
        "subsystem: syscalls\nevent: sys_enter_umask\nargs:\n- {{index: 5, type: uint64}}\nselectors:
- matchArgs:
  - {{args: [0], operator: Equal, values: ['28']}}\n{actions}"
    );
    let raw = format!(
        "subsystem: raw_syscalls\nevent: sys_enter\nraw: true\nargs:
- {{index: 0, type: uint64, resolve: di}}\n- {{index: 1, type: int64}}\nselectors:
- matchArgs:
  - {{args: [0], operator: Equal, values: ['28']}}
  - {{args: [1], operator: Equal, values: ['95']}}\n{actions}"
    );
    let recorded = harness.machine.features.probe(Feature::Tracepoint).is_yes();
    for hook in [Some(raw), recorded.then_some(perf)].into_iter().flatten() {
        harness.load(&policy("stacks", "tracepoints", &hook));
        let Observation { stacks, .. } = one(run(&mut harness, &path));
        assert!(leads_through(&symbols, &stacks, ENTRY), "{hook}: {stacks:x?}");
        assert_eq!(stacks, calls(&stacks.kernel, CALLS[0]));
        harness.remove("stacks");
    }
}

/// Behind the first instructions, when the frame is there.
#[test]
fn stacks_at_instructions_of_a_program() {
    let Some(mut harness) = Harness::with(Feature::Uprobe) else { return };
    let place = Place::new("stacks-of-programs");
    let path = program(&place, 34);
    let hook = format!(
        "path: {}\nsymbols: [inner+0x4]\nselectors:\n- matchActions: {BOTH}",
        path.display()
    );
    harness.load(&policy("stacks", "uprobes", &hook));
    let Observation { stacks, .. } = one(run(&mut harness, &path));
    assert_eq!(stacks, calls(&[], INNER + 4));
}

#[test]
fn a_function_is_on_its_own_stack() {
    for feature in [Feature::Fentry, Feature::Kprobe] {
        let Some(mut harness) = Harness::with(feature) else { continue };
        let symbols = Kallsyms::read().unwrap();
        let hook =
            format!("call: do_sys_openat2\nsyscall: false\nselectors:\n- matchActions: {BOTH}");
        harness.load(&policy("stacks", "kprobes", &hook));
        let seen = harness.during(|| drop(std::fs::File::open("/dev/null").unwrap()));
        assert!(!seen.is_empty());
        for Observation { stacks, .. } in seen {
            assert!(leads_through(&symbols, &stacks, &["do_sys_openat2"]), "{stacks:x?}");
            assert!(leads_through(&symbols, &stacks, ENTRY), "{stacks:x?}");
            assert!(!stacks.user.is_empty());
        }
    }
}
