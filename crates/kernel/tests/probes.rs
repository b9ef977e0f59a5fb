//! Perf events, probes and cgroups on the running kernel.

#![allow(clippy::unwrap_used)] // also in functions that tests share

mod support;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use kernel::link::{
    Kprobe, KprobeMulti, KprobePlace, Link, LinkType, Sampling, Uprobe, UprobeMulti, UprobePlace,
};
use kernel::map::{Map, MapType};
use kernel::mount::{FileSystem, unmount};
use kernel::program::{AttachType, Program, ProgramSpec, ProgramType};
use kernel::ringbuf::RingBuffer;
use kernel::tracefs::Tracefs;
use kernel::{Errno, Error, cpu};
use support::{
    add, call, copy, exit, load_map, map_spec, mov, nothing, raw_tracepoint, report_pid, store,
    vmlinux,
};

fn ring() -> RingBuffer {
    RingBuffer::new(Map::create(&map_spec(MapType::RINGBUF, 0, 0, 1 << 16)).unwrap()).unwrap()
}

/// A program that writes its attachment's cookie to a ring buffer.
fn report_cookie(ring: &Map) -> Vec<u8> {
    let [first, second] = load_map(1, ring);
    [
        copy(6, 1),
        call(174), // bpf_get_attach_cookie
        store(10, -8, 0),
        first,
        second,
        copy(2, 10),
        add(2, -8),
        mov(3, 8),
        mov(4, 0),
        call(130), // bpf_ringbuf_output
        mov(0, 0),
        exit(),
    ]
    .concat()
}

fn load_as(program_type: ProgramType, attach_type: AttachType, code: &[u8]) -> Program {
    let spec = ProgramSpec { program_type, attach_type, ..raw_tracepoint("probe", code) };
    Program::load(&spec).unwrap()
}

fn words(ring: &mut RingBuffer) -> Vec<u64> {
    let mut words = Vec::new();
    ring.consume(|record| words.push(u64::from_ne_bytes(record.try_into().unwrap())));
    words
}

/// tracefs where it is mounted, or mounted just for this.
struct Trace {
    root: PathBuf,
    mounted: bool,
}

impl Trace {
    fn find(name: &str) -> Self {
        if let Some(root) = FileSystem::Trace.find().unwrap() {
            return Self { root, mounted: false };
        }
        let root = std::env::temp_dir().join(format!("kernel-{name}-{}", std::process::id()));
        FileSystem::Trace.mount(&root).unwrap();
        Self { root, mounted: true }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if self.mounted {
            unmount(&self.root).unwrap();
            std::fs::remove_dir(&self.root).unwrap();
        }
    }
}

#[test]
fn tracepoints_report_with_their_cookie() {
    need_bpf!();
    let trace = Trace::find("tracepoint");
    let id = Tracefs::at(&trace.root).event_id("sched", "sched_process_exec").unwrap();
    let mut ring = ring();
    let code = report_cookie(ring.map());
    let program = load_as(ProgramType::TRACEPOINT, AttachType::default(), &code);
    let link = Link::tracepoint(&program, id.into(), "sched:sched_process_exec", 77).unwrap();
    std::process::Command::new("/bin/true").status().unwrap();
    assert!(words(&mut ring).contains(&77));
    assert_eq!(link.info().unwrap().link_type, LinkType::PERF_EVENT);
}

#[test]
fn software_events_come_on_each_cpu() {
    need_bpf!();
    let mut ring = ring();
    let code = report_pid(ring.map());
    let program = load_as(ProgramType::PERF_EVENT, AttachType::default(), &code);
    let links: Vec<_> = cpu::online()
        .unwrap()
        .into_iter()
        .map(|cpu| Link::software_event(&program, 0, Sampling::Frequency(1000), cpu).unwrap())
        .collect();
    let (begin, own) = (Instant::now(), u64::from(std::process::id()));
    // Busy, so that the clock finds this process running.
    while !words(&mut ring).iter().any(|ids| ids >> 32 == own) {
        assert!(begin.elapsed() < Duration::from_secs(10), "no event in this process");
    }
    drop(links);
    words(&mut ring);
    std::thread::sleep(Duration::from_millis(20));
    assert!(words(&mut ring).is_empty());
}

