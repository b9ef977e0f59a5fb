//! Buffers: how much of them is captured, when, and what filters see.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::observed::{Fault, Observation, Observed};
use harness::{Harness, own_thread, policy};
use kernel::features::Feature;
use kernel::syscalls::Abi;
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::process::{Command, Stdio};

/// What this thread's calls show while `body` runs.
fn own(harness: &mut Harness, body: impl FnOnce()) -> Vec<Observation> {
    own_thread(harness.during(body))
}

fn bytes(bytes: &[u8], original: Option<u64>) -> Option<Observed> {
    Some(Observed::Bytes { bytes: bytes.to_vec(), original })
}

/// A policy on write(2) with a filter on the buffer.
fn on_write(filter: &str) -> String {
    let hook = format!(
        "call: sys_write\nsyscall: true\nargs:\n- {{index: 1, type: char_buf, sizeArgIndex: 3}}\nselectors:\n- matchArgs:\n  - {{index: 1, {filter}}}\n"
    );
    policy("write", "kprobes", &hook)
}

/// What is captured of these writes.
fn written(filter: &str, buffers: &[&[u8]]) -> Option<Vec<Option<Observed>>> {
    let mut harness = Harness::new()?;
    harness.load(&on_write(filter));
    let mut null = File::options().write(true).open("/dev/null").unwrap();
    let seen = own(&mut harness, || {
        for buffer in buffers {
            assert_eq!(null.write(buffer).unwrap(), buffer.len());
        }
    });
    Some(seen.iter().map(|seen| seen.args[0].clone()).collect())
}

#[test]
fn a_buffer_is_as_long_as_the_call_says() {
    let buffers: [&[u8]; 4] = [b"tested", b"tested\0 more\0", b"teste", b""];
    let Some(seen) = written("operator: Prefix, values: [tested]", &buffers) else { return };
    assert_eq!(seen, [bytes(b"tested", None), bytes(b"tested\0 more\0", None)]);
    let Some(seen) = written("operator: Equal, values: ['tested']", &buffers) else { return };
    assert_eq!(seen, [bytes(b"tested", None)]);
    let Some(seen) = written("operator: Postfix, values: [\"\\0\"]", &buffers) else { return };
    assert_eq!(seen, [bytes(b"tested\0 more\0", None)]);
    let Some(seen) = written("operator: NotPrefix, values: ['test']", &buffers) else { return };
    assert_eq!(seen, [bytes(b"", None)]);
}

#[test]
fn a_long_buffer_is_cut_and_its_length_told() {
    let long: Vec<u8> = b"tested ".iter().copied().cycle().take(10_000).collect();
    let buffers = [&long[..4095], &long[..4096], &long[..4097], &long];
    let Some(seen) = written("operator: Prefix, values: [tested]", &buffers) else { return };
    assert_eq!(
        seen,
        [
            bytes(&long[..4095], None),
            bytes(&long[..4096], None),
            bytes(&long[..4096], Some(4097)),
            bytes(&long[..4096], Some(10_000)),
        ]
    );
}

#[test]
fn a_buffer_that_cannot_be_read_matches_nothing() {
    for (filter, count) in
        [("", 1), ("- matchArgs: [{index: 4, operator: NotPrefix, values: [a]}]", 0)]
    {
        let Some(mut harness) = Harness::new() else { return };
        let mut hook = "call: sys_waitid\nsyscall: true\nargs:\n- {index: 4, type: char_buf, sizeArgIndex: 4}\n".to_owned();
        if !filter.is_empty() {
            hook.push_str(&format!("selectors:\n{filter}\n"));
        }
        harness.load(&policy("wait", "kprobes", &hook));
        // The usage is not asked for: its address is null.
        let seen = own(&mut harness, || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            let _ = rustix::process::waitid(WaitId::All, options);
        });
        assert_eq!(seen.len(), count, "{filter}");
        assert!(seen.iter().all(|seen| seen.args[0] == Some(Observed::Fault(Fault::Address))));
    }
}

const READ: &str = "
call: sys_read
syscall: true
return: true
returnArg: {index: 0, type: int64}
args:
- {index: 1, type: char_buf, returnCopy: true}
- {index: 2, type: size_t}
selectors:
- matchArgs:
  - {index: 2, operator: Equal, values: ['5551', '5552', '5553']}
";

