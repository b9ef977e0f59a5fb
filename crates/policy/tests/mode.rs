//! Changing the mode in a policy's text.

use policy::checked::Mode;
use policy::{CheckedPolicy, set_mode};
use std::fs;
use std::path::Path;

const HEAD: &str =
    "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: a} # note\n";

/// The spec of a policy, changed; what stands before it must be the same.
fn changed(spec: &str) -> String {
    let text = set_mode("p", &format!("{HEAD}{spec}"), Mode::Monitor)
        .unwrap_or_else(|problems| panic!("{problems}\n{spec}"));
    let policy = CheckedPolicy::read("p", &text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(policy.settings.mode, Some(Mode::Monitor), "{text}");
    text.strip_prefix(HEAD).unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn a_list_is_changed_in_place() {
    for (spec, wanted) in [
        (
            "spec:\n  # what\n  options: # which\n  # first\n  - name: policy-mode # old\n    \
             value: enforce # old\n  # second\n  - name: disable-kprobe-multi\n    value: \"1\" # kept\n\n  \
             # hooks\n  kprobes:\n  - call: f # f\n",
            "spec:\n  # what\n  options: # which\n  # first\n  # second\n  \
             - name: disable-kprobe-multi\n    value: \"1\" # kept\n  - name: policy-mode\n    \
             value: monitor\n\n  # hooks\n  kprobes:\n  - call: f # f\n",
        ),
        (
            "spec:\n  options:\n    -\n      value: enforce\n\n      name: policy-mode\n  kprobes: []\n",
            "spec:\n  options:\n    - name: policy-mode\n      value: monitor\n  kprobes: []\n",
        ),
        (
            "spec:\n    options:\n    - {name: a, value: b}\n    - {name: policy-mode,\n       value: enforce}",
            "spec:\n    options:\n    - {name: a, value: b}\n    - name: policy-mode\n      \
             value: monitor\n",
        ),
        (
            "spec:\r\n  options:\r\n  - name: a\r\n  loader: true\r\n",
            "spec:\r\n  options:\r\n  - name: a\r\n  - name: policy-mode\r\n    value: monitor\r\n  \
             loader: true\r\n",
        ),
        (
            "spec:\n  kprobes:\n  - {call: f, message: éé}\n  options:\n  - name: é\n",
            "spec:\n  kprobes:\n  - {call: f, message: éé}\n  options:\n  - name: é\n  - name: policy-mode\n    value: monitor\n",
        ),
        (
            "spec: {options: [{name: policy-mode, value: enforce}, {name: é}], loader: true}\n",
            "spec: {options: [{name: é}, {\"name\": \"policy-mode\", \"value\": \"monitor\"}], \
             loader: true}\n",
        ),
        (
            "spec:\n  options: [{name: x}, # x\n    {name: policy-mode, value: monitor},]\n",
            "spec:\n  options: [{name: x}, {\"name\": \"policy-mode\", \"value\": \"monitor\"},]\n",
        ),
        (
            "spec:\n  options: [{name: policy-mode, value: enforce}] # all\n",
            "spec:\n  options: [{\"name\": \"policy-mode\", \"value\": \"monitor\"}] # all\n",
        ),
        (
            "spec:\n  options: []\n",
            "spec:\n  options: [{\"name\": \"policy-mode\", \"value\": \"monitor\"}]\n",
        ),
    ] {
        assert_eq!(changed(spec), wanted);
    }
}

#[test]
fn a_list_is_made() {
    for (spec, wanted) in [
        (
            "spec:\n  kprobes:\n  - call: f # f\n\n# end\n",
            "spec:\n  kprobes:\n  - call: f # f\n  options:\n  - name: policy-mode\n    \
             value: monitor\n\n# end\n",
        ),
        (
            "spec:\n      kprobes: []",
            "spec:\n      kprobes: []\n      options:\n      - name: policy-mode\n        value: monitor",
        ),
        (
            "spec:\n  loader: true\n  kprobes:\n",
            "spec:\n  loader: true\n  kprobes:\n  options:\n  - name: policy-mode\n    value: monitor\n",
        ),
        (
            "spec: {}\n",
            "spec: {\"options\": [{\"name\": \"policy-mode\", \"value\": \"monitor\"}]}\n",
        ),
        (
            "spec: { loader: true,\n}",
            "spec: {\"options\": [{\"name\": \"policy-mode\", \"value\": \"monitor\"}],  loader: \
             true,\n}",
        ),
        (
            "spec:\n  options: # none\n  loader: true\n",
            "spec:\n  options: [{\"name\": \"policy-mode\", \"value\": \"monitor\"}] # none\n  \
             loader: true\n",
        ),
        (
            "spec:\n  loader: true\n  options: null\n",
            "spec:\n  loader: true\n  options: [{\"name\": \"policy-mode\", \"value\": \"monitor\"}]\n",
        ),
    ] {
        assert_eq!(changed(spec), wanted);
    }
}

#[test]
fn json_stays_json() {
    let text = "{\"apiVersion\": \"cilium.io/v1alpha1\", \"kind\": \"TracingPolicy\",\n\
        \"metadata\": {\"name\": \"a\", \"annotations\": {\"face\": \"\\ud83d\\ude00\"}},\n\
        \"spec\": {\"kprobes\": [{\"call\": \"f\"}], \"options\": [\n\
        {\"name\": \"policy-mode\", \"value\": \"enforce\"},\n {\"name\": \"b\", \"value\": \"c\"}]}}\n";
    for text in [text.to_owned(), text.replace(", \"options\": [\n", ", \"tail\": [").replace(
        ", \"tail\": [{\"name\": \"policy-mode\", \"value\": \"enforce\"},\n {\"name\": \"b\", \"value\": \"c\"}]",
        "",
    )] {
        let changed = set_mode("p", &text, Mode::Monitor).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&changed).unwrap();
        let mut before: serde_json::Value = serde_json::from_str(&text).unwrap();
        let options = json["spec"].as_object_mut().unwrap().remove("options").unwrap();
        let last = options.as_array().unwrap().last().unwrap();
        assert_eq!(last, &serde_json::json!({"name": "policy-mode", "value": "monitor"}));
        before["spec"].as_object_mut().unwrap().remove("options");
        assert_eq!(json, before);
    }
}

#[test]
fn anchors_and_aliases() {
    // An anchor that nothing names goes with its option.
    let spec =
        "spec:\n  options: &all\n  - &one {name: policy-mode, value: enforce}\n  - {name: b}\n";
    let wanted =
        "spec:\n  options: &all\n  - {name: b}\n  - name: policy-mode\n    value: monitor\n";
    assert_eq!(changed(spec), wanted);
    let head = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: a\n  \
                annotations: {x: &opt enforce}\n";
    let set = |spec: &str| set_mode("p", &format!("{head}{spec}"), Mode::Monitor);
    let text = set("spec:\n  options:\n  - name: policy-mode\n    value: *opt\n").unwrap();
    assert_eq!(
        text,
        format!("{head}spec:\n  options:\n  - name: policy-mode\n    value: monitor\n")
    );
    // The list itself is an alias: it is written anew.
    let head = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: a\n  \
                managedFields: &opts [{name: policy-mode, value: enforce}, {name: b, value: \"1\"}]\n";
    let set = |spec: &str| set_mode("p", &format!("{head}{spec}"), Mode::Monitor);
    let list = "[{\"name\": \"b\", \"value\": \"1\"}, {\"name\": \"policy-mode\", \"value\": \
                \"monitor\"}]";
    let text = set("spec:\n  options: *opts # c\n  loader: true\n").unwrap();
    assert_eq!(text, format!("{head}spec:\n  options: {list} # c\n  loader: true\n"));
    // The old option is needed elsewhere, and so cannot be taken out.
    let problems = set_mode(
        "p",
        &format!(
            "{HEAD}spec:\n  options:\n  - name: policy-mode\n    value: &v enforce\n  \
             - name: b\n    value: *v\n"
        ),
        Mode::Monitor,
    );
    let rewritten = problems.unwrap();
    assert!(rewritten.contains("[{\"name\": \"b\", \"value\": \"enforce\"}"), "{rewritten}");
    let error = set_mode(
        "p",
        &format!(
            "{HEAD}spec:\n  options:\n  - name: policy-mode\n    value: &v enforce\n  \
             kprobes: [{{call: *v}}]\n"
        ),
        Mode::Monitor,
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "p:5:3 spec.options: the mode cannot be set in a text written like this: write spec.options \
         without anchors and aliases"
    );
}

#[test]
fn merged_in_options_are_kept() {
    let head = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: a\n  \
                managedFields: &base {options: [{name: b, value: c}]}\n";
    let text = set_mode("p", &format!("{head}spec:\n  <<: *base\n  loader: true\n"), Mode::Enforce)
        .unwrap();
    let options = "[{\"name\": \"b\", \"value\": \"c\"}, {\"name\": \"policy-mode\", \"value\": \
                   \"enforce\"}]";
    assert_eq!(text, format!("{head}spec:\n  <<: *base\n  loader: true\n  options: {options}\n"));
}

#[test]
fn what_is_wrong_is_said() {
    let problems = set_mode("p", &format!("{HEAD}spec: {{kprobe: []}}\n"), Mode::Monitor);
    assert!(problems.unwrap_err().to_string().contains("did you mean `kprobes`?"));
    let problems = set_mode("p", &format!("{HEAD}spec: {{}}\n"), Mode::MonitorOnly);
    assert_eq!(
        problems.unwrap_err().to_string(),
        "p:1:1 spec.options: the mode can be set to enforce or monitor"
    );
}

#[test]
fn users_policies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/policies");
    for folder in ["intro", "field"].map(|folder| root.join(folder)) {
        let Ok(entries) = fs::read_dir(&folder) else {
            println!("skipped: there is no {}", folder.display());
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let Ok(before) = CheckedPolicy::read("p", &text) else { continue };
            let monitor = set_mode("p", &text, Mode::Monitor).unwrap();
            let after = CheckedPolicy::read("p", &monitor).unwrap();
            assert_eq!(after.settings.mode, Some(Mode::Monitor));
            assert_eq!(after.hooks.len(), before.hooks.len(), "{}", path.display());
            // Everything that was there is still there, in order.
            let mut rest = monitor.lines();
            for line in text.lines() {
                assert!(rest.any(|new| new == line), "{}: {line}", path.display());
            }
            let enforce = set_mode("p", &monitor, Mode::Enforce).unwrap();
            assert_eq!(enforce, set_mode("p", &text, Mode::Enforce).unwrap(), "{}", path.display());
            assert_eq!(set_mode("p", &enforce, Mode::Monitor).unwrap(), monitor);
        }
    }
}
