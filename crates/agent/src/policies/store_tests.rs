//! The store, with a loader that needs no kernel.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use api::tetragon::{TracingPolicyMode, TracingPolicyState as State};
use compiler::counters::Done;
use compiler::policies::Missed;
use policy::checked::Mode;
use policy::{CheckedPolicy, Mark, PolicyKey, Problem, Problems};

use super::*;
use crate::config::PolicyFiles;

/// What a test sees of the loader, and tells it.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) loaded: BTreeSet<PolicyKey>,
    /// Policies that are not removed.
    sticky: BTreeSet<String>,
    /// Adding fails while this is so.
    pub(crate) broken: bool,
    /// Adding waits for this.
    pub(crate) gate: Option<mpsc::Receiver<()>>,
    closed: bool,
}

/// Refuses policies named `refused`, fails with those named `failing`.
pub(crate) struct Fake(Arc<Mutex<Seen>>);

impl Fake {
    fn add_one(&self, key: &PolicyKey, policy: &CheckedPolicy) -> Result<Added, LoadError> {
        let gate = self.0.lock().unwrap().gate.take();
        if let Some(gate) = gate {
            gate.recv().unwrap();
        }
        if self.0.lock().unwrap().broken {
            return Err(LoadError::Failed("the kernel is broken".into()));
        }
        match key.name.as_str() {
            "refused" => {
                let problem = Problem {
                    mark: Mark { line: 5, column: 3 },
                    path: "spec.kprobes[0].call".into(),
                    message: "no such function".into(),
                };
                Err(LoadError::Refused(Problems {
                    file: policy.file.clone(),
                    list: vec![problem],
                    omitted: 0,
                }))
            }
            "panicking" => panic!("as the test wants"),
            "failing" => Err(LoadError::Failed("the kernel says no".into())),
            _ => {
                self.0.lock().unwrap().loaded.insert(key.clone());
                let places = if key.name == "partly" { 0 } else { 1 };
                Ok(Added { hooks: vec![places; policy.hooks.len()], notes: Vec::new() })
            }
        }
    }
}

impl Loader for Fake {
    fn add(&mut self, policies: &[Named]) -> Vec<Result<Added, LoadError>> {
        policies.iter().map(|(key, policy)| self.add_one(key, policy)).collect()
    }

    fn remove(&mut self, key: &PolicyKey) -> Result<(), LoadError> {
        let mut seen = self.0.lock().unwrap();
        if seen.sticky.contains(&key.name) {
            return Err(LoadError::Failed("the kernel keeps it".into()));
        }
        seen.loaded.remove(key);
        Ok(())
    }

    fn set_mode(&mut self, key: &PolicyKey, _: Mode) -> Result<bool, LoadError> {
        Ok(self.0.lock().unwrap().loaded.contains(key))
    }

    fn measures(&mut self) -> HashMap<PolicyKey, Measures> {
        let measures = Measures {
            done: Done { posted: 7, ..Done::default() },
            by_selector: vec![vec![Done::default(), Done { limited: 5, ..Done::default() }]],
            missed_notifications: vec![Missed {
                call: "sys_dup".into(),
                reason: "overwritten",
                count: 3,
            }],
            memory: 4096,
            ..Measures::default()
        };
        self.0.lock().unwrap().loaded.iter().map(|key| (key.clone(), measures.clone())).collect()
    }

    fn close(&mut self) {
        self.0.lock().unwrap().closed = true;
    }
}

pub(crate) fn store() -> (Store, Arc<Mutex<Seen>>) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    (Store::new(Box::new(Fake(Arc::clone(&seen)))), seen)
}

pub(crate) fn text(name: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\n\
         spec: {{kprobes: [{{call: sys_mount}}]}}\n"
    )
}

pub(crate) fn from(file: &str, text: &str) -> Text {
    Text::new(Origin::Grpc, file, text)
}

pub(crate) fn key(domain: &str, name: &str) -> PolicyKey {
    PolicyKey { domain: domain.into(), namespace: String::new(), name: name.into() }
}

pub(crate) fn states(store: &Store) -> Vec<(String, State)> {
    let list = store.list(None);
    list.into_iter().map(|status| (status.name.clone(), status.state())).collect()
}