/// Where in its file something of this process's memory is.
fn file_offset(address: usize) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let hex = |text: &str| usize::from_str_radix(text, 16).unwrap();
    let found = maps.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let offset = hex(fields.nth(1)?);
        (hex(start)..hex(end)).contains(&address).then(|| address - hex(start) + offset)
    });
    found.unwrap() as u64
}

#[inline(never)]
fn probed(number: u64) -> u64 {
    std::hint::black_box(number) + 1
}

#[inline(never)]
fn probed_too(number: u64) -> u64 {
    std::hint::black_box(number) + 2
}

fn own_file() -> PathBuf {
    std::fs::read_link("/proc/self/exe").unwrap()
}

#[test]
fn uprobes_report_entry_and_return() {
    need_bpf!();
    let mut ring = ring();
    let code = report_cookie(ring.map());
    let program = load_as(ProgramType::KPROBE, AttachType::default(), &code);
    let file = own_file();
    let probe = |on_return, cookie| Uprobe {
        file: &file,
        offset: file_offset(probed as fn(u64) -> u64 as usize),
        ref_counter: 0,
        pid: Some(std::process::id()),
        on_return,
        cookie,
    };
    let entry = Link::uprobe(&program, &probe(false, 1)).unwrap();
    let exit = Link::uprobe(&program, &probe(true, 2)).unwrap();
    assert_eq!(probed(4), 5);
    assert_eq!(words(&mut ring), [1, 2]);
    drop(entry);
    probed(4);
    assert_eq!(words(&mut ring), [2]);
    drop(exit);
    probed(4);
    assert!(words(&mut ring).is_empty());
}

// Not zero, so that it is in the file and not in the part of memory that starts empty.
static SEMAPHORE: AtomicU16 = AtomicU16::new(100);

#[test]
fn uprobes_raise_the_reference_counter() {
    need_bpf!();
    let code = nothing();
    let program = load_as(ProgramType::KPROBE, AttachType::default(), &code);
    let file = own_file();
    SEMAPHORE.store(100, Ordering::Relaxed);
    let counter = file_offset((&raw const SEMAPHORE).addr());
    let probe = Uprobe {
        file: &file,
        offset: file_offset(probed_too as fn(u64) -> u64 as usize),
        ref_counter: u32::try_from(counter).unwrap(),
        pid: None,
        on_return: false,
        cookie: 0,
    };
    let link = Link::uprobe(&program, &probe).unwrap();
    // By one; by more when another thread maps part of this file at the same moment, as the kernel
    // then raises it for both (uprobe_mmap() beside register_for_each_vma()).
    let raised = SEMAPHORE.load(Ordering::Relaxed);
    assert_eq!((raised > 100, probed_too(1)), (true, 3));
    drop(link);
    assert!(SEMAPHORE.load(Ordering::Relaxed) < raised);
}

#[inline(never)]
fn many_a(number: u64) -> u64 {
    std::hint::black_box(number) + 3
}

#[inline(never)]
fn many_b(number: u64) -> u64 {
    std::hint::black_box(number) + 4
}

#[test]
fn one_link_holds_many_uprobes() {
    need_bpf!();
    let mut ring = ring();
    let code = report_cookie(ring.map());
    let (program_type, attach_type) = (ProgramType::KPROBE, AttachType::TRACE_UPROBE_MULTI);
    let spec = ProgramSpec { program_type, attach_type, ..raw_tracepoint("multi", &code) };
    if vmlinux().constant("BPF_TRACE_UPROBE_MULTI").is_none() {
        skip!("needs Linux 6.6");
    }
    let program = Program::load(&spec).unwrap();
    let file = own_file();
    let place = |function: fn(u64) -> u64, cookie| UprobePlace {
        offset: file_offset(function as usize),
        ref_counter: 0,
        cookie,
    };
    let places = [place(many_a, 10), place(many_b, 20)];
    let probes = UprobeMulti { file: &file, places: &places, pid: None, on_return: false };
    let link = Link::uprobe_multi(&program, &probes).unwrap();
    assert_eq!((many_b(1), many_a(1)), (5, 4));
    assert_eq!(words(&mut ring), [20, 10]);
    assert_eq!(link.info().unwrap().link_type, LinkType::UPROBE_MULTI);
}

