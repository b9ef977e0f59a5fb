//! Every intent on a kernel that can do everything, and on one that can do little: what is written is
//! accepted by `check`, without a warning.

use std::sync::Arc;

use clap::Parser;
use compiler::Machine;
use kernel::btf::{Btf, KERNEL_BTF};
use kernel::features::Probe;

use super::*;
use crate::tracingpolicy::check::{Severity, findings};
use crate::tracingpolicy::kernel::everything;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

fn machine(without: &[&str]) -> Machine {
    let mut features = everything();
    for (name, probe) in &mut features.answers {
        if without.contains(&name.as_str()) {
            *probe = Probe::No { why: "not here".into() };
        }
    }
    Machine::recorded(Arc::new(Btf::from_file(KERNEL_BTF).unwrap()), features)
}

fn written(arguments: &[&str], machine: &Machine) -> (String, Vec<String>) {
    let line = Line::try_parse_from(std::iter::once(&"new").chain(arguments)).unwrap();
    let mut doubts = Vec::new();
    let text = write(&line.flags, &Ways::of(machine), &mut doubts).unwrap();
    (text, doubts)
}

/// Every intent.
const INTENTS: &[&[&str]] = &[
    &["--watch-dir", "/etc"],
    &["--watch-dir", "/nowhere/yet", "--except", "/usr/bin/rsync"],
    &["--deny-write", "/etc/passwd"],
    &["--deny-write", "/etc", "--except", "/usr/bin/dpkg", "--except", "/usr/bin/apt"],
    &["--deny-write", "/etc/passwd", "--monitor", "--name", "mine"],
    &["--deny-symlink-to", "/etc/passwd"],
    &["--deny-symlink-to", "/etc"],
    &["--watch-connections"],
    &["--watch-connections", "--to", "10.0.0.0/8", "--to", "2001:db8::/32"],
    &["--deny-connections", "--to", "169.254.169.254"],
    &["--kill-on-exec", "/usr/bin/nc"],
    &["--watch-bpf-loads"],
    &["--watch-privilege-change"],
    &["--watch-mounts"],
    &["--watch-mounts", "--watch-bpf-loads", "--kill-on-exec", "/bin/nc"],
];

#[test]
fn what_is_written_is_accepted_and_holds_against_the_lints() {
    let all = machine(&[]);
    // Denies in the place of functions.
    let no_lsm = machine(&["lsm"]);
    for machine in [&all, &no_lsm] {
        for intent in INTENTS {
            let (text, doubts) = written(intent, machine);
            assert_eq!(doubts, [""; 0], "{intent:?}");
            let found = findings("new.yaml", &text, machine, false);
            let bad: Vec<_> = found.iter().filter(|f| f.severity != Severity::Note).collect();
            assert!(bad.is_empty(), "{intent:?}: {bad:#?}\n{text}");
        }
    }
}

#[test]
fn what_needs_no_hooks_on_functions_is_written_without() {
    let little = machine(&["lsm", "fmod_ret", "fentry", "fexit", "kprobe", "kretprobe"]);
    for intent in INTENTS.iter().filter(|intent| {
        let of_files = ["--watch-dir", "--deny-write", "--deny-symlink-to", "--deny-connections"];
        !of_files.contains(&intent[0])
    }) {
        let (text, doubts) = written(intent, &little);
        assert_eq!(doubts, [""; 0], "{intent:?}");
        let found = findings("new.yaml", &text, &little, false);
        assert!(
            found.iter().all(|f| f.severity == Severity::Note),
            "{intent:?}: {found:#?}\n{text}"
        );
    }
    for (intent, doubt) in [
        (["--watch-dir", "/etc"], "lets no functions be hooked"),
        (["--deny-write", "/etc"], "can deny nothing"),
    ] {
        let (_, doubts) = written(&intent, &little);
        assert!(doubts.len() == 1 && doubts[0].contains(doubt), "{doubts:?}");
    }
}

#[test]
fn kernels_without_modules_are_told_so() {
    let machine = machine(&[]);
    let line = Line::try_parse_from(["new", "--watch-module-loads"]).unwrap();
    let ways = Ways::of(&machine);
    match (write(&line.flags, &ways, &mut Vec::new()), ways.has_tracepoint("module_load")) {
        (Ok(text), true) => {
            assert_eq!(findings("new.yaml", &text, &machine, false), [], "{text}");
        }
        (Err(error), false) => assert!(error.to_string().contains("CONFIG_MODULES"), "{error}"),
        (other, has) => panic!("{other:?}, {has}"),
    }
}

#[test]
fn comments_say_what_it_is_for() {
    let (text, _) = written(&["--deny-write", "/etc/passwd"], &machine(&[]));
    assert!(text.starts_with("# Denies all changes of /etc/passwd.\n# - "), "{text}");
    assert!(text.contains("name: \"deny-write\""), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
}

#[test]
fn something_has_to_be_asked_for() {
    let line = Line::try_parse_from(["new"]).unwrap();
    let machine = machine(&[]);
    assert!(write(&line.flags, &Ways::of(&machine), &mut Vec::new()).is_err());
    assert!(Line::try_parse_from(["new", "--deny-connections"]).is_err());
    assert!(Line::try_parse_from(["new", "--watch-connections", "--to", "10.0.0.0/33"]).is_err());
}
