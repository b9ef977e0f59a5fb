//! `tetra tracingpolicy`.

#![allow(clippy::unwrap_used)] // as in tests, also in their helpers

mod fake;

use std::fs;
use std::path::PathBuf;

use api::tetragon::{TracingPolicyMode, TracingPolicyState, TracingPolicyStatus};
use fake::{Fake, State, run, tetra};
use tempfile::TempDir;
use tonic::Status;

const POLICY: &str = "apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: mounts
spec:
  kprobes: # hooks
  - call: sys_mount
";

/// A directory with [`POLICY`] in a file.
fn file(text: &str) -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("p.yaml");
    fs::write(&path, text).unwrap();
    (dir, path.display().to_string())
}

fn ok(text: &str) -> (Option<i32>, String, String) {
    (Some(0), text.into(), String::new())
}

fn status(name: &str, domain: &str) -> TracingPolicyStatus {
    TracingPolicyStatus {
        id: 3,
        name: name.into(),
        domain: domain.into(),
        state: TracingPolicyState::TpStateEnabled.into(),
        mode: TracingPolicyMode::TpModeMonitorOnly.into(),
        sensors: vec!["generic_kprobe".into()],
        kernel_memory_bytes: 20_480,
        ..TracingPolicyStatus::default()
    }
}

#[test]
fn add_sends_the_text_as_it_is() {
    let fake = Fake::new(State::default());
    let (_dir, path) = file(POLICY);
    let said = format!("tracing policy \"{path}\" added\n");
    assert_eq!(run(fake.tetra(&["tracingpolicy", "add", &path])), ok(&said));
    assert_eq!(
        run(fake.tetra(&["tp", "add", &path, "--domain", "mine", "-m", "monitor"])),
        ok(&said)
    );
    let added = fake.agent.0.lock().unwrap().added.clone();
    assert_eq!((added[0].yaml.as_str(), added[0].domain.as_str()), (POLICY, ""));
    assert_eq!(added[1].domain, "mine");
    assert!(added[1].yaml.contains("# hooks"), "the rest stays as it was");
    assert!(added[1].yaml.contains("policy-mode") && added[1].yaml.contains("monitor"));
}

#[test]
fn refusals_speak_of_the_file() {
    let (_dir, path) = file(POLICY);
    let refused = |status: Status| {
        let fake = Fake::new(State { refusal: Some(status), ..State::default() });
        let (code, text, error) = run(fake.tetra(&["tp", "add", &path]));
        assert_eq!((code, text.as_str()), (Some(1), ""));
        error
    };
    let error =
        refused(Status::invalid_argument("policy:7:5 spec.kprobes[0].call: no such function"));
    assert_eq!(error, format!("Error: {path}:7:5 spec.kprobes[0].call: no such function\n"));
    let error = refused(Status::already_exists("there is one; delete it first"));
    assert!(error.contains("tetra tracingpolicy delete"), "{error}");
    let error = refused(Status::failed_precondition("the kernel says no"));
    assert_eq!(error, "Error: the kernel says no\n");
}

#[test]
fn files_that_cannot_be_used_never_reach_the_agent() {
    let fake = Fake::new(State::default());
    let (code, _, error) = run(fake.tetra(&["tp", "add", "/nonexistent.yaml"]));
    assert_eq!(code, Some(1));
    assert!(error.starts_with("Error: cannot read the policy /nonexistent.yaml: "), "{error}");
    let (_dir, path) = file(&POLICY.replace("call", "cal"));
    let (code, _, error) = run(fake.tetra(&["tp", "add", "--mode", "enforce", &path]));
    assert_eq!(code, Some(1));
    assert!(error.starts_with(&format!("Error: {path}:7:5 spec.kprobes[0].cal: ")), "{error}");
    let (code, _, error) = run(fake.tetra(&["tp", "add", "--mode", "loud", &path]));
    assert_eq!(code, Some(1));
    assert!(error.contains("enforce, monitor"), "{error}");
    assert!(fake.agent.0.lock().unwrap().added.is_empty());
}

