//! Enforcers: what they are told is done at the thread's next call, once, and what comes to nothing is
//! counted.
//!
//! A policy tells its enforcer when umask(2) is called with a mask; each test has masks of its own.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::counters::Done;
use compiler::plan::Denial;
use harness::{Harness, Place, command, policy};
use kernel::features::Feature;
use policy::checked::Mode;
use policy::{CheckedPolicy, PolicyKey};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Output, Stdio};
use std::sync::Arc;

fn key(name: &str) -> PolicyKey {
    PolicyKey { domain: "static".to_owned(), namespace: String::new(), name: name.to_owned() }
}

/// Policy `name` that does this when umask(2) is called with these masks, and enforces these calls.
fn telling(name: &str, calls: &str, told: &[(u32, &str)]) -> String {
    let mut hook =
        "call: sys_umask\nsyscall: true\nargs:\n- {index: 0, type: int}\nselectors:\n".to_owned();
    for (mask, actions) in told {
        hook.push_str(&format!(
            "- matchArgs:\n  - {{index: 0, operator: Equal, values: ['{mask}']}}\n  matchActions: {actions}\n"
        ));
    }
    let text = policy(name, "kprobes", &hook);
    text.replace("spec:\n", &format!("spec:\n  enforcers: [{{calls: {calls}}}]\n"))
}

/// Runs a script in a shell.
fn script(script: &str) -> Output {
    command("/bin/sh".as_ref(), script).output().unwrap()
}

