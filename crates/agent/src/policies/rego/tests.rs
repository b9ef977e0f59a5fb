use super::super::store_tests::{self, from, key, states};
use super::super::{AddError, Files, LoadError, Outcome, REGO, STATIC, Store, Text, Watcher};
use super::*;
use crate::config::PolicyFiles;
use api::tetragon::TracingPolicyState as State;
use serde_json::json;
use std::fs;
use std::time::Instant;

const NO_OVERRIDE: &str = r#"package tetragon.admission

deny contains msg if {
    "Override" in input.actions
    input.namespace != "trusted"
    msg := sprintf("%s: no Override outside namespace trusted", [input.name])
}
"#;

/// A directory of rules, and a store that asks them.
struct Lab {
    dir: tempfile::TempDir,
    rules: Arc<Rules>,
    store: Arc<Store>,
}

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn node() -> Value {
    json!({"name": "n1", "labels": {"zone": "a"}})
}

fn open(files: &[(&str, &str)]) -> Result<Rules, RegoError> {
    Rules::open(directory(files).path(), node())
}

impl Lab {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = directory(files);
        let rules = Arc::new(Rules::open(dir.path(), node()).unwrap());
        let store = store_tests::store().0.with_rules(Arc::clone(&rules));
        Self { dir, rules, store: Arc::new(store) }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }
}

fn overriding(name: &str) -> String {
    let hook = "call: sys_mount, selectors: [{matchActions: [{action: Override, argError: -1}]}]";
    store_tests::text(name).replace("call: sys_mount", hook)
}

/// The same with the action in a macro, which a rule that looks at the document only would not see.
fn overriding_by_macro(name: &str) -> String {
    store_tests::text(name).replace(
        "spec: {kprobes: [{call: sys_mount}]}",
        "spec: {selectorsMacros: {m: {matchActions: [{action: Override, argError: -1}]}}, \
         kprobes: [{call: sys_mount, selectors: [{macros: [m]}]}]}",
    )
}

#[test]
fn a_rule_denies_from_every_source_with_its_message() {
    let lab = Lab::new(&[("rules/no-override.rego", NO_OVERRIDE)]);
    let expected =
        "denied by the rules of --policy-rego-dir: p: no Override outside namespace trusted";
    for origin in [Origin::File, Origin::Grpc, Origin::Http, Origin::Stored, Origin::Rego] {
        for text in [overriding("p"), overriding_by_macro("p")] {
            let error = lab.store.add("grpc", &Text::new(origin, "p", text)).unwrap_err();
            assert!(matches!(error, AddError::Load(LoadError::Denied(_))), "{error}");
            assert_eq!(error.to_string(), expected);
        }
    }
    assert_eq!(states(&lab.store), [("p".to_owned(), State::TpStateLoadError)]);
    lab.store.add("grpc", &from("p", &store_tests::text("p"))).unwrap();
    // What is in force is not replaced by what is denied.
    lab.store.put("grpc", &from("p", &overriding("p"))).unwrap_err();
    let status = lab.store.list(None).remove(0);
    assert_eq!(status.state(), State::TpStateEnabled);
    assert!(status.error.ends_with(expected), "{}", status.error);
    // In the namespace it is not this rule that objects.
    let namespaced = overriding("q")
        .replace("kind: TracingPolicy", "kind: TracingPolicyNamespaced")
        .replace("{name: q}", "{name: q, namespace: trusted}");
    let error = lab.store.add("grpc", &from("q", &namespaced)).unwrap_err().to_string();
    assert!(error.contains("TracingPolicyNamespaced") && !error.contains("rules"), "{error}");
}

#[test]
fn rules_see_the_policy_and_where_it_comes_from() {
    let dump = "package tetragon.admission\n\
        deny contains json.marshal(input) if input.name == \"seen\"\n";
    let rules = open(&[("dump.rego", dump)]).unwrap();
    let policy = CheckedPolicy::read("f.yaml", &overriding("seen")).unwrap();
    let denied = rules.judge(&policy, "mine", Origin::Http).unwrap_err();
    let input: Value = serde_json::from_str(&denied).unwrap();
    let told = |name: &str| input[name].clone();
    assert_eq!(told("source"), "http");
    assert_eq!(told("domain"), "mine");
    assert_eq!(told("mode"), "enforce");
    assert_eq!(told("enforces"), true);
    assert_eq!(told("actions"), json!(["Override"]));
    assert_eq!(told("hooks"), json!(["kprobe:sys_mount"]));
    assert_eq!(input["policy"]["metadata"]["name"], "seen");
    assert_eq!(input["policy"]["spec"]["kprobes"][0]["call"], "sys_mount");
}

