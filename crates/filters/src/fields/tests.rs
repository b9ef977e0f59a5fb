use super::*;
use FieldFilterAction::{Exclude, Include};
use api::google::FieldMask;
use api::tetragon::get_events_response::Event;
use api::tetragon::{KprobeArgument, Pod, Process, ProcessExec, ProcessKprobe};

fn filter(action: FieldFilterAction, paths: &[&str], kinds: &[EventType]) -> FieldFilter {
    FieldFilter {
        event_set: kinds.iter().map(|kind| *kind as i32).collect(),
        fields: Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
        action: action.into(),
        ..FieldFilter::default()
    }
}

fn process(binary: &str) -> Option<Process> {
    Some(Process {
        exec_id: "id".into(),
        pid: Some(0),
        binary: binary.into(),
        pod: Some(Pod { name: "pod".into(), namespace: "ns".into(), ..Pod::default() }),
        ..Process::default()
    })
}

fn exec() -> GetEventsResponse {
    let exec = ProcessExec {
        process: process("/bin/a"),
        parent: process("/bin/b"),
        ancestors: vec![process("/bin/c").unwrap(), process("/bin/d").unwrap()],
    };
    GetEventsResponse {
        event: Some(Event::ProcessExec(exec)),
        node_name: "node".into(),
        ..GetEventsResponse::default()
    }
}

/// An event as JSON, after filters.
fn left(filters: &[FieldFilter], event: &GetEventsResponse) -> serde_json::Value {
    let filters = FieldFilters::new(filters).unwrap();
    let event = filters.apply(event);
    serde_json::to_value(event.as_ref()).unwrap()
}

#[test]
fn include_and_exclude() {
    let got = left(
        &[filter(Include, &["process.binary", "parent.pod.name", "process.pid"], &[])],
        &exec(),
    );
    let wanted = serde_json::json!({
        "process_exec": {
            "process": {"pid": 0, "binary": "/bin/a"},
            "parent": {"pod": {"name": "pod"}},
        },
        "node_name": "node",
    });
    assert_eq!(got, wanted);

    let paths = ["process.pod", "parent", "ancestors.pod", "ancestors.pid", "ancestors.exec_id"];
    let got = left(&[filter(Exclude, &paths, &[])], &exec());
    let wanted = serde_json::json!({
        "process_exec": {
            "process": {"exec_id": "id", "pid": 0, "binary": "/bin/a"},
            "ancestors": [{"binary": "/bin/c"}, {"binary": "/bin/d"}],
        },
        "node_name": "node",
    });
    assert_eq!(got, wanted);

    // One after the other; a part after the whole, and the whole after a part.
    let both = [
        filter(Include, &["process", "process.pid", "parent.pid", "parent"], &[]),
        filter(Exclude, &["process.pod", "parent.pod.namespace"], &[]),
    ];
    let got = left(&both, &exec());
    assert_eq!(got["process_exec"]["process"]["exec_id"], "id");
    assert_eq!(got["process_exec"]["process"]["pod"], serde_json::Value::Null);
    assert_eq!(got["process_exec"]["parent"]["pod"], serde_json::json!({"name": "pod"}));
    assert_eq!(got["process_exec"]["ancestors"], serde_json::Value::Null);
}

#[test]
fn nothing_included_leaves_the_envelope() {
    let got = left(&[filter(Include, &[], &[])], &exec());
    assert_eq!(got, serde_json::json!({"process_exec": {}, "node_name": "node"}));
    let got = left(&[filter(Exclude, &[], &[])], &exec());
    assert_eq!(got, serde_json::to_value(exec()).unwrap());
}

#[test]
fn only_some_kinds() {
    let kprobe = GetEventsResponse {
        event: Some(Event::ProcessKprobe(ProcessKprobe {
            process: process("/bin/a"),
            function_name: "f".into(),
            args: vec![KprobeArgument { label: "x".into(), ..KprobeArgument::default() }],
            ..ProcessKprobe::default()
        })),
        ..GetEventsResponse::default()
    };
    let mut only = filter(Include, &["function_name", "args.label"], &[EventType::ProcessKprobe]);
    let filtered = serde_json::json!(
        {"process_kprobe": {"function_name": "f", "args": [{"label": "x"}]}}
    );
    let whole = |event| serde_json::to_value(event).unwrap();
    assert_eq!(left(std::slice::from_ref(&only), &kprobe), filtered);
    assert_eq!(left(std::slice::from_ref(&only), &exec()), whole(exec()));
    only.fields = Some(FieldMask { paths: vec!["process.binary".into()] });
    only.invert_event_set = Some(true);
    assert_eq!(left(std::slice::from_ref(&only), &kprobe), whole(kprobe));
    let got = left(std::slice::from_ref(&only), &exec());
    assert_eq!(got["process_exec"], serde_json::json!({"process": {"binary": "/bin/a"}}));
}

#[test]
fn what_leads_nowhere_is_told() {
    let table = [
        ("process.binray", "Process has no field \"binray\"; did you mean \"binary\"?"),
        ("process.binary.x", "\"binary\" has no fields, so no \"x\""),
        ("proces.pid", "has no field \"proces\"; did you mean \"process\"?"),
        ("", "has no field \"\""),
    ];
    for (path, part) in table {
        let error = FieldFilters::new(&[filter(Include, &[path], &[])]).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(error.starts_with("field_filters: filter 1: fields: "), "{error}");
    }
    // A field of one kind of events is enough.
    FieldFilters::new(&[filter(Include, &["function_name"], &[])]).unwrap();
    let exec = filter(Include, &["function_name"], &[EventType::ProcessExec]);
    let error = FieldFilters::new(&[exec]).unwrap_err().to_string();
    assert!(error.contains("ProcessExec has no field \"function_name\""), "{error}");
}
