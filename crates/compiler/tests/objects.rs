//! Functions that take objects of the kernel: what is captured of them behind trampolines, whose pointers
//! have types, and behind breakpoints, whose pointers have none.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::observed::{BpfMap, BpfProgram, End, Observation, Observed, SocketAddress};
use harness::{Harness, own_thread, policy};
use kernel::features::Feature;
use kernel::map::{Map, MapSpec, MapType};
use kernel::program::{Program, ProgramSpec, ProgramType};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::net::SocketAddrUnix;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;

/// Behind trampolines, and behind breakpoints.
fn harnesses() -> impl Iterator<Item = Harness> {
    let lacks = [Feature::Fentry, Feature::Fexit];
    let trampolines = Harness::with(Feature::Fexit);
    [trampolines, Harness::without(Feature::Kretprobe, &lacks)].into_iter().flatten()
}

/// What this thread's calls show of a function while `body` runs.
fn seen(harness: &mut Harness, hook: &str, body: impl FnOnce()) -> Vec<Observation> {
    harness.load(&policy("object", "kprobes", hook));
    let seen = own_thread(harness.during(body));
    harness.remove("object");
    seen
}

const CONNECT: &str = "
call: security_socket_connect
syscall: false
args:
- {index: 0, type: socket}
- {index: 1, type: sockaddr}
- {index: 1, type: sockaddr_un}
selectors:
- matchArgs:
";

#[test]
fn sockets_and_addresses_of_functions() {
    for mut harness in harnesses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let filters = "  - {args: [1], operator: SAddr, values: ['127.0.0.1']}\n  - {args: [0], operator: State, values: [TCP_CLOSE]}\n";
        let seen_connect = seen(&mut harness, &format!("{CONNECT}{filters}"), || {
            drop(TcpStream::connect(to).unwrap());
        });
        assert_eq!(seen_connect.len(), 1, "{seen_connect:?}");
        let args = &seen_connect[0].args;
        let Some(Observed::Socket(socket)) = &args[0] else { panic!("{args:?}") };
        assert_eq!((socket.family, socket.kind, socket.protocol), (2, 1, 6));
        let end = End { address: Some(to.ip()), port: to.port() };
        assert_eq!(args[1], Some(Observed::Address(SocketAddress { family: 2, end })));
        assert_eq!(args[2], Some(Observed::UnixAddress { family: 2, path: Vec::new() }));

        let name = b"tested-nobody\0is there";
        let filters = "  - {args: [2], operator: Prefix, values: ['@tested-nobody']}\n";
        let seen_unix = seen(&mut harness, &format!("{CONNECT}{filters}"), || {
            let to = SocketAddrUnix::new_abstract_name(name).unwrap();
            let socket = rustix::net::socket(
                rustix::net::AddressFamily::UNIX,
                rustix::net::SocketType::STREAM,
                None,
            );
            assert!(rustix::net::connect(socket.unwrap(), &to).is_err());
            assert!(UnixStream::connect("/tmp/tested-nobody").is_err());
        });
        assert_eq!(seen_unix.len(), 1, "{seen_unix:?}");
        let path = [b"\0", &name[..]].concat();
        assert_eq!(seen_unix[0].args[2], Some(Observed::UnixAddress { family: 1, path }));
    }
}

#[test]
fn names_of_files_that_are_opened() {
    let hook = "
call: do_filp_open
syscall: false
args:
- {index: 1, type: filename}
selectors:
- matchArgs:
  - {index: 1, operator: Prefix, values: [/tmp/tested-name]}
";
    for mut harness in harnesses() {
        let seen = seen(&mut harness, hook, || {
            for name in ["/tmp/tested-nam", "/tmp/tested-name", "/tmp/tested-names"] {
                assert!(File::open(name).is_err());
            }
        });
        let args: Vec<_> = seen.iter().map(|seen| seen.args[0].clone()).collect();
        let text = |text: &str| Some(Observed::Text(text.into()));
        assert_eq!(args, [text("/tmp/tested-name"), text("/tmp/tested-names")]);
    }
}

