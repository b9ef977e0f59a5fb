//! Programs on tracepoints that write to a ring buffer, on the running kernel.

#![allow(clippy::unwrap_used)] // also in functions that tests share

mod support;

use std::process::Command;
use std::time::Duration;

use kernel::link::Link;
use kernel::map::{Map, MapType};
use kernel::program::{AttachType, Program};
use kernel::ringbuf::{RingBuffer, RingSet};
use support::{map_spec, raw_tracepoint, report_pid, target, tracing};

/// Runs a child, and tells whether its id arrives in the ring.
fn sees_child(ring: RingBuffer) -> bool {
    let mut set = RingSet::new(vec![ring]).unwrap();
    let mut child = Command::new("/bin/true").spawn().unwrap();
    let id = child.id();
    child.wait().unwrap();
    assert!(set.wait(Some(Duration::from_secs(5))).unwrap(), "nothing arrived");
    let mut seen = false;
    set.consume(|index, record| {
        let ids = u64::from_ne_bytes(record.try_into().unwrap());
        assert_eq!(index, 0);
        seen |= (ids >> 32) as u32 == id;
    });
    assert_eq!(set.rings()[0].available(), 0);
    seen
}

fn ring() -> RingBuffer {
    RingBuffer::new(Map::create(&map_spec(MapType::RINGBUF, 0, 0, 1 << 16)).unwrap()).unwrap()
}

#[test]
fn tp_btf_reports_an_exec() {
    need_bpf!();
    let ring = ring();
    let id = target("btf_trace_sched_process_exec").unwrap();
    let code = report_pid(ring.map());
    let program = Program::load(&tracing("exec", AttachType::TRACE_RAW_TP, id, &code)).unwrap();
    let link = Link::tracing(&program, "sched_process_exec", 0).unwrap();
    assert!(sees_child(ring));
    assert_eq!(link.info().unwrap().program_id, program.info().unwrap().id);
}

#[test]
fn raw_tracepoint_reports_an_exec() {
    need_bpf!();
    let ring = ring();
    let code = report_pid(ring.map());
    let program = Program::load(&raw_tracepoint("exec", &code)).unwrap();
    let link = Link::raw_tracepoint(&program, "sched_process_exec", 0).unwrap();
    assert_eq!(link.target(), "raw tracepoint sched_process_exec");
    assert!(sees_child(ring));
}

#[test]
fn a_dropped_link_detaches() {
    need_bpf!();
    let mut ring = ring();
    let code = report_pid(ring.map());
    let program = Program::load(&raw_tracepoint("exec", &code)).unwrap();
    drop(Link::raw_tracepoint(&program, "sched_process_exec", 0).unwrap());
    // Execs before the drop took effect may be there.
    std::thread::sleep(Duration::from_millis(50));
    ring.consume(|_| ());
    Command::new("/bin/true").status().unwrap();
    assert_eq!(ring.consume(|_| ()).records, 0);
}

#[test]
fn unknown_tracepoints_are_named() {
    need_bpf!();
    let program = Program::load(&raw_tracepoint("p", &support::nothing())).unwrap();
    let error = Link::raw_tracepoint(&program, "no_such_tracepoint", 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot attach program `p` to raw tracepoint no_such_tracepoint: No such file or \
         directory (ENOENT): no such place in this kernel"
    );
}
