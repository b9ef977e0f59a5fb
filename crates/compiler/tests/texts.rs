//! Operators of texts, on the names that are given to openat(2).

#![allow(clippy::unwrap_used)]

mod harness;

use harness::{Harness, policy};
use std::ffi::CString;

/// Loads a policy on openat with a filter on the name.
fn load(harness: &mut Harness, operator: &str, values: &[&str]) {
    let hook = format!(
        "call: sys_openat\nsyscall: true\nargs:\n- {{index: 1, type: string}}\nselectors:\n- matchArgs:\n  - {{index: 1, operator: {operator}, values: {values:?}}}\n"
    );
    harness.load(&policy("open", "kprobes", &hook));
}

/// Whether a name matches.
fn matches(harness: &mut Harness, name: &[u8]) -> bool {
    let name = CString::new(name).unwrap();
    let seen = harness.during(|| {
        use rustix::fs::{Mode, OFlags};
        // Most of them are not there.
        let _ = rustix::fs::openat(rustix::fs::CWD, &name, OFlags::RDONLY, Mode::empty());
    });
    // Other tests are other threads.
    let own = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
    seen.iter().any(|seen| seen.tid == own)
}

fn check(harness: &mut Harness, operator: &str, values: &[&str], names: &[(&str, bool)]) {
    load(harness, operator, values);
    for (name, expected) in names {
        let found = matches(harness, name.as_bytes());
        assert_eq!(found, *expected, "{operator} {values:?} of {name:?}");
    }
}

#[test]
fn equal() {
    let Some(mut harness) = Harness::new() else { return };
    let h = &mut harness;
    check(h, "Equal", &["tx-abc"], &[("tx-abc", true), ("tx-ab", false), ("tx-abcd", false)]);
    check(
        h,
        "Equal",
        &["tx-1", "tx-12345678", "tx-12345678901234", ""],
        &[
            ("tx-1", true),
            ("tx-12345678", true),
            ("tx-12345678901234", true),
            ("tx-12345678901235", false),
            ("tx-02345678", false),
            ("", true),
            ("t", false),
        ],
    );
    check(h, "NotEqual", &["tx-1", "tx-2"], &[("tx-1", false), ("tx-2", false), ("tx-3", true)]);
}

#[test]
fn long_lists() {
    let Some(mut harness) = Harness::new() else { return };
    let h = &mut harness;
    let values: Vec<String> =
        (0..600).map(|n| format!("tx-{}{n}", "long/".repeat(n % 7))).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let names = [
        ("tx-0", true),
        ("tx-long/1", true),
        ("tx-long/8", true),
        ("tx-long/9", false),
        ("tx-long/long/long/long/599", true),
        ("tx-long/long/long/long/600", false),
        ("tx-long/long/long/long/598", false),
        ("xx-0", false),
    ];
    check(h, "Equal", &values, &names);
    check(
        h,
        "Prefix",
        &values[7..],
        &[("tx-0", false), ("tx-7/and more", true), ("tx-long/8/", true), ("tx-long/9", false)],
    );
    check(
        h,
        "Postfix",
        &values[7..],
        &[("tx-0", false), ("some/tx-7", true), ("x/tx-long/8", true), ("tx-long/9", false)],
    );
}

#[test]
fn prefix_and_postfix() {
    let Some(mut harness) = Harness::new() else { return };
    let h = &mut harness;
    let names = [("tx-/a/b", true), ("tx-/a/", true), ("tx-/a", false), ("x-/a/b", false)];
    check(h, "Prefix", &["tx-/a/"], &names);
    check(h, "NotPrefix", &["tx-"], &[("tx-a", false), ("tx", true), ("ty-a", true)]);
    check(
        h,
        "Postfix",
        &[".so", "-version.1"],
        &[("tx.so", true), (".so", true), ("so", false), ("tx.so.1", false), ("a-version.1", true)],
    );
    check(h, "NotPostfix", &[".so"], &[("tx.so", false), ("tx.so.1", true), ("", true)]);
    let long = "p".repeat(4000);
    let longer = format!("{long}/tx");
    check(h, "Prefix", &[&long], &[(&longer, true), (&long, true), (&long[1..], false)]);
    check(h, "Postfix", &[&longer], &[(&longer, true), (&long, false)]);
}