#[test]
fn added_listed_deleted() {
    let (store, seen) = store();
    assert_eq!(store.add("grpc", &from("p.yaml", &text("b"))).unwrap(), key("grpc", "b"));
    store.add("static", &from("p.yaml", &text("a"))).unwrap();
    let all = store.list(None);
    assert_eq!(
        all.iter().map(|s| (s.id, s.name.as_str())).collect::<Vec<_>>(),
        [(1, "b"), (2, "a")]
    );
    let first = &all[0];
    assert_eq!((first.state(), first.domain.as_str()), (State::TpStateEnabled, "grpc"));
    assert_eq!(first.mode(), TracingPolicyMode::TpModeMonitorOnly);
    assert_eq!(first.sensors, ["generic_kprobe"]);
    assert_eq!(first.kernel_memory_bytes, 4096);
    let stats = first.stats.as_ref().unwrap();
    assert_eq!(stats.action_counters.unwrap().post, 7);
    let [selector] = &stats.selector_action_counters[..] else { panic!("{stats:?}") };
    assert_eq!((selector.hook.as_str(), selector.hook_index), ("kprobe:sys_mount", Some(0)));
    assert_eq!(
        (selector.selector_index, selector.action_counters.unwrap().rate_limited),
        (Some(0), 5)
    );
    assert_eq!(store.list(Some("static")).len(), 1);
    assert_eq!(store.list(Some("k8s")).len(), 0);
    assert_eq!(store.domains(), ["grpc", "static"]);
    store.delete(&key("grpc", "b")).unwrap();
    assert_eq!(seen.lock().unwrap().loaded, BTreeSet::from([key("static", "a")]));
    assert_eq!(states(&store), [("a".to_owned(), State::TpStateEnabled)]);
    store.close();
    assert!(seen.lock().unwrap().closed);
}

#[test]
fn a_policy_whose_function_does_not_exist_is_partly_in_force() {
    let (store, _) = store();
    store.add("grpc", &from("p.yaml", &text("partly"))).unwrap();
    let status = store.list(None).remove(0);
    assert_eq!(status.state(), State::TpStatePartiallyEnabled);
    assert_eq!(status.hook_statuses[0].hook_description, "sys_mount");
    store.delete(&key("grpc", "partly")).unwrap();
}

#[test]
fn the_mode_is_what_the_loader_says() {
    let (store, _) = store();
    let hook = "call: sys_mount, selectors: [{matchActions: [{action: Sigkill}]}]";
    store.add("grpc", &from("p.yaml", &text("kills").replace("call: sys_mount", hook))).unwrap();
    assert_eq!(store.list(None)[0].mode(), TracingPolicyMode::TpModeEnforce);
    store.set_mode(&key("grpc", "kills"), Mode::Monitor).unwrap();
    let missing = store.set_mode(&key("grpc", "none"), Mode::Monitor).unwrap_err();
    assert!(missing.to_string().contains("no policy"), "{missing}");
}

/// A policy with something to enforce.
fn killing(name: &str) -> String {
    let hook = "call: sys_mount, selectors: [{matchActions: [{action: Sigkill}]}]";
    text(name).replace("call: sys_mount", hook)
}

#[test]
fn a_key_is_taken_until_it_is_deleted() {
    let (store, _) = store();
    store.add("grpc", &from("one.yaml", &text("p"))).unwrap();
    store.add("other", &from("one.yaml", &text("p"))).unwrap();
    let error = store.add("grpc", &from("two.yaml", &text("p"))).unwrap_err();
    let expected = "there is a policy `p` in domain grpc already; delete it first";
    assert_eq!(error.to_string(), expected);
    store.add("static", &from("/one.yaml", &text("p"))).unwrap();
    let error = store.add("static", &from("/two.yaml", &text("p"))).unwrap_err();
    let expected =
        "there is a policy `p` in domain static already, from /one.yaml; delete it first";
    assert_eq!(error.to_string(), expected);
    store.delete(&key("grpc", "p")).unwrap();
    store.add("grpc", &from("two.yaml", &text("p"))).unwrap();
    for domain in ["sensors", "rego"] {
        let error = store.add(domain, &from("x", &text("p"))).unwrap_err();
        assert!(matches!(error, AddError::Domain(_)), "{error}");
    }
}

