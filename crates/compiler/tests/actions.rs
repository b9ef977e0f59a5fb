//! What selectors do: signals, denials, no event, fewer events; and modes, in which they only count.
//!
//! Each test has masks for umask(2) of its own: tests run at the same time.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::counters::Done;
use harness::{Harness, policy};
use kernel::features::Feature;
use policy::PolicyKey;
use policy::checked::Mode;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

fn key(name: &str) -> PolicyKey {
    PolicyKey { domain: "static".to_owned(), namespace: String::new(), name: name.to_owned() }
}

/// Policy `acts` that does this when umask(2) is called with a mask.
fn on_umask(mask: u32, actions: &str, more: &str) -> String {
    policy(
        "acts",
        "kprobes",
        &format!(
            "call: sys_umask\nsyscall: true\n{more}\nargs:\n- {{index: 0, type: int}}\nselectors:\n- matchArgs:\n  - {{index: 0, operator: Equal, values: ['{mask}']}}\n  matchActions: {actions}"
        ),
    )
}

/// A process that sets these masks, one after the other, and then says so.
fn masks(masks: &[u32]) -> ExitStatus {
    let script: String = masks.iter().map(|mask| format!("umask 0{mask:o}; ")).collect();
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script + "exit 3").status().unwrap()
}

fn done(harness: &Harness) -> Done {
    let counters = harness.policies.counters(&key("acts")).unwrap().unwrap();
    assert_eq!(counters.iter().map(|one| one.missed()).sum::<u64>(), 0);
    let mut sum = Done::default();
    counters.iter().for_each(|one| sum += one.total());
    sum
}

#[test]
fn sigkill_ends_the_process_that_matches_and_no_other() {
    let Some(mut harness) = Harness::new() else { return };
    harness.load(&on_umask(0o21, "[{action: Sigkill}]", ""));
    let mut ended = Vec::new();
    let seen = harness.everything_during(|| {
        ended = vec![masks(&[0o22]), masks(&[0o21])];
    });
    assert_eq!(ended[0].code(), Some(3));
    assert_eq!(ended[1].signal(), Some(9));
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(done(&harness), Done { posted: 1, signal: 1, ..Done::default() });
}

#[test]
fn signals_are_sent_whether_or_not_the_return_is_awaited() {
    let Some(mut harness) = Harness::new() else { return };
    for more in ["", "return: true\nreturnArg: {index: 0, type: int}"] {
        harness.load(&on_umask(0o23, "[{action: Signal, argSig: 10}]", more));
        let mut ended = Vec::new();
        let seen = harness.everything_during(|| ended = vec![masks(&[0o24]), masks(&[0o23])]);
        assert_eq!(ended[0].code(), Some(3));
        assert_eq!(ended[1].signal(), Some(10));
        assert_eq!(seen.len(), 1);
        assert_eq!(done(&harness), Done { posted: 1, signal: 1, ..Done::default() }, "{more}");
        harness.remove("acts");
    }
}

#[test]
fn modes_are_changed_while_programs_run() {
    let Some(mut harness) = Harness::new() else { return };
    let text = on_umask(0o25, "[{action: Sigkill}]", "");
    harness.load(&text.replace("spec:", "spec:\n  options: [{name: policy-mode, value: monitor}]"));
    let key = key("acts");
    assert_eq!(harness.policies.mode(&key), Some(Mode::Monitor));
    assert_eq!(masks(&[0o25]).code(), Some(3));
    assert!(harness.policies.set_mode(&key, Mode::Enforce).unwrap());
    assert_eq!(masks(&[0o25]).signal(), Some(9));
    assert!(harness.policies.set_mode(&key, Mode::Monitor).unwrap());
    assert_eq!(masks(&[0o25]).code(), Some(3));
    let expected = Done { posted: 3, signal: 1, monitor_signal: 2, ..Done::default() };
    assert_eq!(done(&harness), expected);
    // Another policy of the same name has its own mode.
    harness.load(&text);
    assert_eq!(harness.policies.mode(&key), Some(Mode::Enforce));
    assert_eq!(masks(&[0o25]).signal(), Some(9));
    harness.load(&on_umask(0o25, "[{action: Post}]", ""));
    assert!(harness.policies.set_mode(&key, Mode::Enforce).is_err());
}

#[test]
fn a_match_without_event_still_acts() {
    let Some(mut harness) = Harness::new() else { return };
    for more in ["", "return: true\nreturnArg: {index: 0, type: int}"] {
        harness.load(&on_umask(0o26, "[{action: NoPost}, {action: Signal, argSig: 12}]", more));
        let mut ended = Vec::new();
        let seen = harness.everything_during(|| ended = vec![masks(&[0o26])]);
        assert!(seen.is_empty());
        assert_eq!(ended[0].signal(), Some(12));
        assert_eq!(done(&harness), Done { silent: 1, signal: 1, ..Done::default() }, "{more}");
        harness.remove("acts");
    }
}

