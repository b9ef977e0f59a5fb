//! Lints on the types of the running kernel, with all that hooks can be attached with.

use std::sync::Arc;

use kernel::btf::Btf;
use policy::CheckedPolicy;

use super::lints;
use crate::Machine;
use crate::invented::{ALL, target};
use crate::plan::Plan;

/// A spec's plan; `None`: this kernel's types cannot be read.
fn plan(spec: &str) -> Option<(Plan, Arc<Btf>)> {
    let btf = Arc::new(Btf::vmlinux::<&str>(&[]).ok()?);
    let machine = Machine::recorded(btf.clone(), target(ALL));
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec:\n{spec}"
    );
    let policy = CheckedPolicy::read("p", &text).unwrap_or_else(|problems| panic!("{problems}"));
    let plan =
        Plan::new(Arc::new(policy), &machine).unwrap_or_else(|problems| panic!("{problems}"));
    Some((plan, btf))
}

/// What is said about a spec.
fn said(spec: &str) -> Option<Vec<String>> {
    let (plan, btf) = plan(spec)?;
    Some(lints(&plan, &btf).into_iter().map(|lint| lint.message).collect())
}

fn syscall(call: &str, kind: &str, filters: &str, actions: &str) -> String {
    format!(
        "  kprobes:\n  - call: {call}\n    syscall: true\n    args: [{{index: 0, type: {kind}}}]\n    \
         selectors: [{{{filters}matchActions: [{actions}]}}]\n"
    )
}

fn lsm(hook: &str, actions: &str) -> String {
    format!(
        "  lsmhooks:\n  - hook: {hook}\n    args: [{{index: 0, type: file}}]\n    selectors: [{{matchArgs: \
         [{{index: 0, operator: Prefix, values: [/etc/]}}], matchActions: [{actions}]}}]\n"
    )
}

const TEXT: &str = "matchArgs: [{index: 0, operator: Prefix, values: [/etc/]}], ";

/// Each lint and what just does not earn it.
#[test]
fn each_way_past_a_rule_is_told() {
    let kill = "{action: Sigkill}";
    let deny = "{action: Override, argError: -1}";
    let cases: &[(String, &[&str])] = &[
        // The link is there when the process dies.
        (
            syscall("sys_rmdir", "string", "", kill),
            &["Sigkill takes effect when", "rmdir is not the only way"],
        ),
        (
            syscall("sys_rmdir", "string", "", &format!("{kill}, {deny}")),
            &["rmdir is not the only way"],
        ),
        // A directory that only a dead process has changed to.
        (syscall("sys_chdir", "string", "", kill), &[]),
        // The text is the caller's.
        (
            syscall("sys_chroot", "string", TEXT, deny),
            &["args[0] of chroot is the caller's memory"],
        ),
        (syscall("sys_chroot", "string", "", deny), &[]),
        // Paths of files.
        (lsm("file_open", deny), &["a path is where a file is"]),
        (lsm("file_truncate", kill), &["Sigkill takes effect when", "a path is where a file is"]),
        // Nothing is enforced.
        (syscall("sys_rmdir", "string", TEXT, "{action: Post}"), &[]),
    ];
    for (spec, wanted) in cases {
        let Some(said) = said(spec) else { return };
        // Other ways depend on the kernel's architecture and age.
        let told = |one: &str| !one.contains("not the only way");
        let others = said.iter().filter(|one| told(one)).count();
        assert_eq!(others, wanted.iter().filter(|one| told(one)).count(), "{spec}{said:?}");
        for wanted in *wanted {
            assert!(said.iter().any(|one| one.starts_with(wanted)), "{wanted}: {said:?}\n{spec}");
        }
    }
}

#[test]
fn hooking_the_other_ways_quiets() {
    let all = |calls: &[&str]| {
        let hooks: String = calls
            .iter()
            .map(|call| syscall(call, "int", "", "{action: Override, argError: -1}"))
            .map(|spec| spec.replace("  kprobes:\n", ""))
            .collect();
        said(&format!("  kprobes:\n{hooks}"))
    };
    let Some(one) = all(&["sys_mkdir"]) else { return };
    let ways = &one[0];
    assert!(
        ways.starts_with(
            "mkdir is not the only way to its effect: hook mkdirat, io_uring_setup (for rings)"
        ),
        "{ways}"
    );
    assert!(ways.contains("`lsmhooks` on inode_mkdir"), "{ways}");
    let both = all(&["sys_mkdir", "sys_mkdirat", "sys_io_uring_setup"]).unwrap();
    let quiet = |one: &String| !one.contains("hook mkdir") && !one.contains("for rings");
    assert!(both.iter().all(quiet), "{both:?}");
}

#[test]
fn a_list_is_told_once() {
    let spec = "  lists: [{name: l, type: syscalls, values: [sys_mkdir, sys_rmdir]}]\n  kprobes:\n  - call: \
                list:l\n    syscall: true\n    args: [{index: 0, type: string}]\n    selectors: [{matchActions: \
                [{action: Sigkill}]}]\n";
    let Some(said) = said(spec) else { return };
    let late = said.iter().filter(|one| one.starts_with("Sigkill")).count();
    assert_eq!(late, 1, "{said:?}");
}

#[test]
fn nobody_stops_everybody_by_mistake() {
    let kill = "{action: Sigkill}";
    let cases = [
        (syscall("sys_openat", "int", "", kill), true),
        (syscall("sys_openat", "int", "matchPIDs: [{operator: In, values: [7]}], ", kill), false),
        (syscall("sys_openat", "int", "", "{action: Post}"), false),
        (syscall("sys_swapoff", "string", "", kill), false),
        (lsm("file_open", kill), false),
        (
            lsm("file_open", kill)
                .replace("matchArgs", "matchActions: [{action: Sigkill}]}, {matchArgs"),
            true,
        ),
        (
            format!(
                "  options: [{{name: allow-unrestricted-enforcement, value: 'true'}}]\n{}",
                syscall("sys_openat", "int", "", kill)
            ),
            false,
        ),
        (format!("  podSelector: {{}}\n{}", syscall("sys_openat", "int", "", kill)), false),
    ];
    for (spec, refused) in cases {
        let Some((plan, _)) = plan(&spec) else { return };
        let checked = crate::protect::check(&plan);
        assert_eq!(checked.is_err(), refused, "{checked:?}\n{spec}");
        if let Err(problems) = checked {
            let text = problems.to_string();
            assert!(
                text.contains("allow-unrestricted-enforcement") && text.contains("pid 1"),
                "{text}"
            );
        }
    }
}
