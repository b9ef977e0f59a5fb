//! Hooks on functions of programs: where they are found, what is read, and when.

#![allow(clippy::unwrap_used)]
#![cfg(target_arch = "x86_64")] // the program is made of its instructions

mod harness;

use compiler::observed::{Fault, Observation, Observed};
use compiler::plan::EventKind;
use elf::synthetic::{DATA, Symbol, Synthetic, TEXT, TEXT_OFFSET};
use harness::{Harness, Place, policy};
use kernel::features::Feature;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where in the code the functions are.
const WORK: u64 = 0x100;
const REST: u64 = 0x180;

/// A program that calls `work(-2, "hello", 300, TEXT, size 5)`, which returns 77, and `rest()`.
fn program(place: &Place, name: &str) -> PathBuf {
    let mut code = vec![0xcc; 0x200];
    let mut start = Vec::new();
    start.extend([0xbf, 0xfe, 0xff, 0xff, 0xff]); // mov edi, -2
    start.extend([0xbe]);
    start.extend((DATA as u32).to_le_bytes()); // mov esi, text
    start.extend([0xba, 0x2c, 0x01, 0x00, 0x00]); // mov edx, 300
    start.extend([0xb9]);
    start.extend((DATA as u32 + 16).to_le_bytes()); // mov ecx, pointer
    start.extend([0x41, 0xb8, 0x05, 0x00, 0x00, 0x00]); // mov r8d, 5
    call(&mut start, WORK);
    call(&mut start, REST);
    start.extend([0x31, 0xff, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05]); // exit(0)
    code[..start.len()].copy_from_slice(&start);
    // nop; mov eax, 77; ret
    code[WORK as usize..][..7].copy_from_slice(&[0x90, 0xb8, 77, 0, 0, 0, 0xc3]);
    code[REST as usize..][..2].copy_from_slice(&[0x90, 0xc3]);
    let mut data = b"hello\0..........".to_vec();
    // Two structures { u64 next; u64 number; char name[8]; }.
    for (next, number, name) in [(DATA + 40, 7_u64, b"one\0\0\0\0\0"), (0, 9, b"other\0\0\0")] {
        data.extend(next.to_le_bytes());
        data.extend(number.to_le_bytes());
        data.extend(name);
    }
    let mut made = Synthetic::new();
    made.text(&code);
    made.data(&data);
    made.symbol(Symbol::function("_start", TEXT, 0x80));
    made.symbol(Symbol::function("work", TEXT + WORK, 7));
    made.symbol(Symbol::function("rest", TEXT + REST, 2));
    made.symbol(Symbol { undefined: true, ..Symbol::function("malloc", 0, 0) });
    let path = place.0.join(name);
    made.write(&path);
    path
}

fn call(code: &mut Vec<u8>, to: u64) {
    let from = code.len() as i64 + 5;
    code.push(0xe8);
    code.extend((to as i64 - from).to_le_bytes()[..4].iter());
}

/// What is seen while the program runs.
fn run(harness: &mut Harness, path: &Path) -> Vec<Observation> {
    harness.everything_during(|| assert!(Command::new(path).status().unwrap().success()))
}

fn hook(path: &Path, rest: &str) -> String {
    policy("probe", "uprobes", &format!("path: {}\n{rest}", path.display()))
}

fn symbols(seen: &[Observation]) -> Vec<String> {
    let symbol = |seen: &Observation| match &seen.hook.event {
        EventKind::Uprobe { symbol, offset, .. } if symbol.is_empty() => format!("{offset:#x}"),
        EventKind::Uprobe { symbol, .. } => symbol.clone(),
        other => panic!("{other:?}"),
    };
    seen.iter().map(symbol).collect()
}