#[test]
fn a_buffer_is_copied_at_return() {
    let Some(mut harness) = Harness::new() else { return };
    harness.load(&policy("read", "kprobes", READ));
    let path = format!("/tmp/tested-buffer-{}", std::process::id());
    let contents: Vec<u8> = (0..20_000).map(|n| b'a' + (n % 26) as u8).collect();
    std::fs::write(&path, &contents).unwrap();
    let mut file = File::open(&path).unwrap();
    let directory = File::open("/tmp").unwrap();
    let mut buffer = vec![b'?'; 6000];
    let seen = own(&mut harness, || {
        file.seek(SeekFrom::Start(19_998)).unwrap();
        assert_eq!(file.read(&mut buffer[..5551]).unwrap(), 2);
        assert_eq!(file.read(&mut buffer[..5552]).unwrap(), 0);
        file.seek(SeekFrom::Start(0)).unwrap();
        assert_eq!(file.read(&mut buffer[..5553]).unwrap(), 5553);
        assert_eq!(rustix::io::read(&directory, &mut buffer[..5551]), Err(Errno::ISDIR));
    });
    std::fs::remove_file(&path).unwrap();
    let told: Vec<_> =
        seen.iter().map(|seen| (seen.args[0].clone(), seen.returned.clone())).collect();
    assert_eq!(
        told,
        [
            (bytes(&contents[19_998..], None), Some(Observed::Long(2))),
            (bytes(b"", None), Some(Observed::Long(0))),
            (bytes(&contents[..4096], Some(5553)), Some(Observed::Long(5553))),
            (bytes(b"", None), Some(Observed::Long(-21))),
        ]
    );
}

#[test]
fn a_copied_buffer_needs_no_return_value() {
    let Some(mut harness) = Harness::new() else { return };
    let hook = READ.replace("return: true\nreturnArg: {index: 0, type: int64}\n", "");
    harness.load(&policy("read", "kprobes", &hook));
    let mut zero = File::open("/dev/zero").unwrap();
    let seen = own(&mut harness, || assert_eq!(zero.read(&mut [1; 5551]).unwrap(), 5551));
    let args: Vec<_> = seen.iter().map(|seen| seen.args[0].clone()).collect();
    assert_eq!(args, [bytes(&[0; 4096], Some(5551))]);
    assert_eq!(seen[0].returned, None);
}

/// A policy on writev(2) with a filter on what is written.
fn on_writev(filter: &str) -> String {
    let hook = format!(
        "call: sys_writev\nsyscall: true\nargs:\n- {{index: 1, type: char_iovec, sizeArgIndex: 3}}\nselectors:\n- matchArgs:\n  - {{args: [0], {filter}}}\n"
    );
    policy("writev", "kprobes", &hook)
}

#[test]
fn segments_are_put_together() {
    let long: Vec<u8> = b"tested ".iter().copied().cycle().take(4095).collect();
    let all = [&long[..], b"ab"].concat();
    let writes: [&[&[u8]]; 6] = [
        &[b"tes", b"", b"ted"],
        &[b"tes", b"te", b"\0d"],
        &[b"tes", b"te"],
        &[],
        &[&long, b"a"],
        &[&long, b"a", b"b"],
    ];
    for (filter, wanted) in [
        (
            "operator: Prefix, values: [teste]",
            vec![
                bytes(b"tested", None),
                bytes(b"teste\0d", None),
                bytes(b"teste", None),
                bytes(&all[..4096], None),
                bytes(&all[..4096], Some(4097)),
            ],
        ),
        ("operator: Equal, values: [tested]", vec![bytes(b"tested", None)]),
        ("operator: Postfix, values: [\"\\0d\"]", vec![bytes(b"teste\0d", None)]),
        ("operator: NotPrefix, values: [tes]", vec![bytes(b"", None)]),
    ] {
        let Some(mut harness) = Harness::new() else { return };
        harness.load(&on_writev(filter));
        let null = File::options().write(true).open("/dev/null").unwrap();
        let seen = own(&mut harness, || {
            for write in writes {
                let segments: Vec<_> = write.iter().map(|bytes| IoSlice::new(bytes)).collect();
                rustix::io::writev(&null, &segments).unwrap();
            }
        });
        let seen: Vec<_> = seen.iter().map(|seen| seen.args[0].clone()).collect();
        assert_eq!(seen, wanted, "{filter}");
    }
}

