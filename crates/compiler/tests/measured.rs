//! Events with the digest of the file that an LSM hook is about.

#![allow(clippy::unwrap_used)]

mod harness;

use compiler::observed::Observation;
use elf::{Hash, ProgramFile};
use harness::{Harness, Place, own_thread, policy};
use kernel::features::Feature;
use kernel::kallsyms::Kallsyms;
use std::fs::File;
use std::path::Path;

/// A kernel with LSM programs; whether it has IMA, without which there are no digests.
fn harness() -> Option<(Harness, bool)> {
    let harness = Harness::with(Feature::Lsm)?;
    let has_ima = Kallsyms::read().unwrap().by_name("ima_collect_measurement").next().is_some();
    if !has_ima {
        eprintln!("this kernel has no IMA: digests are only looked for in vain");
    }
    Some((harness, has_ima))
}

fn on_lock(name: &str, files: &[(&Path, &str)]) -> String {
    on("file_lock", name, files)
}

fn on(hook: &str, name: &str, files: &[(&Path, &str)]) -> String {
    let mut hook = format!("hook: {hook}\nargs:\n- {{index: 0, type: file}}\nselectors:\n");
    for (path, actions) in files {
        hook.push_str(&format!(
            "- matchArgs:\n  - {{index: 0, operator: Equal, values: ['{}']}}\n  matchActions: {actions}\n",
            path.display()
        ));
    }
    policy(name, "lsmhooks", &hook)
}

const MEASURED: &str = "[{action: Post, imaHash: true}]";
const DENIED: &str = "[{action: Override, argError: -2}, {action: Post, imaHash: true}]";

/// Whether an event has the digest of a file, as far as the kernel has any.
fn has_digest_of(seen: &Observation, path: &Path, has_ima: bool) {
    let Some(measured) = &seen.measured else {
        assert!(!has_ima, "no digest of {}", path.display());
        return;
    };
    let hash = match measured.algorithm {
        "sha1" => Hash::Sha1,
        "sha256" => Hash::Sha256,
        "sha384" => Hash::Sha384,
        "sha512" => Hash::Sha512,
        other => panic!("{other}"),
    };
    let expected = ProgramFile::open(path).unwrap().digest(hash).unwrap();
    assert_eq!(measured.digest, expected, "{}", measured.algorithm);
}

/// What locking a file fails with.
fn errno(path: &Path) -> Option<i32> {
    File::open(path).unwrap().lock_shared().err().and_then(|error| error.raw_os_error())
}

#[test]
fn files_that_are_locked() {
    let Some((mut harness, has_ima)) = harness() else { return };
    let place = Place::new("measured");
    let [one, other, third] = ["one", "other", "third"].map(|name| place.0.join(name));
    std::fs::write(&one, "abc").unwrap();
    std::fs::write(&other, "abcd".repeat(5000)).unwrap();
    std::fs::write(&third, "x").unwrap();
    let files = [(&*one, MEASURED), (&*other, MEASURED), (&*third, "[{action: Post}]")];
    harness.load(&on_lock("measures", &files));
    for _ in 0..2 {
        let seen = own_thread(harness.during(|| {
            for path in [&one, &other, &third, &one] {
                assert_eq!(errno(path), None);
            }
        }));
        assert_eq!(seen.len(), 4, "{seen:?}");
        // One that waits for no digest comes ahead of those that do.
        let selectors: Vec<_> = seen.iter().map(|one| one.selector.unwrap()).collect();
        assert_eq!(selectors.iter().filter(|selector| **selector == 0).count(), 2);
        for seen in &seen {
            match seen.selector {
                Some(0) => has_digest_of(seen, &one, has_ima),
                Some(1) => has_digest_of(seen, &other, has_ima),
                _ => assert_eq!(seen.measured, None),
            }
        }
        assert!(!harness.decoder.is_measuring());
    }
    // The same file, changed.
    std::fs::write(&one, "abd").unwrap();
    let seen = own_thread(harness.during(|| assert_eq!(errno(&one), None)));
    has_digest_of(&seen[0], &one, has_ima);
    harness.remove("measures");
    assert!(own_thread(harness.during(|| assert_eq!(errno(&one), None))).is_empty());
}