#[test]
fn what_could_not_be_loaded_is_listed_and_gives_way() {
    let (store, _) = store();
    let error = store.add("grpc", &from("r.yaml", &text("refused"))).unwrap_err();
    assert!(matches!(error, AddError::Refused(_)));
    let expected = "r.yaml:5:3 spec.kprobes[0].call: no such function";
    assert_eq!(error.to_string(), expected, "named by the file, as the loader cannot");
    let error = store.add("grpc", &from("f.yaml", &text("failing"))).unwrap_err();
    assert_eq!(error.to_string(), "the kernel says no");
    let expected = ["refused", "failing"].map(|name| (name.to_owned(), State::TpStateLoadError));
    assert_eq!(states(&store), expected);
    assert_eq!(store.list(None)[1].error, "the kernel says no");
    assert!(store.add("grpc", &from("f.yaml", &text("failing"))).is_err(), "tried again");
    assert_eq!(store.list(None).len(), 2);
    store.delete(&key("grpc", "failing")).unwrap();
    assert_eq!(store.list(None).len(), 1);
    // What could not even be read has no name to be listed by.
    assert!(matches!(store.add("grpc", &from("x", "kind: [")).unwrap_err(), AddError::Refused(_)));
    assert_eq!(store.list(None).len(), 1);
}

#[test]
fn a_bug_ends_with_the_policy() {
    let (store, _) = store();
    let error = store.add("grpc", &from("p.yaml", &text("panicking"))).unwrap_err().to_string();
    assert!(error.starts_with("internal error"), "{error}");
    assert_eq!(states(&store), [("panicking".to_owned(), State::TpStateLoadError)]);
    store.delete(&key("grpc", "panicking")).unwrap();
    store.add("grpc", &from("p.yaml", &text("next"))).unwrap();
    assert_eq!(states(&store), [("next".to_owned(), State::TpStateEnabled)]);
    // Also among others.
    let texts = ["a", "panicking", "refused", "b"].map(|name| from(name, &text(name)));
    let results: Vec<bool> = store.add_all("x", &texts).iter().map(Result::is_ok).collect();
    assert_eq!(results, [true, false, false, true]);
    assert_eq!(store.list(Some("x")).len(), 4);
}

#[test]
fn what_clients_add_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(dir.path()).unwrap();
    let first = store().0.with_records(records.clone());
    first.add("grpc", &from("policy", &text("a"))).unwrap();
    first.add("other", &from("policy", &text("b"))).unwrap();
    first.add("grpc", &from("policy", &text("gone"))).unwrap();
    first.add("static", &from("p.yaml", &text("file"))).unwrap();
    first.add("grpc", &from("policy", &text("refused"))).unwrap_err();
    first.set_mode(&key("grpc", "a"), Mode::Monitor).unwrap_err();
    first.add("grpc", &from("policy", &killing("k"))).unwrap();
    first.set_mode(&key("grpc", "k"), Mode::Monitor).unwrap();
    first.disable(&key("other", "b")).unwrap();
    first.delete(&key("grpc", "gone")).unwrap();
    fs::write(dir.path().join("c::grpc.json"), "{}").unwrap();

    let next = store().0.with_records(records.clone());
    let outcome = restore(&next, &records).unwrap();
    assert_eq!(outcome, Outcome { loaded: 2, failed: 1 });
    let enabled = |name: &str| (name.to_owned(), State::TpStateEnabled);
    let disabled = ("b".to_owned(), State::TpStateDisabled);
    assert_eq!(states(&next), [enabled("a"), enabled("k"), disabled]);
    let mode = records.read(&key("grpc", "k")).unwrap().unwrap().mode;
    assert_eq!(mode, Some(StoredMode::Monitor));
    assert_eq!(next.list(Some("grpc"))[1].mode(), TracingPolicyMode::TpModeMonitor);
    next.enable(&key("other", "b")).unwrap();
    assert!(records.read(&key("other", "b")).unwrap().unwrap().enabled);
    // Nothing that could not be read was lost.
    assert!(dir.path().join("c::grpc.json").exists());

    // What cannot be stored is not added.
    fs::remove_dir_all(dir.path()).unwrap();
    let error = next.add("grpc", &from("policy", &text("d"))).unwrap_err().to_string();
    assert!(error.ends_with("the policy was not added"), "{error}");
    assert_eq!(states(&next).len(), 3);
}

#[test]
fn restrictions_that_cannot_be_kept_are_refused() {
    let (store, seen) = store();
    let text = text("p").replace("spec: {", "spec: {podSelector: {}, ");
    let error = store.add("grpc", &from("p.yaml", &text)).unwrap_err().to_string();
    assert!(error.starts_with("p.yaml:1:1 spec: podSelector"), "{error}");
    assert!(seen.lock().unwrap().loaded.is_empty());
}

