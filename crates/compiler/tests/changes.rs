//! matchNamespaceChanges and matchCapabilityChanges.

#![allow(clippy::unwrap_used)]

mod harness;

use harness::{Harness, shell, told, umask, umask_hook, unshare_command};
use nix::sched::{CloneFlags, unshare};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

fn load(harness: &mut Harness, mask: u32, section: &str, cases: &[(&str, &str)]) {
    for (name, filter) in cases {
        harness.load(&umask_hook(name, mask, &format!("{section}: [{{{filter}}}]")));
    }
}

/// Runs `body` in a thread of its own.
fn aside(body: impl FnOnce() + Send + 'static) {
    std::thread::spawn(body).join().unwrap();
}

#[test]
fn a_change_of_namespace_is_told_once_to_each_policy() {
    let Some(mut harness) = Harness::new() else { return };
    load(
        &mut harness,
        0o171,
        "matchNamespaceChanges",
        &[
            ("uts", "operator: In, values: [Uts]"),
            ("uts-or-net", "operator: In, values: [Net, Uts]"),
            ("net", "operator: In, values: [Net, Ipc]"),
            ("not-uts", "operator: NotIn, values: [Uts]"),
            ("not-net", "operator: NotIn, values: [Net]"),
        ],
    );
    assert!(told(&mut harness, || aside(|| umask(0o171))).is_empty());
    let names = told(&mut harness, || {
        aside(|| {
            unshare(CloneFlags::CLONE_NEWUTS).unwrap();
            umask(0o171);
            umask(0o171);
        });
    });
    assert_eq!(names, ["not-net", "uts", "uts-or-net"]);
    let names = told(&mut harness, || {
        aside(|| {
            unshare(CloneFlags::CLONE_NEWIPC).unwrap();
            umask(0o171);
            unshare(CloneFlags::CLONE_NEWUTS).unwrap();
            umask(0o171);
        });
    });
    assert_eq!(names, ["net", "not-net", "not-net", "not-uts", "uts", "uts-or-net"]);
}

#[test]
fn only_what_matches_is_taken_as_told() {
    let Some(mut harness) = Harness::new() else { return };
    load(&mut harness, 0o172, "matchNamespaceChanges", &[("uts", "operator: In, values: [Uts]")]);
    let names = told(&mut harness, || {
        aside(|| {
            unshare(CloneFlags::CLONE_NEWUTS).unwrap();
            // Another argument: the selector does not match, the change is still to be told.
            umask(0o022);
            umask(0o172);
        });
    });
    assert_eq!(names, ["uts"]);
}

#[test]
fn a_process_has_changed_nothing_by_being_started_elsewhere() {
    let Some(mut harness) = Harness::new() else { return };
    load(
        &mut harness,
        0o173,
        "matchNamespaceChanges",
        &[("uts", "operator: In, values: [Uts]"), ("mnt", "operator: In, values: [Mnt]")],
    );
    // exec and fork begin anew with what there is.
    let script = "umask 173; (umask 173); :";
    let names = told(&mut harness, || shell(unshare_command().args(["-u", "sh", "-c", script])));
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn threads_from_before_are_recorded_as_they_are() {
    let Some(mut harness) = Harness::new() else { return };
    let (begin, begun) = std::sync::mpsc::channel::<()>();
    let (ready, is_ready) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWUTS).unwrap();
        ready.send(()).unwrap();
        begun.recv().unwrap();
        umask(0o174);
        unshare(CloneFlags::CLONE_NEWUTS).unwrap();
        umask(0o174);
    });
    is_ready.recv().unwrap();
    load(&mut harness, 0o174, "matchNamespaceChanges", &[("uts", "operator: In, values: [Uts]")]);
    let names = told(&mut harness, || {
        begin.send(()).unwrap();
        thread.join().unwrap();
    });
    assert_eq!(names, ["uts"]);
}

#[test]
fn a_change_of_capabilities_is_told_by_what_came_or_went() {
    let Some(mut harness) = Harness::new() else { return };
    load(
        &mut harness,
        0o175,
        "matchCapabilityChanges",
        &[
            ("nice", "operator: In, values: [CAP_SYS_NICE, CAP_CHOWN]"),
            ("chown", "operator: In, values: [CAP_CHOWN]"),
            ("not-nice", "operator: NotIn, values: [CAP_SYS_NICE]"),
            ("not-chown", "operator: NotIn, values: [CAP_CHOWN]"),
            ("permitted", "type: Permitted, operator: In, values: [CAP_SYS_NICE]"),
            ("elsewhere", "operator: In, values: [CAP_SYS_NICE], isNamespaceCapability: true"),
        ],
    );
    let names = told(&mut harness, || {
        aside(|| {
            umask(0o175);
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::SYS_NICE);
            set_capabilities(None, sets).unwrap();
            umask(0o175);
            umask(0o175);
        });
    });
    assert_eq!(names, ["nice", "not-chown"]);
    let names = told(&mut harness, || {
        aside(|| {
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::SYS_NICE);
            set_capabilities(None, sets).unwrap();
            umask(0o175);
            sets.effective.insert(CapabilitySet::SYS_NICE);
            set_capabilities(None, sets).unwrap();
            umask(0o175);
        });
    });
    assert_eq!(names, ["nice", "nice", "not-chown", "not-chown"]);
}
