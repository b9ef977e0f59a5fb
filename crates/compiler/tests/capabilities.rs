//! matchCapabilities.

#![allow(clippy::unwrap_used)]

mod harness;

use harness::{Harness, shell, told, umask, umask_hook, unshare_command};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

#[test]
fn a_dropped_capability_is_missed_in_its_set_only() {
    let Some(mut harness) = Harness::new() else { return };
    for (name, set, operator, values) in [
        ("effective-in", "Effective", "In", "[CAP_SYS_NICE]"),
        ("effective-either", "Effective", "In", "[CAP_SYS_NICE, CAP_CHOWN]"),
        ("effective-not", "Effective", "NotIn", "[CAP_SYS_NICE]"),
        ("permitted-in", "Permitted", "In", "[CAP_SYS_NICE]"),
        ("inheritable-in", "Inheritable", "In", "[CAP_SYS_NICE]"),
        ("inheritable-not", "Inheritable", "NotIn", "[CAP_SYS_NICE, CAP_CHOWN]"),
    ] {
        let filter =
            format!("matchCapabilities: [{{type: {set}, operator: {operator}, values: {values}}}]");
        harness.load(&umask_hook(name, 0o131, &filter));
    }
    let without = |inheritable: bool| {
        move || {
            let change = move || {
                let mut sets = capabilities(None).unwrap();
                sets.effective.remove(CapabilitySet::SYS_NICE);
                sets.inheritable = CapabilitySet::empty();
                if inheritable {
                    sets.inheritable.insert(CapabilitySet::SYS_NICE);
                }
                set_capabilities(None, sets).unwrap();
                umask(0o131);
            };
            std::thread::spawn(change).join().unwrap();
        }
    };
    assert_eq!(
        told(&mut harness, without(false)),
        ["effective-either", "effective-not", "inheritable-not", "permitted-in"]
    );
    assert_eq!(
        told(&mut harness, without(true)),
        ["effective-either", "effective-not", "inheritable-in", "permitted-in"]
    );
    let all = || {
        let change = || {
            let mut sets = capabilities(None).unwrap();
            sets.inheritable = CapabilitySet::empty();
            set_capabilities(None, sets).unwrap();
            umask(0o131);
        };
        std::thread::spawn(change).join().unwrap();
    };
    assert_eq!(
        told(&mut harness, all),
        ["effective-either", "effective-in", "inheritable-not", "permitted-in"]
    );
}

#[test]
fn capabilities_in_a_user_namespace_can_be_asked_for_alone() {
    let Some(mut harness) = Harness::new() else { return };
    for (name, more) in [("any", ""), ("inside", ", isNamespaceCapability: true")] {
        let filter = format!("matchCapabilities: [{{operator: In, values: [CAP_CHOWN]{more}}}]");
        harness.load(&umask_hook(name, 0o132, &filter));
    }
    let inside = || shell(unshare_command().args(["-Ur", "sh", "-c", "umask 132"]));
    assert_eq!(told(&mut harness, inside), ["any", "inside"]);
    assert_eq!(told(&mut harness, || umask(0o132)), ["any"]);
}
