//! Numbers: long lists, sets of capabilities, system calls, and conditions over several.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::observed::{Observation, Observed};
use harness::{Harness, own_thread, policy};
use kernel::features::Feature;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// What this thread's calls show while `body` runs.
fn own(harness: &mut Harness, body: impl FnOnce()) -> Vec<Observation> {
    own_thread(harness.during(body))
}

/// Seeks to where nothing can be: the call fails, having been seen.
fn seek(offset: i64, whence: u32) {
    let file = File::open("/dev/null").unwrap();
    let from = match whence {
        0 => rustix::fs::SeekFrom::Start(offset as u64),
        _ => rustix::fs::SeekFrom::Current(offset),
    };
    let _ = rustix::fs::seek(file, from);
}

/// The offsets, of those given, that lseek(2) is seen with.
fn seen_of(harness: &mut Harness, filter: &str, offsets: &[i64]) -> Vec<i64> {
    let hook = format!(
        "call: sys_lseek\nsyscall: true\nargs:\n- {{index: 1, type: int64}}\n- {{index: 2, type: int}}\nselectors:\n- matchArgs:\n  - {{{filter}}}\n"
    );
    harness.load(&policy("seek", "kprobes", &hook));
    let seen = own(harness, || offsets.iter().for_each(|offset| seek(*offset, 1)));
    harness.remove("seek");
    let offset = |seen: &Observation| match seen.args[0] {
        Some(Observed::Long(offset)) => offset,
        _ => panic!("{seen:?}"),
    };
    seen.iter().map(offset).collect()
}

fn check(harness: &mut Harness, filter: &str, offsets: &[i64], wanted: &[i64]) {
    let seen = seen_of(harness, filter, offsets);
    assert_eq!(seen, wanted, "{}", &filter[..filter.len().min(200)]);
}

#[test]
fn long_lists_of_numbers() {
    let Some(mut harness) = Harness::new() else { return };
    // Every third number from `first` on, so that none can be joined.
    let list = |first: i64, count: i64| {
        let values: Vec<String> = (0..count).map(|n| (first + 3 * n).to_string()).collect();
        format!("values: {values:?}")
    };
    for count in [9, 300, 5000] {
        let last = -600 + 3 * (count - 1);
        let given = [i64::MIN, -603, -601, -600, -599, -597, last - 1, last, last + 1, last + 3];
        let wanted = [-600, -597, last];
        check(
            &mut harness,
            &format!("index: 1, operator: InMap, {}", list(-600, count)),
            &given,
            &wanted,
        );
        let others: Vec<i64> =
            given.iter().copied().filter(|offset| !wanted.contains(offset)).collect();
        check(
            &mut harness,
            &format!("index: 1, operator: NotInMap, {}", list(-600, count)),
            &given,
            &others,
        );
    }
}

#[test]
fn ranges_of_all_sizes_beside_long_lists() {
    let Some(mut harness) = Harness::new() else { return };
    let mut values: Vec<String> = (0..3000).map(|n| (10 * n).to_string()).collect();
    values.extend(["-9000000000000000000:-5".to_owned(), "31000:8000000000000000000".to_owned()]);
    check(
        &mut harness,
        &format!("index: 1, operator: InMap, values: {values:?}"),
        &[
            i64::MIN,
            -9_000_000_000_000_000_000,
            -5,
            -4,
            0,
            5,
            29_990,
            30_990,
            31_000,
            1 << 62,
            i64::MAX,
        ],
        &[-9_000_000_000_000_000_000, -5, 0, 29_990, 31_000, 1 << 62],
    );
}

#[test]
fn conditions_over_arguments() {
    let Some(mut harness) = Harness::new() else { return };
    let given = [-2, -1, 0, 1, 5, i64::MAX];
    for (condition, wanted) in [
        ("arg0 > 0 && arg1 == 1", &given[3..]),
        ("arg0 > 0 && arg1 == int32(0)", &[]),
        ("arg0 + 1 < 0", &[-2, i64::MAX]),
        ("arg0 == -1 || (arg0 - 1 == 0 && !(arg1 != 1))", &[-1, 1]),
        ("xor(arg0 < 1, arg0 > -2)", &[-2, 1, 5, i64::MAX]),
        ("(arg0 < 0) == (arg1 == 1)", &[-2, -1]),
        ("int32(arg0) == arg1 - 2", &[-1, i64::MAX]),
        ("not(arg0 < 5) && -arg1 == -1 && true", &[5, i64::MAX]),
        ("false || arg0 > 100000000000", &[i64::MAX]),
        ("arg0 in [-1, 5]", &[-1, 5]),
        ("!(arg0 in [-2, -1, 0, 1, 4])", &[5, i64::MAX]),
        ("arg0 < 0 ? arg0 == -2 : arg0 == 5", &[-2, 5]),
        ("(arg0 < 0 ? 0 - arg0 : arg0) in [1, 2]", &[-2, -1, 1]),
        ("arg0 * arg0 == 4", &[-2]),
        ("arg0 / 2 == -1", &[-2]),
        ("arg0 % 2 == -1", &[-1]),
        ("100 / arg0 > 10", &[1, 5]),
        ("arg0 == 0 || 100 / arg0 > 10", &[0, 1, 5]),
        ("arg0 * 2 > 0 || arg0 < 0", &[-2, -1, 1, 5]),
        ("arg0 * 2 + 1 == 11", &[5]),
    ] {
        check(&mut harness, &format!("operator: CelExpr, values: ['{condition}']"), &given, wanted);
    }
}

