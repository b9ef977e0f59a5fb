//! The table on its own: what its users cannot easily bring about.

use std::sync::Arc;

use compiler::base::record::{Flags, Identity};

use super::entry::{Entry, Image};
use super::table::{Limits, Table};
use crate::clock::WallTime;

fn id(pid: u32) -> Identity {
    Identity { ktime: u64::from(pid) * 10 + 1, pid }
}

fn entry(pid: u32, parent: u32, binary: &str) -> Entry {
    Entry {
        process: id(pid),
        parent: id(parent),
        start: WallTime(0),
        image: Arc::new(Image { binary: binary.into(), ..Image::default() }),
        container: None,
        cgroup: 1,
        flags: Flags::EXECVE,
        nspid: 0,
    }
}

fn table(entries: usize) -> Table {
    Table::new(Limits { entries, bytes: usize::MAX }, false)
}

#[test]
fn references_of_an_evicted_entry_do_not_count_for_its_successor() {
    let mut table = table(3);
    table.insert(entry(1, 0, "a"));
    table.insert(entry(2, 1, "b"));
    table.touch(id(2));
    table.insert(entry(3, 2, "c"));
    table.insert(entry(4, 2, "d"));
    assert!(table.get(id(1)).is_none(), "the least recently used one had to go");
    assert_eq!(table.counters().evicted_live, 1);
    // It comes back; the child of its first stay refers to that one.
    table.insert(entry(1, 0, "a"));
    assert!(table.get(id(3)).is_none());
    assert_eq!(table.references(id(1)), 1);
    assert_eq!(table.references(id(2)), 2, "3 gave its reference up");
    assert!(table.end(id(2)));
    assert_eq!(table.references(id(1)), 1, "2 held a reference on the first stay only");
    assert!(!table.end(id(2)), "once");
    table.end(id(4));
    for _ in 0..2 {
        table.collect();
    }
    assert_eq!(table.len(), 1);
}

#[test]
fn use_protects_from_eviction() {
    let mut table = table(3);
    for pid in 1..4 {
        table.insert(entry(pid, 0, "x"));
    }
    table.touch(id(1));
    table.insert(entry(4, 0, "x"));
    table.insert(entry(5, 4, "x"));
    let mut left: Vec<u32> = table.iter().map(|(entry, ..)| entry.process.pid).collect();
    left.sort_unstable();
    assert_eq!(left, [1, 4, 5]);
}

#[test]
fn a_second_insertion_only_tells_what_was_not_known() {
    let mut table = table(10);
    table.insert(entry(1, 0, ""));
    table.insert(entry(2, 1, "b"));
    assert_eq!(table.insert(entry(1, 0, "a")), None);
    assert_eq!(&*table.get(id(1)).unwrap().image.binary, "a");
    table.insert(entry(1, 0, "other"));
    assert_eq!(&*table.get(id(1)).unwrap().image.binary, "a");
    assert_eq!((table.len(), table.references(id(1))), (2, 2));
}

#[test]
fn memory_of_images_is_accounted() {
    let mut table = table(100);
    let shared = entry(1, 0, "a binary");
    let image = shared.image.clone();
    table.insert(entry(9, 0, "another binary"));
    let alone = table.bytes();
    drop(shared);
    for pid in 1..5 {
        table.insert(Entry { image: image.clone(), ..entry(pid, 0, "") });
    }
    assert_eq!(table.bytes(), alone, "an image that others hold too is theirs");
    drop(image);
    table.end(id(9));
    for _ in 0..2 {
        table.collect();
    }
    assert_eq!(table.bytes(), 0);
}

#[test]
fn a_storm_leaves_no_memory_behind() {
    let mut table = table(10_000);
    for round in 0..5 {
        for pid in 1..5000 {
            table.insert(entry(pid + 5000 * round, 0, "x"));
        }
        for pid in 1..5000 {
            table.end(id(pid + 5000 * round));
        }
    }
    assert!(table.len() <= 2501 + 4999, "a quarter of the entries, and those that ended since");
    for _ in 0..2 {
        table.collect();
    }
    assert!(table.is_empty());
    assert_eq!((table.running(), table.bytes()), (0, 0));
    let counters = table.counters();
    assert_eq!((counters.inserted, counters.removed), (24_995, 24_995));
}
