//! Structures of the kernel as values: real ones of the current task, and ones that the test made up.
//!
//! A structure is made up in memory of the kernel: the value that setxattr(2) copies there is freed when
//! the call is over, and the tracepoint `kfree` has its address: as `const void *`, which the verifier
//! does not let programs load before Linux 6.16.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::observed::{BpfMap, BpfProgram, Fault, Module, Observed, PerfEvent};
use harness::{Harness, own_thread, policy};
use kernel::features::Feature;
use kernel::map::{Map, MapSpec, MapType};
use kernel::program::{Program, ProgramSpec, ProgramType};
use rustix::fs::XattrFlags;
use std::os::unix::fs::MetadataExt;

/// With and without pointers of types that the verifier is told.
fn harnesses() -> impl Iterator<Item = Harness> {
    [Harness::new(), Harness::lacking(Feature::RdonlyCast)].into_iter().flatten()
}

/// What a value of the current task is while umask(2) is called with `mask`; `filter` is about it.
/// `None`: it does not match.
fn of_task(
    harness: &mut Harness,
    mask: u32,
    kind: &str,
    field: &str,
    filter: &str,
) -> Option<Observed> {
    let mut hook = format!(
        "call: sys_umask\nsyscall: true\nargs:\n- {{index: 0, type: int}}\ndata:\n- {{type: {kind}, source: current_task, resolve: {field}, index: 0}}\nselectors:\n- matchArgs:\n  - {{index: 0, operator: Equal, values: ['{mask}']}}\n"
    );
    if !filter.is_empty() {
        hook.push_str(&format!("  matchData:\n  - {{index: 0, {filter}}}\n"));
    }
    harness.load(&policy("task", "kprobes", &hook));
    let seen = own_thread(harness.during(|| harness::umask(mask)));
    harness.remove("task");
    assert!(seen.len() <= 1, "{seen:?}");
    seen.into_iter().next().and_then(|mut seen| seen.data.remove(0))
}

/// A structure made up: its bytes, which begin with a text that tells it from what else is freed.
struct MadeUp<'h> {
    harness: &'h mut Harness,
    name: &'static str,
    bytes: Vec<u8>,
}

/// The text.
const MARK: &[u8; 4] = b"!?#\0";

impl<'h> MadeUp<'h> {
    fn new(harness: &'h mut Harness, name: &'static str) -> Self {
        let btf = &harness.machine.btf;
        let size = btf.size_of(btf.find_struct(name).unwrap()).unwrap();
        Self { harness, name, bytes: vec![0; size as usize] }
    }