#[test]
fn what_is_denied_is_measured_too() {
    let Some((mut harness, has_ima)) = harness() else { return };
    let place = Place::new("measured-denied");
    let [secret, open, other] = ["secret", "open", "other"].map(|name| place.0.join(name));
    for path in [&secret, &open, &other] {
        std::fs::write(path, path.to_str().unwrap()).unwrap();
    }
    // Before, behind, and without a digest.
    let plain = "[{action: Override, argError: -13}]";
    harness.load(&on_lock("plain", &[(&other, plain)]));
    harness.load(&on_lock("denies", &[(&secret, DENIED), (&open, MEASURED)]));
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.extend(own_thread(harness.during(|| {
            assert_eq!(errno(&secret), Some(2));
            assert_eq!(errno(&open), None);
            assert_eq!(errno(&other), Some(13));
            assert_eq!(errno(&open), None);
        })));
    }
    assert_eq!(seen.len(), 12, "{seen:?}");
    for seen in seen.iter().filter(|seen| seen.policy.name == "denies") {
        let path = if seen.selector == Some(0) { &secret } else { &open };
        has_digest_of(seen, path, has_ima);
    }
    harness.remove("plain");
    assert_eq!(errno(&other), None);
    // Another policy denies what this one only measures: the error is that one's, and the digest there.
    harness.load(&on_lock("second", &[(&open, DENIED)]));
    let seen = own_thread(harness.during(|| assert_eq!(errno(&open), Some(2))));
    assert_eq!(seen.len(), 2, "{seen:?}");
    seen.iter().for_each(|seen| has_digest_of(seen, &open, has_ima));
    harness.remove("denies");
    harness.remove("second");
    assert!([&secret, &open, &other].iter().all(|path| errno(path).is_none()));
}

/// One that denies and asks for no digest ends the call before the file could be measured.
#[test]
fn nothing_is_left_of_a_call_that_others_denied() {
    let Some((mut harness, _)) = harness() else { return };
    let place = Place::new("measured-left");
    let [secret, open] = ["secret", "open"].map(|name| place.0.join(name));
    for path in [&secret, &open] {
        std::fs::write(path, "x").unwrap();
    }
    harness.load(&on_lock("denies", &[(&secret, DENIED)]));
    let plain = "[{action: Override, argError: -13}]";
    harness.load(&on_lock("plain", &[(&secret, plain)]));
    for _ in 0..3 {
        let denied = errno(&secret);
        assert!([Some(2), Some(13)].contains(&denied), "{denied:?}");
        assert_eq!(errno(&open), None);
    }
    harness.remove("plain");
    assert_eq!((errno(&secret), errno(&open)), (Some(2), None));
}

#[test]
fn files_that_are_executed() {
    let Some((mut harness, has_ima)) = harness() else { return };
    let place = Place::new("measured-exec");
    let path = place.copy("shell");
    for hook in ["bprm_check_security", "bprm_creds_for_exec", "bprm_committed_creds"] {
        let hook = format!(
            "hook: {hook}\nargs:\n- {{index: 0, type: linux_binprm}}\nselectors:\n- matchArgs:\n  - {{index: 0, operator: Equal, values: ['{}']}}\n  matchActions: {MEASURED}",
            path.display()
        );
        harness.load(&policy("executes", "lsmhooks", &hook));
        let seen = harness.everything_during(|| {
            assert!(harness::command(&path, "true").status().unwrap().success());
        });
        assert_eq!(seen.len(), 1, "{hook}: {seen:?}");
        has_digest_of(&seen[0], &path, has_ima);
        harness.remove("executes");
    }
}

/// A file that is being opened cannot be read yet: its digest is known if IMA's policy measured it before.
#[test]
fn files_that_are_opened() {
    let Some((mut harness, _)) = harness() else { return };
    let place = Place::new("measured-open");
    let path = place.0.join("file");
    std::fs::write(&path, "abc").unwrap();
    harness.load(&on("file_open", "opens", &[(&path, MEASURED)]));
    let seen = own_thread(harness.during(|| drop(File::open(&path).unwrap())));
    assert_eq!(seen.len(), 1, "{seen:?}");
    harness.remove("opens");
    has_digest_of(&seen[0], &path, false);
    harness.load(&on("file_open", "opens", &[(&path, DENIED)]));
    let mut error = None;
    let seen = own_thread(harness.during(|| error = File::open(&path).err()));
    assert_eq!((seen.len(), error.and_then(|error| error.raw_os_error())), (1, Some(2)));
}
