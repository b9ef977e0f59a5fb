//! Static probes of programs: where their arguments are, and their counters.

#![allow(clippy::unwrap_used)]
#![cfg(target_arch = "x86_64")] // the program is made of its instructions

mod harness;

use compiler::observed::{Fault, Observation, Observed};
use compiler::plan::EventKind;
use elf::synthetic::{DATA, Section, Symbol, Synthetic, TEXT, probe_note};
use harness::{Harness, Place, policy};
use kernel::features::Feature;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Addresses in the data: a table of numbers, one number, and a counter.
const TABLE: u64 = DATA + 32;
const NUMBER: u64 = DATA + 64;
const COUNTER: u64 = DATA + 80;

/// Where arguments of `app:start` are.
const ARGUMENTS: &str = "8@%rax -4@-8(%rbp) -4@$-9 8@(%rdx,%rbx,8) -1@%al 8@%rcx -4@number(%rip) \
                         8f@%xmm0 4@$5 8@16(%rbp,%rax)";

/// A program that passes `app:start` at two places and `app:other` at one, and ends with the value of
/// the counter of `app:start` as its status.
fn program(place: &Place, name: &str) -> PathBuf {
    let mut code: Vec<u8> = Vec::new();
    code.extend([0x48, 0x89, 0xe5]); // mov rbp, rsp
    code.extend([0xc7, 0x45, 0xf8, 0xfb, 0xff, 0xff, 0xff]); // mov dword [rbp - 8], -5
    code.extend([0x48, 0xb8]);
    code.extend(0x1122_3344_5566_7788_u64.to_le_bytes()); // mov rax, ...
    code.extend([0xbb, 2, 0, 0, 0]); // mov ebx, 2
    code.push(0xb9);
    code.extend((DATA as u32).to_le_bytes()); // mov ecx, text
    code.push(0xba);
    code.extend((TABLE as u32).to_le_bytes()); // mov edx, table
    let first = TEXT + code.len() as u64;
    code.push(0x90);
    let second = TEXT + code.len() as u64;
    code.push(0x90);
    let other = TEXT + code.len() as u64;
    code.push(0x90);
    code.extend([0x0f, 0xb7, 0x3c, 0x25]);
    code.extend((COUNTER as u32).to_le_bytes()); // movzx edi, word [counter]
    code.extend([0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05]); // exit(edi)
    let mut data = vec![0; 96];
    data[..6].copy_from_slice(b"hello\0");
    for (index, number) in [10_u64, 20, 30].into_iter().enumerate() {
        let at = (TABLE - DATA) as usize + 8 * index;
        data[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    let at = (NUMBER - DATA) as usize;
    data[at..at + 4].copy_from_slice(&(-77_i32).to_le_bytes());
    let mut notes = probe_note(first, 0, COUNTER, ["app", "start", ARGUMENTS]);
    notes.extend(probe_note(second, 0, COUNTER, ["app", "start", "-4@$3"]));
    notes.extend(probe_note(other, 0, 0, ["app", "other", ""]));
    let mut made = Synthetic::new();
    made.text(&code);
    made.data(&data);
    made.symbol(Symbol::function("number", NUMBER, 4));
    made.section(Section::note(".note.stapsdt", &notes));
    let path = place.0.join(name);
    made.write(&path);
    path
}

/// What is seen while the program runs, and its status.
fn run(harness: &mut Harness, path: &Path) -> (Vec<Observation>, i32) {
    let mut status = 0;
    let seen = harness.everything_during(|| {
        status = Command::new(path).status().unwrap().code().unwrap();
    });
    (seen, status)
}

fn hook(path: &Path, name: &str, rest: &str) -> String {
    let path = path.display();
    policy("probe", "usdts", &format!("path: {path}\nprovider: app\nname: {name}\n{rest}"))
}

#[test]
fn arguments_are_where_the_notes_say() {
    for lacking in [None, Some(Feature::UprobeMulti)] {
        let harness = match lacking {
            None => Harness::with(Feature::Uprobe),
            Some(feature) => Harness::lacking(feature),
        };
        let Some(mut harness) = harness else { return };
        let place = Place::new("usdts");
        let path = program(&place, "whole");
        // Where the second place has no such argument, the policy cannot hold there.
        let args = "args:\n- {index: 0, type: uint64}\n- {index: 1, type: int64}\n";
        let error = harness.try_load(&hook(&path, "start", args)).unwrap_err();
        let wanted = "there is no argument 1: `app:start(-4@$3)` takes one, of index 0";
        assert!(error.contains(wanted), "{error}");

        harness.load(&hook(&path, "start", "args:\n- {index: 0, type: int32}"));
        let (seen, status) = run(&mut harness, &path);
        let args: Vec<_> = seen.iter().map(|seen| seen.args.clone()).collect();
        assert_eq!(args, [[Some(Observed::Int(0x5566_7788))], [Some(Observed::Int(3))]]);
        let EventKind::Usdt { provider, name, .. } = &seen[0].hook.event else { panic!() };
        assert_eq!((provider.as_str(), name.as_str()), ("app", "start"));
        // One for each place, as both have the same counter.
        assert_eq!(status, 2);
        harness.remove("probe");
        let (seen, mut status) = run(&mut harness, &path);
        assert!(seen.is_empty());
        // When the kernel lets go of events of perf's is its own affair.
        if lacking.is_none() {
            // A link lives on in a child that another test is just starting.
            let began = std::time::Instant::now();
            while status != 0 && began.elapsed().as_secs() < 10 {
                std::thread::sleep(std::time::Duration::from_millis(100));
                status = run(&mut harness, &path).1;
            }
            assert_eq!(status, 0, "the counter stays raised");
        }
    }
}

/// The same with one place that has all kinds of arguments.
fn whole(place: &Place) -> PathBuf {
    let path = program(place, "both");
    let whole = place.0.join("whole");
    let mut bytes = std::fs::read(&path).unwrap();
    // The second one gets another name.
    let second = b"app\0start\0-4@$3";
    let at = bytes.windows(second.len()).position(|window| window == second).unwrap();
    bytes[at + 4..at + 9].copy_from_slice(b"later");
    std::fs::write(&path, bytes).unwrap();
    std::fs::rename(&path, &whole).unwrap();
    whole
}

#[test]
fn every_kind_of_operand_is_read() {
    let Some(mut harness) = Harness::with(Feature::Uprobe) else { return };
    let place = Place::new("usdt-operands");
    let path = whole(&place);
    let cases = [
        ("{index: 0, type: uint64}", Observed::Size(0x1122_3344_5566_7788)),
        ("{index: 0, type: uint32}", Observed::Uint(0x5566_7788)),
        ("{index: 1, type: int}", Observed::Int(-5)),
        ("{index: 1, type: int64}", Observed::Long(-5)),
        ("{index: 2, type: int}", Observed::Int(-9)),
        ("{index: 3, type: uint64}", Observed::Size(30)),
        ("{index: 4, type: int8}", Observed::Int(-120)),
        ("{index: 4}", Observed::Int(-120)),
        ("{index: 5, type: string}", Observed::Text(b"hello".to_vec())),
        (
            "{index: 5, type: char_buf, sizeArgIndex: 9}",
            Observed::Bytes { bytes: b"hello".to_vec(), original: None },
        ),
        ("{index: 6, type: int}", Observed::Int(-77)),
        ("{index: 9, type: uint64}", Observed::Fault(Fault::Address)),
    ];
    for (argument, expected) in cases {
        harness.load(&hook(&path, "start", &format!("args: [{argument}]")));
        let (seen, _) = run(&mut harness, &path);
        let args: Vec<_> = seen.iter().map(|seen| seen.args.clone()).collect();
        assert_eq!(args, [[Some(expected)]], "{argument}");
    }
    // Several texts and numbers in memory at a time.
    let text = "{index: 5, type: string}";
    let number = "{index: 1, type: int}";
    let args = [text, number, text, "{index: 3, type: uint64}", text, text, text].join(", ");
    harness.load(&hook(&path, "start", &format!("args: [{args}]")));
    let (seen, _) = run(&mut harness, &path);
    let hello = Some(Observed::Text(b"hello".to_vec()));
    assert_eq!(seen[0].args.iter().filter(|arg| **arg == hello).count(), 5);
    assert_eq!(seen[0].args[1], Some(Observed::Int(-5)));
    // Filters see the same.
    for (argument, filter, count) in [
        ("{index: 1, type: int}", "operator: Equal, values: ['-5']", 1),
        ("{index: 1, type: int}", "operator: LT, values: ['-5']", 0),
        ("{index: 3, type: uint64}", "operator: GT, values: ['29']", 1),
        ("{index: 5, type: string}", "operator: Prefix, values: [hel]", 1),
        ("{index: 5, type: string}", "operator: Prefix, values: [hello2]", 0),
        ("{index: 9, type: uint64}", "operator: NotEqual, values: ['1']", 0),
    ] {
        let rest =
            format!("args: [{argument}]\nselectors: [{{matchArgs: [{{args: [0], {filter}}}]}}]");
        harness.load(&hook(&path, "start", &rest));
        assert_eq!(run(&mut harness, &path).0.len(), count, "{rest}");
    }
}

#[test]
fn probes_and_arguments_that_do_not_exist_are_told() {
    let Some(mut harness) = Harness::with(Feature::Uprobe) else { return };
    let place = Place::new("usdt-errors");
    let path = whole(&place);
    for (name, rest, wanted) in [
        ("strat", "", "has no probe app:strat: did you mean app:start?"),
        ("nothing-like-it", "", "it has app:later, app:other, app:start"),
        (
            "start",
            "args: [{index: 7, type: uint64}]",
            "argument 7: `8f@%xmm0` is a floating-point number, which programs of the kernel cannot read",
        ),
        ("start", "args: [{index: 10, type: int}]", "there is no argument 10: "),
        ("start", "args: [{index: 1, type: string}]", "it is no string, write `type: int`"),
    ] {
        let error = harness.try_load(&hook(&path, name, rest)).unwrap_err();
        assert!(error.contains(wanted), "{rest}\n{error}\n{wanted}");
    }
}

/// A program whose status is a number in its memory, that the probe `app:status` has as its first argument.
fn with_status(place: &Place) -> PathBuf {
    let mut code: Vec<u8> = vec![0xb8];
    code.extend((NUMBER as u32).to_le_bytes()); // mov eax, number
    let at = TEXT + code.len() as u64;
    code.push(0x90);
    code.extend([0x8b, 0x3c, 0x25]);
    code.extend((NUMBER as u32).to_le_bytes()); // mov edi, [number]
    code.extend([0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05]); // exit(edi)
    let mut data = vec![0; 96];
    data[(NUMBER - DATA) as usize] = 3;
    let arguments = "-4@(%rax) 8@(%rax) -4@%eax -4@$3 -4@number(%rip)";
    let notes = probe_note(at, 0, COUNTER, ["app", "status", arguments]);
    let mut made = Synthetic::new();
    made.text(&code);
    made.data(&data);
    made.symbol(Symbol::function("number", NUMBER, 4));
    made.section(Section::note(".note.stapsdt", &notes));
    let path = place.0.join("status");
    made.write(&path);
    path
}

fn setting(path: &Path, argument: u32, value: i32) -> String {
    let rest = format!(
        "args: [{{index: {argument}, type: int32}}]\nselectors: [{{matchActions: [{{action: Set, argIndex: 0, argValue: {value}}}]}}]"
    );
    hook(path, "status", &rest)
}

#[test]
fn arguments_in_memory_are_set() {
    let Some(mut harness) = Harness::with(Feature::ProbeWriteUser) else { return };
    let place = Place::new("usdt-set");
    let path = with_status(&place);
    let key = policy::PolicyKey {
        domain: "static".to_owned(),
        namespace: String::new(),
        name: "probe".to_owned(),
    };
    for argument in [0, 4] {
        harness.load(&setting(&path, argument, 77));
        let (seen, status) = run(&mut harness, &path);
        assert_eq!((seen.len(), status), (1, 77), "{argument}");
        // What the program passed, not what it goes on with.
        assert!(matches!(seen[0].args[0], Some(Observed::Int(3))), "{:?}", seen[0].args);
        harness.policies.set_mode(&key, policy::checked::Mode::Monitor).unwrap();
        assert_eq!(run(&mut harness, &path).1, 3);
        let done = harness.policies.counters(&key).unwrap().unwrap()[0].total();
        assert_eq!((done.set, done.monitor_set, done.posted), (1, 1, 2));
        harness.remove("probe");
        assert_eq!(run(&mut harness, &path).1, 3);
    }
}

#[test]
fn only_four_bytes_in_memory_can_be_set() {
    let Some(mut harness) = Harness::with(Feature::Uprobe) else { return };
    let place = Place::new("usdt-set-errors");
    let path = with_status(&place);
    for argument in [1, 2, 3] {
        let error = harness.try_load(&setting(&path, argument, 1)).unwrap_err();
        assert!(error.contains("only such can be set"), "{error}");
    }
}