/// A shell that has run a script, and calls chdir(2) next.
fn told_and_waiting(script: &str) -> Child {
    let mut command =
        command("/bin/sh".as_ref(), &format!("{script}; echo; read line; cd /; exit 3"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    child
}

/// Lets it go on, and waits for its end.
fn go_on(mut child: Child) -> ExitStatus {
    drop(child.stdin.take());
    child.wait().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn done(harness: &Harness, name: &str) -> Done {
    let counters = harness.policies.counters(&key(name)).unwrap().unwrap();
    let mut sum = Done::default();
    counters.iter().for_each(|one| sum += one.total());
    sum
}

/// What came to nothing: system call, reason, how often.
fn missed(harness: &Harness, name: &str) -> Vec<(String, &'static str, u64)> {
    let missed = harness.policies.missed_notifications(&key(name)).unwrap();
    missed.into_iter().map(|one| (one.call, one.reason, one.count)).collect()
}

#[test]
fn a_signal_waits_for_the_call() {
    let Some(mut harness) = Harness::new() else { return };
    let told = [(0o101, "[{action: NotifyEnforcer, argSig: 10}]")];
    harness.load(&telling("signals", "[sys_chdir]", &told));
    let ended = script("umask 0101; echo told; cd /; echo survived");
    assert_eq!((said(&ended).as_str(), ended.status.signal()), ("told\n", Some(10)));
    // Others' calls, and calls that nothing was told of, go on.
    let others = script("umask 0101; (exit 0); echo told");
    assert_eq!((said(&others).as_str(), others.status.code()), ("told\n", Some(0)));
    assert_eq!(script("umask 0100; cd /; exit 3").status.code(), Some(3));
    assert_eq!(done(&harness, "signals"), Done { posted: 2, notified: 2, ..Done::default() });
    // In mode monitor nothing is told, and what was told before is not done.
    let waiting = told_and_waiting("umask 0101");
    harness.policies.set_mode(&key("signals"), Mode::Monitor).unwrap();
    assert_eq!(script("umask 0101; cd /; exit 3").status.code(), Some(3));
    assert_eq!(go_on(waiting).code(), Some(3));
    let expected = Done { posted: 4, notified: 3, monitor_notified: 1, ..Done::default() };
    assert_eq!(done(&harness, "signals"), expected);
    assert!(missed(&harness, "signals").is_empty());
}

#[test]
fn a_call_may_enforce_itself() {
    let Some(mut harness) = Harness::new() else { return };
    let told = [(0o102, "[{action: NotifyEnforcer, argSig: 12}]")];
    harness.load(&telling("itself", "[sys_umask]", &told));
    let ended = script("umask 0102; echo survived");
    assert_eq!((said(&ended).as_str(), ended.status.signal()), ("", Some(12)));
    assert_eq!(script("umask 0100; exit 3").status.code(), Some(3));
}

/// A thread that calls umask(2) with these masks and then, if it is to, chdir(2). Shells call it more often
/// than they say.
fn masks(masks: &'static [u32], call: bool) {
    let thread = std::thread::spawn(move || {
        masks.iter().for_each(|mask| harness::umask(*mask));
        if call {
            rustix::process::chdir(".").unwrap();
        }
    });
    thread.join().unwrap();
}

#[test]
fn what_comes_to_nothing_is_counted() {
    let Some(mut harness) = Harness::new() else { return };
    // SIGURG: this process ignores it.
    let told = [
        (0o103, "[{action: NotifyEnforcer, argSig: 23}]"),
        (0o104, "[{action: NotifyEnforcer, argSig: 12}]"),
        (0o105, "[{action: CleanupEnforcerNotification}]"),
    ];
    harness.load(&telling("missed", "[sys_chdir]", &told));
    masks(&[0o104, 0o103], true);
    let overwritten = |count| ("sys_umask".to_owned(), "overwritten", count);
    assert_eq!(missed(&harness, "missed"), [overwritten(1)]);
    // What a call has taken is neither there for the next one nor to be taken back.
    masks(&[0o103, 0o104, 0o105], true);
    masks(&[0o105], true);
    let expected = [overwritten(2), ("sys_umask".to_owned(), "no_action", 1)];
    assert_eq!(missed(&harness, "missed"), expected);
    assert_eq!(done(&harness, "missed"), Done { posted: 6, notified: 4, ..Done::default() });
    // The last one counts.
    let ended = script("umask 0103; umask 0104; echo told; cd /; echo survived");
    assert_eq!((said(&ended).as_str(), ended.status.signal()), ("told\n", Some(12)));
    // What was told before a policy was replaced is still known.
    let waiting = told_and_waiting("umask 0104");
    harness.load(&telling("missed", "[sys_chdir, sys_chroot]", &told));
    assert_eq!(go_on(waiting).signal(), Some(12));
}

#[test]
fn policies_have_enforcers_of_their_own() {
    let Some(mut harness) = Harness::new() else { return };
    harness.load(&telling(
        "own",
        "[sys_chdir]",
        &[(0o106, "[{action: NotifyEnforcer, argSig: 10}]")],
    ));
    let other = [(0o107, "[{action: NotifyEnforcer, argSig: 12}]")];
    harness.load(&telling("other", "[sys_chroot]", &other));
    let ended = script("umask 0107; cd /; echo on; umask 0106; cd /; echo survived");
    assert_eq!((said(&ended).as_str(), ended.status.signal()), ("on\n", Some(10)));
    harness.remove("own");
    assert_eq!(script("umask 0106; cd /; exit 3").status.code(), Some(3));
}

/// The policy that users write: system calls told at the tracepoint that all pass, by a list.
fn killer(binary: &str, actions: &str) -> String {
    let hook = format!(
        "subsystem: raw_syscalls\nevent: sys_enter\nargs:\n- {{index: 4, type: syscall64}}\nselectors:\n- matchArgs:\n  - {{index: 0, operator: InMap, values: ['list:dups']}}\n  matchBinaries:\n  - {{operator: In, values: ['{binary}']}}\n  matchActions:\n  - {actions}\n"
    );
    policy("killer", "tracepoints", &hook).replace(
        "spec:\n",
        "spec:\n  lists: [{name: dups, type: syscalls, values: [sys_dup, sys_dup2]}]\n  enforcers: [{calls: ['list:dups']}]\n",
    )
}

#[test]
fn calls_of_a_list_end_their_callers() {
    let Some(mut harness) = Harness::with(Feature::Tracepoint) else { return };
    harness.policies.refuse_degraded();
    let place = Place::new("killer");
    let shell = place.copy("sh");
    // What these calls change ends with the caller, so that a kill is enough where they cannot fail.
    let text = killer(shell.to_str().unwrap(), "{action: NotifyEnforcer, argError: -1, argSig: 9}");
    let policy = policy::CheckedPolicy::read("p.yaml", &text).unwrap();
    let added = harness.policies.add(key("killer"), std::sync::Arc::new(policy)).unwrap();
    assert_eq!(added.notes.iter().filter(|note| note.message.contains("carried out")).count(), 0);
    // A redirection is put in place by dup2.
    let ended = command(&shell, "echo one; echo two >/dev/null; echo three").output().unwrap();
    assert_eq!((said(&ended).as_str(), ended.status.signal()), ("one\n", Some(9)));
    assert_eq!(script("echo two >/dev/null; exit 3").status.code(), Some(3));
}

/// Whether a directory can be made by a thread that was told so.
fn make(directory: &Place, mask: u32) -> Result<(), i32> {
    let at = directory.0.join("made");
    std::thread::spawn(move || {
        harness::umask(mask);
        let made = rustix::fs::mkdir(&at, rustix::fs::Mode::from_raw_mode(0o700));
        assert_eq!(at.exists(), made.is_ok());
        let _ = std::fs::remove_dir(&at);
        made.map_err(|error| error.raw_os_error())
    })
    .join()
    .unwrap()
}

/// Makes a call fail, which is done in this way. `name` and `mask`: not another test's.
fn calls_fail(mut harness: Harness, name: &str, mask: u32, by: fn(&Denial) -> bool) {
    let _alone = harness::alone();
    let directory = Place::new(name);
    let told = [(mask, "[{action: NotifyEnforcer, argError: -18}]")];
    harness.load(&telling(name, "[sys_mkdir, sys_mkdirat]", &told));
    let plan = harness.policies.plan(&key(name)).unwrap();
    assert!(plan.enforcers.iter().all(|call| call.denial.as_ref().is_some_and(by)), "{plan}");
    assert_eq!(make(&directory, mask), Err(18));
    assert_eq!(make(&directory, 0o110), Ok(()));
    harness.policies.set_mode(&key(name), Mode::Monitor).unwrap();
    assert_eq!(make(&directory, mask), Ok(()));
    harness.policies.set_mode(&key(name), Mode::Enforce).unwrap();
    assert_eq!(make(&directory, mask), Err(18));
    let expected = Done { posted: 3, notified: 2, monitor_notified: 1, ..Done::default() };
    assert_eq!(done(&harness, name), expected);
    harness.remove(name);
    assert_eq!(make(&directory, mask), Ok(()));
}

#[test]
fn calls_fail_by_lsm() {
    if let Some(harness) =
        Harness::without(Feature::Lsm, &[Feature::FmodRetSyscall, Feature::OverrideReturn])
    {
        calls_fail(harness, "enforced-by-lsm", 0o111, |denial| matches!(denial, Denial::Gates(_)));
    }
}

#[test]
fn calls_fail_by_fmod_ret() {
    if let Some(harness) = Harness::with(Feature::FmodRetSyscall) {
        calls_fail(harness, "enforced-by-fmod-ret", 0o115, |denial| {
            matches!(denial, Denial::Modify)
        });
    }
}

#[test]
fn calls_fail_by_override_return() {
    if let Some(harness) = Harness::without(Feature::OverrideReturn, &[Feature::FmodRetSyscall]) {
        calls_fail(harness, "enforced-by-override", 0o116, |denial| {
            matches!(denial, Denial::OverrideReturn)
        });
    }
}

#[test]
fn security_functions_fail() {
    let Some(mut harness) = Harness::with(Feature::FmodRet) else { return };
    let directory = Place::new("secured");
    let told = [(0o112, "[{action: NotifyEnforcer, argError: -28}]")];
    harness.load(&telling("secured", "[security_inode_mkdir]", &told));
    assert_eq!(make(&directory, 0o112), Err(28));
    assert_eq!(make(&directory, 0o113), Ok(()));
}

#[test]
fn what_no_way_makes_fail_is_refused() {
    let lacks = [Feature::FmodRetSyscall, Feature::OverrideReturn, Feature::Lsm];
    let Some(mut harness) = Harness::without(Feature::TpBtf, &lacks) else { return };
    harness.policies.refuse_degraded();
    let mut add = |calls: &str, action: &str| {
        let told = [(0o114, format!("[{{action: NotifyEnforcer, {action}}}]"))];
        let told = [(told[0].0, told[0].1.as_str())];
        let policy = policy::CheckedPolicy::read("p.yaml", &telling("refused", calls, &told));
        let added = harness.policies.add(key("refused"), std::sync::Arc::new(policy.unwrap()));
        added.map(|_| ()).map_err(|error| error.to_string())
    };
    // A signal can be sent anywhere; SIGKILL undoes what ends with the caller.
    assert_eq!(add("[sys_mkdir, sys_dup]", "argSig: 15"), Ok(()));
    assert_eq!(add("[sys_dup]", "argError: -1, argSig: 9"), Ok(()));
    let refused = add("[sys_mkdir, sys_dup]", "argError: -1, argSig: 9").unwrap_err();
    let part = "NotifyEnforcer is not carried out in all cases: __x64_sys_mkdir: ";
    assert!(refused.contains(part) && !refused.contains("sys_dup"), "{refused}");
    let refused = add("[sys_mkdir]", "argError: -1").unwrap_err();
    let all = "NotifyEnforcer is not carried out: __x64_sys_mkdir: ";
    assert!(refused.contains(all), "{refused}");
}

#[test]
fn policies_of_one_name_tell_enforcers_of_their_own() {
    let Some(mut harness) = Harness::new() else { return };
    // SIGURG: this process ignores it.
    for (domain, mask) in [("static", 0o120), ("grpc", 0o121)] {
        let told = [(mask, "[{action: NotifyEnforcer, argSig: 23}]")];
        let text = telling("twins", "[sys_chdir]", &told);
        let policy = Arc::new(CheckedPolicy::read("twins.yaml", &text).unwrap());
        harness.policies.add(policy.key(domain), policy).unwrap();
    }
    let of = |domain: &str| PolicyKey { domain: domain.to_owned(), ..key("twins") };
    let missed = |harness: &Harness, domain| {
        let missed = harness.policies.missed_notifications(&of(domain)).unwrap();
        missed.iter().map(|one| one.count).sum::<u64>()
    };
    masks(&[0o120, 0o121], true);
    assert_eq!(["static", "grpc"].map(|domain| missed(&harness, domain)), [0, 0]);
    masks(&[0o120, 0o121, 0o120], true);
    assert_eq!(["static", "grpc"].map(|domain| missed(&harness, domain)), [1, 0]);
}
