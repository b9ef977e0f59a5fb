//! The table against the names of system calls and the running kernel's types; and the document that
//! holds it, `docs/enforcement.md`. `BLESS=1 cargo test -p compiler gates` writes it anew.

use super::{Answer, Gates, NoGate, Way, all, number, of, uncovered};
use crate::invented::{Invented, features};
use kernel::Errno;
use kernel::btf::Btf;
use kernel::syscalls::Abi;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;

/// Before and after what is made of the table in the document.
const BEGIN: &str = "<!-- made by the tests of crates/compiler/src/plan/gates: begin -->\n";
const END: &str = "<!-- end -->\n";

#[test]
fn every_name_is_one_system_call_and_listed_once() {
    let names = all().flat_map(|gates| gates.calls);
    let names: Vec<&str> = names.chain(uncovered().flat_map(|one| one.calls)).copied().collect();
    let mut seen = HashSet::new();
    for name in &names {
        assert!(seen.insert(name), "{name} is listed twice");
        let known = Abi::X64.number(name).or_else(|| Abi::Arm64.number(name));
        assert!(known.is_some(), "{name} is no system call of x86-64 and arm64");
    }
    let covered = all().flat_map(|gates| gates.calls).count();
    assert!(covered >= 120, "{covered}");
}

#[test]
fn every_entry_has_gates_that_are_named_as_hooks() {
    for gates in all() {
        let calls = gates.calls;
        assert!(gates.ways.iter().any(|way| matches!(way, Way::First(_))), "{calls:?}");
        let mut seen = HashSet::new();
        for hook in gates.ways.iter().flat_map(Way::hooks) {
            assert!(seen.insert(hook), "{hook} is twice a gate of {calls:?}");
            let prefixed = hook.starts_with("bpf_lsm_") || hook.starts_with("security_");
            assert!(!prefixed, "{hook} of {calls:?}");
        }
        assert!(gates.ways.iter().all(|way| !way.hooks().is_empty()), "{calls:?}");
    }
}

#[test]
fn gates_are_numbered() {
    let hooks: HashSet<&str> =
        all().flat_map(|gates| gates.ways).flat_map(Way::hooks).copied().collect();
    let numbers: HashSet<u8> = hooks.iter().map(|hook| number(hook).unwrap()).collect();
    assert_eq!(numbers.len(), hooks.len());
    assert!(hooks.len() <= super::HOOKS_MAX);
    assert_eq!(number("task_free"), None);
}

#[test]
fn a_call_is_found_by_its_name_or_refused_with_a_reason() {
    assert_eq!(of("symlinkat").unwrap().ways, [Way::First(&["inode_symlink"])]);
    assert!(of("sys_symlinkat").is_err());
    assert_eq!(of("getpid").unwrap_err(), NoGate::Unknown);
    let refused = of("reboot").unwrap_err().to_string();
    assert!(refused.contains("capability") && refused.contains("lsmhooks"), "{refused}");
}

/// This kernel's types, unless they are not to be had or tell of no LSM programs.
fn running() -> Option<Btf> {
    let btf = Btf::vmlinux::<&str>(&[]).ok()?;
    super::has(&btf, "file_open").then_some(btf)
}

/// Hooks that exist only with `CONFIG_SECURITY_PATH` and the like have alternatives, so that nothing of
/// the table is missing on a kernel with LSM programs and the usual options.
#[test]
fn the_running_kernel_has_every_gate_and_all_give_errors() {
    let Some(btf) = running() else {
        eprintln!("skipped: this kernel has no types of LSM hooks");
        return;
    };
    for gates in all() {
        let found = gates.hooks(&btf).unwrap_or_else(|error| panic!("{:?}: {error}", gates.calls));
        assert!(!found.is_empty(), "{:?}", gates.calls);
        for hook in found {
            assert!(super::gives_int(&btf, hook), "{hook}");
        }
    }
    assert!(!super::gives_int(&btf, "task_free"), "gives nothing");
}

#[test]
fn gates_are_those_that_the_kernel_has() {
    // Of LSM hooks, the invented kernel has only a few.
    let machine = Invented::new("gates").machine(&features("# with lsm\n"));
    let btf = &machine.btf;
    let way = |ways: &'static [Way]| super::gates(&["none"], ways, "").hooks(btf);
    assert_eq!(way(&[Way::First(&["path_open", "file_open"])]), Ok(vec!["file_open"]));
    let two = [Way::First(&["file_open"]), Way::First(&["bprm_check_security"])];
    assert_eq!(way(Box::leak(Box::new(two))), Ok(vec!["file_open", "bprm_check_security"]));
    assert_eq!(way(&[Way::First(&["file_open"]), Way::IfAny("path_open")]), Ok(vec!["file_open"]));
    let missing = way(&[Way::First(&["file_open"]), Way::First(&["path_open", "path_shut"])]);
    let missing = missing.unwrap_err();
    assert_eq!(missing, NoGate::Missing(&["path_open", "path_shut"]));
    assert_eq!(missing.to_string(), "this kernel has no LSM hook path_open or path_shut");
}

/// The calls of an entry or a refusal, as in the document.
fn calls(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn row(gates: &Gates) -> String {
    let ways = gates.ways.iter().map(|way| match way {
        Way::First(hooks) => {
            hooks.iter().map(|hook| format!("`{hook}`")).collect::<Vec<_>>().join(" or else ")
        }
        Way::IfAny(hook) => format!("`{hook}` if there is"),
    });
    let ways = ways.collect::<Vec<_>>().join(" and ");
    let name = |error: i32| {
        let text = Errno(error).to_string();
        let name = text.rsplit_once('(').map_or(text.as_str(), |(_, name)| name);
        name.trim_end_matches(')').to_owned()
    };
    let answer = match gates.answer {
        Answer::Policy => None,
        Answer::PolicyExcept(error) => Some(format!("not with error {}", name(error))),
        Answer::Always(error) => Some(format!("always with {}", name(error))),
        Answer::PolicyOr(error, uses) => Some(format!("with {} for {uses}", name(error))),
        Answer::Silent(what) => Some(format!("silently: {what}")),
    };
    let except =
        gates.except.map(|except| format!("**not covered:** {}; {}", except.what, except.instead));
    let harmless = gates.harmless.map(|what| format!("not covered, without harm: {what}"));
    let limits = except.into_iter().chain(harmless).chain(answer).collect::<Vec<_>>().join("; ");
    format!("| {} | {ways} | {} | {limits} |\n", calls(gates.calls), gates.site)
}

fn tables() -> String {
    let mut text =
        "\n| system calls | hooks | where they are called | limits |\n|---|---|---|---|\n"
            .to_owned();
    text.extend(all().map(row));
    text.push_str(
        "\nNot to be denied by LSM:\n\n| system calls | why | instead |\n|---|---|---|\n",
    );
    for one in uncovered() {
        let _ = writeln!(text, "| {} | {} | {} |", calls(one.calls), one.why, one.instead);
    }
    text.push('\n');
    text
}

#[test]
fn the_document_holds_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/enforcement.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let fresh = format!("{before}{BEGIN}{}{END}{after}", tables());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, fresh).unwrap();
    } else {
        assert!(text == fresh, "docs/enforcement.md is out of date: run with BLESS=1");
    }
}