#[test]
fn packets_of_functions() {
    let hook = "
call: ip_output
syscall: false
args:
- {index: 1, type: sock}
- {index: 2, type: skb}
selectors:
- matchArgs:
  - {index: 2, operator: DPort, values: ['777']}
  - {index: 1, operator: Protocol, values: [IPPROTO_UDP]}
";
    for mut harness in harnesses() {
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        let seen = seen(&mut harness, hook, || {
            for port in [776, 777] {
                from.send_to(b"tested", ("127.0.0.9", port)).unwrap();
            }
        });
        assert_eq!(seen.len(), 1, "{seen:?}");
        let Some(Observed::Buffer(packet)) = &seen[0].args[1] else { panic!("{seen:?}") };
        let end = |address: SocketAddr| End { address: Some(address.ip()), port: address.port() };
        assert_eq!(packet.source, end(from.local_addr().unwrap()));
        assert_eq!(packet.destination, end("127.0.0.9:777".parse().unwrap()));
        assert_eq!((packet.family, packet.protocol, packet.length), (2, 17, 20 + 8 + 6));
    }
}

#[test]
fn sets_of_capabilities_that_are_asked_for() {
    let hook = "
call: security_capset
syscall: false
args:
- {index: 2, type: kernel_cap_t}
- {index: 4, type: kernel_cap_t}
- {index: 1, type: cred}
selectors:
- matchArgs:
  - {args: [0, 1], operator: CapabilitiesGained}
";
    for mut harness in harnesses() {
        let seen = seen(&mut harness, hook, || {
            let mut sets = capabilities(None).unwrap();
            set_capabilities(None, sets).unwrap();
            sets.effective.remove(CapabilitySet::SYS_NICE);
            set_capabilities(None, sets).unwrap();
            sets.effective.insert(CapabilitySet::SYS_NICE);
            set_capabilities(None, sets).unwrap();
        });
        assert_eq!(seen.len(), 1, "{seen:?}");
        let permitted = capabilities(None).unwrap().permitted.bits();
        let set = |set| Some(Observed::Size(set));
        assert_eq!(seen[0].args[..2], [set(permitted & !(1 << 23)), set(permitted)]);
        let Some(Observed::Credentials(creds)) = &seen[0].args[2] else { panic!("{seen:?}") };
        assert_eq!(creds.cap_effective, permitted);
    }
}

#[test]
fn a_capability_that_is_asked_for() {
    let hook = "
call: security_capable
syscall: false
args:
- {index: 0, type: cred}
- {index: 2, type: capability}
selectors:
- matchArgs:
  - {index: 2, operator: Equal, values: [CAP_SYS_NICE]}
";
    for mut harness in harnesses() {
        let seen = seen(&mut harness, hook, || {
            let pid = rustix::process::getpid();
            let priority = rustix::process::getpriority_process(Some(pid)).unwrap();
            rustix::process::setpriority_process(Some(pid), priority - 1).unwrap();
            rustix::process::setpriority_process(Some(pid), priority).unwrap();
        });
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0].args[1], Some(Observed::Int(23)));
        let Some(Observed::Credentials(creds)) = &seen[0].args[0] else { panic!("{seen:?}") };
        assert_eq!(creds.uid, rustix::process::getuid().as_raw());
    }
}

#[test]
fn a_buffer_of_a_function_is_copied_at_return() {
    let hook = "
call: vfs_read
syscall: false
return: true
returnArg: {index: 0, type: int64}
args:
- {index: 1, type: char_buf, returnCopy: true}
- {index: 2, type: size_t}
- {index: 0, type: char_buf, resolve: f_path.dentry.d_name.name, returnCopy: true}
selectors:
- matchArgs:
  - {index: 2, operator: Equal, values: ['5554']}
";
    for mut harness in harnesses() {
        let path = format!("/tmp/object-tested-{}", std::process::id());
        std::fs::write(&path, b"tested").unwrap();
        let mut file = File::open(&path).unwrap();
        let mut buffer = vec![0; 5554];
        let seen = seen(&mut harness, hook, || {
            assert_eq!(file.read(&mut buffer).unwrap(), 6);
        });
        std::fs::remove_file(&path).unwrap();
        assert_eq!(seen.len(), 1, "{seen:?}");
        let bytes = Observed::Bytes { bytes: b"tested".to_vec(), original: None };
        assert_eq!(seen[0].args[0], Some(bytes));
        // As many bytes of the file's name as were read.
        let bytes = Observed::Bytes { bytes: b"object".to_vec(), original: None };
        assert_eq!(seen[0].args[2], Some(bytes));
        assert_eq!(seen[0].returned, Some(Observed::Long(6)));
    }
}

