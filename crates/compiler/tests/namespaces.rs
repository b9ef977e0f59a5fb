//! matchNamespaces.

#![allow(clippy::unwrap_used)]

mod harness;

use harness::{Harness, shell, told, umask, umask_hook, unshare_command};
use nix::sched::{CloneFlags, unshare};
use std::os::unix::fs::MetadataExt;

#[test]
fn namespaces_are_told_by_their_inode_and_from_the_hosts() {
    let Some(mut harness) = Harness::new() else { return };
    let inode = |kind: &str| std::fs::metadata(format!("/proc/self/ns/{kind}")).unwrap().ino();
    let host = |kind: &str| std::fs::metadata(format!("/proc/1/ns/{kind}")).map(|n| n.ino()).ok();
    let kinds = [
        ("Uts", "uts"),
        ("Ipc", "ipc"),
        ("Mnt", "mnt"),
        ("Pid", "pid"),
        ("PidForChildren", "pid_for_children"),
        ("Net", "net"),
        ("Cgroup", "cgroup"),
        ("User", "user"),
        ("Time", "time"),
        ("TimeForChildren", "time_for_children"),
    ];
    for (kind, file) in kinds {
        let own = inode(file);
        let in_host = host(file).is_none_or(|host| host == own);
        for (name, operator, values, expected) in [
            ("own", "In", format!("['7', '{own}']"), true),
            ("other", "In", format!("['7', '{}']", own ^ 1), false),
            ("not-own", "NotIn", format!("['{own}']"), false),
            ("not-other", "NotIn", format!("['{}']", own ^ 1), true),
            ("host", "In", "['host_ns']".to_owned(), in_host),
            ("not-host", "NotIn", "['host_ns']".to_owned(), !in_host),
        ] {
            let filter = format!(
                "matchNamespaces: [{{namespace: {kind}, operator: {operator}, values: {values}}}]"
            );
            harness.load(&umask_hook(name, 0o121, &filter));
            let seen = harness.during(|| umask(0o121)).len();
            assert_eq!(seen, usize::from(expected), "{kind} {name}");
            harness.remove(name);
        }
    }
}

#[test]
fn a_thread_that_left_the_hosts_namespace_is_told_from_one_that_did_not() {
    let Some(mut harness) = Harness::new() else { return };
    let own = std::fs::metadata("/proc/thread-self/ns/uts").unwrap().ino();
    for (name, operator) in [("stayed", "In"), ("left", "NotIn")] {
        let filter = format!(
            "matchNamespaces: [{{namespace: Uts, operator: {operator}, values: ['{own}']}}]"
        );
        harness.load(&umask_hook(name, 0o122, &filter));
    }
    let elsewhere = || {
        let leave = || {
            unshare(CloneFlags::CLONE_NEWUTS).unwrap();
            umask(0o122);
        };
        std::thread::spawn(leave).join().unwrap();
    };
    assert_eq!(told(&mut harness, elsewhere), ["left"]);
    assert_eq!(told(&mut harness, || umask(0o122)), ["stayed"]);
}

#[test]
fn children_to_come_have_their_own_kind() {
    let Some(mut harness) = Harness::new() else { return };
    for (name, kind) in [("own", "Pid"), ("children", "PidForChildren")] {
        let own = std::fs::metadata("/proc/self/ns/pid").unwrap().ino();
        let filter =
            format!("matchNamespaces: [{{namespace: {kind}, operator: NotIn, values: ['{own}']}}]");
        harness.load(&umask_hook(name, 0o123, &filter));
    }
    // What unshare -p without -f runs is not itself in the new namespace.
    let outside = || shell(unshare_command().args(["-p", "sh", "-c", "umask 123"]));
    assert_eq!(told(&mut harness, outside), ["children"]);
    let inside = || shell(unshare_command().args(["-pf", "sh", "-c", "umask 123"]));
    assert_eq!(told(&mut harness, inside), ["children", "own"]);
}
