//! Records of executable mappings on the running kernel. Needs CAP_PERFMON.

#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::process::Command;
use std::time::{Duration, Instant};

use kernel::Errno;
use kernel::mappings::{Mapped, Mappings, Record};

/// What is told until `found` says that it is enough; at most some seconds.
fn until(mappings: &mut Mappings, found: impl Fn(&[Record]) -> bool) -> Vec<Record> {
    let mut all = Vec::new();
    let end = Instant::now() + Duration::from_secs(20);
    while !found(&all) && Instant::now() < end {
        mappings.wait(Duration::from_millis(100)).unwrap();
        mappings.read(|record| all.push(record));
    }
    all.sort_by_key(Record::time);
    all
}

#[test]
fn what_an_executed_program_maps_is_told_behind_its_exec() {
    let mut mappings = match Mappings::open() {
        Ok(mappings) => mappings,
        Err(error) if matches!(error.errno(), Some(Errno::EPERM | Errno::EACCES)) => {
            eprintln!("skipped: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let before = kernel::clock::monotonic().as_nanos() as u64;
    let mut child = Command::new("/proc/self/exe")
        .arg("--list")
        .stdout(File::create("/dev/null").unwrap())
        .spawn()
        .unwrap();
    let pid = child.id();
    child.wait().unwrap();
    let after = kernel::clock::monotonic().as_nanos() as u64;
    let own = std::env::current_exe().unwrap().into_os_string().into_encoded_bytes();
    let is_own = |record: &Record| matches!(record, Record::Mapped(mapped) if mapped.pid == pid && mapped.path == own);
    let all = until(&mut mappings, |all| all.iter().any(is_own));
    let at = all.iter().position(is_own).unwrap_or_else(|| panic!("{all:?}"));
    let exec =
        all.iter().position(|record| matches!(record, Record::Exec { pid: of, .. } if *of == pid));
    assert!(exec.unwrap() < at, "{all:?}");
    let Record::Mapped(Mapped { tid, time, build_id, .. }) = &all[at] else { panic!() };
    assert_eq!(*tid, pid);
    assert!((before..=after).contains(time), "{before} {time} {after}");
    assert!(build_id.len() <= 20);
    assert_eq!(mappings.corrupt(), 0);
    mappings.follow_cpus().unwrap();
}
