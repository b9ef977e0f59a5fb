//! Policies that are too large, or larger than anybody writes: they are loaded, or refused with the
//! place in the policy, and what was in force before stays so.

#![allow(clippy::unwrap_used)]

mod harness;

use harness::{Harness, is_emulated, policy, told, umask, umask_hook};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// The mask of the policy that is in force all the time.
const MASK: u32 = 0o31;

/// What becomes of a policy.
enum Expected {
    Loads,
    /// It is refused, and all of this is said.
    Refused(&'static [&'static str]),
}

use Expected::{Loads, Refused};

fn numbers(count: u32) -> String {
    let values: Vec<String> = (0..count).map(|n| format!("'{}'", 1000 + 3 * n)).collect();
    values.join(", ")
}

/// Texts that differ at their beginning and at their end.
fn texts(count: usize, length: usize) -> String {
    let values: Vec<String> = (0..count)
        .map(|n| {
            let n = format!("{n:06}");
            format!("{n}{}{n}", "x".repeat(length.saturating_sub(2 * n.len())))
        })
        .collect();
    values.join(", ")
}

/// Texts of so many lengths.
fn of_lengths(count: usize, lengths: usize) -> String {
    let values: Vec<String> =
        (0..count).map(|n| format!("'{n:06}{}'", "y".repeat(n % lengths))).collect();
    values.join(", ")
}

fn number_hook(selectors: &str) -> String {
    format!("call: sys_umask\nargs:\n- {{index: 0, type: int}}\nselectors:\n{selectors}")
}

fn text_hook(operator: &str, values: &str) -> String {
    format!(
        "call: sys_chdir\nargs:\n- {{index: 0, type: string}}\nselectors:\n- matchArgs:\n  - {{index: 0, operator: {operator}, values: [{values}]}}\n"
    )
}

fn equal(values: &str) -> String {
    format!("- matchArgs:\n  - {{index: 0, operator: Equal, values: [{values}]}}\n")
}

/// A hook with selectors of each of which only the return decides.
fn returning(selectors: u32) -> String {
    let mut text = String::from(
        "call: sys_umask\nargs:\n- {index: 0, type: int}\nreturn: true\nreturnArg: {index: 0, type: int}\nselectors:\n",
    );
    for n in 0..selectors {
        let value = 10_000 + n;
        writeln!(
            text,
            "- matchReturnArgs:\n  - {{index: 0, operator: Equal, values: ['{value}']}}"
        )
        .unwrap();
    }
    text
}

/// One hook several times.
fn hooks(hooks: impl IntoIterator<Item = String>) -> String {
    let mut hooks = hooks.into_iter();
    let mut text = policy("p", "kprobes", &hooks.next().unwrap());
    for hook in hooks {
        for (index, line) in hook.lines().enumerate() {
            let _ = writeln!(text, "  {} {line}", if index == 0 { "-" } else { " " });
        }
    }
    text
}

fn cases() -> Vec<(&'static str, String, Expected)> {
    let one = |hook: String| hooks([hook]);
    let selectors = |count: u32| -> String {
        (0..count).map(|n| equal(&format!("'{}'", 1000 + 3 * n))).collect()
    };
    let many_hooks = |count: u32| {
        hooks((0..count).map(|n| number_hook(&equal(&format!("'{}', '{}'", 1000 + n, 2000 + n)))))
    };
    let various = |count: u32| hooks((0..count).map(|n| number_hook(&equal(&numbers(2 + n)))));
    vec![
        ("10,000 numbers", one(number_hook(&equal(&numbers(10_000)))), Loads),
        ("2,000 texts", one(text_hook("Equal", &texts(2000, 20))), Loads),
        ("2,000 prefixes", one(text_hook("Prefix", &texts(2000, 20))), Loads),
        ("20 texts of 4,096 bytes", one(text_hook("Equal", &texts(20, 4096))), Loads),
        ("20 prefixes of 4,096 bytes", one(text_hook("Prefix", &texts(20, 4096))), Loads),
        ("20 postfixes of 4,096 bytes", one(text_hook("Postfix", &texts(20, 4096))), Loads),
        ("2,000 postfixes", one(text_hook("Postfix", &texts(2000, 20))), Loads),
        ("4,000 texts of 80 lengths", one(text_hook("Equal", &of_lengths(4000, 80))), Loads),
        ("8,000 texts of 80 lengths", one(text_hook("Equal", &of_lengths(8000, 80))), Loads),
        ("a megabyte of texts", one(text_hook("Equal", &texts(20_000, 50))), Loads),
        ("a megabyte of numbers", one(number_hook(&equal(&numbers(100_000)))), Loads),
        ("1,000 selectors", one(number_hook(&selectors(1000))), Loads),
        ("64 selectors on a return", one(returning(64)), Loads),
        (
            "65 selectors on a return",
            one(returning(65)),
            Refused(&["test.yaml:7:5", "spec.kprobes[0]", "65 selectors"]),
        ),
        ("a hook twice", hooks([returning(1), returning(1)]), Loads),
        ("1,000 hooks of one shape", many_hooks(1000), Loads),
        ("100 hooks of different shapes", various(100), Loads),
    ]
}

#[test]
fn what_is_large_loads_or_is_refused_with_a_word() {
    if is_emulated() {
        eprintln!("skipped: emulation makes minutes of it");
        return;
    }
    let Some(mut harness) = Harness::new() else { return };
    harness.load(&umask_hook("always", MASK, ""));
    let mut wrong = String::new();
    for (name, text, expected) in cases() {
        let started = Instant::now();
        let result = harness.try_load(&text);
        let took = started.elapsed();
        eprintln!("{name}: {} bytes in {took:.1?}", text.len());
        match (&result, expected) {
            (Ok(()), Loads) => {}
            (Err(error), Refused(said)) if said.iter().all(|said| error.contains(said)) => {}
            _ => {
                let mut shown = format!("{result:?}");
                shown.truncate(shown.floor_char_boundary(1500));
                writeln!(wrong, "{name}: {shown}").unwrap();
            }
        }
        if took > Duration::from_secs(30) {
            writeln!(wrong, "{name}: {took:?}").unwrap();
        }
        assert_eq!(told(&mut harness, || umask(MASK)), ["always"], "{name}");
        if result.is_ok() {
            harness.remove("p");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
