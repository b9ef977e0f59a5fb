use super::*;
use api::google::Timestamp;
use api::tetragon::get_events_response::Event;
use api::tetragon::kprobe_argument::Arg;
use api::tetragon::{
    Container, KprobeArgument, KprobeSock, Pod, Process, ProcessExec, ProcessKprobe,
};

fn exec() -> GetEventsResponse {
    let pod = Pod {
        name: "web-1".into(),
        namespace: "shop".into(),
        container: Some(Container { name: "nginx".into(), ..Container::default() }),
        pod_labels: [("app".to_owned(), "web".to_owned())].into(),
        ..Pod::default()
    };
    let process = Process {
        pid: Some(42),
        uid: Some(0),
        binary: "/usr/bin/curl".into(),
        arguments: "https://example.org".into(),
        start_time: Some(Timestamp { seconds: 1_700_000_000, nanos: 5 }),
        pod: Some(pod),
        ..Process::default()
    };
    let exec = ProcessExec { process: Some(process), ..ProcessExec::default() };
    GetEventsResponse { event: Some(Event::ProcessExec(exec)), ..GetEventsResponse::default() }
}

fn connect(to: &str) -> GetEventsResponse {
    let sock = KprobeSock {
        family: "AF_INET".into(),
        daddr: to.into(),
        dport: 443,
        cookie: u64::MAX,
        ..KprobeSock::default()
    };
    let sock = KprobeArgument { arg: Some(Arg::SockArg(sock)), ..KprobeArgument::default() };
    let int = KprobeArgument { arg: Some(Arg::IntArg(-5)), ..KprobeArgument::default() };
    let kprobe = ProcessKprobe {
        function_name: "tcp_connect".into(),
        args: vec![sock, int],
        action: 3,
        ..ProcessKprobe::default()
    };
    GetEventsResponse { event: Some(Event::ProcessKprobe(kprobe)), ..GetEventsResponse::default() }
}

#[test]
fn about_processes() {
    let table = [
        (r#"process_exec.process.binary == "/usr/bin/curl""#, true),
        (r#"process_exec.process.binary.endsWith("/wget")"#, false),
        (r#"process_exec.process.arguments.matches("^https?://")"#, true),
        ("process_exec.process.pid == 42u", true),
        ("process_exec.process.pid > 42u", false),
        ("process_exec.process.uid == 0u", true),
        // Not set: a wrapper is null.
        ("process_exec.process.auid == null", true),
        ("has(process_exec.process.auid)", false),
        ("has(process_exec.process.uid)", true),
        ("has(process_exec.process.pod)", true),
        ("has(process_exec.parent)", false),
        (r#"process_exec.parent.binary == """#, true),
        (r#"process_exec.process.pod.pod_labels["app"] == "web""#, true),
        (r#""app" in process_exec.process.pod.pod_labels"#, true),
        (r#"process_exec.process.pod.container.name in ["nginx", "envoy"]"#, true),
        (r#"process_exec.process.start_time > timestamp("2023-11-01T00:00:00Z")"#, true),
        (r#"process_exec.process.start_time > timestamp("2024-11-01T00:00:00Z")"#, false),
        ("size(process_exec.ancestors) == 0", true),
        ("has(process_exec.process) && has(process_exit.process)", false),
        (r#"process_kprobe.function_name == "tcp_connect""#, false),
    ];
    for (text, wanted) in table {
        assert_eq!(Expression::new(text).unwrap().holds(&exec()), wanted, "{text}");
    }
}

#[test]
fn about_arguments_and_addresses() {
    let table = [
        (r#"process_kprobe.function_name == "tcp_connect""#, true),
        ("process_kprobe.args[0].sock_arg.dport == 443u", true),
        ("process_kprobe.args[0].sock_arg.cookie == 18446744073709551615u", true),
        ("process_kprobe.args[1].int_arg == -5", true),
        ("process_kprobe.args.exists(arg, has(arg.sock_arg) && arg.sock_arg.dport == 443u)", true),
        ("process_kprobe.args.all(arg, has(arg.sock_arg))", false),
        ("process_kprobe.args.exists(arg, arg.file_arg.path == '/etc/passwd')", false),
        ("process_kprobe.action == 3", true),
        (r#"cidr("10.0.0.0/8").containsIP(process_kprobe.args[0].sock_arg.daddr)"#, true),
        (r#"cidr("10.0.0.0/16").containsIP(ip(process_kprobe.args[0].sock_arg.daddr))"#, false),
        (r#"ip(process_kprobe.args[0].sock_arg.daddr).isGlobalUnicast()"#, true),
        (r#"ip(process_kprobe.args[0].sock_arg.daddr).family() == 4"#, true),
        (r#"isIP("10.0.0.1") && !isIP("10.0.0.256") && isCIDR("::/0") && !isCIDR("::/129")"#, true),
        (r#"cidr("10.1.2.3/8").masked() == cidr("10.0.0.0/8")"#, true),
        (r#"cidr("10.1.2.3/8").containsCIDR("10.9.0.0/16")"#, true),
        (r#"cidr("10.1.2.3/8").containsCIDR(cidr("0.0.0.0/0"))"#, false),
        (
            r#"string(cidr("10.1.2.3/8").ip()) == "10.1.2.3" && cidr("::/7").prefixLength() == 7"#,
            true,
        ),
        (r#"cidr("0.0.0.0/0").containsIP("::1")"#, false),
        (r#"ip("::1").isLoopback() && ip("::").isUnspecified()"#, true),
        (r#"ip("169.254.1.1").isLinkLocalUnicast() && ip("ff02::1").isLinkLocalMulticast()"#, true),
        // Cannot be evaluated, so false, and the other way round as well.
        ("process_kprobe.args[7].int_arg == 0", false),
        (r#"ip("nonsense").isLoopback()"#, false),
        (r#"!ip("nonsense").isLoopback()"#, false),
        ("process_kprobe.function_name", false),
    ];
    for (text, wanted) in table {
        assert_eq!(Expression::new(text).unwrap().holds(&connect("10.1.2.3")), wanted, "{text}");
    }
}

#[test]
fn wrong_names_are_told() {
    let table = [
        (
            "process_exec.process.binray == ''",
            "Process has no field \"binray\"; did you mean \"binary\"?",
        ),
        ("proces_exec.process.pid == 1u", "there is no \"proces_exec\"; events are process_exec, "),
        ("process_kprobe.args.exists(a, a.sockarg.dport == 1u)", "did you mean \"sock_arg\"?"),
        ("process_kprobe.args[0].sock_arg.port == 1u", "KprobeSock has no field \"port\""),
        ("has(process_exec.process.pood)", "did you mean \"pod\"?"),
        ("[process_exec.x][0] == 1", "ProcessExec has no field \"x\""),
        ("process_exec.process.pid ==", "<input>:1:"),
    ];
    for (text, part) in table {
        let error = Expression::new(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
        assert!(error.starts_with("cel_expression: "), "{error}");
    }
}