#[test]
fn only_the_first_selector_that_matches_acts() {
    let Some(mut harness) = Harness::new() else { return };
    let hook = "
call: sys_umask
syscall: true
args:
- {index: 0, type: int}
selectors:
- matchArgs:
  - {index: 0, operator: Equal, values: ['23']}
  matchActions: [{action: NoPost}]
- matchArgs:
  - {index: 0, operator: InRange, values: ['23:24']}
  matchActions: [{action: Sigkill}]
";
    harness.load(&policy("acts", "kprobes", hook));
    assert_eq!(masks(&[0o27]).code(), Some(3));
    assert_eq!(masks(&[0o30]).signal(), Some(9));
    let counters = harness.policies.counters(&key("acts")).unwrap().unwrap();
    let [none, first, second] = counters[0].done[..] else { panic!("{counters:?}") };
    assert_eq!(none, Done::default());
    assert_eq!(first, Done { silent: 1, ..Done::default() });
    assert_eq!(second, Done { posted: 1, signal: 1, ..Done::default() });
}

#[test]
fn equal_events_within_the_interval_are_sent_once() {
    let Some(mut harness) = Harness::new() else { return };
    for more in ["", "return: true\nreturnArg: {index: 0, type: int}"] {
        let hook = format!(
            "call: sys_chdir\nsyscall: true\n{more}\nargs:\n- {{index: 0, type: string}}\nselectors:\n- matchArgs:\n  - {{index: 0, operator: Prefix, values: [/proc/self/]}}\n  matchActions: [{{action: Post, rateLimit: 1m, rateLimitScope: SCOPE}}]"
        );
        // Lengths of all remainders by 8: what stands behind a text's end makes no difference.
        let names = ["fd", "net", "task", "fdinfo", "map_files", "cwd/././"];
        let script: String = names.iter().map(|name| format!("(cd /proc/self/{name}); ")).collect();
        let twice = format!("{script}{script}true");
        for (scope, expected) in [("process", 2 * names.len()), ("global", names.len())] {
            harness.load(&policy("acts", "kprobes", &hook.replace("SCOPE", scope)));
            let seen = harness.everything_during(|| {
                harness::shell(Command::new("/bin/sh").args(["-c", &twice]));
            });
            assert_eq!(seen.len(), expected, "{scope} {more}");
            let limited = (2 * names.len() - expected) as u64;
            let posted = expected as u64;
            assert_eq!(done(&harness), Done { posted, limited, ..Done::default() });
            harness.remove("acts");
        }
        // By thread: the same one.
        harness.load(&policy("acts", "kprobes", &hook.replace("SCOPE", "thread")));
        let seen = harness.during(|| {
            for _ in 0..3 {
                for name in ["fd", "net"] {
                    let _ = rustix::process::chdir(format!("/proc/self/{name}/no-such"));
                }
            }
        });
        assert_eq!(seen.len(), 2, "{more}");
        harness.remove("acts");
    }
}

#[test]
fn an_lsm_hook_denies_what_matches_and_nothing_else() {
    let Some(mut harness) = Harness::with(Feature::Lsm) else { return };
    let directory = std::env::temp_dir().join(format!("actions-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (secret, open) = (directory.join("secret"), directory.join("open"));
    std::fs::write(&secret, "s").unwrap();
    std::fs::write(&open, "o").unwrap();
    let deny = |name: &str, error: &str| {
        policy(
            name,
            "lsmhooks",
            &format!(
                "hook: file_open\nargs:\n- {{index: 0, type: file}}\nselectors:\n- matchArgs:\n  - {{index: 0, operator: Equal, values: [{}]}}\n  matchActions: [{{action: Override, argError: {error}}}]",
                secret.display()
            ),
        )
    };
    let errno = || std::fs::read(&secret).map_err(|error| error.raw_os_error());
    assert!(errno().is_ok());
    harness.load(&deny("acts", "-2"));
    let seen = harness.during(|| {
        assert_eq!(errno(), Err(Some(2)));
        assert_eq!(std::fs::read(&open).unwrap(), b"o");
    });
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(done(&harness), Done { posted: 1, overridden: 1, ..Done::default() });
    // The first policy's error counts; both see the call.
    harness.load(&deny("second", "-13"));
    assert_eq!(harness.during(|| assert_eq!(errno(), Err(Some(2)))).len(), 2);
    harness.policies.set_mode(&key("acts"), Mode::Monitor).unwrap();
    assert_eq!(errno(), Err(Some(13)));
    harness.policies.set_mode(&key("second"), Mode::Monitor).unwrap();
    assert!(errno().is_ok());
    harness.policies.set_mode(&key("acts"), Mode::Enforce).unwrap();
    assert_eq!(errno(), Err(Some(2)));
    harness.remove("acts");
    assert!(errno().is_ok());
    harness.remove("second");
    assert!(errno().is_ok());
    std::fs::remove_dir_all(directory).unwrap();
}