    fn put(&mut self, member: &str, bytes: &[u8]) {
        let btf = &self.harness.machine.btf;
        let field = btf.field(btf.find_struct(self.name).unwrap(), member).unwrap();
        self.bytes[field.offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    /// What is captured of it as a type. The first four bytes, which nothing that is captured may be
    /// in, are the mark.
    fn seen(mut self, kind: &str) -> Observed {
        self.bytes[..4].copy_from_slice(MARK);
        let hook = format!(
            "subsystem: kmem\nevent: kfree\nraw: true\nargs:\n- {{index: 1, type: string}}\n- {{index: 1, type: {kind}}}\nselectors:\n- matchArgs:\n  - {{args: [0], operator: Equal, values: ['!?#']}}\n"
        );
        self.harness.load(&policy("made-up", "tracepoints", &hook));
        let bytes = &self.bytes;
        let seen = own_thread(self.harness.during(|| {
            // Whether the file system takes it does not matter.
            let _ = rustix::fs::setxattr("/tmp", "user.tested", bytes, XattrFlags::empty());
        }));
        self.harness.remove("made-up");
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.into_iter().next().unwrap().args.remove(1).unwrap()
    }
}

#[test]
fn a_user_namespace() {
    for mut harness in harnesses() {
        let seen = of_task(&mut harness, 0o161, "user_namespace", "cred.user_ns", "");
        let Some(Observed::UserNamespace(namespace)) = seen else { panic!("{seen:?}") };
        let expected = std::fs::metadata("/proc/self/ns/user").unwrap().ino();
        assert_eq!(u64::from(namespace.inum), expected);
        let levels = std::fs::read_to_string("/proc/self/uid_map").unwrap();
        if levels.split_whitespace().eq(["0", "0", "4294967295"]) {
            assert_eq!((namespace.level, namespace.owner, namespace.group), (0, 0, 0));
        }
    }
}

#[test]
fn the_name_of_a_network_device() {
    let field = "nsproxy.net_ns.loopback_dev";
    let text = |text: &str| Some(Observed::Text(text.into()));
    for mut harness in harnesses() {
        for (filter, matches) in [
            ("", true),
            ("operator: Equal, values: [lo]", true),
            ("operator: Equal, values: [l, loo]", false),
            ("operator: NotEqual, values: [eth0]", true),
            ("operator: Prefix, values: [l]", true),
            ("operator: Postfix, values: [l]", false),
            ("operator: SubString, values: [O]", false),
            ("operator: SubStringIgnCase, values: [O]", true),
            ("operator: NotSubString, values: [o]", false),
        ] {
            let seen = of_task(&mut harness, 0o162, "net_device", field, filter);
            assert_eq!(seen, if matches { text("lo") } else { None }, "{filter}");
        }
    }
}

#[test]
fn a_map() {
    for mut harness in harnesses() {
        let mut map = MadeUp::new(&mut harness, "bpf_map");
        map.put("map_type", &9_u32.to_ne_bytes());
        map.put("key_size", &4_u32.to_ne_bytes());
        map.put("value_size", &8_u32.to_ne_bytes());
        map.put("max_entries", &1000_u32.to_ne_bytes());
        map.put("name", b"sixteen-lettersX");
        let name = b"sixteen-lettersX".to_vec();
        let expected = BpfMap { kind: 9, key_size: 4, value_size: 8, entries: 1000, name };
        assert_eq!(map.seen("bpf_map"), Observed::BpfMap(expected));
    }
}

#[test]
fn a_program() {
    for mut harness in harnesses() {
        let mut program = MadeUp::new(&mut harness, "bpf_prog");
        program.put("type", &26_u32.to_ne_bytes());
        program.put("len", &77_u32.to_ne_bytes());
        // Without the part that has its name.
        let expected = BpfProgram { kind: 26, instructions: 77, name: Vec::new() };
        assert_eq!(program.seen("bpf_prog"), Observed::BpfProgram(expected));
    }
}

#[test]
fn an_event_of_perf() {
    let text = b"tested_function\0";
    // `PERF_TYPE_HARDWARE` has a number where probes have the address of their text.
    for (kind, address, function) in [
        (8_u32, text.as_ptr().addr() as u64, b"tested_function".as_slice()),
        (0, text.as_ptr().addr() as u64, b""),
        (9, 5, b""),
    ] {
        for mut harness in harnesses() {
            let mut event = MadeUp::new(&mut harness, "perf_event");
            event.put("attr.type", &kind.to_ne_bytes());
            event.put("attr.config", &(1_u64 << 40).to_ne_bytes());
            event.put("attr.kprobe_func", &address.to_ne_bytes());
            event.put("attr.probe_offset", &0x1_2345_6789_u64.to_ne_bytes());
            let function = function.to_vec();
            let expected = PerfEvent { kind, config: 1 << 40, offset: 0x1_2345_6789, function };
            assert_eq!(event.seen("perf_event"), Observed::PerfEvent(expected));
        }
    }
}

#[test]
fn a_module() {
    for mut harness in harnesses() {
        let mut module = MadeUp::new(&mut harness, "module");
        module.put("name", b"tested_module\0and what was there before");
        module.put("taints", &(1_u64 << 12 | 1 << 13).to_ne_bytes());
        let name = b"tested_module".to_vec();
        let taints = 1 << 12 | 1 << 13;
        let expected = Module { name, taints, signature_ok: None };
        assert_eq!(module.seen("module"), Observed::Module(expected));
    }
}

#[test]
fn a_module_that_is_loaded_without_a_name_yet() {
    for mut harness in harnesses() {
        let btf = &harness.machine.btf;
        if btf.find_struct("load_info").is_ok() {
            // Its first member is its name, hence a bad address here.
            let info = MadeUp::new(&mut harness, "load_info");
            assert_eq!(info.seen("load_info"), Observed::Fault(Fault::Address));
            continue;
        }
        let hook =
            "subsystem: kmem\nevent: kfree\nraw: true\nargs:\n- {index: 1, type: load_info}\n";
        let refused = harness.try_load(&policy("loading", "tracepoints", hook)).unwrap_err();
        assert!(refused.contains("this kernel has no `struct load_info`"), "{refused}");
    }
}

#[test]
fn attributes_of_a_program_that_is_loaded() {
    const EXIT: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let hook = "
call: sys_bpf
syscall: true
args:
- {index: 0, type: bpf_cmd}
- {index: 1, type: bpf_attr}
selectors:
- matchArgs:
  - {index: 0, operator: Equal, values: ['5']}
";
    let Some(mut harness) = Harness::new() else { return };
    harness.load(&policy("bpf", "kprobes", hook));
    let seen = own_thread(harness.during(|| {
        let name = "tested_load";
        let program_type = ProgramType::RAW_TRACEPOINT;
        let spec = ProgramSpec { name, program_type, instructions: &EXIT, ..Default::default() };
        Program::load(&spec).unwrap();
        // Not BPF_PROG_LOAD.
        Map::create(&MapSpec {
            name: "tested_map",
            map_type: MapType::ARRAY,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            ..MapSpec::default()
        })
        .unwrap();
    }));
    assert_eq!(seen.len(), 1, "{seen:?}");
    let expected = BpfProgram { kind: 17, instructions: 2, name: b"tested_load".to_vec() };
    let expected = [Some(Observed::Int(5)), Some(Observed::BpfAttributes(expected))];
    assert_eq!(seen[0].args, expected);
}

#[test]
fn data_of_an_iterator() {
    let text = b"...tested";
    let start = text.as_ptr().addr() as u64;
    for (kind, seen) in [
        ("ITER_UBUF", Observed::Bytes { bytes: b"test".to_vec(), original: None }),
        // The segments are not in memory of the kernel.
        ("ITER_IOVEC", Observed::Fault(Fault::Address)),
        ("ITER_KVEC", Observed::Fault(Fault::Address)),
        ("ITER_BVEC", Observed::Bytes { bytes: Vec::new(), original: Some(4) }),
    ] {
        for mut harness in harnesses() {
            let btf = harness.machine.btf.clone();
            let kind = btf.enumerator("iter_type", kind).unwrap();
            let array = ["msg_iter.__iov", "msg_iter.iov"]
                .into_iter()
                .find(|member| btf.member_exists(btf.find_struct("msghdr").unwrap(), member));
            let mut message = MadeUp::new(&mut harness, "msghdr");
            message.put("msg_iter.iter_type", &[kind as u8]);
            message.put("msg_iter.iov_offset", &3_u64.to_ne_bytes());
            message.put("msg_iter.count", &4_u64.to_ne_bytes());
            message.put(array.unwrap(), &start.to_ne_bytes());
            let what = "iov_iter, btfType: msghdr, resolve: msg_iter";
            assert_eq!(message.seen(what), seen, "{kind}");
        }
    }
}

/// A register of the caller: the first argument of a system call.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_register() {
    let Some(mut harness) = Harness::new() else { return };
    for (register, kind, value, seen) in [
        ("edi", "auto", 0o164_u64, Observed::Uint(0o164)),
        ("dil", "auto", 0o164, Observed::Uint(0o164)),
        ("rdi", "int64", 0o164, Observed::Long(0o164)),
    ] {
        for (given, expected) in [(value, Some(seen.clone())), (value + 1, None)] {
            let hook = format!(
                "call: sys_umask\nsyscall: true\nargs:\n- {{index: 0, type: int}}\ndata:\n- {{index: 0, type: {kind}, source: pt_regs, resolve: {register}}}\nselectors:\n- matchArgs:\n  - {{index: 0, operator: Equal, values: ['{value}']}}\n  matchData:\n  - {{index: 0, operator: Equal, values: ['{given}']}}\n"
            );
            harness.load(&policy("register", "kprobes", &hook));
            let seen = own_thread(harness.during(|| harness::umask(0o164)));
            harness.remove("register");
            let seen = seen.into_iter().next().and_then(|mut seen| seen.data.remove(0));
            assert_eq!(seen, expected, "{register} {given}");
        }
    }
}

#[test]
fn a_type_that_contradicts_is_read_as_the_policy_says() {
    let Some(mut harness) = Harness::new() else { return };
    // The pointer itself as numbers; and a task taken for a file, which is memory of the kernel too.
    let hook = "subsystem: sched\nevent: sched_process_exec\nraw: true\nargs:\n\
        - {index: 0, type: uint32}\n- {index: 0, type: uint64}\n- {index: 0, type: file}\n\
        - {index: 0, type: int}\nselectors:\n- matchArgs:\n  \
        - {index: 0, operator: NotEqual, values: ['0']}\n";
    let text = policy("contradicts", "tracepoints", hook);
    harness.load(&text);
    let plan = harness.policies.plan(harness.policies.keys().next().unwrap()).unwrap();
    let told = plan.notes.iter().filter(|note| note.message.contains("all the same")).count();
    assert_eq!(told, 3, "a pointer is a number of 64 bits: {:?}", plan.notes);
    let seen = harness.everything_during(|| {
        std::process::Command::new("/bin/true").status().unwrap();
    });
    let args = &seen[0].args;
    let (Some(Observed::Uint(low)), Some(Observed::Size(all)), Some(Observed::Int(signed))) =
        (&args[0], &args[1], &args[3])
    else {
        panic!("{seen:?}")
    };
    // With five levels of page tables these begin at 0xff00 << 48.
    assert_eq!((*all as u32, *all >> 56), (*low, 0xff), "an address of the kernel");
    assert_eq!(*signed, *low as i32);
}