#[test]
fn many_segments() {
    let Some(mut harness) = Harness::new() else { return };
    harness.load(&on_writev("operator: NotEqual, values: [nothing]"));
    let null = File::options().write(true).open("/dev/null").unwrap();
    let many: Vec<_> = (0..1024).map(|_| IoSlice::new(b"12345")).collect();
    let seen = own(&mut harness, || {
        rustix::io::writev(&null, &many).unwrap();
    });
    let text: Vec<u8> = b"12345".iter().copied().cycle().take(4096).collect();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].args[0], bytes(&text, Some(5120)));
}

#[test]
fn segments_are_copied_at_return() {
    let hook = "
call: sys_readv
syscall: true
args:
- {index: 1, type: char_iovec, returnCopy: true, sizeArgIndex: 3}
- {index: 2, type: int}
selectors:
- matchArgs:
  - {args: [1], operator: Equal, values: ['3']}
";
    let Some(mut harness) = Harness::new() else { return };
    harness.load(&policy("readv", "kprobes", hook));
    let path = format!("/tmp/tested-segments-{}", std::process::id());
    std::fs::write(&path, b"tested segments").unwrap();
    let mut file = File::open(&path).unwrap();
    let [mut a, mut b, mut c] = [[b'?'; 4], [b'?'; 4], [b'?'; 4]];
    let seen = own(&mut harness, || {
        for _ in 0..2 {
            let mut into =
                [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b), IoSliceMut::new(&mut c)];
            assert_ne!(file.read_vectored(&mut into).unwrap(), 0);
        }
        assert_eq!(file.read_vectored(&mut [IoSliceMut::new(&mut a)]).unwrap(), 0);
    });
    std::fs::remove_file(&path).unwrap();
    let seen: Vec<_> = seen.iter().map(|seen| seen.args[0].clone()).collect();
    // Of the second read as much as it gave.
    assert_eq!(seen, [bytes(b"tested segme", None), bytes(b"nts", None)]);
}

#[test]
fn an_array_of_a_tracepoint_is_its_elements() {
    let Some(mut harness) = Harness::with(Feature::Tracepoint) else { return };
    let number = Abi::native().unwrap().number("umask").unwrap();
    let hook = format!(
        "subsystem: raw_syscalls\nevent: sys_enter\nargs:\n- {{index: 4, type: syscall64}}\n- {{index: 5}}\nselectors:\n- matchArgs:\n  - {{args: [0], operator: Equal, values: ['{number}']}}\n"
    );
    harness.load(&policy("array", "tracepoints", &hook));
    let seen = own(&mut harness, || {
        harness::umask(0o163);
        drop(File::open("/dev/null"));
    });
    assert_eq!(seen.len(), 1, "{seen:?}");
    let Some(Observed::Values(elements)) = &seen[0].args[1] else { panic!("{seen:?}") };
    assert_eq!((elements.len(), &elements[0]), (6, &Observed::Size(0o163)));
}

/// Longest buffer that is captured whole.
const WHOLE_MAX: usize = 327_360;

#[test]
fn a_text_that_a_record_has_elsewhere() {
    let Some(mut harness) = Harness::with(Feature::Tracepoint) else { return };
    for (filter, wanted) in [
        ("operator: Equal, values: [/proc/self/exe]", 1),
        ("operator: Equal, values: [/proc/self/ex]", 0),
        ("operator: Postfix, values: [self/exe]", 1),
    ] {
        let hook = format!(
            "subsystem: sched\nevent: sched_process_exec\nargs:\n- {{index: 4, type: data_loc}}\nselectors:\n- matchArgs:\n  - {{args: [0], {filter}}}\n"
        );
        harness.load(&policy("exec", "tracepoints", &hook));
        let mut child = 0;
        let seen = harness.everything_during(|| {
            let mut command = Command::new("/proc/self/exe");
            let command = command.arg("--list").stdout(Stdio::null());
            let mut running = command.spawn().unwrap();
            child = running.id();
            running.wait().unwrap();
        });
        let seen: Vec<_> = seen.into_iter().filter(|seen| seen.tid == child).collect();
        assert_eq!(seen.len(), wanted, "{filter}: {seen:?}");
        let text = Some(Observed::Text(b"/proc/self/exe".to_vec()));
        assert!(seen.iter().all(|seen| seen.args[0] == text), "{seen:?}");
        harness.remove("exec");
    }
}

#[test]
fn a_long_buffer_is_captured_whole_when_asked_for() {
    for more in ["", "return: true\nreturnArg: {index: 0, type: int64}\n"] {
        whole_buffers(more);
    }
}