#[test]
fn delete_by_key() {
    let fake = Fake::new(State::default());
    let said = "tracing policy \"mounts\" deleted\n";
    assert_eq!(run(fake.tetra(&["tp", "delete", "mounts"])), ok(said));
    let args = ["tracingpolicy", "delete", "mounts", "-n", "web", "--domain", "static"];
    assert_eq!(run(fake.tetra(&args)), ok(said));
    let deleted = fake.agent.0.lock().unwrap().deleted.clone();
    let keys: Vec<_> = deleted
        .iter()
        .map(|key| (key.domain.as_str(), key.namespace.as_str(), key.name.as_str()))
        .collect();
    assert_eq!(keys, [("", "", "mounts"), ("static", "web", "mounts")]);
    fake.agent.0.lock().unwrap().refusal = Some(Status::not_found("there is none"));
    let (code, _, error) = run(fake.tetra(&["tp", "delete", "mounts"]));
    assert_eq!(code, Some(1));
    let expected = "Error: there is none\n`tetra tracingpolicy list` prints all; --domain and \
                    --namespace choose\n";
    assert_eq!(error, expected);
}

#[test]
fn list_as_table_and_json() {
    let mut broken = status("broken", "grpc");
    broken.state = TracingPolicyState::TpStateLoadError.into();
    broken.error = "no such function".into();
    let policies = vec![status("mounts", "static"), broken];
    let fake = Fake::new(State { policies, ..State::default() });
    let (code, text, error) = run(fake.tetra(&["tp", "list"]));
    assert_eq!(code, Some(0));
    assert_eq!(
        text,
        "ID   NAME     DOMAIN   STATE        FILTERID   NAMESPACE   SENSORS          KERNELMEMORY   \
         MODE           NPOST   NENFORCE   NMONITOR\n\
         3    mounts   static   enabled      0          (global)    generic_kprobe   20.48 kB       \
         monitor_only   0       0          0\n\
         3    broken   grpc     load_error   0          (global)    generic_kprobe   20.48 kB       \
         monitor_only   0       0          0\n"
    );
    assert_eq!(error, "broken: no such function\n");
    let (_, text, _) = run(fake.tetra(&["tp", "list", "--domain", "static", "-o", "json"]));
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(text.lines().count(), 1);
    let expected = serde_json::json!({"policies": [{
        "id": "3",
        "name": "mounts",
        "sensors": ["generic_kprobe"],
        "state": "TP_STATE_ENABLED",
        "kernel_memory_bytes": "20480",
        "mode": "TP_MODE_MONITOR_ONLY",
        "domain": "static",
    }]});
    assert_eq!(json, expected);
    assert_eq!(run(fake.tetra(&["tp", "domains"])), ok("[grpc static]\n"));
    let (_, text, _) = run(fake.tetra(&["tp", "domains", "-o", "json"]));
    assert_eq!(text, "{\"domains\":[\"grpc\",\"static\"]}\n");
}

#[test]
fn modify_prints_the_policy_with_another_mode() {
    let (_dir, path) = file(POLICY);
    let (code, text, _) = run(tetra(&["tp", "modify", &path, "-m", "monitor"]));
    assert_eq!(code, Some(0));
    assert!(text.contains("# hooks") && text.contains("policy-mode"), "{text}");
    assert_eq!(fs::read_to_string(&path).unwrap(), POLICY, "the file stays");
}

#[test]
fn compile_tells_what_is_wrong_and_loads_nothing() {
    let (_dir, path) = file(&POLICY.replace("call", "cal"));
    let (code, text, error) = run(tetra(&["tp", "compile", &path]));
    assert_eq!((code, text.as_str()), (Some(1), ""));
    assert!(error.starts_with(&format!("Error: {path}:7:5 spec.kprobes[0].cal: ")), "{error}");
    let (code, _, error) = run(tetra(&["tp", "compile", &path, "--kernel-features", "x"]));
    assert_eq!(code, Some(1));
    assert!(error.contains("--kernel-btf"), "{error}");
}
