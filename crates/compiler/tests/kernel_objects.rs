//! Objects that the kernel itself makes and hands to functions: events of perf, credentials, user
//! namespaces, devices; behind trampolines, whose pointers have types, and behind breakpoints.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::observed::{Observation, Observed, PerfEvent};
use harness::{Harness, own_thread, policy};
use kernel::features::Feature;
use kernel::link::{Kprobe, KprobePlace, Link, Sampling};
use kernel::map::{Map, MapSpec, MapType};
use kernel::program::{Program, ProgramSpec, ProgramType};
use rustix::fs::CWD;
use rustix::process::{Gid, Uid};
use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt;

/// Behind trampolines, and behind breakpoints.
fn harnesses() -> impl Iterator<Item = Harness> {
    let lacks = [Feature::Fentry, Feature::Fexit];
    let trampolines = Harness::with(Feature::Fexit);
    [trampolines, Harness::without(Feature::Kretprobe, &lacks)].into_iter().flatten()
}

/// What calls of a function show while `body` runs, in any process.
fn seen(harness: &mut Harness, hook: &str, body: impl FnOnce()) -> Vec<Observation> {
    harness.load(&policy("object", "kprobes", hook));
    let seen = harness.everything_during(body);
    harness.remove("object");
    seen
}

/// A program that does nothing.
fn program(program_type: ProgramType) -> Program {
    const EXIT: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let spec = ProgramSpec {
        name: "tested",
        program_type,
        instructions: &EXIT,
        license: "GPL",
        ..ProgramSpec::default()
    };
    Program::load(&spec).unwrap()
}

/// A number in a file.
fn number(path: &str) -> u64 {
    std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

/// `PERF_COUNT_SW_DUMMY`. (Clocks have types of their own since Linux 6.5: `perf_swevent_init()`.)
const DUMMY: u64 = 9;

#[test]
fn events_of_perf() {
    let function = "do_sys_openat2";
    for mut harness in harnesses() {
        let probes = number("/sys/bus/event_source/devices/kprobe/type") as u32;
        // Of the type that is asked for, beside one of software.
        let mut of_type = |kind: u32, body: &dyn Fn() -> Link| -> Vec<Option<Observed>> {
            let hook = format!(
                "call: security_perf_event_alloc\nsyscall: false\nargs:\n- {{index: 0, type: perf_event}}\n- {{index: 0, type: uint32, resolve: attr.type}}\nselectors:\n- matchArgs:\n  - {{args: [1], operator: Equal, values: ['{kind}']}}\n"
            );
            let seen = seen(&mut harness, &hook, || {
                let dummy = program(ProgramType::PERF_EVENT);
                drop(Link::software_event(&dummy, DUMMY, Sampling::Period(1 << 40), 0).unwrap());
                drop(body());
            });
            own_thread(seen).into_iter().map(|mut seen| seen.args.remove(0)).collect()
        };
        let id = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
            .map(|root| format!("{root}/events/sched/sched_process_exit/id"))
            .into_iter()
            .find(|path| std::fs::exists(path).unwrap());
        if let Some(id) = id.map(|path| number(&path)) {
            let events = of_type(2, &|| {
                let program = program(ProgramType::TRACEPOINT);
                Link::tracepoint(&program, id, "sched_process_exit", 0).unwrap()
            });
            let event = PerfEvent { kind: 2, config: id, offset: 0, function: Vec::new() };
            assert_eq!(events, [Some(Observed::PerfEvent(event))]);
        }
        let dummy = PerfEvent { kind: 1, config: DUMMY, offset: 0, function: Vec::new() };
        let probe = || {
            let place = KprobePlace::Symbol(function, 0);
            let program = program(ProgramType::KPROBE);
            Link::kprobe(&program, &Kprobe { place, on_return: false, cookie: 0 }).unwrap()
        };
        assert_eq!(of_type(1, &probe), [Some(Observed::PerfEvent(dummy))]);
        let events = of_type(probes, &probe);
        let [Some(Observed::PerfEvent(event))] = &events[..] else { panic!("{events:?}") };
        assert_eq!((event.kind, event.offset), (probes, 0), "{event:?}");
        assert_eq!(event.function, function.as_bytes(), "{event:?}");
    }
}

#[test]
fn credentials_that_are_taken_on() {
    let hook = "
call: commit_creds
syscall: false
args:
- {index: 0, type: cred}
- {index: 0, type: uint32, resolve: euid.val}
selectors:
- matchArgs:
  - {args: [1], operator: Equal, values: ['4321']}
";
    if !rustix::process::getuid().is_root() {
        return;
    }
    for mut harness in harnesses() {
        let permitted = rustix::thread::capabilities(None).unwrap().permitted.bits();
        let seen = seen(&mut harness, hook, || {
            let [root, other] = [0, 4321].map(Uid::from_raw);
            rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::from_raw(4321), Gid::ROOT).unwrap();
            rustix::thread::set_thread_res_uid(root, other, root).unwrap();
            rustix::thread::set_thread_res_uid(root, root, root).unwrap();
            rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).unwrap();
        });
        let seen = own_thread(seen);
        assert_eq!(seen.len(), 1, "{seen:?}");
        let Some(Observed::Credentials(creds)) = &seen[0].args[0] else { panic!("{seen:?}") };
        assert_eq!((creds.uid, creds.euid, creds.suid, creds.fsuid), (0, 4321, 0, 4321));
        assert_eq!((creds.gid, creds.egid, creds.sgid, creds.fsgid), (0, 4321, 0, 4321));
        assert_eq!((creds.cap_effective, creds.cap_permitted), (0, permitted), "{creds:?}");
        assert_eq!(seen[0].args[1], Some(Observed::Uint(4321)));
    }
}

