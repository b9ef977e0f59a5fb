//! Every kind of line, to the byte.

use api::google::Timestamp;
use api::tetragon::get_events_response::Event;
use api::tetragon::kprobe_argument::Arg;
use api::tetragon::*;

use super::style::Style;
use super::{Compact, NoLine};

const PLAIN: Compact =
    Compact { style: Style::Plain, timestamps: false, stack_traces: true, ima_hash: true };
const COLOURED: Compact = Compact { style: Style::Coloured, ..PLAIN };

fn process(binary: &str, arguments: &str) -> Option<Process> {
    Some(Process { binary: binary.into(), arguments: arguments.into(), ..Default::default() })
}

fn bin() -> Option<Process> {
    process("bin", "")
}

fn on(node: &str, event: Event) -> GetEventsResponse {
    GetEventsResponse { node_name: node.into(), event: Some(event), ..Default::default() }
}

fn line(event: Event) -> String {
    let text = PLAIN.encode(&on("src", event)).unwrap();
    text.strip_suffix('\n').unwrap().to_owned()
}

fn kprobe(name: &str, args: Vec<Arg>) -> Event {
    Event::ProcessKprobe(ProcessKprobe {
        process: bin(),
        function_name: name.into(),
        args: args
            .into_iter()
            .map(|arg| KprobeArgument { arg: Some(arg), label: String::new() })
            .collect(),
        ..Default::default()
    })
}

fn file(path: &str) -> Arg {
    Arg::FileArg(KprobeFile { path: path.into(), ..Default::default() })
}

fn string(text: &str) -> Arg {
    Arg::StringArg(text.into())
}

fn sock() -> Arg {
    Arg::SockArg(KprobeSock {
        saddr: "1.2.3.4".into(),
        sport: 5,
        daddr: "6.7.8.9".into(),
        dport: 80,
        ..Default::default()
    })
}

#[test]
fn processes() {
    let mut curl = process("/usr/bin/curl", "cilium.io");
    assert_eq!(
        PLAIN.encode(&on(
            "my-node",
            Event::ProcessExit(ProcessExit {
                process: curl.clone(),
                status: 1,
                ..Default::default()
            })
        )),
        Ok("💥 exit    my-node /usr/bin/curl cilium.io 1\n".into())
    );
    assert_eq!(
        line(Event::ProcessExit(ProcessExit {
            process: process("/bin/sh", ""),
            signal: "SIGKILL".into(),
            ..Default::default()
        })),
        "💥 exit    src /bin/sh  SIGKILL"
    );
    curl.as_mut().unwrap().pod = Some(Pod {
        namespace: "kube-system".into(),
        name: "tetragon".into(),
        ..Default::default()
    });
    let exec = Event::ProcessExec(ProcessExec { process: curl, ..Default::default() });
    assert_eq!(line(exec), "🚀 process kube-system/tetragon /usr/bin/curl cilium.io");
    let words = process("/opt/my app", " \"a b\" c\n\u{1b}[2J");
    assert_eq!(
        line(Event::ProcessExec(ProcessExec { process: words, ..Default::default() })),
        r#"🚀 process src "/opt/my app" " \"a b\" c\n\x1b[2J""#
    );
}

#[test]
fn loader_and_throttle() {
    let loader = |buildid: &[u8]| {
        line(Event::ProcessLoader(ProcessLoader {
            process: bin(),
            path: "/lib/libc.so".into(),
            buildid: buildid.into(),
            ..Default::default()
        }))
    };
    assert_eq!(loader(&[]), "🧬 loader  src bin /lib/libc.so");
    assert_eq!(loader(&[0x0a, 0xff]), "🧬 loader  src bin 0aff /lib/libc.so");
    let throttle = |kind: ThrottleType| {
        line(Event::ProcessThrottle(ProcessThrottle {
            r#type: kind as i32,
            cgroup: "cgroup".into(),
        }))
    };
    assert_eq!(throttle(ThrottleType::ThrottleStart), "🧬 throttle START cgroup");
    assert_eq!(throttle(ThrottleType::ThrottleStop), "🧬 throttle STOP  cgroup");
}

