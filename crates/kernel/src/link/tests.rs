//! Attaching in front of a fake kernel: what is passed, and what older kernels get instead.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use super::*;
use crate::program::{ProgramSpec, ProgramType};
use crate::sys::attr::{
    KprobeMultiExtra, PerfEventExtra, RawTracepointOpen, TracingExtra, UprobeMultiExtra,
};
use crate::sys::perf::{IOC_ENABLE, IOC_SET_BPF};
use crate::sys::{Call, fake};

const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

fn program(attach_type: AttachType) -> Program {
    let _kernel = fake::install(|_| Ok(fake::descriptor()));
    let program_type = ProgramType::KPROBE;
    let spec = ProgramSpec {
        name: "p",
        program_type,
        attach_type,
        instructions: &EXIT,
        ..ProgramSpec::default()
    };
    Program::load(&spec).unwrap()
}

fn text(address: u64) -> String {
    let bytes = fake::memory(address, 64);
    let end = bytes.iter().position(|&byte| byte == 0).unwrap();
    String::from_utf8(bytes[..end].to_vec()).unwrap()
}

/// A kernel before Linux 5.15: no links to perf events. Gives the requests of ioctl(2).
fn without_perf_links() -> (fake::FakeKernel, Rc<RefCell<Vec<u64>>>) {
    let requests = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&requests);
    let kernel = fake::install(move |call| match call {
        Call::PerfEventOpen { attr, pid: -1, cpu: 0 } => {
            assert_eq!((attr.event_type, attr.config, attr.size), (2, 42, 112));
            Ok(fake::descriptor())
        }
        Call::Bpf { command: Command::LinkCreate, .. } => Err(Errno::EINVAL),
        Call::Ioctl { request, .. } => {
            seen.borrow_mut().push(*request);
            Ok(0)
        }
        _ => panic!(),
    });
    (kernel, requests)
}

#[test]
fn older_kernels_attach_to_perf_events_by_ioctl() {
    let program = program(AttachType::default());
    let (_kernel, requests) = without_perf_links();
    let link = Link::tracepoint(&program, 42, "sched:sched_switch", 0).unwrap();
    assert_eq!(*requests.borrow(), [IOC_SET_BPF, IOC_ENABLE]);
    let error = link.update(&program).unwrap_err().to_string();
    assert!(error.contains("tracepoint sched:sched_switch needs links for perf events"), "{error}");
}

#[test]
fn older_kernels_cannot_keep_cookies() {
    let program = program(AttachType::default());
    let (_kernel, requests) = without_perf_links();
    let error = Link::tracepoint(&program, 42, "sched:sched_switch", 1).unwrap_err();
    assert!(matches!(error, Error::Lacks { .. }), "{error}");
    assert!(requests.borrow().is_empty());
}

#[test]
fn perf_links_carry_the_cookie_and_are_enabled() {
    let program = program(AttachType::default());
    let mut linked = false;
    let _kernel = fake::install(move |call| match call {
        Call::PerfEventOpen { .. } => Ok(fake::descriptor()),
        Call::Bpf { command: Command::LinkCreate, attr } => {
            let attr: LinkCreate<PerfEventExtra> = fake::read_attr(attr);
            assert_eq!((attr.attach_type, attr.extra.cookie), (41, 9));
            linked = true;
            Ok(fake::descriptor())
        }
        Call::Ioctl { request, .. } => {
            assert!(linked && *request == IOC_ENABLE);
            Ok(0)
        }
        _ => panic!(),
    });
    Link::tracepoint(&program, 42, "t", 9).unwrap();
}

#[test]
fn tracing_uses_the_call_that_all_kernels_know() {
    let program = program(AttachType::TRACE_FENTRY);
    let _kernel = fake::install(|call| match call {
        Call::Bpf { command: Command::RawTracepointOpen, attr } => {
            assert_eq!(fake::read_attr::<RawTracepointOpen>(attr).name, 0);
            Ok(fake::descriptor())
        }
        Call::Bpf { command: Command::LinkCreate, attr } => {
            let attr: LinkCreate<TracingExtra> = fake::read_attr(attr);
            assert_eq!((attr.attach_type, attr.extra.cookie), (24, 5));
            Err(Errno::EPERM)
        }
        _ => panic!(),
    });
    let link = Link::tracing(&program, "vfs_read", 0).unwrap();
    assert_eq!(link.target(), "fentry vfs_read");
    let error = Link::tracing(&program, "vfs_read", 5).unwrap_err().to_string();
    assert!(error.contains("does not let trampolines change its functions"), "{error}");
}

#[test]
fn kprobe_multi_passes_symbols_with_their_cookies() {
    let program = program(AttachType::TRACE_KPROBE_MULTI);
    let _kernel = fake::install(|call| {
        let Call::Bpf { command: Command::LinkCreate, attr } = call else { panic!() };
        let attr: LinkCreate<KprobeMultiExtra> = fake::read_attr(attr);
        let extra = attr.extra;
        assert_eq!((attr.attach_type, extra.flags, extra.cnt, extra.addrs), (42, 1, 2, 0));
        let words = |address: u64| {
            let bytes: [u8; 16] = fake::memory(address, 16).try_into().unwrap();
            bytes
                .as_chunks::<8>()
                .0
                .iter()
                .map(|word| u64::from_ne_bytes(*word))
                .collect::<Vec<_>>()
        };
        assert_eq!(words(extra.cookies), [7, 8]);
        assert_eq!(words(extra.syms).into_iter().map(text).collect::<Vec<_>>(), ["a", "bc"]);
        Ok(fake::descriptor())
    });
    let symbols = [("a", 7), ("bc", 8)];
    let link = Link::kprobe_multi(&program, KprobeMulti::Symbols(&symbols), true).unwrap();
    assert_eq!(link.target(), "kretprobe.multi on 2 functions");
    let nul = Link::kprobe_multi(&program, KprobeMulti::Symbols(&[("a\0", 0)]), false);
    assert!(matches!(nul, Err(Error::Nul { .. })));
}

#[test]
fn uprobe_multi_passes_places() {
    let program = program(AttachType::TRACE_UPROBE_MULTI);
    let _kernel = fake::install(|call| {
        let Call::Bpf { command: Command::LinkCreate, attr } = call else { panic!() };
        let extra = fake::read_attr::<LinkCreate<UprobeMultiExtra>>(attr).extra;
        assert_eq!(text(extra.path), "/bin/sh");
        assert_eq!((extra.cnt, extra.pid, extra.flags), (1, 12, 0));
        let word = |address| u64::from_ne_bytes(fake::memory(address, 8).try_into().unwrap());
        let words = [extra.offsets, extra.ref_ctr_offsets, extra.cookies].map(word);
        assert_eq!(words, [1, 2, 3]);
        Ok(fake::descriptor())
    });
    let places = [UprobePlace { offset: 1, ref_counter: 2, cookie: 3 }];
    let file = Path::new("/bin/sh");
    let probes = UprobeMulti { file, places: &places, pid: Some(12), on_return: false };
    Link::uprobe_multi(&program, &probes).unwrap();
}
