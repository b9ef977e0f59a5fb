use super::*;
use api::tetragon::get_events_response::Event;
use api::tetragon::{
    CapFilter, CapFilterSet, Capabilities as Have, CapabilitiesType, Container, EventsLost,
    ProcessExec, ProcessExit, ProcessKprobe, ProcessUsdt,
};

fn process(pid: u32, binary: &str) -> Process {
    let container =
        Container { name: "nginx".into(), maybe_exec_probe: true, ..Container::default() };
    let pod = Pod {
        name: "web-1".into(),
        namespace: "shop".into(),
        container: Some(container),
        pod_labels: [("app".to_owned(), "web".to_owned())].into(),
        ..Pod::default()
    };
    Process {
        pid: Some(pid),
        binary: binary.into(),
        arguments: "-a b".into(),
        docker: "0123456789abcdef".into(),
        in_init_tree: Some(false),
        pod: Some(pod),
        cap: Some(Have {
            permitted: vec![CapabilitiesType::CapBpf as i32],
            effective: vec![CapabilitiesType::CapBpf as i32, CapabilitiesType::CapChown as i32],
            inheritable: vec![],
        }),
        ..Process::default()
    }
}

fn event(event: Event) -> GetEventsResponse {
    GetEventsResponse { event: Some(event), ..GetEventsResponse::default() }
}

fn exec(pid: u32, parent: u32) -> GetEventsResponse {
    event(Event::ProcessExec(ProcessExec {
        process: Some(process(pid, "/usr/bin/curl")),
        parent: Some(process(parent, "/bin/bash")),
        ancestors: vec![process(1, "/sbin/init")],
    }))
}

fn exit(pid: u32) -> GetEventsResponse {
    let process = Some(process(pid, "/usr/bin/curl"));
    event(Event::ProcessExit(ProcessExit { process, ..ProcessExit::default() }))
}

fn takes(json: &str, event: &GetEventsResponse) -> bool {
    let filters = crate::json::filters(json).unwrap();
    EventFilter::new(&filters[0]).unwrap().takes(event)
}