#[test]
fn arguments_and_results_are_read() {
    for lacking in [None, Some(Feature::UprobeMulti)] {
        let harness = match lacking {
            None => Harness::with(Feature::Uprobe),
            Some(feature) => Harness::lacking(feature),
        };
        let Some(mut harness) = harness else { return };
        let place = Place::new("uprobes");
        let path = program(&place, "whole");
        harness.load(&hook(
            &path,
            "symbols: [work, rest]\nargs:\n- {index: 0, type: int}\n- {index: 1, type: string}\n- {index: 2, type: uint8}\n- {index: 1, type: char_buf, sizeArgIndex: 5}\ndata:\n- {index: 0, source: pt_regs, resolve: rdx}\nreturn: true\nreturnArg: {index: 0, type: int}",
        ));
        let seen = run(&mut harness, &path);
        assert_eq!(symbols(&seen), ["work", "rest"]);
        let expected = [
            Some(Observed::Int(-2)),
            Some(Observed::Text(b"hello".to_vec())),
            Some(Observed::Uint(44)),
            Some(Observed::Bytes { bytes: b"hello".to_vec(), original: None }),
        ];
        assert_eq!(seen[0].args, expected);
        assert_eq!(seen[0].data, [Some(Observed::Size(300))]);
        assert_eq!(seen[0].returned, Some(Observed::Int(77)));
        assert_eq!(seen[1].returned, Some(Observed::Int(77)));
    }
}

#[test]
fn filters_hold_or_do_not() {
    let Some(mut harness) = Harness::with(Feature::Uprobe) else { return };
    let place = Place::new("uprobe-filters");
    let path = program(&place, "filtered");
    let cases = [
        (
            "symbols: [work]\nargs: [{index: 0, type: int}]\nselectors: [{matchArgs: [{index: 0, operator: Equal, values: ['-2']}]}]",
            1,
        ),
        (
            "symbols: [work]\nargs: [{index: 0, type: int}]\nselectors: [{matchArgs: [{index: 0, operator: Equal, values: ['-3']}]}]",
            0,
        ),
        (
            "symbols: [work]\nargs: [{index: 1, type: string}]\nselectors: [{matchArgs: [{index: 1, operator: Equal, values: [hello]}]}]",
            1,
        ),
        (
            "symbols: [work]\nargs: [{index: 1, type: string}]\nselectors: [{matchArgs: [{index: 1, operator: Equal, values: [hell]}]}]",
            0,
        ),
        (
            "symbols: [work]\nargs: [{index: 1, type: string}]\nselectors: [{matchArgs: [{index: 1, operator: Postfix, values: [llo]}]}]",
            1,
        ),
        (
            "symbols: [work]\nargs: [{index: 1, type: string}]\nselectors: [{matchArgs: [{index: 1, operator: NotPrefix, values: [he]}]}]",
            0,
        ),
        (
            "symbols: [work]\nargs: [{index: 0, type: int}, {index: 2, type: int}]\nselectors: [{matchArgs: [{operator: CelExpr, values: ['arg0 == int32(-2) && arg1 == int32(300)']}]}]",
            1,
        ),
        (
            "symbols: [work]\nargs: [{index: 0, type: int}, {index: 2, type: int}]\nselectors: [{matchArgs: [{operator: CelExpr, values: ['arg0 == int32(-2) && arg1 == int32(301)']}]}]",
            0,
        ),
        (
            "symbols: [work]\nreturn: true\nreturnArg: {index: 0, type: int}\nselectors: [{matchReturnArgs: [{index: 0, operator: Equal, values: ['77']}]}]",
            1,
        ),
        (
            "symbols: [work]\nreturn: true\nreturnArg: {index: 0, type: int}\nselectors: [{matchReturnArgs: [{index: 0, operator: Equal, values: ['78']}]}]",
            0,
        ),
        ("symbols: [work]\nselectors: [{matchBinaries: [{operator: In, values: [PATH]}]}]", 1),
        ("symbols: [work]\nselectors: [{matchBinaries: [{operator: NotIn, values: [PATH]}]}]", 0),
        ("symbols: [work]\nselectors: [{matchPIDs: [{operator: NotIn, values: [1]}]}]", 1),
        ("symbols: [work]\nselectors: [{matchPIDs: [{operator: In, values: [1]}]}]", 0),
    ];
    for (rest, count) in cases {
        let rest = rest.replace("PATH", path.to_str().unwrap());
        harness.load(&hook(&path, &rest));
        assert_eq!(run(&mut harness, &path).len(), count, "{rest}");
    }
}

