//! The JSON form of messages: what is written, to the character of each value, and that it reads
//! back as the same message.

#![allow(deprecated)]
#![allow(clippy::unwrap_used)] // as in tests, also in their helpers

use std::collections::BTreeMap;

use api::google::{Any, Duration, FieldMask, Timestamp};
use api::tetragon::get_events_response::Event;
use api::tetragon::kprobe_argument::Arg;
use api::tetragon::*;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// `message` is `expected` in JSON, and that reads back as `message`, as do its bytes.
fn both_ways<M>(message: &M, expected: Value)
where
    M: Message + Default + PartialEq + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let text = serde_json::to_string(message).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    assert_eq!(&serde_json::from_str::<M>(&text).unwrap(), message);
    assert_eq!(&M::decode(message.encode_to_vec().as_slice()).unwrap(), message);
}

fn curl() -> Process {
    Process {
        exec_id: "bWluaWt1YmU6MTox".into(),
        pid: Some(52699),
        uid: Some(0),
        cwd: "/".into(),
        binary: "/usr/bin/curl".into(),
        arguments: "https://ebpf.io/applications/#tetragon".into(),
        flags: "execve rootcwd".into(),
        start_time: Some(Timestamp { seconds: 1_696_571_460, nanos: 123_456_789 }),
        auid: Some(u32::MAX),
        in_init_tree: Some(false),
        ..Default::default()
    }
}

#[test]
fn exec() {
    let event = GetEventsResponse {
        node_name: "minikube".into(),
        time: Some(Timestamp { seconds: 1_696_571_460, nanos: 0 }),
        node_labels: BTreeMap::from([("zone".into(), "a".into()), ("arch".into(), "amd64".into())]),
        event: Some(Event::ProcessExec(ProcessExec {
            process: Some(Process {
                pod: Some(Pod {
                    namespace: "default".into(),
                    name: "xwing".into(),
                    pod_labels: BTreeMap::from([("app".into(), "xwing".into())]),
                    container: Some(Container {
                        id: "containerd://551e161c".into(),
                        image: Some(Image { id: "quay.io/x@sha256:1".into(), name: "x".into() }),
                        pid: Some(7),
                        security_context: Some(SecurityContext { privileged: true }),
                        ..Default::default()
                    }),
                    ..Default::default()
                }),
                cap: Some(Capabilities {
                    permitted: vec![0, 1, 21],
                    effective: vec![CapabilitiesType::CapSysAdmin as i32],
                    inheritable: vec![],
                }),
                process_credentials: Some(ProcessCredentials {
                    uid: Some(0),
                    securebits: vec![SecureBitsType::SecBitNoRoot as i32],
                    user_ns: Some(UserNamespace { level: Some(0), ..Default::default() }),
                    ..Default::default()
                }),
                binary_properties: Some(BinaryProperties {
                    setuid: Some(0),
                    privileges_changed: vec![1, 2],
                    file: Some(FileProperties {
                        inode: Some(InodeProperties { number: u64::MAX, links: Some(0) }),
                        path: String::new(),
                    }),
                    setgid: None,
                }),
                environment_variables: vec![EnvVar { key: "A".into(), value: "b=c".into() }],
                ..curl()
            }),
            parent: Some(Process::default()),
            ancestors: vec![],
        })),
        ..Default::default()
    };
    both_ways(
        &event,
        json!({
            "process_exec": {
                "process": {
                    "exec_id": "bWluaWt1YmU6MTox",
                    "pid": 52699,
                    "uid": 0,
                    "cwd": "/",
                    "binary": "/usr/bin/curl",
                    "arguments": "https://ebpf.io/applications/#tetragon",
                    "flags": "execve rootcwd",
                    "start_time": "2023-10-06T05:51:00.123456789Z",
                    "auid": 4294967295u32,
                    "in_init_tree": false,
                    "pod": {
                        "namespace": "default",
                        "name": "xwing",
                        "pod_labels": {"app": "xwing"},
                        "container": {
                            "id": "containerd://551e161c",
                            "image": {"id": "quay.io/x@sha256:1", "name": "x"},
                            "pid": 7,
                            "security_context": {"privileged": true},
                        },
                    },
                    "cap": {
                        "permitted": ["CAP_CHOWN", "DAC_OVERRIDE", "CAP_SYS_ADMIN"],
                        "effective": ["CAP_SYS_ADMIN"],
                    },
                    "process_credentials": {
                        "uid": 0,
                        "securebits": ["SecBitNoRoot"],
                        "user_ns": {"level": 0},
                    },
                    "binary_properties": {
                        "setuid": 0,
                        "privileges_changed": [
                            "PRIVILEGES_RAISED_EXEC_FILE_CAP",
                            "PRIVILEGES_RAISED_EXEC_FILE_SETUID",
                        ],
                        "file": {"inode": {"number": "18446744073709551615", "links": 0}},
                    },
                    "environment_variables": [{"Key": "A", "Value": "b=c"}],
                },
                "parent": {},
            },
            "node_name": "minikube",
            "time": "2023-10-06T05:51:00Z",
            "node_labels": {"zone": "a", "arch": "amd64"},
        }),
    );
}

