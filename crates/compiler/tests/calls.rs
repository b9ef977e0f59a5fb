//! System calls: entry, return, and what both give together.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::observed::Observed;
use harness::{Harness, policy};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

const LSEEK: &str = "
call: sys_lseek
syscall: true
args:
- {index: 2, type: int, label: whence}
- {index: 1, type: int64}
selectors:
- matchArgs:
  - {index: 1, operator: Equal, values: ['4444', '-7']}
  - {index: 2, operator: InRange, values: ['0:1']}
";

#[test]
fn arguments_come_in_listed_order_when_a_selector_matches() {
    let Some(mut harness) = Harness::new() else { return };
    harness.load(&policy("lseek", "kprobes", LSEEK));
    let mut file = File::open("/proc/self/exe").unwrap();
    let seen = harness.during(|| {
        for offset in [4443, 4444, 4445] {
            file.seek(SeekFrom::Start(offset)).unwrap();
        }
        file.seek(SeekFrom::Current(-7)).unwrap();
        file.seek(SeekFrom::Current(-8)).unwrap();
        // whence 2
        file.seek(SeekFrom::End(-7)).unwrap();
    });
    let args: Vec<_> = seen.iter().map(|seen| seen.args.clone()).collect();
    assert_eq!(
        args,
        [
            vec![Some(Observed::Int(0)), Some(Observed::Long(4444))],
            vec![Some(Observed::Int(1)), Some(Observed::Long(-7))],
        ]
    );
    assert!(seen.iter().all(|seen| seen.selector == Some(0) && seen.returned.is_none()));
    harness.remove("lseek");
    assert!(harness.during(|| drop(file.seek(SeekFrom::Start(4444)))).is_empty());
}

const OPEN: &str = "
call: sys_openat
syscall: true
return: true
returnArg: {index: 0, type: int}
args:
- {index: 1, type: string}
selectors:
- matchArgs:
  - {index: 1, operator: Prefix, values: ['/etc/host']}
  matchReturnArgs:
  - {index: 0, operator: LessThan, values: ['0']}
- matchArgs:
  - {index: 1, operator: Equal, values: ['/etc/passwd', '/etc/group']}
";

#[test]
fn an_entry_and_its_return_are_one_observation() {
    let Some(mut harness) = Harness::new() else { return };
    harness.load(&policy("open", "kprobes", OPEN));
    let seen = harness.during(|| {
        for path in ["/etc/hostname", "/etc/host-is-not-there", "/etc/passwd", "/etc/passwd2"] {
            let _ = File::open(path);
        }
    });
    let mut told = Vec::new();
    for seen in &seen {
        let Some(Some(Observed::Text(path))) = seen.args.first() else { panic!("{seen:?}") };
        let Some(Observed::Int(result)) = seen.returned else { panic!("{seen:?}") };
        told.push((String::from_utf8(path.clone()).unwrap(), result < 0, seen.selector));
    }
    assert_eq!(
        told,
        [
            ("/etc/host-is-not-there".to_owned(), true, Some(0)),
            ("/etc/passwd".to_owned(), false, Some(1)),
        ]
    );
}

#[test]
fn several_policies_on_one_call_do_not_disturb_each_other() {
    let Some(mut harness) = Harness::new() else { return };
    for (name, offset) in [("one", 11), ("two", 22), ("three", 33)] {
        let hook = format!(
            "call: sys_lseek\nsyscall: true\nargs:\n- {{index: 1, type: int64}}\nselectors:\n- matchArgs:\n  - {{index: 1, operator: Equal, values: ['{offset}', '99']}}\n"
        );
        harness.load(&policy(name, "kprobes", &hook));
    }
    let mut file = File::open("/proc/self/exe").unwrap();
    let mut told = |harness: &mut Harness, offset| {
        let seen = harness.during(|| drop(file.seek(SeekFrom::Start(offset))));
        let mut names: Vec<String> = seen.iter().map(|seen| seen.policy.name.clone()).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(told(&mut harness, 22), "two");
    assert_eq!(told(&mut harness, 99), "one three two");
    harness.remove("two");
    assert_eq!(told(&mut harness, 22), "");
    assert_eq!(told(&mut harness, 99), "one three");
    let mut byte = [0];
    file.read_exact(&mut byte).unwrap();
}