/// A policy that captures what write(2) is given and that begins with "whole".
const WHOLE: &str = "
call: sys_write
syscall: true
args:
- {index: 0, type: int}
- {index: 1, type: char_buf, sizeArgIndex: 3, maxData: true}
selectors:
- matchArgs:
  - {args: [1], operator: Prefix, values: [whole]}
";

fn whole_buffers(more: &str) {
    let Some(mut harness) = Harness::new() else { return };
    harness.load(&policy("write", "kprobes", &format!("{}{more}", WHOLE.trim_start())));
    let mut null = File::options().write(true).open("/dev/null").unwrap();
    let long: Vec<u8> = (0..WHOLE_MAX + 1).map(|at| (at / 3) as u8).collect();
    let lengths = [10, 4095, 4096, 4097, 8192, 8193, 100_000, WHOLE_MAX, WHOLE_MAX + 1];
    let buffers = lengths.map(|length| [b"whole", &long[5..length]].concat());
    let seen = own(&mut harness, || {
        for buffer in &buffers {
            assert_eq!(null.write(buffer).unwrap(), buffer.len());
        }
        // Not asked for, so that none of its parts are sent.
        assert_eq!(null.write(&long[..100_000]).unwrap(), 100_000);
    });
    assert_eq!(seen.len(), buffers.len());
    for (seen, buffer) in seen.iter().zip(&buffers) {
        let whole = &buffer[..buffer.len().min(WHOLE_MAX)];
        let original = (whole.len() < buffer.len()).then_some(buffer.len() as u64);
        // Not by assert_eq: a third of a megabyte says nothing.
        assert!(seen.args[1] == bytes(whole, original), "{} bytes", buffer.len());
    }
    assert_eq!(harness.decoder.forgotten(), 0);
}

#[test]
fn a_buffer_of_which_parts_are_lost_ends_there() {
    let Some(mut harness) = Harness::new() else { return };
    harness.load(&policy("write", "kprobes", WHOLE));
    let mut null = File::options().write(true).open("/dev/null").unwrap();
    let long: Vec<u8> = (0..WHOLE_MAX).map(|at| (at / 3) as u8).collect();
    let buffer = [b"whole", &long[5..]].concat();
    // Together more than the ring takes.
    let seen = own(&mut harness, || {
        for _ in 0..20 {
            assert_eq!(null.write(&buffer).unwrap(), buffer.len());
        }
    });
    let mut cut = 0;
    for seen in &seen {
        let Some(Observed::Bytes { bytes, original }) = &seen.args[1] else { panic!() };
        assert!(buffer.starts_with(bytes), "{} bytes", bytes.len());
        let whole = bytes.len() == buffer.len();
        assert_eq!(*original, (!whole).then_some(WHOLE_MAX as u64));
        cut += usize::from(!whole);
    }
    let whole = seen.len() - cut;
    assert!((10..20).contains(&whole), "{whole} whole, {cut} cut");
}

/// The length that a policy names need not be that of the buffer: what stands there is read as the call's
/// parameter, and memory that is not there ends the buffer or is a fault.
#[test]
fn lengths_that_are_none() {
    for (more, cut) in [("", 4096), (", maxData: true", WHOLE_MAX)] {
        let Some(mut harness) = Harness::new() else { return };
        let hook = format!(
            "call: sys_pwrite64\nsyscall: true\nargs:\n- {{index: 1, type: char_buf, sizeArgIndex: 4{more}}}\n- {{index: 3, type: int64}}\nselectors:\n- matchArgs:\n  - {{args: [0], operator: NotEqual, values: [nothing]}}\n"
        );
        harness.load(&policy("pwrite", "kprobes", &hook));
        let null = File::options().write(true).open("/dev/null").unwrap();
        let long: Vec<u8> = (0..2 * WHOLE_MAX).map(|at| (at / 3) as u8).collect();
        let lengths = [0, 3, 5000, WHOLE_MAX as u64 + 1, 1 << 31, 1 << 32, 1 << 63, u64::MAX];
        let seen = own(&mut harness, || {
            for length in lengths {
                let _ = rustix::io::pwrite(&null, &long, length);
            }
        });
        let told: Vec<_> = seen.iter().map(|seen| seen.args[0].clone()).collect();
        assert_eq!(told.len(), lengths.len(), "{more}");
        for (told, length) in told.iter().zip(lengths) {
            let captured = length.min(cut as u64) as usize;
            let original = (length > captured as u64).then_some(length);
            assert!(*told == bytes(&long[..captured], original), "{length} {more}");
        }
        assert_eq!(harness.decoder.forgotten(), 0);
    }
}