#[test]
fn exit() {
    let exit = ProcessExit {
        process: Some(curl()),
        signal: "SIGKILL".into(),
        status: 9,
        time: Some(Timestamp { seconds: 0, nanos: 1_000 }),
        ..Default::default()
    };
    let json = serde_json::to_value(&exit).unwrap();
    assert_eq!(json["signal"], "SIGKILL");
    assert_eq!(json["status"], 9);
    assert_eq!(json["time"], "1970-01-01T00:00:00.000001Z");
    assert_eq!(json.get("parent"), None);
    assert_eq!(serde_json::from_value::<ProcessExit>(json).unwrap(), exit);
}

#[test]
fn every_kind_of_argument() {
    let capabilities = || vec![CapabilitiesType::CapNetRaw as i32];
    let cases: Vec<(Arg, Value)> = vec![
        (Arg::StringArg("a\"\n\u{fffd}".into()), json!({"string_arg": "a\"\n\u{fffd}"})),
        (Arg::StringArg(String::new()), json!({"string_arg": ""})),
        (Arg::IntArg(-1), json!({"int_arg": -1})),
        (Arg::IntArg(0), json!({"int_arg": 0})),
        (
            Arg::SkbArg(KprobeSkb { len: 60, family: "AF_INET".into(), ..Default::default() }),
            json!({"skb_arg": {"len": 60, "family": "AF_INET"}}),
        ),
        (Arg::SizeArg(u64::MAX), json!({"size_arg": "18446744073709551615"})),
        (Arg::BytesArg(vec![0xff, 0xfe, 0]), json!({"bytes_arg": "//4A"})),
        (
            Arg::PathArg(KprobePath { path: "/etc".into(), ..Default::default() }),
            json!({"path_arg": {"path": "/etc"}}),
        ),
        (
            Arg::FileArg(KprobeFile { permission: "-rw-r--r--".into(), ..Default::default() }),
            json!({"file_arg": {"permission": "-rw-r--r--"}}),
        ),
        (
            Arg::TruncatedBytesArg(KprobeTruncatedBytes {
                bytes_arg: b"hello".to_vec(),
                orig_size: 4096,
            }),
            json!({"truncated_bytes_arg": {"bytes_arg": "aGVsbG8=", "orig_size": "4096"}}),
        ),
        (
            Arg::SockArg(KprobeSock {
                r#type: "SOCK_STREAM".into(),
                cookie: 1 << 63,
                dport: 443,
                ..Default::default()
            }),
            json!({
                "sock_arg": {"type": "SOCK_STREAM", "cookie": "9223372036854775808", "dport": 443}
            }),
        ),
        (
            Arg::CredArg(KprobeCred { effective: capabilities(), ..Default::default() }),
            json!({"cred_arg": {"effective": ["CAP_NET_RAW"]}}),
        ),
        (Arg::LongArg(i64::MIN), json!({"long_arg": "-9223372036854775808"})),
        (
            Arg::BpfAttrArg(KprobeBpfAttr { insn_cnt: 2, ..Default::default() }),
            json!({"bpf_attr_arg": {"InsnCnt": 2}}),
        ),
        (
            Arg::PerfEventArg(KprobePerfEvent { probe_offset: 5, ..Default::default() }),
            json!({"perf_event_arg": {"ProbeOffset": "5"}}),
        ),
        (
            Arg::BpfMapArg(KprobeBpfMap { map_name: "m".into(), ..Default::default() }),
            json!({"bpf_map_arg": {"MapName": "m"}}),
        ),
        (Arg::UintArg(u32::MAX), json!({"uint_arg": 4294967295u32})),
        (
            Arg::UserNamespaceArg(KprobeUserNamespace { owner: Some(0), ..Default::default() }),
            json!({"user_namespace_arg": {"owner": 0}}),
        ),
        (
            Arg::CapabilityArg(KprobeCapability { value: Some(21), name: "CAP_SYS_ADMIN".into() }),
            json!({"capability_arg": {"value": 21, "name": "CAP_SYS_ADMIN"}}),
        ),
        (
            Arg::ProcessCredentialsArg(ProcessCredentials { gid: Some(5), ..Default::default() }),
            json!({"process_credentials_arg": {"gid": 5}}),
        ),
        (
            Arg::UserNsArg(UserNamespace {
                ns: Some(Namespace { inum: 4026531837, is_host: true }),
                ..Default::default()
            }),
            json!({"user_ns_arg": {"ns": {"inum": 4026531837u32, "is_host": true}}}),
        ),
        (
            Arg::ModuleArg(KernelModule {
                name: "xt_LOG".into(),
                signature_ok: Some(false),
                tainted: vec![TaintedBitsType::TaintUnsignedModule as i32],
            }),
            json!({
                "module_arg": {
                    "name": "xt_LOG", "signature_ok": false, "tainted": ["TAINT_UNSIGNED_MODULE"],
                }
            }),
        ),
        (Arg::KernelCapTArg("00".into()), json!({"kernel_cap_t_arg": "00"})),
        (Arg::CapInheritableArg("01".into()), json!({"cap_inheritable_arg": "01"})),
        (Arg::CapPermittedArg("02".into()), json!({"cap_permitted_arg": "02"})),
        (Arg::CapEffectiveArg("03".into()), json!({"cap_effective_arg": "03"})),
        (
            Arg::LinuxBinprmArg(KprobeLinuxBinprm { path: "/b".into(), ..Default::default() }),
            json!({"linux_binprm_arg": {"path": "/b"}}),
        ),
        (
            Arg::NetDevArg(KprobeNetDev { name: "lo".into() }),
            json!({"net_dev_arg": {"name": "lo"}}),
        ),
        (Arg::BpfCmdArg(BpfCmd::BpfProgLoad as i32), json!({"bpf_cmd_arg": "BPF_PROG_LOAD"})),
        (Arg::BpfCmdArg(0), json!({"bpf_cmd_arg": "BPF_MAP_CREATE"})),
        (
            Arg::SyscallId(SyscallId { id: 1, abi: "x64".into() }),
            json!({"syscall_id": {"id": 1, "abi": "x64"}}),
        ),
        (
            Arg::SockaddrArg(KprobeSockaddr { addr: "::1".into(), ..Default::default() }),
            json!({"sockaddr_arg": {"addr": "::1"}}),
        ),
        (
            Arg::BpfProgArg(KprobeBpfProg { prog_type: "X".into(), ..Default::default() }),
            json!({"bpf_prog_arg": {"ProgType": "X"}}),
        ),
        (
            Arg::ErrorArg(KprobeError { message: "page fault".into() }),
            json!({"error_arg": {"Message": "page fault"}}),
        ),
        (
            Arg::SockaddrunArg(KprobeSockaddrUn { path: "@x".into(), ..Default::default() }),
            json!({"sockaddrun_arg": {"path": "@x"}}),
        ),
    ];
    let kinds: std::collections::HashSet<_> =
        cases.iter().map(|(arg, _)| std::mem::discriminant(arg)).collect();
    assert_eq!(kinds.len(), 32, "a kind of argument is missing here");
    for (arg, expected) in &cases {
        let argument = KprobeArgument { arg: Some(arg.clone()), label: String::new() };
        both_ways(&argument, expected.clone());
    }
    let event = GetEventsResponse {
        event: Some(Event::ProcessKprobe(ProcessKprobe {
            function_name: "__x64_sys_write".into(),
            args: vec![KprobeArgument { arg: Some(Arg::IntArg(3)), label: "fd".into() }],
            r#return: Some(KprobeArgument { arg: Some(Arg::LongArg(0)), label: String::new() }),
            action: KprobeAction::Override as i32,
            kernel_stack_trace: vec![StackTraceEntry {
                offset: 31,
                symbol: "f".into(),
                ..Default::default()
            }],
            ..Default::default()
        })),
        ..Default::default()
    };
    both_ways(
        &event,
        json!({"process_kprobe": {
            "function_name": "__x64_sys_write",
            "args": [{"int_arg": 3, "label": "fd"}],
            "return": {"long_arg": "0"},
            "action": "KPROBE_ACTION_OVERRIDE",
            "kernel_stack_trace": [{"offset": "31", "symbol": "f"}],
        }}),
    );
}

