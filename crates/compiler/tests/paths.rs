//! Paths of files: what is captured, and what the operators make of it.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::observed::{FilePath, Observed};
use harness::{Harness, policy};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// An offset that nobody else seeks to.
const MARK: i64 = 0x7a7a_0000;

/// Moves a file to an offset; the system call is what policies here see.
fn seek(file: impl AsFd, offset: i64) {
    let file: BorrowedFd<'_> = file.as_fd();
    // Pipes and sockets cannot be moved; the call is made all the same.
    let _ = rustix::fs::seek(file, rustix::fs::SeekFrom::Start(offset as u64));
}

/// A policy on lseek with the descriptor's path, and a filter on it.
fn on_seek(filter: &str) -> String {
    let mut hook = format!(
        "call: sys_lseek\nsyscall: true\nargs:\n- {{index: 0, type: fd}}\n- {{index: 1, type: int64}}\nselectors:\n- matchArgs:\n  - {{index: 1, operator: Equal, values: ['{MARK}']}}\n"
    );
    if !filter.is_empty() {
        hook.push_str("  - ");
        hook.push_str(filter);
        hook.push('\n');
    }
    policy("seek", "kprobes", &hook)
}

/// The path captured of the descriptor.
fn captured(harness: &mut Harness, file: impl AsFd) -> FilePath {
    let seen = harness.during(|| seek(file.as_fd(), MARK));
    assert_eq!(seen.len(), 1, "{seen:?}");
    match &seen[0].args[0] {
        Some(Observed::File(path)) => path.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn paths_are_captured() {
    let Some(mut harness) = Harness::new() else { return };
    harness.load(&on_seek(""));
    let file = File::open("/etc/passwd").unwrap();
    let path = captured(&mut harness, &file);
    assert_eq!(String::from_utf8_lossy(&path.path), "/etc/passwd");
    assert!(path.complete);
    assert_eq!(path.mode & 0o170_000, 0o100_000);
    let _ = file.as_raw_fd();
}