#[test]
fn places_are_named_in_several_ways() {
    let Some(mut harness) = Harness::with(Feature::Uprobe) else { return };
    let place = Place::new("uprobe-places");
    let path = program(&place, "placed");
    let work = TEXT_OFFSET + WORK;
    let address = TEXT + WORK;
    for (rest, expected) in [
        ("symbols: ['work+0x1']".to_owned(), "work+0x1".to_owned()),
        (format!("offsets: [{work}]"), format!("{work:#x}")),
        (format!("addrs: [{address}]"), format!("{work:#x}")),
    ] {
        harness.load(&hook(&path, &rest));
        assert_eq!(symbols(&run(&mut harness, &path)), [expected]);
    }
    harness.remove("probe");
    assert!(run(&mut harness, &path).is_empty());
}

#[test]
fn another_file_of_the_same_name_is_another_program() {
    let Some(mut harness) = Harness::with(Feature::Uprobe) else { return };
    let place = Place::new("uprobe-files");
    let path = program(&place, "first");
    harness.load(&hook(&path, "symbols: [work]"));
    std::fs::rename(&path, place.0.join("moved")).unwrap();
    let path = program(&place, "first");
    assert!(run(&mut harness, &path).is_empty());
    assert_eq!(run(&mut harness, &place.0.join("moved")).len(), 1);
    harness.load(&hook(&path, "symbols: [work]"));
    assert_eq!(run(&mut harness, &path).len(), 1);
    assert!(run(&mut harness, &place.0.join("moved")).is_empty());
}

#[test]
fn memory_that_cannot_be_read_is_told() {
    let Some(mut harness) = Harness::with(Feature::Uprobe) else { return };
    let place = Place::new("uprobe-faults");
    let path = program(&place, "faulty");
    harness.load(&hook(&path, "symbols: [work]\nargs:\n- {index: 0, type: string}"));
    let seen = run(&mut harness, &path);
    assert_eq!(seen[0].args, [Some(Observed::Fault(Fault::Address))]);
    // Five texts, of which some are no addresses.
    let five: String =
        (0..5).map(|index| format!("- {{index: {index}, type: string}}\n")).collect();
    harness.load(&hook(&path, &format!("symbols: [work]\nargs:\n{five}")));
    let args = run(&mut harness, &path).remove(0).args;
    assert_eq!(args[1], Some(Observed::Text(b"hello".to_vec())));
    for index in [0, 2, 4] {
        assert_eq!(args[index], Some(Observed::Fault(Fault::Address)), "{index}");
    }
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    let Some(mut harness) = Harness::with(Feature::Uprobe) else { return };
    let place = Place::new("uprobe-errors");
    let path = program(&place, "wrong");
    let script = place.0.join("script");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    let mut refused = |path: &Path, rest: &str| harness.try_load(&hook(path, rest)).unwrap_err();
    for (rest, wanted) in [
        (
            "symbols: [wrok]",
            "test.yaml:8:15 spec.uprobes[0].symbols[0]: PATH has no function `wrok`: it is misspelt, its name was stripped, it is part of a library, or the compiler put it into its callers; the nearest name is `work`",
        ),
        (
            "symbols: [work, malloc]",
            "`malloc` is called by PATH but is part of a library: hook it there",
        ),
        ("symbols: ['work+0x10']", "`work` of PATH has 7 bytes: 16 is behind its end"),
        ("offsets: [1]", "there is no code at offset 0x1 of PATH"),
        ("addrs: [1]", "PATH has no code at address 0x1, as it is linked"),
        (
            "symbols: ['work+1']\nreturn: true\nreturnArg: {index: 0, type: int}",
            "`work+0x1` is within `work` and not its first instruction, so its return cannot be hooked",
        ),
        (
            "symbols: [work]\nargs: [{index: 0, type: file}]",
            "argument 0 of a program is no file: programs have none of the kernel's objects",
        ),
        (
            "symbols: [work]\nargs: [{index: 0, type: int, resolve: pid, btfType: task_struct}]",
            "the file has no BTF of its own, name one with `btfPath`",
        ),
        (
            "symbols: [work]\nbtfPath: /nonexistent\nargs: [{index: 0, type: int}]",
            "types of /nonexistent: ",
        ),
        (
            "symbols: [work]\nbinaryDigests: ['sha1:0000000000000000000000000000000000000000', 'build-id:00']",
            "PATH has none of the digests that the policy accepts; its own are sha1:",
        ),
    ] {
        let wanted = wanted.replace("PATH", path.to_str().unwrap());
        let message = refused(&path, rest);
        assert!(message.contains(&wanted), "{rest}\n{message}\n{wanted}");
    }
    let message = refused(&script, "symbols: [main]");
    assert!(message.contains("script is no ELF file"), "{message}");
    let message = refused(&place.0.join("nothing"), "symbols: [main]");
    assert!(message.contains("No such file"), "{message}");
    let message = refused(&place.0, "symbols: [main]");
    assert!(message.contains("is no regular file"), "{message}");
}