#[test]
fn lost_events() {
    let event = GetEventsResponse {
        event: Some(Event::EventsLost(EventsLost {
            ring: "base".into(),
            count: 12,
            cause: "ring full".into(),
            cpu: Some(0),
            first_seq: 0,
            last_seq: 11,
        })),
        ..Default::default()
    };
    both_ways(
        &event,
        json!({"events_lost":
            {"ring": "base", "count": "12", "cause": "ring full", "cpu": 0, "last_seq": "11"}}),
    );
    assert_eq!(event.event_type().as_str_name(), "EVENTS_LOST");
}

#[test]
fn times_have_as_many_digits_as_they_need() {
    for (seconds, nanos, text) in [
        (0, 0, "1970-01-01T00:00:00Z"),
        (0, 500_000_000, "1970-01-01T00:00:00.500Z"),
        (-1, 1_000, "1969-12-31T23:59:59.000001Z"),
        (951_782_400, 7, "2000-02-29T00:00:00.000000007Z"),
        (253_402_300_799, 999_999_999, "9999-12-31T23:59:59.999999999Z"),
    ] {
        both_ways(&Timestamp { seconds, nanos }, json!(text));
    }
    for other in ["2016-11-08T21:07:09+05:00", "2016-11-08T16:07:09.000Z"] {
        let time: Timestamp = serde_json::from_value(json!(other)).unwrap();
        assert_eq!(time.to_string(), "2016-11-08T16:07:09Z");
    }
    for bad in [json!("yesterday"), json!(""), json!(12)] {
        assert!(serde_json::from_value::<Timestamp>(bad).is_err());
    }
    for (seconds, nanos) in [(253_402_300_800, 0), (0, -1), (0, 1_000_000_000)] {
        assert!(serde_json::to_string(&Timestamp { seconds, nanos }).is_err());
    }
    both_ways(&Duration { seconds: 1, nanos: 500_000_000 }, json!("1.500s"));
    both_ways(&Duration { seconds: -15, nanos: 0 }, json!("-15s"));
    assert!(serde_json::from_value::<Duration>(json!("15")).is_err());
}

