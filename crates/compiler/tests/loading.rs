//! What large policies cost the kernel's verifier.

#![allow(clippy::unwrap_used)]

mod harness;

use harness::{Harness, policy};
use kernel::program::{AttachType, Program, program_ids};
use std::fmt::Write as _;
use std::time::Instant;

/// What the verifier goes through for a program at most; it gives up at a million.
const VERIFIED: u32 = 600_000;

/// Selectors with so many filters each, on the paths of two descriptors.
fn paths(selectors: usize, filters: usize, operators: &[&str], values: usize) -> String {
    let mut text = String::from(
        "call: sys_copy_file_range\nsyscall: true\nargs:\n- {index: 0, type: fd}\n- {index: 2, type: fd}\nselectors:\n",
    );
    let mut number = 0;
    for _ in 0..selectors {
        text.push_str("- matchArgs:\n");
        for _ in 0..filters {
            let operator = operators[number % operators.len()];
            let index = 2 * (number / operators.len() % 2);
            let values: Vec<String> = (0..values)
                .map(|n| {
                    let deep: String =
                        (0..=n % 4).map(|level| format!("/d{level}{number}")).collect();
                    match operator.trim_start_matches("Not") {
                        "Postfix" => format!("{n}{}.log", "x".repeat(n * 3)),
                        "SubString" => format!("part{n}"),
                        _ => format!("'{deep}/file{n}{}'", "x".repeat(n)),
                    }
                })
                .collect();
            let values = values.join(", ");
            writeln!(text, "  - {{index: {index}, operator: {operator}, values: [{values}]}}")
                .unwrap();
            number += 1;
        }
    }
    policy("p", "kprobes", &text)
}

/// Instructions that the verifier went through for the largest of the programs of policies that were not
/// there before.
fn verified(before: &[u32]) -> u32 {
    let new = program_ids().unwrap().into_iter().filter(|id| !before.contains(id));
    let infos = new.filter_map(|id| Program::from_id(id, AttachType::default()).ok()?.info().ok());
    let ours = infos.filter(|info| info.name.starts_with("tg_"));
    ours.map(|info| info.verified_instructions).max().unwrap_or(0)
}

#[test]
fn many_filters_on_paths_do_not_keep_the_verifier_busy() {
    if std::env::var_os("VMTEST_IN_VM").is_some() {
        eprintln!("skipped: emulation makes minutes of it");
        return;
    }
    let Some(mut harness) = Harness::new() else { return };
    let mixes: [&[&str]; 8] = [
        &["Prefix", "NotPostfix", "Equal", "NotPrefix", "Postfix", "NotEqual"],
        &["Prefix"],
        &["NotPrefix"],
        &["Postfix"],
        &["NotPostfix"],
        &["NotEqual"],
        &["Equal"],
        &["NotPostfix", "NotPrefix"],
    ];
    for operators in mixes {
        for (selectors, filters) in [(1, 1), (1, 4), (5, 1), (5, 2), (5, 4)] {
            let before = program_ids().unwrap();
            let started = Instant::now();
            harness.load(&paths(selectors, filters, operators, 4));
            let took = started.elapsed();
            let verified = verified(&before);
            eprintln!("{operators:?}, {selectors} times {filters}: {verified} in {took:.1?}");
            assert!(
                (1..VERIFIED).contains(&verified),
                "{operators:?}, {selectors} times {filters}"
            );
            harness.remove("p");
        }
    }
}
