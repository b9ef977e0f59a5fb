//! Many policies that differ in constants only are one program, whose size does not grow with them.

#![allow(clippy::unwrap_used)]

mod harness;

use harness::{Harness, policy};
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