#[test]
fn masks_are_one_string() {
    let mask = |paths: &[&str]| FieldMask { paths: paths.iter().map(|p| (*p).into()).collect() };
    both_ways(&mask(&["process.start_time", "parent"]), json!("process.startTime,parent"));
    both_ways(&mask(&[]), json!(""));
    let filter: FieldFilter = serde_json::from_value(json!({
        "fields": "process.start_time,parent.pod", "action": "EXCLUDE", "invert_event_set": true,
    }))
    .unwrap();
    assert_eq!(filter.fields, Some(mask(&["process.start_time", "parent.pod"])));
    assert_eq!(filter.action(), FieldFilterAction::Exclude);
    assert_eq!(filter.invert_event_set, Some(true));
    assert!(serde_json::to_string(&mask(&["a__b"])).is_err());
}

#[test]
fn settings_carry_their_type() {
    let url = |name: &str| format!("type.googleapis.com/google.protobuf.{name}");
    let setting = |key: &str, value| get_info_response::ConfVal {
        key: key.into(),
        value,
        source: String::new(),
    };
    both_ways(
        &GetInfoResponse {
            conf: vec![
                setting("s", Some(Any::pack(&"x".to_owned()))),
                setting("b", Some(Any::pack(&false))),
                setting("i", Some(Any::pack(&i64::MAX))),
                setting("l", Some(Any::pack_strings(["a", "b"]))),
            ],
            probes: vec![get_info_response::Probe { name: "kprobe".into(), enabled: Some(false) }],
            ..Default::default()
        },
        json!({
            "probes": [{"Name": "kprobe", "Enabled": false}],
            "conf": [
                {"key": "s", "value": {"@type": url("StringValue"), "value": "x"}},
                {"key": "b", "value": {"@type": url("BoolValue"), "value": false}},
                {"key": "i", "value": {"@type": url("Int64Value"), "value": "9223372036854775807"}},
                {"key": "l", "value": {"@type": url("ListValue"), "value": ["a", "b"]}},
            ],
        }),
    );
    let foreign = Any { type_url: "example.org/x.Y".into(), value: vec![1, 2] };
    assert_eq!(
        serde_json::to_value(&foreign).unwrap(),
        json!({"@type": "example.org/x.Y", "value": "AQI="})
    );
    let broken = Any { type_url: url("StringValue"), value: vec![0xff] };
    assert!(serde_json::to_string(&broken).is_err());
}