#[test]
fn system_calls() {
    let cases = [
        (
            "__x64_sys_write",
            vec![file("/file"), Arg::BytesArg(vec![]), Arg::SizeArg(1234)],
            "📝 write   src bin /file 1234 bytes",
        ),
        ("__x64_sys_write", vec![], "📝 write   src bin  "),
        (
            "__arm64_sys_read",
            vec![file("/file"), Arg::BytesArg(vec![]), Arg::SizeArg(10)],
            "📚 read    src bin /file 10 bytes",
        ),
        ("fd_install", vec![Arg::IntArg(3), file("/file")], "📬 open    src bin /file"),
        (
            "__x64_sys_openat",
            vec![Arg::IntArg(-100), string("path")],
            "📬\u{fe0f} openat  src bin path",
        ),
        (
            "__x64_sys_open",
            vec![Arg::IntArg(0), string("a b")],
            "📬\u{fe0f} open    src bin \"a b\"",
        ),
        ("__ia32_sys_close", vec![file("/file")], "📪 close   src bin /file"),
        ("sys_mount", vec![string("a"), string("b")], "💾 mount   src bin a b"),
        ("__x64_sys_mount", vec![], "💾 mount   src bin  "),
        ("__x64_sys_pivot_root", vec![string("a"), string("b")], "💾 pivot_root src bin a b"),
        ("__x64_sys_setuid", vec![Arg::IntArg(0)], "🔑 setuid  src bin 0"),
        ("__x64_sys_clock_settime", vec![], "⏰ clock_settime src bin"),
        ("proc_exec_connector", vec![], "🔧 proc_exec_connector src bin"),
        ("__x64_sys_setns", vec![], "🔧 setns   src bin "),
        ("__x64_sys_other", vec![], "❓ syscall src bin __x64_sys_other"),
        ("commit_creds", vec![], "❓ syscall src bin commit_creds"),
    ];
    for (name, args, expected) in cases {
        assert_eq!(line(kprobe(name, args)), expected);
    }
    for (flag, name) in [
        (0, "any"),
        (0x200_0000, "cgroup"),
        (0x800_0000, "ipc"),
        (0x4000_0000, "net"),
        (0x2_0000, "mnt"),
        (0x2000_0000, "pid"),
        (0x80, "time"),
        (0x1000_0000, "user"),
        (0x400_0000, "uts"),
        (1, ""),
    ] {
        let args = vec![Arg::IntArg(3), Arg::IntArg(flag)];
        assert_eq!(line(kprobe("__x64_sys_setns", args)), format!("🔧 setns   src bin {name}"));
    }
}

#[test]
fn kernel_functions() {
    let program = KprobeBpfAttr {
        prog_type: "BPF_PROG_TYPE_KPROBE".into(),
        insn_cnt: 2048,
        prog_name: "amazing-program".into(),
    };
    let perf = KprobePerfEvent {
        r#type: "PERF_TYPE_TRACEPOINT".into(),
        kprobe_func: "commit_creds".into(),
        ..Default::default()
    };
    let map = KprobeBpfMap {
        map_type: "BPF_MAP_TYPE_HASH".into(),
        key_size: 8,
        value_size: 8,
        max_entries: 1024,
        map_name: "amazing-map".into(),
    };
    let map_line = "🗺 bpf_map_create src bin BPF_MAP_TYPE_HASH amazing-map key size 8 value size 8 max entries 1024";
    let path = |path: &str| Arg::PathArg(KprobePath { path: path.into(), ..Default::default() });
    let cases = [
        ("tcp_connect", vec![sock()], "🔌 connect src bin tcp 1.2.3.4:5 -> 6.7.8.9:80"),
        ("tcp_connect", vec![], "🔌 connect src bin "),
        ("tcp_close", vec![sock()], "🧹 close   src bin tcp 1.2.3.4:5 -> 6.7.8.9:80"),
        (
            "tcp_sendmsg",
            vec![sock(), Arg::IntArg(100)],
            "📤 sendmsg src bin tcp 1.2.3.4:5 -> 6.7.8.9:80 bytes 100",
        ),
        ("tcp_sendmsg", vec![], "📤 sendmsg src bin  bytes 0"),
        (
            "bpf_check",
            vec![Arg::BpfAttrArg(program)],
            "🐝 bpf_load src bin BPF_PROG_TYPE_KPROBE amazing-program instruction count 2048",
        ),
        (
            "security_perf_event_alloc",
            vec![Arg::PerfEventArg(perf)],
            "🐝 perf_event_alloc src bin PERF_TYPE_TRACEPOINT commit_creds",
        ),
        ("security_bpf_map_alloc", vec![Arg::BpfMapArg(map.clone())], map_line),
        ("security_bpf_map_create", vec![Arg::BpfMapArg(map)], map_line),
        ("security_file_permission", vec![file("/f"), Arg::IntArg(2)], "📝 write   src bin /f"),
        ("security_file_permission", vec![file("/f"), Arg::IntArg(4)], "📚 read    src bin /f"),
        (
            "security_file_permission",
            vec![file("/f"), Arg::IntArg(1)],
            "❓ security_file_permission src bin /f",
        ),
        ("security_mmap_file", vec![file("/f"), Arg::UintArg(7)], "📝 mmap-rwx src bin /f"),
        ("security_mmap_file", vec![file("/f"), Arg::UintArg(5)], "📝 mmap-rx src bin /f"),
        ("security_mmap_file", vec![], "❓ security_mmap_file src bin "),
        ("security_path_truncate", vec![path("/f")], "📝 truncate src bin /f"),
        ("security_file_truncate", vec![file("/f")], "📝 truncate src bin /f"),
        ("security_path_truncate", vec![], "❓ security_path_truncate src bin "),
    ];
    for (name, args, expected) in cases {
        assert_eq!(line(kprobe(name, args)), expected);
    }
}

