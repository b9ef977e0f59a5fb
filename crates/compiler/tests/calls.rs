//! System calls: entry, return, and what both give together.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::observed::Observed;
use harness::{Harness, policy};
use kernel::features::Feature;
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
  - {index: 1, operator: Prefix, values: ['/tmp/tested']}
  matchReturnArgs:
  - {index: 0, operator: LessThan, values: ['0']}
- matchArgs:
  - {index: 1, operator: Equal, values: ['/etc/passwd', '/etc/passwe']}
";

#[test]
fn an_entry_and_its_return_are_one_observation() {
    let Some(mut harness) = Harness::new() else { return };
    harness.load(&policy("open", "kprobes", OPEN));
    opens(&mut harness);
}

fn opens(harness: &mut Harness) {
    std::fs::write("/tmp/tested-is-there", "").unwrap();
    let seen = harness.during(|| {
        for path in
            ["/tmp/tested-is-there", "/tmp/tested-is-not-there", "/etc/passwd", "/etc/passwd2"]
        {
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
            ("/tmp/tested-is-not-there".to_owned(), true, Some(0)),
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

const READ: &str = "
call: vfs_read
syscall: false
return: true
returnArg: {index: 0, type: int64}
args:
- {index: 2, type: size_t}
- {index: 1, type: string}
selectors:
- matchArgs:
  - {index: 2, operator: InRange, values: ['4444:4446']}
  matchReturnArgs:
  - {index: 0, operator: GreaterThan, values: ['4444']}
";

const PERMISSION: &str = "
call: security_file_permission
syscall: false
return: true
returnArg: {index: 0, type: int}
args:
- {index: 1, type: int}
selectors:
- matchArgs:
  - {index: 1, operator: Equal, values: ['4']}
";

#[test]
fn functions_are_seen_at_entry_and_return() {
    let Some(mut harness) = Harness::with(Feature::Fexit) else { return };
    functions(&mut harness);
}

#[test]
fn functions_are_seen_without_trampolines() {
    let lacks = [Feature::Fentry, Feature::Fexit];
    let Some(mut harness) = Harness::without(Feature::Kretprobe, &lacks) else { return };
    functions(&mut harness);
}

#[test]
fn system_calls_are_seen_without_trampolines() {
    let lacks = [Feature::Fentry, Feature::Fexit];
    let Some(mut harness) = Harness::without(Feature::Kretprobe, &lacks) else { return };
    harness.load(&policy("open", "kprobes", OPEN));
    opens(&mut harness);
}

#[test]
fn system_calls_are_seen_without_probes() {
    let lacks = [Feature::Fentry, Feature::Fexit, Feature::Kprobe, Feature::Kretprobe];
    let Some(mut harness) = Harness::without(Feature::TpBtf, &lacks) else { return };
    harness.load(&policy("open", "kprobes", OPEN));
    opens(&mut harness);
}

fn functions(harness: &mut Harness) {
    harness.load(&policy("read", "kprobes", READ));
    harness.load(&policy("permission", "kprobes", PERMISSION));
    let mut file = File::open("/proc/self/exe").unwrap();
    let mut buffer = vec![0; 4447];
    let seen = harness.during(|| {
        for length in [4443, 4444, 4445, 4447] {
            assert_eq!(file.read(&mut buffer[..length]).unwrap(), length);
        }
    });
    let told: Vec<_> = seen
        .iter()
        .map(|seen| (seen.policy.name.as_str(), seen.args[0].clone(), seen.returned.clone()))
        .collect();
    let permission = ("permission", Some(Observed::Int(4)), Some(Observed::Int(0)));
    let read = ("read", Some(Observed::Size(4445)), Some(Observed::Long(4445)));
    assert_eq!(
        told,
        [permission.clone(), permission.clone(), permission.clone(), read, permission]
    );
}