/// BTF of `struct node { struct node *next; u64 number; char name[8]; }`.
fn types() -> Vec<u8> {
    let strings = b"\0node\0next\0number\0name\0u64\0char\0";
    let name = |text: &str| {
        let text = format!("\0{text}\0");
        let at = strings.windows(text.len()).position(|window| window == text.as_bytes());
        at.unwrap() as u32 + 1
    };
    let (integer, pointer, array, structure) = (1 << 24, 2 << 24, 3 << 24, 4 << 24);
    let words = [
        // 1: u64, 2: char, 3: the structure, 4: a pointer to it, 5: the array
        [name("u64"), integer, 8, 64].as_slice(),
        &[name("char"), integer, 1, 1 << 24 | 8],
        &[name("node"), structure | 3, 24],
        &[name("next"), 4, 0, name("number"), 1, 64, name("name"), 5, 128],
        &[0, pointer, 3],
        &[0, array, 0, 2, 1, 8],
    ]
    .concat();
    let mut blob = vec![0x9f, 0xeb, 1, 0];
    let size = 4 * words.len() as u32;
    for word in [24, 0, size, size, strings.len() as u32].iter().chain(&words) {
        blob.extend(word.to_le_bytes());
    }
    blob.extend(strings);
    blob
}

#[test]
fn fields_of_a_programs_structures_are_followed() {
    let Some(mut harness) = Harness::with(Feature::Uprobe) else { return };
    let place = Place::new("uprobe-types");
    let path = program(&place, "typed");
    let btf = place.0.join("types");
    std::fs::write(&btf, types()).unwrap();
    let read = |resolve: &str| {
        format!(
            "symbols: [work]\nbtfPath: {}\nargs:\n- {{index: 3, type: uint64, btfType: node, resolve: {resolve}}}",
            btf.display()
        )
    };
    for (resolve, expected) in [
        ("number", Observed::Size(7)),
        ("next.number", Observed::Size(9)),
        ("next.name", Observed::Text(b"other".to_vec())),
        ("next.next.number", Observed::Fault(Fault::Resolve(2))),
    ] {
        harness.load(&hook(&path, &read(resolve)));
        let seen = run(&mut harness, &path);
        assert_eq!(seen[0].args, [Some(expected)], "{resolve}");
    }
    for (rest, count) in [("values: ['9']", 1), ("values: ['8']", 0)] {
        let filter = format!(
            "{}\nselectors: [{{matchArgs: [{{args: [0], operator: Equal, {rest}}}]}}]",
            read("next.number")
        );
        harness.load(&hook(&path, &filter));
        assert_eq!(run(&mut harness, &path).len(), count, "{rest}");
    }
    let error = harness.try_load(&hook(&path, &read("nubmer"))).unwrap_err();
    assert!(error.contains("number"), "{error}");
}