#[test]
fn tracepoints_and_probes() {
    let hit = |subsys: &str, event: &str, arg: Option<Arg>| {
        line(Event::ProcessTracepoint(ProcessTracepoint {
            process: bin(),
            subsys: subsys.into(),
            event: event.into(),
            args: vec![KprobeArgument { arg, label: String::new() }],
            ..Default::default()
        }))
    };
    assert_eq!(
        hit("sched", "sched_switch", None),
        "⁉\u{fe0f} tracepoint src bin sched sched_switch"
    );
    let enter = |arg| hit("raw_syscalls", "sys_enter", arg);
    let call = |id, abi: &str| Some(Arg::SyscallId(SyscallId { id, abi: abi.into() }));
    assert_eq!(enter(None), "☎  syscall src bin unknown");
    assert_eq!(enter(call(9999, "x64")), "☎  syscall src bin unknown");
    assert_eq!(enter(call(4, "i386")), "☎  syscall src bin i386/write");
    #[cfg(target_arch = "x86_64")]
    for arg in [call(1, "x64"), Some(Arg::LongArg(1))] {
        // With or without its parameters, as this machine's kernel shows them.
        let line = enter(arg);
        assert!(line.starts_with("☎  syscall src bin write"), "{line}");
    }
    assert_eq!(
        line(Event::ProcessUprobe(ProcessUprobe {
            process: bin(),
            path: "path".into(),
            symbol: "symbol".into(),
            ..Default::default()
        })),
        "🕵\u{fe0f} uprobe  src bin path symbol"
    );
    assert_eq!(
        line(Event::ProcessUsdt(ProcessUsdt {
            process: bin(),
            path: "path".into(),
            provider: "provider".into(),
            name: "name".into(),
            ..Default::default()
        })),
        "🕵\u{fe0f} usdt    src bin path provider name"
    );
}

#[test]
fn security_hooks() {
    let mut hit = ProcessLsm {
        process: bin(),
        function_name: "file_open".into(),
        ima_hash: "sha256:ab".into(),
        args: vec![KprobeArgument { arg: Some(file("/path")), label: String::new() }],
        ..Default::default()
    };
    let encode = |compact: Compact, hit: &ProcessLsm| {
        compact.encode(&on("src", Event::ProcessLsm(hit.clone()))).unwrap()
    };
    assert_eq!(encode(PLAIN, &hit), "🔒 LSM     src bin file_open\n   /path sha256:ab\n");
    let without = Compact { ima_hash: false, ..PLAIN };
    assert_eq!(encode(without, &hit), "🔒 LSM     src bin file_open\n");
    assert_eq!(
        encode(COLOURED, &hit).lines().nth(1).unwrap(),
        "\x1b[32m   /path\x1b[0m\x1b[34m sha256:ab"
    );
    hit.ima_hash.clear();
    assert_eq!(encode(PLAIN, &hit), "🔒 LSM     src bin file_open\n");
}

#[test]
fn stacks() {
    let frame = |symbol: &str, module: &str| StackTraceEntry {
        address: 0,
        offset: 0x1f,
        symbol: symbol.into(),
        module: module.into(),
    };
    let event = on(
        "src",
        Event::ProcessKprobe(ProcessKprobe {
            process: bin(),
            function_name: "f".into(),
            kernel_stack_trace: vec![frame("symbol", "")],
            user_stack_trace: vec![frame("symbol", "module"), frame("", "module")],
            ..Default::default()
        }),
    );
    assert_eq!(
        PLAIN.encode(&event).unwrap(),
        "❓ syscall src bin f\n\
         Kernel:\n   0x0: symbol+0x1f\n\
         User:\n   0x0: symbol (module+0x1f)\n   0x0: (module+0x1f)\n"
    );
    let without = Compact { stack_traces: false, ..PLAIN };
    assert_eq!(without.encode(&event).unwrap(), "❓ syscall src bin f\n");
    assert!(COLOURED.encode(&event).unwrap().contains(
        "Kernel:\n\x1b[32m   0x0:\x1b[0m\x1b[34m symbol\x1b[0m+\x1b[33m0x1f\n\x1b[0mUser:\n"
    ));
}