#[test]
fn probes_on_files_that_do_not_exist_are_named() {
    need_bpf!();
    let code = nothing();
    let program = load_as(ProgramType::KPROBE, AttachType::default(), &code);
    let file = Path::new("/does/not/exist");
    let (offset, ref_counter, pid) = (16, 0, None);
    let probe = Uprobe { file, offset, ref_counter, pid, on_return: true, cookie: 0 };
    let error = Link::uprobe(&program, &probe).unwrap_err().to_string();
    assert!(
        error.starts_with(
            "cannot attach program `probe` to uretprobe /does/not/exist+0x10: No such file"
        ),
        "{error}"
    );
}

#[test]
fn kprobes_work_or_say_what_is_missing() {
    need_bpf!();
    let mut ring = ring();
    let code = report_cookie(ring.map());
    let program = load_as(ProgramType::KPROBE, AttachType::default(), &code);
    let place = KprobePlace::Symbol("security_file_open", 0);
    for on_return in [false, true] {
        let cookie = if on_return { 32 } else { 31 };
        let link = match Link::kprobe(&program, &Kprobe { place, on_return, cookie }) {
            Err(error @ Error::Lacks { .. }) => {
                let text = error.to_string();
                assert!(text.contains("needs kprobes (CONFIG_KPROBE_EVENTS)"), "{text}");
                skip!("{text}");
            }
            link => link.unwrap(),
        };
        std::fs::File::open("/dev/null").unwrap();
        assert!(words(&mut ring).contains(&cookie));
        drop(link);
    }
    let place = KprobePlace::Symbol("no_such_function_at_all", 0);
    let error = Link::kprobe(&program, &Kprobe { place, on_return: false, cookie: 0 });
    assert_eq!(error.unwrap_err().errno(), Some(Errno::ENOENT));
}

#[test]
fn one_link_holds_many_kprobes_or_says_what_is_missing() {
    need_bpf!();
    let mut ring = ring();
    let code = report_cookie(ring.map());
    let (program_type, attach_type) = (ProgramType::KPROBE, AttachType::TRACE_KPROBE_MULTI);
    let spec = ProgramSpec { program_type, attach_type, ..raw_tracepoint("multi", &code) };
    if vmlinux().constant("BPF_TRACE_KPROBE_MULTI").is_none() {
        skip!("needs Linux 5.18");
    }
    let program = Program::load(&spec).unwrap();
    let symbols = [("security_file_open", 41), ("vfs_unlink", 42)];
    let link = match Link::kprobe_multi(&program, KprobeMulti::Symbols(&symbols), false) {
        Err(error) if error.errno() == Some(Errno::EOPNOTSUPP) => {
            assert!(error.to_string().contains("kprobe.multi needs CONFIG_FPROBE"), "{error}");
            skip!("{error}");
        }
        link => link.unwrap(),
    };
    std::fs::File::open("/dev/null").unwrap();
    assert!(words(&mut ring).contains(&41));
    drop(link);
}

#[test]
fn cgroup_links_attach_and_are_replaced() {
    need_bpf!();
    let mut roots = vec![FileSystem::Cgroup2.usual_place().to_owned()];
    roots.extend(FileSystem::Cgroup2.find().unwrap());
    let Some(root) = roots.into_iter().find(|root| FileSystem::Cgroup2.holds(root).unwrap()) else {
        skip!("cgroup v2 is not mounted");
    };
    let path = root.join(format!("kernel-test-{}", std::process::id()));
    std::fs::create_dir(&path).unwrap();
    let cgroup = std::fs::File::open(&path).unwrap();
    let code = [mov(0, 1), exit()].concat();
    let load = || load_as(ProgramType::CGROUP_SKB, AttachType::CGROUP_INET_EGRESS, &code);
    let (first, second) = (load(), load());
    let attached = Link::cgroup(&first, cgroup.as_fd(), "test");
    let link = attached.unwrap();
    assert_eq!(link.info().unwrap().program_id, first.info().unwrap().id);
    assert_eq!(link.target(), "cgroup_inet_egress of cgroup test");
    link.update(&second).unwrap();
    assert_eq!(link.info().unwrap().program_id, second.info().unwrap().id);
    link.detach().unwrap();
    assert!(link.update(&first).is_err(), "nothing is attached any more");
    std::fs::remove_dir(&path).unwrap();
}