#[test]
fn contains() {
    let Some(mut harness) = Harness::new() else { return };
    let h = &mut harness;
    check(
        h,
        "SubString",
        &["tx-needle"],
        &[
            ("tx-needle", true),
            ("/a/tx-needle/b", true),
            ("/a/tx-needl", false),
            ("tx-needlf/tx-needle", true),
            ("/a/TX-needle/b", false),
        ],
    );
    check(
        h,
        "SubString",
        &["tx1", "tx-a-long-one-of-more-than-16", "~"],
        &[
            ("tx1", true),
            ("..tx-a-long-one-of-more-than-16", true),
            ("..tx-a-long-one-of-more-than-17", false),
            ("..tx-a-long-one-of-more-than-1", false),
            ("abc~", true),
            ("abc", false),
            ("", false),
        ],
    );
    check(
        h,
        "SubStringIgnCase",
        &["Tx-[@Z{`A"],
        &[
            ("..tX-[@z{`a..", true),
            ("TX-[@Z{`A", true),
            // Next to the letters, and apart by 0x20.
            ("tx-{@z{`a", false),
            ("tx-[`z{`a", false),
            ("tx-[@z[`a", false),
        ],
    );
    check(h, "SubStringIgnCase", &["Ä-txé"], &[("x/Ä-TXé", true), ("x/ä-txé", false)]);
    check(
        h,
        "NotSubString",
        &["tx-needle", "~"],
        &[("/a/tx-needl", true), ("/a/tx-needle/b", false), ("a~", false), ("tx-NEEDLE", true)],
    );
    check(h, "NotSubStringIgnCase", &["Tx-n"], &[("a/tx-m", true), ("a/TX-Nb", false)]);
    let far = format!("{}tx-end", "a".repeat(4089));
    check(h, "SubString", &["tx-end", "never"], &[(&far, true), (&far[..4094], false)]);
}

/// Lists that are looked up in tables.
#[test]
fn lists_that_are_tables() {
    let Some(mut harness) = Harness::new() else { return };
    let values: Vec<String> = (100..300).map(|n| format!("tl-{n}")).collect();
    let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
    values.extend(["tl-x", "tl-longer-than-the-others", "tl-100"]);
    let h = &mut harness;
    let names = |prefix, postfix, both| {
        [
            ("tl-100", true),
            ("tl-299", true),
            ("tl-300", false),
            ("tl-10", false),
            ("tl-x", true),
            ("tl-longer-than-the-others", true),
            ("tl-1000", prefix),
            ("../tl-250", postfix),
            ("../tl-2500", both),
        ]
    };
    check(h, "Equal", &values, &names(false, false, false));
    check(h, "Prefix", &values, &names(true, false, false));
    check(h, "Postfix", &values, &names(false, true, false));
    let opposite = names(true, false, false).map(|(name, expected)| (name, !expected));
    check(h, "NotPrefix", &values, &opposite);
}

#[test]
fn conditions() {
    let Some(mut harness) = Harness::new() else { return };
    let h = &mut harness;
    for (condition, names) in [
        ("arg0 == 'tx-1'", [("tx-1", true), ("tx-12", false)]),
        ("'tx-1' != arg0 && arg0.startsWith('tx-')", [("tx-2", true), ("tx-1", false)]),
        ("arg0 in ['tx-1', 'tx-3']", [("tx-3", true), ("tx-2", false)]),
        ("arg0.endsWith('tx-e')", [("a/tx-e", true), ("tx-ea", false)]),
        ("arg0.contains('tx-c')", [("a/tx-c/b", true), ("a/tx-/b", false)]),
        ("arg0.matches('^tx-(a|bc)$')", [("tx-bc", true), ("tx-b", false)]),
        ("arg0.matches('^tx-[0-9]+$')", [("tx-42", true), ("tx-4a", false)]),
        ("arg0.matches('tx-(?i:AB)*c$')", [("x/tx-abABc", true), ("x/tx-abAc", false)]),
        ("arg0.matches('^tx-.b{2,}')", [("tx-xbbc", true), ("tx-xbc", false)]),
        ("size(arg0) == 6", [("tx-123", true), ("tx-1234", false)]),
        (
            "arg0.startsWith('tx-t') ? arg0 == 'tx-t1' : arg0 == 'tx-u1'",
            [("tx-u1", true), ("tx-t2", false)],
        ),
    ] {
        check(h, "CelExpr", &[condition], &names);
    }
}

#[test]
fn regular_expressions_that_a_program_has_no_maps_for_are_refused() {
    let Some(mut harness) = Harness::new() else { return };
    let many = |count: usize| {
        let mut hook =
            "call: sys_openat\nsyscall: true\nargs:\n- {index: 1, type: string}\nselectors:\n"
                .to_owned();
        for number in 0..count {
            hook.push_str(&format!(
                "- matchArgs:\n  - {{operator: CelExpr, values: [\"arg0.matches('^tx-{number}-[a-z]+$')\"]}}\n"
            ));
        }
        policy("open", "kprobes", &hook)
    };
    harness.load(&many(40));
    assert!(matches(&mut harness, b"tx-39-many"));
    assert!(!matches(&mut harness, b"tx-40-many"));
    let error = harness.try_load(&many(41)).unwrap_err();
    assert!(error.contains("not compiled: `^tx-40-[a-z]+$` besides 40 other tables"), "{error}");
    assert!(matches(&mut harness, b"tx-39-many"));
}