#[test]
fn what_is_unknown_is_passed_over() {
    let event: GetEventsResponse = serde_json::from_value(json!({
        "process_exec": {"process": {"pid": 1, "from_the_future": {"a": [1, 2]}}, "x": null},
        "verdict": "ok",
    }))
    .unwrap();
    assert_eq!(event.process().unwrap().pid, Some(1));
    let event: GetEventsResponse =
        serde_json::from_value(json!({"process_dance": {}, "node_name": "n"})).unwrap();
    assert_eq!(event.event_type(), EventType::Undef);
    assert_eq!(event.node_name, "n");
}

#[test]
fn other_spellings_are_read() {
    let process: Process = serde_json::from_value(json!({
        "execId": "a", "pid": "7", "refcnt": "3", "cwd": null, "pod": null, "start_time": null,
        "in_init_tree": null,
    }))
    .unwrap();
    let expected = Process { exec_id: "a".into(), pid: Some(7), refcnt: 3, ..Default::default() };
    assert_eq!(process, expected);
    let file: InodeProperties = serde_json::from_value(json!({"number": 5})).unwrap();
    assert_eq!(file.number, 5);
    let kprobe: ProcessKprobe = serde_json::from_value(json!({"action": 3})).unwrap();
    assert_eq!(kprobe.action(), KprobeAction::Sigkill);
    for bad in [json!({"pid": "seven"}), json!({"pid": -1}), json!({"pid": 4294967296u64})] {
        assert!(serde_json::from_value::<Process>(bad).is_err());
    }
}

#[test]
fn enum_values_of_other_versions_keep_their_number() {
    let cap = Capabilities { effective: vec![0, 63], ..Default::default() };
    both_ways(&cap, json!({"effective": ["CAP_CHOWN", 63]}));
    let kprobe = ProcessKprobe { action: 99, ..Default::default() };
    both_ways(&kprobe, json!({"action": 99}));
    let argument = KprobeArgument { arg: Some(Arg::BpfCmdArg(77)), label: String::new() };
    both_ways(&argument, json!({"bpf_cmd_arg": 77}));
    let error = serde_json::from_value::<ProcessKprobe>(json!({"action": "KPROBE_ACTION_DANCE"}));
    assert!(error.unwrap_err().to_string().contains("KPROBE_ACTION_DANCE"));
}

#[test]
fn fields_stand_in_the_order_of_the_proto_files() {
    let event = GetEventsResponse {
        node_name: "n".into(),
        time: Some(Timestamp::default()),
        event: Some(Event::ProcessKprobe(ProcessKprobe {
            args: vec![KprobeArgument { arg: Some(Arg::IntArg(1)), label: "l".into() }],
            ..Default::default()
        })),
        ..Default::default()
    };
    assert_eq!(
        serde_json::to_string(&event).unwrap(),
        "{\"process_kprobe\":{\"args\":[{\"int_arg\":1,\"label\":\"l\"}]},\
         \"node_name\":\"n\",\"time\":\"1970-01-01T00:00:00Z\"}"
    );
}

#[test]
fn contradictions_are_errors() {
    for bad in [
        json!({"process_exec": {}, "process_exit": {}}),
        json!({"node_name": "a", "nodeName": "b"}),
        json!({"process_exec": []}),
        json!({"node_labels": {"a": 1}}),
        json!([]),
    ] {
        assert!(serde_json::from_value::<GetEventsResponse>(bad.clone()).is_err(), "{bad}");
    }
    let one: GetEventsResponse =
        serde_json::from_value(json!({"process_exec": {}, "process_exit": null})).unwrap();
    assert_eq!(one.event_type(), EventType::ProcessExec);
}

#[test]
fn bytes_in_every_spelling() {
    for text in ["-_8=", "-_8", "+/8=", "+/8"] {
        let bytes: KprobeTruncatedBytes =
            serde_json::from_value(json!({"bytes_arg": text, "orig_size": 5e0})).unwrap();
        assert_eq!((bytes.bytes_arg.as_slice(), bytes.orig_size), (&[0xfb, 0xff][..], 5));
    }
    for bad in [json!({"bytes_arg": "*"}), json!({"orig_size": 0.5}), json!({"orig_size": -1})] {
        assert!(serde_json::from_value::<KprobeTruncatedBytes>(bad).is_err());
    }
}