#[test]
fn digests_and_counters_are_looked_at() {
    let Some(mut harness) = Harness::with(Feature::Uprobe) else { return };
    let place = Place::new("uprobe-digests");
    let path = program(&place, "digested");
    let file = elf::ProgramFile::open(&path).unwrap();
    let digest = file.digest(elf::Hash::Sha256).unwrap();
    let hex: String = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    let wrong = "0".repeat(64);
    for (digests, ignore, count) in [
        (format!("['sha256:{hex}']"), false, 1),
        (format!("['sha256:{wrong}', ' sha256 : {hex} ']"), false, 1),
        (format!("['sha256:{wrong}']"), true, 0),
    ] {
        let rest = format!(
            "symbols: [work]\nbinaryDigests: {digests}\nignore: {{digestVerificationFailure: {ignore}}}"
        );
        harness.load(&hook(&path, &rest));
        assert_eq!(run(&mut harness, &path).len(), count, "{rest}");
    }
    let offset = elf::synthetic::DATA_OFFSET + 64;
    harness.load(&hook(&path, &format!("symbols: [work]\nrefCtrOffsets: [{offset}]")));
    let seen = run(&mut harness, &path);
    let EventKind::Uprobe { counter, .. } = &seen[0].hook.event else { panic!() };
    assert_eq!((seen.len(), *counter), (1, offset));
}

#[test]
fn a_text_is_brought_in_to_its_end() {
    let Some(mut harness) = Harness::with(Feature::SleepableUprobe) else { return };
    let place = Place::new("uprobe-pages");
    // The text begins in one page of the data and ends in the next.
    let text: Vec<u8> = b"over the edge ".iter().copied().cycle().take(600).collect();
    let mut data = vec![0; 0x2000];
    data[0xf00..0xf00 + text.len()].copy_from_slice(&text);
    let mut code = vec![0xbf];
    code.extend((DATA as u32 + 0xf00).to_le_bytes()); // mov edi, text
    code.extend([0xe8, 9, 0, 0, 0]); // call work
    code.extend([0x31, 0xff, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05]); // exit(0)
    let work = TEXT + code.len() as u64;
    code.extend([0x90, 0xc3]);
    let mut made = Synthetic::new();
    made.text(&code);
    made.data(&data);
    made.symbol(Symbol::function("work", work, 2));
    let path = place.0.join("pages");
    made.write(&path);
    harness.load(&hook(&path, "symbols: [work]\nargs: [{index: 0, type: string}]"));
    let seen = run(&mut harness, &path);
    assert_eq!(seen[0].args, [Some(Observed::Text(text))]);
    // Another policy at the same place that reads something else.
    let other = hook(&path, "symbols: [work]\nargs: [{index: 0, type: char_buf, sizeArgIndex: 1}]");
    assert!(harness.try_load(&other).is_err(), "no length");
    harness.load(&hook(&path, "symbols: [work]").replace("name: probe", "name: other"));
    let mut names: Vec<_> =
        run(&mut harness, &path).iter().map(|seen| seen.policy.name.clone()).collect();
    names.sort();
    assert_eq!(names, ["other", "probe"]);
}

#[test]
fn a_program_can_be_killed_where_it_is() {
    use std::os::unix::process::ExitStatusExt as _;
    let Some(mut harness) = Harness::with(Feature::Uprobe) else { return };
    let place = Place::new("uprobe-kill");
    let path = program(&place, "killed");
    let killing = |value: &str| {
        hook(
            &path,
            &format!(
                "symbols: [work]\nargs: [{{index: 0, type: int}}]\nselectors: [{{matchArgs: [{{index: 0, operator: Equal, values: ['{value}']}}], matchActions: [{{action: Sigkill}}]}}]"
            ),
        )
    };
    harness.load(&killing("-3"));
    assert!(Command::new(&path).status().unwrap().success());
    harness.load(&killing("-2"));
    let seen = harness.everything_during(|| {
        assert_eq!(Command::new(&path).status().unwrap().signal(), Some(9));
    });
    assert_eq!(symbols(&seen), ["work"]);
}

