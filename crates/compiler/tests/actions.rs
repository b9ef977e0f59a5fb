//! What selectors do: signals, denials, no event, fewer events; and modes, in which they only count.
//!
//! Each test has masks for umask(2) of its own: tests run at the same time.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::counters::Done;
use compiler::policies::Added;
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
    let directory = Directory::new("lsm");
    let (secret, open) = (directory.0.join("secret"), directory.0.join("open"));
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
}

/// Makes links to one target fail, in whatever way this kernel has; no others do. `name`: not another
/// test's.
fn links_are_denied(mut harness: Harness, name: &str) {
    let _alone = harness::alone();
    let directory = Directory::new(name);
    let forbidden = format!("/forbidden/{name}");
    let link = |target: &str| {
        let at = directory.0.join("link");
        let made = std::os::unix::fs::symlink(target, &at);
        assert_eq!(at.symlink_metadata().is_ok(), made.is_ok());
        let _ = std::fs::remove_file(&at);
        made.map_err(|error| error.raw_os_error().unwrap())
    };
    for (call, more) in [
        ("sys_symlinkat", ""),
        ("sys_symlink", ""),
        ("sys_symlink", "return: true\nreturnArg: {index: 0, type: int}"),
    ] {
        let hook = |call: &str| {
            format!(
                "call: {call}\nsyscall: true\n{more}\nargs:\n- {{index: 0, type: string}}\nselectors:\n- matchArgs:\n  - {{index: 0, operator: Equal, values: [{forbidden}]}}\n  matchActions: [{{action: Override, argError: -13}}]"
            )
        };
        harness.load(&policy("acts", "kprobes", &hook(call)));
        let plan = harness.policies.plan(&key("acts")).unwrap().to_string();
        let mut made = Vec::new();
        let seen = harness.during(|| made = vec![link(&forbidden), link("/allowed")]);
        // The C library makes links by one of the two.
        if seen.is_empty() {
            assert_eq!(made, [Ok(()), Ok(())], "{plan}");
            harness.remove("acts");
            continue;
        }
        assert_eq!(made, [Err(13), Ok(())], "{plan}");
        assert_eq!(seen.len(), 1);
        if !more.is_empty() {
            assert_eq!(seen[0].returned, Some(compiler::observed::Observed::Int(-13)), "{plan}");
        }
        assert_eq!(done(&harness), Done { posted: 1, overridden: 1, ..Done::default() });
        assert!(harness.policies.set_mode(&key("acts"), Mode::Monitor).unwrap());
        assert_eq!(link(&forbidden), Ok(()), "{plan}");
        assert!(harness.policies.set_mode(&key("acts"), Mode::Enforce).unwrap());
        assert_eq!(link(&forbidden), Err(13), "{plan}");
        harness.remove("acts");
        assert_eq!(link(&forbidden), Ok(()), "{plan}");
    }
}

#[test]
fn system_calls_are_denied_as_this_kernel_can() {
    if let Some(harness) = Harness::with(Feature::Lsm) {
        links_are_denied(harness, "links-by-any");
    }
}

#[test]
fn system_calls_are_denied_by_override_return() {
    if let Some(harness) = Harness::without(Feature::OverrideReturn, &[Feature::FmodRetSyscall]) {
        links_are_denied(harness, "links-by-override");
    }
}

#[test]
fn a_call_can_give_what_is_no_error() {
    let Some(mut harness) = Harness::with(Feature::OverrideReturn) else { return };
    for value in [0, 7, i32::MIN] {
        harness.load(&on_umask(0o33, &format!("[{{action: Override, argError: {value}}}]"), ""));
        let call = || rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o33));
        let given = std::thread::spawn(call).join().unwrap();
        // What is passed on to callers is 9 bits of it.
        assert_eq!(given.bits() & 0o777, value as u32 & 0o777);
        harness.remove("acts");
    }
}

#[test]
fn the_way_is_chosen_by_option() {
    let Some(mut harness) = Harness::with(Feature::OverrideReturn) else { return };
    let deny = on_umask(0o34, "[{action: Override, argError: -1}]", "");
    for (method, by) in [
        ("fmod-ret", compiler::plan::Denial::Modify),
        ("override-return", compiler::plan::Denial::OverrideReturn),
    ] {
        let options = format!("spec:\n  options: [{{name: override-method, value: {method}}}]");
        harness.load(&deny.replace("spec:", &options));
        assert_eq!(harness.policies.plan(&key("acts")).unwrap().hooks[0].denial, Some(by));
        harness.remove("acts");
    }
    // Beside a trampoline on the same function the call would be run.
    let options = "spec:\n  options: [{name: override-method, value: override-return}]";
    let denying = deny.replace("spec:", options);
    let seeing = on_umask(0o34, "[{action: Post}]", "").replace("acts", "sees");
    harness.load(&denying);
    let error = harness.try_load(&seeing).unwrap_err();
    assert!(error.contains("override-method"), "{error}");
    harness.remove("acts");
    harness.load(&seeing);
    let error = harness.try_load(&denying).unwrap_err();
    assert!(error.contains("override-method"), "{error}");
    harness.remove("sees");
    harness.load(&denying);
}