#[test]
fn deleting_what_is_not_there_says_where_it_is() {
    let (store, seen) = store();
    let error = store.delete(&key("grpc", "p")).unwrap_err();
    assert_eq!(error.to_string(), "there is no policy `p` in domain grpc");
    store.add("static", &from("p.yaml", &text("p"))).unwrap();
    let error = store.delete(&key("grpc", "p")).unwrap_err();
    let expected = "there is no policy `p` in domain grpc; there is one in domain static";
    assert_eq!(error.to_string(), expected);
    store.add("static", &from("l.yaml", &text("links"))).unwrap();
    let error = store.delete(&key("static", "link")).unwrap_err();
    let expected = "there is no policy `link` in domain static; did you mean `links`?";
    assert_eq!(error.to_string(), expected);
    store.delete(&key("static", "links")).unwrap();
    seen.lock().unwrap().sticky.insert("p".into());
    let error = store.delete(&key("static", "p")).unwrap_err();
    assert_eq!(error.to_string(), "the kernel keeps it");
    assert_eq!(states(&store), [("p".to_owned(), State::TpStateError)]);
    seen.lock().unwrap().sticky.clear();
    store.delete(&key("static", "p")).unwrap();
    assert!(states(&store).is_empty());
}

#[test]
fn what_is_under_way_is_listed_and_left_alone() {
    let (store, seen) = store();
    let (open, gate) = mpsc::channel();
    seen.lock().unwrap().gate = Some(gate);
    let store = Arc::new(store);
    let adding = {
        let store = Arc::clone(&store);
        std::thread::spawn(move || store.add("grpc", &from("p.yaml", &text("p"))).map(drop))
    };
    while states(&store).is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(states(&store), [("p".to_owned(), State::TpStateLoading)]);
    assert!(matches!(store.delete(&key("grpc", "p")), Err(ChangeError::Busy(_))));
    assert!(matches!(store.add("grpc", &from("p.yaml", &text("p"))), Err(AddError::Exists { .. })));
    open.send(()).unwrap();
    adding.join().unwrap().unwrap();
    assert_eq!(states(&store), [("p".to_owned(), State::TpStateEnabled)]);
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).unwrap();
}

#[test]
fn files_are_loaded_by_name_and_bad_ones_skipped() {
    let (store, _) = store();
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    write(at, "20-second.yaml", &text("second"));
    write(at, "10-first.yaml", &text("first"));
    write(at, "30-broken.yaml", "kind: nonsense");
    write(at, "40-again.yaml", &text("first"));
    write(at, "50-failing.yaml", &text("failing"));
    write(at, ".hidden.yaml", &text("hidden"));
    std::fs::create_dir(at.join("60-directory")).unwrap();
    std::os::unix::fs::symlink(at.join("nowhere"), at.join("70-link.yaml")).unwrap();
    let other = tempfile::tempdir().unwrap();
    write(other.path(), "single", &text("single"));
    let single = other.path().join("single");
    let files =
        PolicyFiles { file: Some(single), dir: Some(at.to_owned()), ..PolicyFiles::default() };
    let outcome = Files::new(&files).load(&store).unwrap();
    assert_eq!(outcome, Outcome { loaded: 3, failed: 3 });
    let enabled: Vec<String> = states(&store)
        .into_iter()
        .filter(|(_, state)| *state == State::TpStateEnabled)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(enabled, ["first", "second", "single"]);
    assert!(store.list(None).iter().all(|status| status.domain == "static"));
}

#[test]
fn only_the_default_directory_may_be_missing() {
    let (store, _) = store();
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let files = PolicyFiles { file: None, dir: Some(missing), ..PolicyFiles::default() };
    let error = Files::new(&files).load(&store).unwrap_err().to_string();
    assert!(error.starts_with("cannot read --tracing-policy-dir /"), "{error}");
    // A file that is missing is told, as a bad policy is.
    let files =
        PolicyFiles { file: Some(dir.path().join("missing")), dir: None, ..PolicyFiles::default() };
    assert_eq!(Files::new(&files).load(&store).unwrap(), Outcome { loaded: 0, failed: 1 });
    if !Path::new(DEFAULT_DIR).exists() {
        let files =
            PolicyFiles { file: None, dir: Some(DEFAULT_DIR.into()), ..PolicyFiles::default() };
        assert_eq!(Files::new(&files).load(&store).unwrap(), Outcome::default());
    }
}