/// A policy on all system calls, by the tracepoint's arguments or its record; lists: system calls that
/// hardly anybody makes.
fn on_syscalls(raw: bool, filter: &str) -> String {
    let index = if raw { 1 } else { 4 };
    let hook = format!(
        "subsystem: raw_syscalls\nevent: sys_enter\nraw: {raw}\nargs:\n- {{index: {index}, type: syscall64}}\nselectors:\n- matchArgs:\n  - {{args: [0], {filter}}}\n"
    );
    let text = policy("calls", "tracepoints", &hook);
    text + "  lists:\n  - name: rare\n    type: syscalls\n    values: [sys_getpriority, sys_umask, i386/sys_umask]\n  - name: other\n    type: syscalls\n    values: [i386/sys_getpriority, arm64/sys_umask, sys_setpriority]\n"
}

fn calls(seen: &[Observation]) -> Vec<(u32, bool)> {
    let call = |seen: &Observation| match seen.args[0] {
        Some(Observed::Syscall { number, compat }) => (number, compat),
        _ => panic!("{seen:?}"),
    };
    seen.iter().map(call).collect()
}

/// Where policies on the tracepoint's arguments and on its record can be tried.
fn harnesses() -> [(bool, Option<Harness>); 2] {
    [(true, Harness::new()), (false, Harness::with(Feature::Tracepoint))]
}

#[test]
#[cfg(target_arch = "x86_64")]
fn system_calls_by_number_and_list() {
    const GETPRIORITY: (u32, bool) = (140, false);
    const UMASK: (u32, bool) = (95, false);
    for (raw, harness) in harnesses() {
        let Some(mut harness) = harness else { continue };
        for (filter, wanted) in [
            ("operator: Equal, values: ['140']", vec![GETPRIORITY]),
            ("operator: InMap, values: ['list:rare']", vec![GETPRIORITY, UMASK]),
            ("operator: InMap, values: ['list:other']", vec![]),
            ("operator: InMap, values: ['list:other', '140']", vec![GETPRIORITY]),
            // 60 is umask of i386.
            ("operator: Equal, values: ['0x8000005f', '0x8000003c', '2147483788']", vec![]),
            ("operator: InRange, values: ['95:95']", vec![UMASK]),
        ] {
            harness.load(&on_syscalls(raw, filter));
            let seen = own(&mut harness, || {
                rustix::process::getpriority_process(None).unwrap();
                harness::umask(0o22);
            });
            harness.remove("calls");
            assert_eq!(calls(&seen), wanted, "{filter}, raw: {raw}");
        }
    }
}

/// A 32-bit program that calls umask(0o22) and exits.
#[cfg(target_arch = "x86_64")]
fn compat_program() -> Vec<u8> {
    const CODE: [u8; 21] = [
        0xb8, 60, 0, 0, 0, // mov eax, 60
        0xbb, 0o22, 0, 0, 0, // mov ebx, 0o22
        0xcd, 0x80, // int 0x80
        0xb8, 1, 0, 0, 0, // mov eax, 1
        0xcd, 0x80, // int 0x80
        0, 0,
    ];
    const START: u32 = 0x0804_8000;
    let mut elf = vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let half = |elf: &mut Vec<u8>, numbers: &[u16]| {
        numbers.iter().for_each(|number| elf.extend(number.to_le_bytes()));
    };
    let word = |elf: &mut Vec<u8>, numbers: &[u32]| {
        numbers.iter().for_each(|number| elf.extend(number.to_le_bytes()));
    };
    // ET_EXEC, EM_386
    half(&mut elf, &[2, 3]);
    word(&mut elf, &[1, START + 84, 52, 0, 0]);
    half(&mut elf, &[52, 32, 1, 0, 0, 0]);
    // PT_LOAD, readable and executable
    let size = 84 + CODE.len() as u32;
    word(&mut elf, &[1, 0, START, START, size, size, 5, 4096]);
    elf.extend(CODE);
    elf
}

#[test]
#[cfg(target_arch = "x86_64")]
fn system_calls_of_32_bit_programs() {
    let path = format!("/tmp/tested-compat-{}", std::process::id());
    std::fs::write(&path, compat_program()).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let Some(mut harness) = Harness::new() else { return };
    for (filter, matches) in [
        ("operator: Equal, values: ['0x8000003c']", true),
        ("operator: Equal, values: ['60']", false),
        ("operator: InMap, values: ['list:rare']", true),
        ("operator: InMap, values: ['list:other']", false),
    ] {
        harness.load(&on_syscalls(true, filter));
        let mut child = None;
        let seen = harness.everything_during(|| match Command::new(&path).spawn() {
            Ok(mut process) => {
                process.wait().unwrap();
                child = Some(process.id());
            }
            Err(error) => eprintln!("skipped: no 32-bit programs: {error}"),
        });
        let Some(child) = child else { break };
        let seen: Vec<Observation> =
            seen.into_iter().filter(|seen| seen.process.pid == child).collect();
        harness.remove("calls");
        let compat: Vec<_> = calls(&seen).into_iter().filter(|(_, compat)| *compat).collect();
        let wanted: &[(u32, bool)] = if matches { &[(60, true)] } else { &[] };
        assert_eq!(compat, wanted, "{filter}");
    }
    std::fs::remove_file(&path).unwrap();
}