#[test]
fn the_user_namespace_in_which_a_capability_is_wanted() {
    let hook = "
call: security_capable
syscall: false
args:
- {index: 1, type: user_namespace}
- {index: 1, type: int, resolve: level}
- {index: 2, type: capability}
selectors:
- matchArgs:
  - {args: [1], operator: Equal, values: ['1']}
  - {args: [2], operator: Equal, values: [CAP_SYS_ADMIN]}
";
    for mut harness in harnesses() {
        let own = std::process::id();
        let seen = seen(&mut harness, hook, || {
            // It wants it in the first namespace.
            let nowhere = rustix::mount::mount_change(
                "/nowhere",
                rustix::mount::MountPropagationFlags::PRIVATE,
            );
            assert!(nowhere.is_err());
            harness::shell(harness::unshare_command().args(["-U", "-m", "sh", "-c", ":"]));
        });
        assert!(!seen.is_empty());
        let host = std::fs::metadata("/proc/self/ns/user").unwrap().ino();
        for one in seen {
            assert_ne!(one.process.pid, own, "{one:?}");
            let Some(Observed::UserNamespace(namespace)) = &one.args[0] else { panic!("{one:?}") };
            assert_eq!((namespace.level, namespace.owner, namespace.group), (1, 0, 0));
            assert_ne!(u64::from(namespace.inum), host);
        }
    }
}

#[test]
fn the_device_that_sends_a_packet() {
    for mut harness in harnesses() {
        for (values, expected) in [("[lo]", 1), ("[l, lo0]", 0)] {
            let hook = format!(
                "call: dev_hard_start_xmit\nsyscall: false\nargs:\n- {{index: 1, type: net_device}}\n- {{index: 0, type: skb}}\nselectors:\n- matchArgs:\n  - {{args: [0], operator: Equal, values: {values}}}\n  - {{args: [1], operator: DPort, values: ['1779']}}\n"
            );
            let from = UdpSocket::bind("127.0.0.1:0").unwrap();
            let seen = seen(&mut harness, &hook, || {
                for port in [1778, 1779] {
                    from.send_to(b"tested", ("127.0.0.1", port)).unwrap();
                }
            });
            assert_eq!(seen.len(), expected, "{values}: {seen:?}");
            for one in own_thread(seen) {
                assert_eq!(one.args[0], Some(Observed::Text(b"lo".to_vec())));
                let Some(Observed::Buffer(packet)) = &one.args[1] else { panic!("{one:?}") };
                assert_eq!(packet.destination.port, 1779);
            }
        }
    }
}

#[test]
fn what_bpf_is_asked_to_do() {
    let hook = "
call: security_bpf
syscall: false
args:
- {index: 0, type: bpf_cmd}
selectors:
- matchArgs:
  - {index: 0, operator: Equal, values: ['5']}
";
    for mut harness in harnesses() {
        let seen = seen(&mut harness, hook, || {
            let map = MapSpec { key_size: 4, value_size: 4, max_entries: 1, ..MapSpec::default() };
            Map::create(&MapSpec { name: "tested", map_type: MapType::HASH, ..map }).unwrap();
            program(ProgramType::RAW_TRACEPOINT);
        });
        let commands: Vec<_> = own_thread(seen).into_iter().map(|seen| seen.args).collect();
        assert_eq!(commands, [[Some(Observed::Int(5))]]);
    }
}

/// The descriptor of a file is told by what it stands for at the call, for the file that is meant.
#[test]
fn descriptors_of_functions() {
    let hook = "
call: ksys_write
syscall: false
args:
- {index: 0, type: fd}
- {index: 2, type: size_t}
selectors:
- matchArgs:
  - {args: [0], operator: Postfix, values: [/tested-descriptor]}
";
    for mut harness in harnesses() {
        let place = harness::Place::new("tested-descriptors");
        let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
        let open =
            |name: &str| rustix::fs::openat(CWD, place.0.join(name), flags, 0o640.into()).unwrap();
        let files = ["tested-descriptor", "tested-descriptors"].map(open);
        let seen = seen(&mut harness, hook, || {
            for (length, file) in files.iter().enumerate() {
                rustix::io::write(file, &b"tested"[..5 + length]).unwrap();
            }
        });
        let seen = own_thread(seen);
        assert_eq!(seen.len(), 1, "{seen:?}");
        let Some(Observed::File(file)) = &seen[0].args[0] else { panic!("{seen:?}") };
        let path = place.0.join("tested-descriptor");
        assert_eq!(file.path, path.as_os_str().as_encoded_bytes());
        assert_eq!((file.mode, file.complete), (0o100_640, true));
        assert_eq!(seen[0].args[1], Some(Observed::Size(5)));
    }
}
