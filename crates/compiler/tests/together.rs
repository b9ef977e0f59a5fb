//! Functions of a list share a program and a link, kprobe.multi; each event still names its function.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::observed::Observed;
use compiler::plan::{Attachment, EventKind};
use harness::{Harness, Place, command, own_thread};
use kernel::features::Feature;
use kernel::link::link_ids;
use kernel::program::program_ids;
use std::fs;
use std::time::Instant;

/// Functions that every kernel has which has security modules; all of them return an int.
const FUNCTIONS: [&str; 24] = [
    "security_inode_mkdir",
    "security_inode_rmdir",
    "security_inode_unlink",
    "security_inode_symlink",
    "security_inode_rename",
    "security_inode_link",
    "security_inode_create",
    "security_inode_mknod",
    "security_inode_setattr",
    "security_inode_getattr",
    "security_inode_readlink",
    "security_file_open",
    "security_file_permission",
    "security_file_ioctl",
    "security_file_fcntl",
    "security_mmap_file",
    "security_task_kill",
    "security_task_setnice",
    "security_task_getpgid",
    "security_socket_create",
    "security_socket_bind",
    "security_socket_listen",
    "security_socket_connect",
    "security_bprm_check",
];

fn policy(name: &str, more: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec:\n  \
         lists:\n  - {{name: functions, values: [{}]}}\n  kprobes:\n  - call: list:functions\n    \
         syscall: false\n{more}",
        FUNCTIONS.join(", ")
    )
}

const RETURNS: &str = "    return: true\n    returnArg: {index: 0, type: int}\n";

/// Policy, function and result of what was seen of those that directories are made and removed by.
fn told(harness: &mut Harness, body: impl FnOnce()) -> Vec<(String, String, Option<i32>)> {
    let seen = own_thread(harness.during(body)).into_iter();
    let mut told: Vec<_> = seen
        .filter_map(|seen| {
            let EventKind::Kprobe { function } = &seen.hook.event else { return None };
            let returned = match seen.returned {
                Some(Observed::Int(value)) => Some(value),
                _ => None,
            };
            let looked_at = function.contains("mkdir") || function.contains("rmdir");
            looked_at.then(|| (seen.policy.name.clone(), function.clone(), returned))
        })
        .collect();
    told.sort();
    told
}

fn told_of(told: &[(&str, &str, Option<i32>)]) -> Vec<(String, String, Option<i32>)> {
    let owned = |(policy, function, result): &(&str, &str, Option<i32>)| {
        ((*policy).to_owned(), format!("security_inode_{function}"), *result)
    };
    told.iter().map(owned).collect()
}

#[test]
fn each_event_names_its_function() {
    let Some(mut harness) = Harness::with(Feature::KprobeMulti) else { return };
    let place = Place::new("together");
    let path = place.0.join("directory");
    let before = (program_ids().unwrap().len(), link_ids().unwrap().len());
    let started = Instant::now();
    harness.load(&policy("enter", ""));
    eprintln!("loaded in {:?}", started.elapsed());
    let during = (program_ids().unwrap().len(), link_ids().unwrap().len());
    eprintln!("programs and links: {before:?}, {during:?}");
    assert_eq!(during.1 - before.1, 1, "one link for all");
    let key = harness.policies.keys().next().unwrap().clone();
    for hook in &harness.policies.plan(&key).unwrap().hooks {
        let Attachment::KprobeMulti { among, .. } = &hook.attachment else { panic!("{hook:?}") };
        assert_eq!(among.names().len(), FUNCTIONS.len());
    }
    assert_eq!(
        told(&mut harness, || fs::create_dir(&path).unwrap()),
        told_of(&[("enter", "mkdir", None)])
    );
    assert_eq!(
        told(&mut harness, || fs::remove_dir(&path).unwrap()),
        told_of(&[("enter", "rmdir", None)])
    );
    // Another policy on the same functions shares the program.
    harness.load(&policy("also", ""));
    assert_eq!(link_ids().unwrap().len(), during.1);
    assert_eq!(
        told(&mut harness, || fs::create_dir(&path).unwrap()),
        told_of(&[("also", "mkdir", None), ("enter", "mkdir", None)])
    );
    harness.remove("enter");
    assert_eq!(
        told(&mut harness, || fs::remove_dir(&path).unwrap()),
        told_of(&[("also", "rmdir", None)])
    );
    let started = Instant::now();
    harness.remove("also");
    eprintln!("removed in {:?}", started.elapsed());
    assert_eq!(told(&mut harness, || fs::create_dir(&path).unwrap()), []);
    assert_eq!(link_ids().unwrap().len(), before.1);
}

