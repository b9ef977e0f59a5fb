//! Each kind of hook: a filter that holds, one that just does not, and the same of what is returned. A kind
//! without a case does not build.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::observed::Observation;
use elf::synthetic::{Section, Symbol, Synthetic, TEXT, probe_note};
use harness::{Harness, Place, policy};
use kernel::features::Feature;
use policy::checked::HookKind;
use std::fs::File;
use std::path::Path;
use std::process::Command;

/// How a kind of hook is tried.
struct Case {
    /// What the kernel needs: one of these.
    needs: &'static [Feature],
    /// The hook, in YAML, without selectors.
    hook: String,
    /// Filters by `args` that hold, and that just do not.
    filters: [String; 2],
    /// Filters by what is returned.
    returned: Option<[&'static str; 2]>,
    /// What is hooked is passed once.
    act: Box<dyn Fn()>,
}

/// What is passed through when a file is opened that is not there.
const OPEN: &str = "/tmp/tested-hook";

fn open() {
    assert!(File::open(OPEN).is_err());
}

fn case(kind: HookKind, place: &Place) -> Case {
    let filter = |operator: &str, value: &str| {
        format!("matchArgs: [{{args: [0], operator: {operator}, values: ['{value}']}}]")
    };
    let own = || Box::new(|| harness::umask(0o171));
    let program = || {
        let path = place.0.join(kind.plural());
        harness::umask(0o022);
        self::program(&path);
        path
    };
    match kind {
        HookKind::Kprobe => Case {
            needs: &[Feature::Fexit, Feature::Kretprobe, Feature::TpBtf],
            hook: "call: sys_umask\nsyscall: true\nargs: [{index: 0, type: int}]".to_owned(),
            filters: ["121", "120"].map(|mask| filter("Equal", mask)),
            // That of before: what act() itself sets at last.
            returned: Some([
                "matchReturnArgs: [{index: 0, operator: Equal, values: ['121']}]",
                "matchReturnArgs: [{index: 0, operator: Equal, values: ['122']}]",
            ]),
            act: own(),
        },
        HookKind::Fentry => Case {
            needs: &[Feature::Fexit],
            hook: "call: do_filp_open\nsyscall: false\nargs: [{index: 1, type: filename}]"
                .to_owned(),
            filters: [OPEN, "/tmp/tested-hoo"].map(|path| filter("Equal", path)),
            returned: None,
            act: Box::new(open),
        },
        HookKind::Tracepoint => Case {
            needs: &[Feature::Tracepoint],
            hook: "subsystem: syscalls\nevent: sys_enter_umask\nargs: [{index: 5, type: int}]"
                .to_owned(),
            filters: ["121", "122"].map(|mask| filter("Equal", mask)),
            returned: None,
            act: own(),
        },
        HookKind::Lsm => {
            let file = place.0.join("opened");
            File::create(&file).unwrap();
            let path = file.to_str().unwrap().to_owned();
            Case {
                needs: &[Feature::Lsm],
                hook: "hook: file_open\nargs: [{index: 0, type: file}]".to_owned(),
                filters: [filter("Equal", &path), filter("Equal", &path[..path.len() - 1])],
                returned: None,
                act: Box::new(move || drop(File::open(&file).unwrap())),
            }
        }
        HookKind::Uprobe => {
            let path = program();
            Case {
                needs: &[Feature::Uprobe],
                hook: format!(
                    "path: {}\nsymbols: [work]\nargs: [{{index: 0, type: int}}]",
                    path.display()
                ),
                filters: ["5", "4"].map(|number| filter("Equal", number)),
                returned: Some([
                    "matchReturnArgs: [{index: 0, operator: GreaterThan, values: ['76']}]",
                    "matchReturnArgs: [{index: 0, operator: GreaterThan, values: ['77']}]",
                ]),
                act: Box::new(move || assert!(Command::new(&path).status().unwrap().success())),
            }
        }
        HookKind::Usdt => {
            let path = program();
            Case {
                needs: &[Feature::Uprobe],
                hook: format!(
                    "path: {}\nprovider: app\nname: start\nargs: [{{index: 0, type: int}}]",
                    path.display()
                ),
                filters: ["5", "4"].map(|number| filter("Equal", number)),
                returned: None,
                act: Box::new(move || assert!(Command::new(&path).status().unwrap().success())),
            }
        }
    }
}

/// A program that calls `work(5)`, which passes `app:start` and returns 77.
fn program(path: &Path) {
    const WORK: u64 = 0x100;
    let mut code = vec![0xcc; 0x200];
    let mut start = vec![0xbf, 5, 0, 0, 0, 0xe8]; // mov edi, 5; call work
    start.extend((WORK as i32 - 10).to_le_bytes());
    start.extend([0x31, 0xff, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05]); // exit(0)
    code[..start.len()].copy_from_slice(&start);
    // nop; mov eax, 77; ret
    code[WORK as usize..][..7].copy_from_slice(&[0x90, 0xb8, 77, 0, 0, 0, 0xc3]);
    let mut made = Synthetic::new();
    made.text(&code);
    made.symbol(Symbol::function("work", TEXT + WORK, 7));
    made.section(Section::note(
        ".note.stapsdt",
        &probe_note(TEXT + WORK, 0, 0, ["app", "start", "-4@%edi"]),
    ));
    made.write(path);
}

#[test]
fn every_kind_of_hook_matches_or_just_does_not() {
    let place = Place::new("hooks");
    for kind in HookKind::ALL.iter().copied() {
        // Programs are made of its instructions.
        let of_programs = matches!(kind, HookKind::Uprobe | HookKind::Usdt);
        if of_programs && !cfg!(target_arch = "x86_64") {
            continue;
        }
        let Case { needs, hook, filters, returned, act } = case(kind, &place);
        let Some(mut harness) = needs.iter().find_map(|need| Harness::with(*need)) else {
            continue;
        };
        let mut tried = |hook: &str, selector: &str, expected: usize| {
            let yaml = format!("{hook}\nselectors: [{{{selector}}}]\n");
            harness.load(&policy("tried", kind.plural(), &yaml));
            let seen: Vec<Observation> = harness.everything_during(&act);
            harness.remove("tried");
            let own =
                seen.iter().filter(|seen| of_programs || seen.process.pid == std::process::id());
            assert_eq!(own.count(), expected, "{}: {yaml}", kind.plural());
        };
        for (filter, expected) in filters.iter().zip([1, 0]) {
            tried(&hook, filter, expected);
        }
        assert!(returned.is_none() || kind.has_return());
        let hook = format!("{hook}\nreturn: true\nreturnArg: {{index: 0, type: int}}");
        for (filter, expected) in returned.iter().flatten().zip([1, 0]) {
            act();
            tried(&hook, filter, expected);
        }
    }
}