#[test]
fn data_of_files_and_of_the_node() {
    let rule = r#"package tetragon.admission
deny contains "zone" if data.node.labels.zone != data.zones.allowed[0]
deny contains msg if { some limit in data.limits.names; msg := limit; input.name == limit }
"#;
    let files = [
        ("r.rego", rule),
        ("zones.yaml", "allowed: [a, b]\n"),
        ("limits/data.json", r#"{"names": ["bad", "worse"]}"#),
        ("README.md", "left alone"),
        ("r_test.rego", "package broken {"),
    ];
    let rules = open(&files).unwrap();
    let judge = |name: &str| {
        let policy = CheckedPolicy::read("p", &store_tests::text(name)).unwrap();
        rules.judge(&policy, "grpc", Origin::Grpc)
    };
    assert_eq!(judge("good"), Ok(()));
    assert_eq!(judge("worse"), Err("worse".to_owned()));
    let taken = open(&[("r.rego", rule), ("node.yaml", "a: 1")]).err().unwrap().to_string();
    assert!(taken.ends_with("`data.node` is taken: choose another name"), "{taken}");
}

#[test]
fn the_syntax_of_before_is_read_too() {
    let old = "package tetragon.admission\ndeny[msg] { input.name == \"p\"; msg := \"old\" }\n";
    let rules = open(&[("old.rego", old)]).unwrap();
    let policy = CheckedPolicy::read("p", &store_tests::text("p")).unwrap();
    assert_eq!(rules.judge(&policy, "grpc", Origin::Grpc), Err("old".to_owned()));
}

#[test]
fn what_cannot_be_used_is_told_with_its_place() {
    let wrong = |files: &[(&str, &str)]| open(files).err().unwrap().to_string();
    let error = wrong(&[("a.rego", "package tetragon.admission\ndeny contains {")]);
    assert!(error.contains("/a.rego: "), "{error}");
    let error = wrong(&[("a.rego", NO_OVERRIDE), ("d.yaml", "a: [")]);
    assert!(error.contains("d.yaml:"), "{error}");
    let error = wrong(&[("a.rego", "package tetragon.admission\nallow := true\n")]);
    assert!(error.ends_with("package data.tetragon.admission has no rule `deny`"), "{error}");
    let error = wrong(&[("a.rego", "package tetragon.policies\npolicy := 1\n")]);
    assert!(error.contains("a set of policies is wanted"), "{error}");
    let missing = Rules::open(Path::new("/no/such/dir"), node()).err().unwrap().to_string();
    assert!(missing.starts_with("cannot read /no/such/dir (--policy-rego-dir)"), "{missing}");
}

#[test]
fn evaluation_ends() {
    let endless = "package tetragon.admission\n\
        deny contains \"x\" if {\n    input.name == \"slow\"\n\
        \tsome a in numbers.range(1, 3000)\n\tsome b in numbers.range(1, 3000)\n\
        \tsome c in numbers.range(1, 3000)\n\ta * b * c == -1\n}\n";
    let rules = open(&[("slow.rego", endless)]).unwrap();
    let judge = |name: &str| {
        let policy = CheckedPolicy::read("p", &store_tests::text(name)).unwrap();
        rules.judge(&policy, "grpc", Origin::Grpc)
    };
    assert_eq!(judge("quick"), Ok(()));
    let start = Instant::now();
    let denied = judge("slow").unwrap_err();
    assert!(start.elapsed() < 3 * TIME, "{:?}", start.elapsed());
    assert!(denied.contains("cannot be evaluated"), "{denied}");
}

const MADE: &str = r#"package tetragon.policies

policy contains p if {
    some name in data.watched.names
    p := {
        "apiVersion": "cilium.io/v1alpha1",
        "kind": "TracingPolicy",
        "metadata": {"name": sprintf("watch-%s", [name])},
        "spec": {"kprobes": [{"call": data.watched.call}]},
    }
}
"#;

#[test]
fn policies_are_made_from_data_and_follow_it() {
    let watched = |names: &str, call: &str| format!("names: [{names}]\ncall: {call}\n");
    let lab = Lab::new(&[
        ("made.rego", MADE),
        ("no-override.rego", NO_OVERRIDE),
        ("watched.yaml", &watched("a, b", "sys_mount")),
    ]);
    let mut made = Made::new();
    made.follow(&lab.rules, &lab.store);
    let names = || -> Vec<String> {
        lab.store.list(Some(REGO)).into_iter().map(|status| status.name).collect()
    };
    assert_eq!(names(), ["watch-a", "watch-b"]);
    let first = lab.store.list(None)[0].id;
    lab.write("watched.yaml", &watched("a, c", "sys_umount"));
    assert!(lab.rules.follow() && !lab.rules.follow());
    made.follow(&lab.rules, &lab.store);
    assert_eq!(names(), ["watch-a", "watch-c"]);
    assert_eq!(lab.store.list(None)[0].id, first, "replaced, not deleted and added");
    // What cannot be used changes nothing.
    for bad in [watched("a", "["), "no: names".to_owned() + ": ["] {
        lab.write("watched.yaml", &bad);
        assert!(!lab.rules.follow());
    }
    assert_eq!(names(), ["watch-a", "watch-c"]);
    // Nor what is no policy.
    lab.write("watched.yaml", &watched("C", "sys_mount"));
    assert!(lab.rules.follow());
    assert_eq!(made.follow(&lab.rules, &lab.store).failed, 1);
    assert_eq!(names(), ["watch-a", "watch-c"]);
    lab.write("watched.yaml", "names: []\n");
    assert!(lab.rules.follow());
    made.follow(&lab.rules, &lab.store);
    assert!(names().is_empty());
}

#[test]
fn rules_are_followed_as_they_change() {
    let lab = Lab::new(&[("r.rego", NO_OVERRIDE)]);
    let policies = directory(&[("p.yaml", &overriding("p"))]);
    let files = PolicyFiles { dir: Some(policies.path().to_owned()), ..PolicyFiles::default() };
    let mut files = Files::new(&files);
    assert_eq!(files.load(&lab.store).unwrap().failed, 1);
    let rules = Some((Arc::clone(&lab.rules), Made::new()));
    let _watcher = Watcher::start(Arc::clone(&lab.store), files, rules).unwrap();
    let state = || states(&lab.store).first().map(|(_, state)| *state);
    let becomes = |wanted: State| {
        let start = Instant::now();
        while state() != Some(wanted) {
            assert!(start.elapsed() < Duration::from_secs(2), "{:?}, not {wanted:?}", state());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    becomes(State::TpStateLoadError);
    std::thread::sleep(Duration::from_millis(100));
    lab.write("r.rego", "package tetragon.admission\n{");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(state(), Some(State::TpStateLoadError), "the former rules stay");
    lab.write("r.rego", &NO_OVERRIDE.replace("!= \"trusted\"", "== \"none\""));
    becomes(State::TpStateEnabled);
    // What is in force stays so when rules come that would not admit it.
    lab.write("r.rego", NO_OVERRIDE);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(state(), Some(State::TpStateEnabled));
    assert_eq!(lab.store.judge_again().len(), 1);
    assert_eq!(lab.store.judge_again()[0].0, key(STATIC, "p"));
}

/// The blocks of the documentation that begin with a package.
fn documented() -> Vec<String> {
    let text = include_str!("../../../../../docs/sources.md");
    let mut blocks = vec![String::new()];
    for line in text.lines() {
        let code = line.strip_prefix("    ").or(line.is_empty().then_some(""));
        match (code, blocks.last_mut()) {
            (Some(code), Some(block)) => block.push_str(&format!("{code}\n")),
            _ => blocks.push(String::new()),
        }
    }
    blocks.retain(|block| block.trim_start().starts_with("package "));
    blocks
}

#[test]
fn the_modules_of_the_documentation_do_what_it_says() {
    let blocks = documented();
    let [admission, made] = &blocks[..] else { panic!("{blocks:?}") };
    let end = admission.find("$ tetra").unwrap_or(admission.len());
    let lab = Lab::new(&[
        ("admission.rego", &admission[..end]),
        ("made.rego", made),
        ("watched.yaml", "a: [/etc/nginx/, /var/www/]\n"),
    ]);
    let error = lab.store.add("grpc", &from("p", &overriding("deny"))).unwrap_err().to_string();
    assert!(error.ends_with("deny: no Override outside namespace trusted"), "{error}");
    let made = made.replace("labels.role", "labels.zone");
    lab.write("made.rego", &made);
    assert!(lab.rules.follow());
    assert_eq!(Made::new().follow(&lab.rules, &lab.store), Outcome { loaded: 2, failed: 0 });
    let names: Vec<_> = lab.store.list(Some(REGO)).into_iter().map(|status| status.name).collect();
    assert_eq!(names, ["watch-etc-nginx", "watch-var-www"]);
}