#[test]
fn many_places_come_and_go_in_a_moment() {
    let Some(mut harness) = Harness::with(Feature::Uprobe) else { return };
    let place = Place::new("uprobe-many");
    let path = program(&place, "many");
    let removed = |harness: &mut Harness, places: u32| {
        let offsets: Vec<String> =
            (0..places).map(|at| (TEXT_OFFSET + 0x100 + u64::from(at)).to_string()).collect();
        harness.load(&hook(&path, &format!("offsets: [{}]", offsets.join(", "))));
        let began = std::time::Instant::now();
        harness.remove("probe");
        began.elapsed()
    };
    let ten = removed(&mut harness, 1).max(removed(&mut harness, 1)) * 10;
    let took = removed(&mut harness, 100);
    // One after the other they take more than five seconds, and longer on a machine that is slow.
    let limit = std::time::Duration::from_secs(3).max(ten * 7);
    assert!(took < limit, "{took:?} for a hundred, {ten:?} for ten times one");
    assert!(run(&mut harness, &path).is_empty());
}

#[test]
fn names_that_stand_for_several_things_are_told() {
    use elf::synthetic::Section;
    let Some(mut harness) = Harness::with(Feature::Uprobe) else { return };
    let place = Place::new("uprobe-names");
    let mut made = Synthetic::new();
    made.text(&[0xc3; 64]);
    let local = |name: &str, at| Symbol { local: true, ..Symbol::function(name, TEXT + at, 1) };
    let chooser = |name: &str, at| {
        let kind = elf::synthetic::CHOOSER;
        Symbol { kind, ..Symbol::function(name, TEXT + at, 1) }
    };
    made.symbol(local("twice", 1));
    made.symbol(local("twice", 2));
    made.symbol(chooser("copy", 3));
    made.symbol(local("__copy_fast", 4));
    made.symbol(chooser("move", 5));
    made.symbol(Symbol::function("move", TEXT + 6, 1));
    let path = place.0.join("names");
    made.write(&path);
    let planned = |symbol: &str, rest: &str| {
        let policy = hook(&path, &format!("symbols: [{symbol}]\n{rest}"));
        let policy = policy::CheckedPolicy::read("p", &policy).unwrap();
        let plan = compiler::plan::Plan::new(policy.into(), &harness.machine);
        plan.map(|plan| (plan.hooks.len(), plan.notes)).map_err(|problems| problems.to_string())
    };
    let (count, notes) = planned("twice", "").unwrap();
    assert_eq!((count, notes.len()), (2, 1));
    assert!(notes[0].message.ends_with("has 2 functions twice: all of them are hooked"));
    let error = planned("copy", "").unwrap_err();
    assert!(error.contains("hook the one that it chooses, such as __copy_fast"), "{error}");
    let (count, notes) = planned("move", "").unwrap();
    assert_eq!((count, notes.len()), (1, 1));
    assert!(notes[0].message.contains("is hooked in one version"), "{notes:?}");
    let (_, notes) = planned("__copy_fast", "").unwrap();
    assert!(notes.is_empty());

    // A Go program without symbols: names are known, but there is no return and there are no arguments.
    let mut made = Synthetic::new();
    made.text(&[0xc3; 64]);
    made.section(Section::data(".gopclntab", &[]));
    let path = place.0.join("go");
    made.write(&path);
    harness.load(&hook(&path, &format!("offsets: [{TEXT_OFFSET}]")));
    let returns =
        format!("offsets: [{TEXT_OFFSET}]\nreturn: true\nreturnArg: {{index: 0, type: int}}");
    let error = harness.try_load(&hook(&path, &returns)).unwrap_err();
    assert!(error.contains("it is a Go program, which moves its stacks"), "{error}");
}