#[test]
fn system_calls_are_denied_by_lsm() {
    let lacks = [Feature::FmodRetSyscall, Feature::OverrideReturn];
    if let Some(harness) = Harness::without(Feature::Lsm, &lacks) {
        links_are_denied(harness, "links-by-lsm");
    }
}

#[test]
fn system_calls_are_denied_by_lsm_without_trampolines_on_them() {
    let trampolines = [Feature::Fentry, Feature::OverrideReturn];
    for lacks in [&trampolines[..], &[Feature::Fentry, Feature::Kprobe]] {
        if let Some(harness) = Harness::without(Feature::Lsm, lacks) {
            links_are_denied(harness, "links-by-number");
        }
    }
}

#[test]
fn security_functions_are_made_to_fail() {
    let Some(mut harness) = Harness::with(Feature::FmodRet) else { return };
    let directory = Directory::new("security");
    let make = |mode: u32| {
        let at = directory.0.join("made");
        let made = rustix::fs::mkdir(&at, rustix::fs::Mode::from_raw_mode(mode));
        let _ = std::fs::remove_dir(&at);
        made.map_err(|error| error.raw_os_error())
    };
    for more in ["", "return: true\nreturnArg: {index: 0, type: int}"] {
        let hook = format!(
            "call: security_inode_mkdir\nsyscall: false\n{more}\nargs:\n- {{index: 2, type: uint32}}\nselectors:\n- matchArgs:\n  - {{index: 2, operator: Equal, values: ['448']}}\n  matchActions: [{{action: Override, argError: -28}}]"
        );
        harness.load(&policy("acts", "kprobes", &hook));
        let mut made = Vec::new();
        let seen = harness.during(|| made = vec![make(0o700), make(0o701)]);
        assert_eq!(made, [Err(28), Ok(())]);
        assert_eq!(seen.len(), 1);
        assert_eq!(done(&harness), Done { posted: 1, overridden: 1, ..Done::default() });
        harness.policies.set_mode(&key("acts"), Mode::Monitor).unwrap();
        assert_eq!(make(0o700), Ok(()));
        harness.remove("acts");
    }
}

#[test]
fn what_cannot_be_enforced_is_refused_unless_accepted() {
    let lacks = [Feature::FmodRetSyscall, Feature::OverrideReturn, Feature::Lsm];
    let Some(mut harness) = Harness::without(Feature::TpBtf, &lacks) else { return };
    let deny = on_umask(0o31, "[{action: Override, argError: -1}]", "");
    let add = |harness: &mut Harness, text: &str| {
        let policy = policy::CheckedPolicy::read("p.yaml", text).unwrap();
        let added = harness.policies.add(key("acts"), std::sync::Arc::new(policy));
        let told = |added: Added| {
            added.notes.iter().filter(|note| note.message.contains("carried out")).count()
        };
        added.map(told).map_err(|error| error.to_string())
    };
    // Accepted, it monitors and says so.
    assert_eq!(add(&mut harness, &deny), Ok(1));
    assert_eq!(harness.policies.mode(&key("acts")), Some(Mode::Monitor));
    harness.remove("acts");
    harness.policies.refuse_degraded();
    let refused = add(&mut harness, &deny).unwrap_err();
    assert!(refused.starts_with("p.yaml:"), "{refused}");
    assert!(refused.contains("matchActions[0]: Override is not carried out: "), "{refused}");
    assert_eq!(harness.policies.mode(&key("acts")), None);
    let option = |name: &str, value: &str| {
        let options = format!("spec:\n  options: [{{name: {name}, value: {value}}}]");
        deny.replace("spec:", &options)
    };
    assert_eq!(add(&mut harness, &option("allow-degraded-enforcement", "'true'")), Ok(1));
    harness.remove("acts");
    assert_eq!(add(&mut harness, &option("policy-mode", "monitor")), Ok(1));
    let error = harness.policies.set_mode(&key("acts"), Mode::Enforce).unwrap_err();
    assert!(error.to_string().contains("Override is not carried out"), "{error}");
    // What ends the process can always be done.
    let kill = on_umask(0o31, "[{action: Sigkill}]", "");
    assert_eq!(add(&mut harness, &kill), Ok(0));
}

/// A directory of a test.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