#[test]
fn colours_and_times() {
    let mut event = on(
        "my-node",
        Event::ProcessExit(ProcessExit {
            process: process("/usr/bin/curl", "cilium.io"),
            status: 1,
            ..Default::default()
        }),
    );
    assert_eq!(
        COLOURED.encode(&event).unwrap(),
        "\x1b[34m💥 exit   \x1b[0m \x1b[32mmy-node\x1b[0m \x1b[35m/usr/bin/curl\x1b[0m \
         \x1b[36mcilium.io\x1b[0m \x1b[31m1\x1b[0m\n"
    );
    event.time = Some(Timestamp { seconds: 1_696_571_460, nanos: 1_000_000 });
    let timed = Compact { timestamps: true, ..PLAIN };
    assert_eq!(
        timed.encode(&event).unwrap(),
        "2023-10-06T05:51:00.001000000Z 💥 exit    my-node /usr/bin/curl cilium.io 1\n"
    );
    let coloured = |event| COLOURED.encode(&on("src", event)).unwrap();
    assert_eq!(
        coloured(Event::ProcessThrottle(ProcessThrottle { r#type: 2, cgroup: "cgroup".into() })),
        "\x1b[31m🧬 throttle\x1b[0m \x1b[32mSTOP \x1b[0m cgroup\n"
    );
    assert_eq!(
        coloured(Event::ProcessLoader(ProcessLoader {
            process: bin(),
            path: "/lib".into(),
            ..Default::default()
        })),
        "\x1b[34m🧬 loader \x1b[0m \x1b[32msrc\x1b[0m \x1b[35mbin\x1b[0m \x1b[33m/lib\x1b[0m\n"
    );
}

#[test]
fn trailer_of_those_who_may_do_anything() {
    let exec = |effective: Vec<i32>, arguments: &str| {
        let mut process = process("/usr/bin/curl", arguments).unwrap();
        process.cap = Some(Capabilities { effective, ..Default::default() });
        line(Event::ProcessExec(ProcessExec { process: Some(process), ..Default::default() }))
    };
    let admin = CapabilitiesType::CapSysAdmin as i32;
    let start = "🚀 process src /usr/bin/curl cilium.io";
    let padding = 120 - start.len() - "X CAP_SYS_ADMIN".len();
    let expected = format!("{start} {}🛑 CAP_SYS_ADMIN", " ".repeat(padding));
    assert_eq!(exec(vec![admin], "cilium.io"), expected);
    // By value: not because of the number of capabilities, and not unless it is there.
    assert_eq!(exec((0..41).filter(|cap| *cap != admin).collect(), "cilium.io"), start);
    assert_eq!(exec(vec![], "cilium.io"), start);
    let long = "x".repeat(200);
    assert!(exec(vec![admin], &long).ends_with("xx 🛑 CAP_SYS_ADMIN"));
}

#[test]
fn lost_events() {
    let lost = |count| {
        line(Event::EventsLost(EventsLost {
            ring: "base".into(),
            count,
            cause: "ring full".into(),
            cpu: Some(3),
            first_seq: 7,
            last_seq: 9,
        }))
    };
    assert_eq!(lost(12), "⚠\u{fe0f} lost    src 12 events ring full");
    assert_eq!(lost(1), "⚠\u{fe0f} lost    src 1 event ring full");
}

#[test]
fn what_has_no_line() {
    let encode =
        |event: Option<Event>| PLAIN.encode(&GetEventsResponse { event, ..Default::default() });
    assert_eq!(encode(Some(Event::Test(Test::default()))), Ok("TEST EVENT\n".into()));
    assert_eq!(encode(None), Err(NoLine::Unknown));
    assert_eq!(
        encode(Some(Event::RateLimitInfo(RateLimitInfo::default()))),
        Err(NoLine::Kind("RATE_LIMIT_INFO"))
    );
    assert_eq!(
        encode(Some(Event::ProcessExec(ProcessExec::default()))),
        Err(NoLine::NoProcess("PROCESS_EXEC"))
    );
}