#[test]
fn a_new_version_takes_the_place_of_the_old_one_or_leaves_it() {
    let (store, seen) = store();
    store.put("static", &from("/p.yaml", &killing("p"))).unwrap();
    assert_eq!(store.list(None)[0].mode(), TracingPolicyMode::TpModeEnforce);
    store.put("static", &from("/p.yaml", &text("p"))).unwrap();
    let status = store.list(None).remove(0);
    assert_eq!((status.id, status.state()), (1, State::TpStateEnabled));
    assert_eq!(status.mode(), TracingPolicyMode::TpModeMonitorOnly);
    assert_eq!(status.error, "");

    seen.lock().unwrap().broken = true;
    store.put("static", &from("/p.yaml", &killing("p"))).unwrap_err();
    let status = store.list(None).remove(0);
    assert_eq!(status.state(), State::TpStateEnabled);
    assert_eq!(status.mode(), TracingPolicyMode::TpModeMonitorOnly, "the old one stays");
    let expected = "an earlier version stays, as /p.yaml cannot be loaded: the kernel is broken";
    assert_eq!(status.error, expected);
    seen.lock().unwrap().broken = false;
    store.put("static", &from("/p.yaml", &text("p"))).unwrap();
    assert_eq!(store.list(None)[0].error, "");
}

#[test]
fn disabled_policies_keep_their_place_and_mode() {
    let (store, seen) = store();
    let key = key("grpc", "p");
    store.add("grpc", &from("policy", &killing("p"))).unwrap();
    store.set_mode(&key, Mode::Monitor).unwrap();
    store.disable(&key).unwrap();
    store.disable(&key).unwrap();
    assert_eq!(states(&store), [("p".to_owned(), State::TpStateDisabled)]);
    assert!(seen.lock().unwrap().loaded.is_empty());
    let error = store.add("grpc", &from("policy", &text("p"))).unwrap_err();
    assert!(matches!(error, AddError::Exists { .. }), "{error}");
    // A new version of a disabled policy is disabled.
    store.put("grpc", &from("policy", &killing("p"))).unwrap();
    assert_eq!(states(&store), [("p".to_owned(), State::TpStateDisabled)]);
    assert!(seen.lock().unwrap().loaded.is_empty());
    store.set_mode(&key, Mode::Monitor).unwrap();
    seen.lock().unwrap().broken = true;
    store.enable(&key).unwrap_err();
    assert_eq!(states(&store), [("p".to_owned(), State::TpStateDisabled)]);
    assert_eq!(store.list(None)[0].error, "the kernel is broken");
    seen.lock().unwrap().broken = false;
    store.enable(&key).unwrap();
    store.enable(&key).unwrap();
    let status = store.list(None).remove(0);
    assert_eq!((status.state(), status.error.as_str()), (State::TpStateEnabled, ""));
    assert_eq!(status.mode(), TracingPolicyMode::TpModeMonitor);
    store.disable(&key).unwrap();
    store.delete(&key).unwrap();

    let failing = super::store_tests::key("grpc", "failing");
    store.add("grpc", &from("policy", &text("failing"))).unwrap_err();
    for error in
        [store.enable(&failing), store.disable(&failing), store.set_mode(&failing, Mode::Monitor)]
    {
        assert!(matches!(error, Err(ChangeError::State { .. })), "{error:?}");
    }
    let digest = "{path: /bin/a, symbols: [main], binaryDigests: ['sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709']}";
    let uprobe = text("u").replace("kprobes: [{call: sys_mount}]", &format!("uprobes: [{digest}]"));
    store.add("grpc", &from("policy", &uprobe)).unwrap();
    let error = store.disable(&super::store_tests::key("grpc", "u")).unwrap_err().to_string();
    assert!(error.contains("binaryDigests configured"), "{error}");
}

#[test]
fn policies_for_other_nodes_are_skipped() {
    let labels = std::collections::BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
    let (store, seen) = store();
    let store = store.with_node_labels(labels);
    let at = |zone: &str| {
        text("p").replace(
            "spec: {",
            &format!("spec: {{nodeSelector: {{matchLabels: {{zone: {zone}}}}}, "),
        )
    };
    store.add("grpc", &from("policy", &at("b"))).unwrap();
    assert_eq!(states(&store), [("p".to_owned(), State::TpStateSkipped)]);
    assert!(seen.lock().unwrap().loaded.is_empty());
    store.add("grpc", &from("policy", &at("a"))).unwrap();
    assert_eq!(states(&store), [("p".to_owned(), State::TpStateEnabled)]);
}