#[test]
fn results_are_those_of_their_calls() {
    let Some(mut harness) = Harness::with(Feature::KprobeMulti) else { return };
    let btf = harness.machine.btf.clone();
    let fprobe = btf.find_struct("fprobe").unwrap();
    let joins = btf.member_exists(fprobe, "rethook");
    let place = Place::new("results");
    let path = place.0.join("directory");
    harness.load(&policy("leave", RETURNS));
    let key = harness.policies.keys().next().unwrap().clone();
    let plan = harness.policies.plan(&key).unwrap();
    let together = |attachment: &Attachment| matches!(attachment, Attachment::KprobeMulti { .. });
    assert!(plan.hooks.iter().all(|hook| together(&hook.attachment) == joins));
    let seen = told(&mut harness, || {
        fs::create_dir(&path).unwrap();
        fs::remove_dir(&path).unwrap();
        fs::create_dir(&path).unwrap();
    });
    let (mkdir, rmdir) = (("leave", "mkdir", Some(0)), ("leave", "rmdir", Some(0)));
    assert_eq!(seen, told_of(&[mkdir, mkdir, rmdir]));
    let counters = harness.policies.counters(&key).unwrap().unwrap();
    assert!(counters.iter().all(|counters| counters.no_call == 0));
    // By the result: none fails.
    let filtered = format!(
        "{RETURNS}    selectors:\n    - matchReturnArgs: [{{index: 0, operator: NotEqual, values: ['0']}}]\n"
    );
    harness.load(&policy("leave", &filtered));
    assert_eq!(told(&mut harness, || fs::remove_dir(&path).unwrap()), []);
}

#[test]
fn who_does_not_want_it_has_programs_of_their_own() {
    let Some(mut harness) = Harness::with(Feature::KprobeMulti) else { return };
    let place = Place::new("apart");
    let path = place.0.join("directory");
    let option = "  options: [{name: disable-kprobe-multi, value: '1'}]\n";
    harness.load(&policy("apart", option));
    let key = harness.policies.keys().next().unwrap().clone();
    let plan = harness.policies.plan(&key).unwrap();
    for hook in &plan.hooks {
        assert!(matches!(hook.attachment, Attachment::Trampoline { .. }), "{:?}", hook.attachment);
        assert!(hook.reason.contains("disable-kprobe-multi"), "{}", hook.reason);
    }
    assert_eq!(
        told(&mut harness, || fs::create_dir(&path).unwrap()),
        told_of(&[("apart", "mkdir", None)])
    );
}

#[test]
fn what_is_denied_is_not_hooked_together() {
    let Some(mut harness) = Harness::with(Feature::KprobeMulti) else { return };
    if !harness.machine.features.has(Feature::FmodRet) {
        return eprintln!("skipped: nothing can be denied");
    }
    let place = Place::new("denied");
    let shell = place.copy("sh");
    let path = place.0.join("file");
    // Those that the shell does without.
    let harmless = |name: &&&str| !name.contains("file") && !name.contains("getattr");
    let names: Vec<&str> = FUNCTIONS.iter().filter(harmless).copied().collect();
    let denies = format!(
        "    selectors:\n    - matchBinaries: [{{operator: In, values: ['{}']}}]\n      \
         matchActions: [{{action: Override, argError: -13}}]\n",
        shell.display()
    );
    let text = policy("denied", &denies).replace(&FUNCTIONS.join(", "), &names.join(", "));
    harness.load(&text);
    let script = format!("> {}", path.display());
    assert!(!command(&shell, &script).status().unwrap().success());
    assert!(!path.exists());
    harness.remove("denied");
    assert!(command(&shell, &script).status().unwrap().success());
    assert!(path.exists());
}