/// Two writes to a file, of which one is asked for by what is written and where.
#[test]
fn requests_and_iterators() {
    let hook = "
call: generic_file_write_iter
syscall: false
args:
- {index: 0, type: kiocb}
- {index: 1, type: iov_iter}
selectors:
- matchArgs:
  - {args: [0], operator: Postfix, values: [/tested-iterator]}
  - {args: [1], operator: Prefix, values: [tested]}
";
    for mut harness in harnesses() {
        let directory = harness::Place::new("tested-iterators");
        // Of ramfs, whichever file system tests are on.
        let root = directory.0.as_path();
        mount("none", root, "ramfs", MountFlags::empty(), None::<&std::ffi::CStr>).unwrap();
        let mut files = ["tested-iterator", "tested-iterators"]
            .map(|name| File::create(directory.0.join(name)).unwrap());
        let seen = seen(&mut harness, hook, || {
            for file in &mut files {
                file.write_all(b"tested once").unwrap();
                file.write_all(b"teste").unwrap();
                let segments = [IoSlice::new(b"tes"), IoSlice::new(b"ted in two")];
                assert_eq!(file.write_vectored(&segments).unwrap(), 13);
            }
        });
        drop(files);
        unmount(root, UnmountFlags::DETACH).unwrap();
        let data: Vec<_> = seen.iter().map(|seen| seen.args[1].clone()).collect();
        let bytes = |text: &[u8]| Some(Observed::Bytes { bytes: text.to_vec(), original: None });
        assert_eq!(data, [bytes(b"tested once"), bytes(b"tested in two")]);
        let Some(Observed::File(file)) = &seen[0].args[0] else { panic!("{seen:?}") };
        assert!(file.path.ends_with(b"/tested-iterator"), "{file:?}");
    }
}

const EXIT: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn maps_and_programs_that_are_made() {
    for mut harness in harnesses() {
        let create = match harness.machine.btf.find_func("security_bpf_map_create") {
            Ok(_) => "security_bpf_map_create",
            Err(_) => "security_bpf_map_alloc",
        };
        let hooks = [
            format!("call: {create}\nsyscall: false\nargs:\n- {{index: 0, type: bpf_map}}\n"),
            "call: security_bpf_prog\nsyscall: false\nargs:\n- {index: 0, type: bpf_prog}\n".into(),
            "call: bpf_check\nsyscall: false\nargs:\n- {index: 1, type: bpf_attr}\n".into(),
        ];
        harness.load(&harness::hooks("object", "kprobes", hooks));
        let mut seen = own_thread(harness.during(|| {
            let name = "tested_map";
            let map_type = MapType::HASH;
            let (key_size, value_size, max_entries) = (4, 16, 77);
            Map::create(&MapSpec {
                name,
                map_type,
                key_size,
                value_size,
                max_entries,
                ..MapSpec::default()
            })
            .unwrap();
            let name = "tested_program";
            let program_type = ProgramType::RAW_TRACEPOINT;
            let spec =
                ProgramSpec { name, program_type, instructions: &EXIT, ..ProgramSpec::default() };
            Program::load(&spec).unwrap();
        }));
        seen.sort_by_key(harness::hook_number);
        let seen: Vec<_> = seen.into_iter().map(|mut seen| seen.args.remove(0)).collect();
        let name = b"tested_map".to_vec();
        let map = BpfMap { kind: 1, key_size: 4, value_size: 16, entries: 77, name };
        let name = b"tested_program".to_vec();
        let program = BpfProgram { kind: 17, instructions: 2, name };
        let expected = [
            Observed::BpfMap(map),
            Observed::BpfProgram(program.clone()),
            Observed::BpfAttributes(program),
        ];
        assert_eq!(seen, expected.map(Some));
    }
}
