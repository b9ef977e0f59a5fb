//! Scopes of policies and matchWorkloads, with cgroups that are said to be containers.

#![allow(clippy::unwrap_used)]

mod harness;

use harness::{Harness, is_emulated, shell, told, umask_hook};
use policy::CheckedPolicy;
use policy::evaluate::{Container, Workload};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

/// A cgroup that goes with the test.
struct Cgroup(PathBuf);

impl Cgroup {
    /// In the hierarchy that the harness has chosen; `None`: cgroups cannot be made here.
    fn new(name: &str) -> Option<Self> {
        let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let old = cgroups.contains(":memory:");
        let roots = match old {
            true => vec!["/sys/fs/cgroup/memory"],
            false => vec!["/sys/fs/cgroup", "/sys/fs/cgroup/unified"],
        };
        let root = roots.into_iter().find(|root| {
            let file = if old { "memory.limit_in_bytes" } else { "cgroup.subtree_control" };
            std::path::Path::new(root).join(file).exists()
        });
        let Some(root) = root else {
            eprintln!("skipped: no cgroups are mounted");
            return None;
        };
        let path = PathBuf::from(root).join(format!("{name}-{}", std::process::id()));
        match std::fs::create_dir(&path) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                eprintln!("skipped: {}: {error}", path.display());
                None
            }
        }
    }

    fn id(&self) -> u64 {
        std::fs::metadata(&self.0).unwrap().ino()
    }

    /// One below it.
    fn below(&self, name: &str) -> Self {
        let path = self.0.join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Runs a shell in it.
    fn run(&self, script: &str) {
        let procs = self.0.join("cgroup.procs");
        let script = format!("echo $$ > {} && {script}", procs.display());
        shell(Command::new("sh").args(["-c", &script]));
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

fn container(namespace: &str, app: &str, name: &str) -> Workload {
    Workload::Container(Container {
        namespace: namespace.to_owned(),
        labels: [("app".to_owned(), app.to_owned())].into(),
        name: name.to_owned(),
        repository: "repo".to_owned(),
    })
}

/// A policy with more lines in its spec.
fn scoped(name: &str, mask: u32, spec: &str) -> String {
    umask_hook(name, mask, "").replace("\nspec:\n", &format!("\nspec:\n{spec}"))
}

#[test]
fn policies_apply_to_the_workloads_that_they_select() {
    let Some(mut harness) = Harness::new() else { return };
    let Some(web) = Cgroup::new("tg-test-web") else { return };
    let Some(db) = Cgroup::new("tg-test-db") else { return };
    let Some(unknown) = Cgroup::new("tg-test-unknown") else { return };
    harness.policies.set_workload(web.id(), &container("shop", "web", "main")).unwrap();
    let pods = "  podSelector: {matchLabels: {app: web}}\n";
    harness.load(&scoped("web", 0o201, pods));
    harness.load(&scoped("host", 0o201, "  hostSelector: {}\n"));
    harness.load(&scoped("all", 0o201, ""));
    harness.load(&scoped("containers", 0o201, "  podSelector: {}\n"));
    let both = "  podSelector: {matchLabels: {app: db}}\n  hostSelector: {}\n";
    harness.load(&scoped("db-or-host", 0o201, both));
    let side =
        "  containerSelector: {matchExpressions: [{key: name, operator: NotIn, values: [main]}]}\n";
    harness.load(&scoped("not-main", 0o201, side));
    let namespaced = scoped("shop", 0o201, "")
        .replace("kind: TracingPolicy", "kind: TracingPolicyNamespaced")
        .replace("  name: shop\n", "  name: shop\n  namespace: shop\n");
    harness.load(&namespaced);
    // Said before and after the policies are there.
    harness.policies.set_workload(db.id(), &container("bank", "db", "side")).unwrap();
    harness.policies.set_workload(unknown.id(), &Workload::Unknown).unwrap();

    let script = "umask 201";
    let names = told(&mut harness, || web.run(script));
    assert_eq!(names, ["all", "containers", "shop", "web"]);
    let names = told(&mut harness, || db.run(script));
    assert_eq!(names, ["all", "containers", "db-or-host", "not-main"]);
    assert_eq!(told(&mut harness, || unknown.run(script)), ["all"]);
    let names = told(&mut harness, || shell(Command::new("sh").args(["-c", script])));
    assert_eq!(names, ["all", "db-or-host", "host"]);

    // What is made below belongs to the same workload.
    let below = web.below("below");
    assert_eq!(told(&mut harness, || below.run(script)), ["all", "containers", "shop", "web"]);
    // Another policy, and the workload is another one.
    harness.load(&scoped("late", 0o201, "  podSelector: {matchLabels: {app: late}}\n"));
    assert!(!told(&mut harness, || web.run(script)).contains(&"late".to_owned()));
    harness.policies.set_workload(web.id(), &container("x", "late", "main")).unwrap();
    assert_eq!(told(&mut harness, || web.run(script)), ["all", "containers", "late"]);
    harness.policies.set_workload(web.id(), &Workload::Host).unwrap();
    assert_eq!(told(&mut harness, || web.run(script)), ["all", "db-or-host", "host"]);
}

#[test]
fn selectors_apply_to_the_workloads_that_they_select() {
    let Some(mut harness) = Harness::new() else { return };
    let Some(web) = Cgroup::new("tg-test-selector") else { return };
    harness.policies.set_workload(web.id(), &container("shop", "web", "main")).unwrap();
    for (name, filter) in [
        ("web", "matchWorkloads: {podSelector: {matchLabels: {app: web}}}"),
        ("db", "matchWorkloads: {podSelector: {matchLabels: {app: db}}}"),
        ("host", "matchWorkloads: {hostSelector: {}}"),
    ] {
        harness.load(&umask_hook(name, 0o202, filter));
    }
    assert_eq!(told(&mut harness, || web.run("umask 202")), ["web"]);
    let names = told(&mut harness, || shell(Command::new("sh").args(["-c", "umask 202"])));
    assert_eq!(names, ["host"]);
}

#[test]
fn of_many_policies_those_of_the_workload_apply() {
    let Some(mut harness) = Harness::new() else { return };
    let Some(web) = Cgroup::new("tg-test-many") else { return };
    // More than a program has functions for in either case.
    let count = if is_emulated() { 200 } else { 1000 };
    let policies: Vec<_> = (0..count)
        .map(|n| {
            // Each has a value of its own, and one that all of them have.
            let text = umask_hook(&format!("p{n}"), 0o100, "")
                .replace("'64'", &format!("'{}'", 1 + n % 60))
                .replace(
                    "\nspec:\n",
                    &format!("\nspec:\n  podSelector: {{matchLabels: {{app: a{n}}}}}\n"),
                );
            let policy = Arc::new(CheckedPolicy::read("test.yaml", &text).unwrap());
            (policy.key("static"), policy)
        })
        .collect();
    for (key, result) in harness.policies.add_all(policies) {
        result.unwrap_or_else(|error| panic!("{key:?}: {error}"));
    }
    let memory: u64 = harness
        .policies
        .keys()
        .map(|key| harness.policies.memory_bytes(key).unwrap().unwrap())
        .sum();
    eprintln!("{memory} bytes");
    assert!(memory < 4 << 20);
    for n in [0, 63, 64, count / 2, count - 1] {
        let app = format!("a{n}");
        harness.policies.set_workload(web.id(), &container("x", &app, "main")).unwrap();
        let mine = format!("umask {:03o}", 1 + n % 60);
        assert_eq!(told(&mut harness, || web.run(&mine)), [format!("p{n}")]);
        let others = "umask 077";
        assert_eq!(told(&mut harness, || web.run(others)), [""; 0]);
    }
}
