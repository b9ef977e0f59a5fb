//! matchPIDs.

#![allow(clippy::unwrap_used)]

mod harness;

use harness::{Harness, shell, umask, umask_hook, unshare_command};

#[test]
fn a_process_is_told_by_its_id() {
    let Some(mut harness) = Harness::new() else { return };
    let own = std::process::id();
    let mut others: Vec<u32> = (1..40).map(|n| own + 3 * n).collect();
    for (name, operator, values, expected) in [
        ("in", "In", vec![own], true),
        ("in-many", "In", [others.clone(), vec![own]].concat(), true),
        ("in-others", "In", others.clone(), false),
        ("not-in", "NotIn", vec![own - 1, own], false),
        ("not-in-others", "NotIn", std::mem::take(&mut others), true),
    ] {
        let filter = format!("matchPIDs: [{{operator: {operator}, values: {values:?}}}]");
        harness.load(&umask_hook(name, 0o111, &filter));
        assert_eq!(harness.during(|| umask(0o111)).len(), usize::from(expected), "{name}");
        harness.remove(name);
    }
}

#[test]
fn all_elements_must_hold() {
    let Some(mut harness) = Harness::new() else { return };
    let own = std::process::id();
    let filter =
        format!("matchPIDs: [{{operator: NotIn, values: [1]}}, {{operator: In, values: [{own}]}}]");
    harness.load(&umask_hook("both", 0o112, &filter));
    let filter = format!(
        "matchPIDs: [{{operator: In, values: [{own}]}}, {{operator: NotIn, values: [{own}]}}]"
    );
    harness.load(&umask_hook("one", 0o112, &filter));
    let seen = harness.during(|| umask(0o112));
    assert_eq!(seen.iter().map(|seen| &*seen.policy.name).collect::<Vec<_>>(), ["both"]);
}

#[test]
fn ids_in_a_namespace_are_those_of_the_innermost() {
    let Some(mut harness) = Harness::new() else { return };
    for (name, values) in [("first", "[1]"), ("host", "[0]")] {
        let filter =
            format!("matchPIDs: [{{operator: In, values: {values}, isNamespacePID: true}}]");
        harness.load(&umask_hook(name, 0o113, &filter));
    }
    let seen = harness.everything_during(|| {
        // pid 1 of a new namespace, and pid 2 there
        shell(unshare_command().args(["-pf", "sh", "-c", "umask 113; (umask 113); :"]));
    });
    assert_eq!(seen.iter().map(|seen| &*seen.policy.name).collect::<Vec<_>>(), ["first"]);
    let seen = harness.during(|| umask(0o113));
    assert_eq!(seen.iter().map(|seen| &*seen.policy.name).collect::<Vec<_>>(), ["host"]);
}
