//! What can be written in a policy is tested, and told in the documentation. The table of types and operators
//! there is made from the checks themselves.

#![allow(clippy::unwrap_used)] // also in functions that tests share

use policy::document::{ActionName, Operator, TypeName};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The text of all tests, and of their tables.
fn tests() -> String {
    let mut text = String::new();
    let crates = fs::read_dir(root().join("crates")).unwrap();
    let mut places: Vec<PathBuf> =
        crates.map(|entry| entry.unwrap().path().join("tests")).collect();
    places.push(root().join("vmtest/src/tests"));
    while let Some(place) = places.pop() {
        // A crate need not have tests of its own.
        for entry in fs::read_dir(&place).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                places.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs" || kind == "txt") {
                text += &fs::read_to_string(path).unwrap();
            }
        }
    }
    text
}

#[test]
fn every_action_is_in_a_test() {
    let tests = tests();
    for action in ActionName::ALL {
        let name = action.name();
        let wanted = format!("action: {name}");
        let mut found = tests.match_indices(&wanted);
        let whole = |at: usize| {
            let behind = tests[at + wanted.len()..].chars().next();
            !behind.is_some_and(char::is_alphanumeric)
        };
        assert!(found.any(|(at, _)| whole(at)), "no test has a policy with the action {name}");
    }
}

/// Types that have the same operators, and these.
fn table() -> String {
    let mut rows: Vec<(Vec<&str>, Vec<Operator>)> = Vec::new();
    for kind in TypeName::ALL.iter().filter(|kind| **kind != TypeName::Auto) {
        let operators = kind.kind().operators();
        match rows.iter_mut().find(|(_, known)| *known == operators) {
            Some((kinds, _)) => kinds.push(kind.name()),
            None => rows.push((vec![kind.name()], operators)),
        }
    }
    let mut text = "| types | operators |\n|---|---|\n".to_owned();
    for (kinds, operators) in rows {
        // A negation is told with what it negates.
        let mut names: Vec<String> = Vec::new();
        for operator in &operators {
            let positive = operator.name().strip_prefix("Not").and_then(|name| {
                names.iter_mut().find(|known| known.eq_ignore_ascii_case(&format!("`{name}`")))
            });
            match positive {
                Some(known) => *known = format!("(Not){known}"),
                None => names.push(format!("`{operator}`")),
            }
        }
        let kinds: Vec<String> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
        let operators = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        text += &format!("| {} | {operators} |\n", kinds.join(", "));
    }
    text
}

#[test]
fn the_documentation_has_all_types_and_operators() {
    let path = root().join("docs/filters.md");
    let text = fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- types and operators -->\n", "<!-- end -->");
    let (before, rest) = text.split_once(begin).unwrap();
    let (known, after) = rest.split_once(end).unwrap();
    let table = table();
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, format!("{before}{begin}{table}{end}{after}")).unwrap();
    } else {
        assert_eq!(known, table, "run with BLESS=1 if the new table is right");
    }
}