#[test]
fn each_field_has_its_say() {
    let table = [
        (r#"{}"#, true),
        (r#"{"binary_regex":["curl$"]}"#, true),
        (r#"{"binary_regex":["^curl","wget"]}"#, false),
        (r#"{"binary_regex":["^x","^/usr"]}"#, true),
        (r#"{"parent_binary_regex":["bash"]}"#, true),
        (r#"{"parent_binary_regex":["curl"]}"#, false),
        (r#"{"ancestor_binary_regex":["init$"]}"#, true),
        (r#"{"ancestor_binary_regex":["bash"]}"#, false),
        (r#"{"arguments_regex":["-a .$"]}"#, true),
        (r#"{"arguments_regex":["-c"]}"#, false),
        (r#"{"parent_arguments_regex":["^-a"]}"#, true),
        (r#"{"parent_arguments_regex":["^a"]}"#, false),
        (r#"{"namespace":["shop"]}"#, true),
        (r#"{"namespace":["","bank"]}"#, false),
        (r#"{"namespace_regex":["^sh"]}"#, true),
        (r#"{"namespace_regex":["^$"]}"#, false),
        (r#"{"pod_regex":["web-[0-9]"]}"#, true),
        (r#"{"pod_regex":["db"]}"#, false),
        (r#"{"container_name_regex":["nginx"]}"#, true),
        (r#"{"container_name_regex":["envoy"]}"#, false),
        (r#"{"container_id":["^0123"]}"#, true),
        (r#"{"container_id":["^123"]}"#, false),
        (r#"{"health_check":true}"#, true),
        (r#"{"health_check":false}"#, false),
        (r#"{"in_init_tree":false}"#, true),
        (r#"{"in_init_tree":true}"#, false),
        (r#"{"pid":[1,42]}"#, true),
        (r#"{"pid":[1]}"#, false),
        (r#"{"event_set":["PROCESS_EXEC","PROCESS_EXIT"]}"#, true),
        (r#"{"event_set":["PROCESS_EXIT"]}"#, false),
        (r#"{"labels":["app=db","app"]}"#, true),
        (r#"{"labels":["app=db"]}"#, false),
        (r#"{"policy_names":["p"]}"#, false),
        (r#"{"cel_expression":["false","process_exec.process.pid == 42u"]}"#, true),
        (r#"{"cel_expression":["process_exec.process.pid == 41u"]}"#, false),
        // All of them at once.
        (r#"{"binary_regex":["curl"],"pid":[42],"namespace":["shop"]}"#, true),
        (r#"{"binary_regex":["curl"],"pid":[42],"namespace":["bank"]}"#, false),
    ];
    for (json, wanted) in table {
        assert_eq!(takes(json, &exec(42, 7)), wanted, "{json}");
    }
}

#[test]
fn capabilities() {
    let bits = |names: &[CapabilitiesType]| names.iter().map(|name| *name as i32).collect();
    let (bpf, chown, kill) =
        (CapabilitiesType::CapBpf, CapabilitiesType::CapChown, CapabilitiesType::CapKill);
    let set = CapFilterSet::default;
    let table = [
        (CapFilterSet { any: bits(&[bpf, kill]), ..set() }, true),
        (CapFilterSet { any: bits(&[kill]), ..set() }, false),
        (CapFilterSet { all: bits(&[bpf, chown]), ..set() }, true),
        (CapFilterSet { all: bits(&[bpf, kill]), ..set() }, false),
        (CapFilterSet { exactly: bits(&[chown, bpf]), ..set() }, true),
        (CapFilterSet { exactly: bits(&[bpf]), ..set() }, false),
        (CapFilterSet { none: bits(&[kill]), ..set() }, true),
        (CapFilterSet { none: bits(&[kill, bpf]), ..set() }, false),
    ];
    for (effective, wanted) in table {
        let caps = CapFilter { effective: Some(effective), ..CapFilter::default() };
        let filter = Filter { capabilities: Some(caps.clone()), ..Filter::default() };
        let filter = EventFilter::new(&filter).unwrap();
        assert_eq!(filter.takes(&exec(42, 7)), wanted, "{caps:?}");
    }
}

#[test]
fn events_without_process_pass_no_question_about_it() {
    let lost = event(Event::EventsLost(EventsLost::default()));
    for json in [
        r#"{"in_init_tree":false}"#,
        r#"{"health_check":false}"#,
        r#"{"namespace":[""]}"#,
        r#"{"binary_regex":[""]}"#,
        r#"{"parent_binary_regex":[""]}"#,
        r#"{"pid_set":[1]}"#,
        r#"{"labels":[""]}"#,
    ] {
        assert!(!takes(json, &lost), "{json}");
    }
    assert!(takes("{}", &lost));
}

#[test]
fn policies_of_all_kinds_of_hooks() {
    let kprobe = ProcessKprobe { policy_name: "p".into(), ..ProcessKprobe::default() };
    let usdt = ProcessUsdt { policy_name: "q".into(), ..ProcessUsdt::default() };
    let (kprobe, usdt) = (event(Event::ProcessKprobe(kprobe)), event(Event::ProcessUsdt(usdt)));
    assert!(takes(r#"{"policy_names":["p"]}"#, &kprobe));
    assert!(!takes(r#"{"policy_names":["p"]}"#, &usdt));
    assert!(takes(r#"{"policy_names":["p","q"]}"#, &usdt));
}

#[test]
fn processes_are_followed() {
    let filter = Filter { pid_set: vec![10], ..Filter::default() };
    let filter = EventFilter::new(&filter).unwrap();
    assert!(!filter.takes(&exec(30, 20)));
    assert!(filter.takes(&exec(10, 1)));
    assert!(filter.takes(&exec(20, 10)));
    assert!(filter.takes(&exec(30, 20)));
    assert!(filter.takes(&exit(20)));
    // Its number is free again, but those it started are still followed.
    assert!(!filter.takes(&exec(20, 1)));
    assert!(filter.takes(&exec(40, 30)));
    assert!(filter.takes(&exit(10)));
    assert!(filter.takes(&exec(10, 1)), "named ones are never forgotten");
}

#[test]
fn a_followed_process_is_learnt_of_from_events_of_other_kinds() {
    let json = r#"{"pid_set":[10],"event_set":["PROCESS_EXIT"]}"#;
    let filter = EventFilter::new(&crate::json::filters(json).unwrap()[0]).unwrap();
    assert!(!filter.takes(&exec(20, 10)));
    assert!(!filter.takes(&exec(30, 20)));
    assert!(filter.takes(&exit(30)));
}
