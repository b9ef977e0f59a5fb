//! Many policies that differ in constants only are one program, whose size does not grow with them.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::observed::Observed;
use compiler::plan::EventKind;
use harness::{Harness, own_thread, policy};
use policy::CheckedPolicy;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::sync::Arc;
use std::time::Instant;

/// Policies at a time.
const COUNT: u64 = 1000;

fn hook(offset: u64) -> String {
    format!(
        "call: sys_lseek\nsyscall: true\nargs:\n- {{index: 1, type: int64}}\nselectors:\n- matchArgs:\n  \
         - {{index: 1, operator: Equal, values: ['{offset}', '99']}}\n"
    )
}

#[test]
fn a_thousand_policies_of_one_shape_are_one_program() {
    let Some(mut harness) = Harness::new() else { return };
    let policies: Vec<_> = (0..COUNT)
        .map(|n| {
            let text = policy(&format!("policy-{n}"), "kprobes", &hook(10_000 + n));
            let policy = Arc::new(CheckedPolicy::read("test.yaml", &text).unwrap());
            (policy.key("static"), policy)
        })
        .collect();
    let started = Instant::now();
    for (key, result) in harness.policies.add_all(policies) {
        result.unwrap_or_else(|error| panic!("{key:?}: {error}"));
    }
    eprintln!("{COUNT} policies in {:?}", started.elapsed());
    let memory: u64 = harness
        .policies
        .keys()
        .map(|key| harness.policies.memory_bytes(key).unwrap().unwrap())
        .sum();
    eprintln!("{memory} bytes");
    assert!(memory < 4 << 20);

    let mut file = File::open("/proc/self/exe").unwrap();
    let mut told = |harness: &mut Harness, offset| {
        let seen = harness.during(|| drop(file.seek(SeekFrom::Start(offset))));
        let mut names: Vec<String> = seen.iter().map(|seen| seen.policy.name.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(told(&mut harness, 9_999), [""; 0]);
    assert_eq!(told(&mut harness, 10_000), ["policy-0"]);
    assert_eq!(told(&mut harness, 10_999), ["policy-999"]);
    assert_eq!(told(&mut harness, 99).len() as u64, COUNT);
    let started = Instant::now();
    harness.remove("policy-0");
    eprintln!("removed one in {:?}", started.elapsed());
    assert_eq!(told(&mut harness, 10_000), [""; 0]);
    assert_eq!(told(&mut harness, 10_999), ["policy-999"]);
}

/// A policy on all system calls; `more` is about each.
fn all_calls(name: &str, more: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec:\n  \
         lists:\n  - {{name: all, type: generated_syscalls}}\n  kprobes:\n  - call: list:all\n    \
         syscall: true\n{more}"
    )
}

/// Policy, function and what it returned, of the calls that are looked at.
fn told(harness: &mut Harness, body: impl FnOnce()) -> Vec<(String, String, Option<i64>)> {
    let mut told: Vec<_> = own_thread(harness.during(body))
        .into_iter()
        .filter_map(|seen| {
            let EventKind::Kprobe { function } = &seen.hook.event else { return None };
            let call = function.rsplit_once("sys_")?.1.to_owned();
            let returned = match seen.returned {
                Some(Observed::Long(value)) => Some(value),
                _ => None,
            };
            let looked_at = ["lseek", "umask", "getppid"].contains(&call.as_str());
            looked_at.then(|| (seen.policy.name.clone(), call, returned))
        })
        .collect();
    told.sort();
    told
}

#[test]
fn policies_on_all_system_calls_are_some_functions() {
    let Some(mut harness) = Harness::new() else { return };
    let started = Instant::now();
    harness.load(&all_calls("enter", ""));
    let loaded = started.elapsed();
    let more = "    return: true\n    returnArg: {index: 0, type: long}\n    selectors:\n    \
                - matchReturnArgs: [{index: 0, operator: NotEqual, values: ['-9']}]\n";
    harness.load(&all_calls("leave", more));
    let keys: Vec<_> = harness.policies.keys().cloned().collect();
    let mut memory = 0;
    for key in &keys {
        let hooks = harness.policies.plan(key).unwrap().hooks.len();
        memory += harness.policies.memory_bytes(key).unwrap().unwrap();
        eprintln!("{}: {hooks} system calls, the first in {loaded:?}", key.name);
        assert!(hooks > 250, "{hooks}");
    }
    eprintln!("{memory} bytes");
    assert!(memory < 2 << 20, "{memory}");
    let file = File::open("/proc/self/exe").unwrap();
    let seen = told(&mut harness, || {
        let _ = rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(7));
        let before = rustix::process::umask(rustix::fs::Mode::empty());
        rustix::process::umask(before);
        let _ = rustix::process::getppid();
    });
    let of = |policy: &str, call: &str| {
        let mine = seen.iter().filter(|(p, c, _)| p == policy && c == call);
        mine.map(|(_, _, returned)| *returned).collect::<Vec<_>>()
    };
    assert_eq!(of("enter", "lseek"), [None]);
    assert_eq!(of("leave", "lseek"), [Some(7)]);
    assert_eq!(of("enter", "umask").len(), 2);
    assert!(of("leave", "umask").contains(&Some(0)), "{seen:?}");
    assert_eq!(of("leave", "getppid"), [Some(i64::from(std::os::unix::process::parent_id()))]);
    let counters = harness.policies.counters(&keys[0]).unwrap().unwrap();
    let plan = harness.policies.plan(&keys[0]).unwrap();
    let of = |name: &str| {
        let is = |kind: &EventKind| matches!(kind, EventKind::Kprobe { function } if function.ends_with(name));
        plan.hooks.iter().zip(&counters).find(|(hook, _)| is(&hook.event)).unwrap().1.total().posted
    };
    assert!(of("_sys_lseek") >= 1 && of("_sys_umask") >= 2, "each call is counted by itself");
    assert_eq!(of("_sys_swapoff"), 0);
    harness.remove("enter");
    let seen = told(&mut harness, || {
        let _ = rustix::process::getppid();
    });
    assert!(seen.iter().all(|(policy, ..)| policy == "leave") && !seen.is_empty(), "{seen:?}");
    let started = Instant::now();
    harness.remove("leave");
    eprintln!("removed in {:?}", started.elapsed());
    assert_eq!(
        told(&mut harness, || {
            let _ = rustix::process::getppid();
        }),
        []
    );
}
