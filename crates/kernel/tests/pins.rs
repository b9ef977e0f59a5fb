//! Pins in a BPF file system of the test's own.

#![allow(clippy::unwrap_used)] // also in functions that tests share

mod support;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use kernel::link::Link;
use kernel::map::{Map, MapType, Update};
use kernel::mount::{FileSystem, unmount};
use kernel::pin::{PinDir, unpin};
use kernel::program::{AttachType, Program};
use kernel::ringbuf::RingBuffer;
use kernel::{Errno, Error};
use support::{map_spec, nothing, raw_tracepoint, report_pid};

/// A BPF file system, mounted until dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kernel-{name}-{}", std::process::id()));
        FileSystem::Bpf.mount(&path).unwrap();
        assert!(FileSystem::Bpf.holds(&path).unwrap());
        Self(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.0).unwrap();
        std::fs::remove_dir(&self.0).unwrap();
    }
}

#[test]
fn pinned_objects_come_back() {
    need_bpf!();
    let mounted = Mounted::new("objects");
    let dir = PinDir::open(mounted.0.join("a/b")).unwrap();
    let map = Map::create(&map_spec(MapType::ARRAY, 4, 4, 1)).unwrap();
    map.update(&[0; 4], &[7; 4], Update::Any).unwrap();
    map.pin(&dir.join("map")).unwrap();
    assert_eq!(map.pin(&dir.join("map")).unwrap_err().errno(), Some(Errno::EEXIST));
    drop(map);
    let map = Map::open_pinned(&dir.join("map")).unwrap().unwrap();
    assert_eq!(map.lookup(&[0; 4]).unwrap(), Some(vec![7; 4]));
    assert!(Map::open_pinned(&dir.join("none")).unwrap().is_none());

    let code = nothing();
    let program = Program::load(&raw_tracepoint("pinned", &code)).unwrap();
    program.pin(&dir.join("program")).unwrap();
    let again = Program::open_pinned(&dir.join("program"), AttachType::default()).unwrap();
    assert_eq!(again.unwrap().info().unwrap(), program.info().unwrap());
    let error = Map::open_pinned(&dir.join("program")).unwrap_err();
    assert!(matches!(error, Error::WrongKind { needed: "map" }));
    let error = Link::open_pinned(&dir.join("program")).unwrap_err();
    assert!(matches!(error, Error::WrongKind { needed: "link" }));

    assert!(unpin(&dir.join("map")).unwrap());
    assert!(!unpin(&dir.join("map")).unwrap());
    assert!(Map::open_pinned(&dir.join("map")).unwrap().is_none());
    let path = dir.path().to_owned();
    assert!(dir.remove().unwrap() && !path.exists());
}

#[test]
fn a_pinned_link_stays_attached_until_unpinned() {
    need_bpf!();
    let mounted = Mounted::new("links");
    let dir = PinDir::open(&mounted.0).unwrap();
    let map = Map::create(&map_spec(MapType::RINGBUF, 0, 0, 1 << 16)).unwrap();
    let mut ring = RingBuffer::new(map).unwrap();
    let code = report_pid(ring.map());
    let program = Program::load(&raw_tracepoint("exec", &code)).unwrap();
    let link = Link::raw_tracepoint(&program, "sched_process_exec", 0).unwrap();
    link.pin(&dir.join("exec")).unwrap();
    let id = link.info().unwrap().id;
    drop((link, program));
    let mut reports_exec = || {
        ring.consume(|_| ());
        Command::new("/bin/true").status().unwrap();
        ring.consume(|_| ()).records > 0
    };
    assert!(reports_exec());
    let link = Link::open_pinned(&dir.join("exec")).unwrap().unwrap();
    assert_eq!(link.info().unwrap().id, id);
    assert!(link.target().starts_with("raw_tracepoint (link "));
    drop(link);
    assert!(reports_exec());
    assert!(unpin(&dir.join("exec")).unwrap());
    std::thread::sleep(Duration::from_millis(50));
    assert!(!reports_exec());
}

#[test]
fn other_directories_are_refused() {
    need_bpf!();
    let path = std::env::temp_dir().join(format!("kernel-nobpf-{}", std::process::id()));
    let error = PinDir::open(&path).unwrap_err().to_string();
    assert!(error.ends_with("needs a BPF file system mounted there (mount -t bpf)"), "{error}");
    assert!(!path.exists());
    let map = Map::create(&map_spec(MapType::ARRAY, 4, 4, 1)).unwrap();
    let error = map.pin(&std::env::temp_dir().join("kernel-nobpf-pin")).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EPERM));
}
