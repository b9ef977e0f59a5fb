//! matchBinaries and matchParentBinaries.

#![allow(clippy::unwrap_used)]

mod harness;

use harness::{Harness, Place, command, go, load, resolved, shell, told, umask, waiting};
use std::os::unix::process::CommandExt;
use std::process::Command;

#[test]
fn paths_are_compared_whole_at_their_start_and_at_their_end() {
    let Some(mut harness) = Harness::new() else { return };
    let place = Place::new("whole");
    let path = place.copy("shell");
    let text = path.to_str().unwrap();
    let directory = place.0.to_str().unwrap();
    load(
        &mut harness,
        0o141,
        "matchBinaries",
        &[
            ("in", "In", &format!("[/x, {text}]")),
            ("in-longer", "In", &format!("['{text}x', '{directory}/shelf']")),
            ("in-shorter", "In", &format!("['{directory}/shel', '{directory}']")),
            ("not-in", "NotIn", &format!("[/x, {text}]")),
            ("not-in-others", "NotIn", &format!("['{text}x', '{directory}/shelm', /]")),
            ("prefix", "Prefix", &format!("[/x, {directory}/sh]")),
            ("prefix-all", "Prefix", &format!("['{text}']")),
            ("prefix-other", "Prefix", &format!("['{text}x', '{directory}/si']")),
            ("not-prefix", "NotPrefix", &format!("[/x, '{directory}']")),
            ("not-prefix-other", "NotPrefix", "[/x]"),
            ("postfix", "Postfix", "[x, l]"),
            ("postfix-all", "Postfix", &format!("['{text}']")),
            ("postfix-other", "Postfix", &format!("['x{text}', hell-, x/shell]")),
            ("not-postfix", "NotPostfix", "[/shell]"),
            ("not-postfix-other", "NotPostfix", "[bell]"),
        ],
    );
    let names = told(&mut harness, || shell(&mut command(&path, "umask 141")));
    assert_eq!(
        names,
        [
            "in",
            "not-in-others",
            "not-postfix-other",
            "not-prefix-other",
            "postfix",
            "postfix-all",
            "prefix",
            "prefix-all",
        ]
    );
}

#[test]
fn many_values_are_told_apart() {
    let Some(mut harness) = Harness::new() else { return };
    let place = Place::new("many");
    let path = place.copy("shell-77");
    let mut values: Vec<String> =
        (0..300).map(|n| format!("{}/shell-{n}", place.0.display())).collect();
    load(&mut harness, 0o142, "matchBinaries", &[("all", "In", &format!("{values:?}"))]);
    values.remove(77);
    load(
        &mut harness,
        0o142,
        "matchBinaries",
        &[
            ("without", "In", &format!("{values:?}")),
            ("not-without", "NotIn", &format!("{values:?}")),
        ],
    );
    let names = told(&mut harness, || shell(&mut command(&path, "umask 142")));
    assert_eq!(names, ["all", "not-without"]);
}

#[test]
fn processes_from_before_are_known_by_the_file_they_were_started_from() {
    let Some(mut harness) = Harness::new() else { return };
    let place = Place::new("before");
    let removed = place.copy("removed");
    let child = waiting(&removed, "umask 143");
    let own = resolved("/proc/self/exe");
    std::fs::remove_file(&removed).unwrap();
    load(
        &mut harness,
        0o143,
        "matchBinaries",
        &[
            ("removed", "In", &format!("[{}]", removed.display())),
            ("suffix", "Postfix", "[' (deleted)']"),
            ("own", "In", &format!("['{own}']")),
        ],
    );
    assert_eq!(told(&mut harness, || go(child)), ["removed"]);
    assert_eq!(told(&mut harness, || umask(0o143)), ["own"]);
}

#[test]
fn renaming_the_file_changes_nothing() {
    let Some(mut harness) = Harness::new() else { return };
    let place = Place::new("rename");
    let (before, after) = (place.copy("before"), place.0.join("after"));
    load(
        &mut harness,
        0o144,
        "matchBinaries",
        &[
            ("before", "In", &format!("[{}]", before.display())),
            ("after", "In", &format!("[{}]", after.display())),
        ],
    );
    let names = told(&mut harness, || {
        let child = waiting(&before, "(umask 144); umask 144");
        std::fs::rename(&before, &after).unwrap();
        go(child);
    });
    // In the child that it forks afterwards as well.
    assert_eq!(names, ["before", "before"]);
}

#[test]
fn long_paths_are_compared_to_their_end() {
    let Some(mut harness) = Harness::new() else { return };
    let place = Place::new("long");
    let deep = format!("{0}/{0}/{0}/shell", "d".repeat(200));
    let path = place.copy(&deep);
    let text = path.to_str().unwrap();
    let almost = text.replace("/shell", "/shelm");
    load(
        &mut harness,
        0o145,
        "matchBinaries",
        &[
            ("in", "In", &format!("['{text}', /bin/true]")),
            ("almost", "In", &format!("['{almost}']")),
            ("not-almost", "NotIn", &format!("['{almost}']")),
            ("prefix", "Prefix", &format!("['{}']", &text[..text.len() - 1])),
            ("prefix-almost", "Prefix", &format!("['{}']", &almost)),
            ("prefix-short", "Prefix", &format!("['{}']", &text[..30])),
            ("postfix", "Postfix", &format!("['{}']", &text[5..])),
            ("postfix-almost", "Postfix", &format!("['{}']", &almost[5..])),
        ],
    );
    let inner = command(&path, "umask 145");
    let names = told(&mut harness, || shell(&mut { inner }));
    assert_eq!(names, ["in", "not-almost", "postfix", "prefix", "prefix-short"]);
    let names = told(&mut harness, || shell(Command::new("sh").args(["-c", "umask 145"])));
    assert_eq!(names, ["not-almost"]);

    let all = ["in", "almost", "not-almost", "prefix", "prefix-almost", "prefix-short"];
    // busybox runs `sh` as itself, whatever its path.
    for name in all.into_iter().chain(["postfix", "postfix-almost"]) {
        harness.remove(name);
    }
    load(
        &mut harness,
        0o145,
        "matchParentBinaries",
        &[
            ("parent", "In", &format!("['{text}']")),
            ("parent-almost", "In", &format!("['{almost}']")),
        ],
    );
    let fork = "sh -c 'umask 145'; :";
    assert_eq!(told(&mut harness, || shell(&mut command(&path, fork))), ["parent"]);
    let exec = "exec sh -c 'umask 145'";
    assert_eq!(told(&mut harness, || shell(&mut command(&path, exec))), ["parent"]);
}

#[test]
fn the_parent_is_who_forked_or_the_image_that_was_replaced() {
    let Some(mut harness) = Harness::new() else { return };
    let place = Place::new("parent");
    let [one, two] = ["one/sh", "two/sh"].map(|name| place.copy(name));
    let own = resolved("/proc/self/exe");
    load(
        &mut harness,
        0o146,
        "matchParentBinaries",
        &[
            ("test", "In", &format!("['{own}']")),
            ("one", "In", &format!("['{}']", one.display())),
            ("two", "In", &format!("['{}']", two.display())),
            ("not-one", "NotIn", &format!("['{}']", one.display())),
        ],
    );
    let mut run = |script: &str| {
        let script = script.replace("TWO", &format!("{}", two.display()));
        told(&mut harness, || shell(&mut command(&one, &script)))
    };
    assert_eq!(run("umask 146"), ["not-one", "test"]);
    // The child has its parent's image, and that is its parent.
    assert_eq!(run("(umask 146); :"), ["one"]);
    assert_eq!(run("exec TWO -c 'umask 146'"), ["one"]);
    assert_eq!(run("TWO -c 'umask 146'; :"), ["one"]);
    assert_eq!(run("exec TWO -c '(umask 146); :'"), ["not-one", "two"]);
    assert_eq!(run("TWO -c 'exec TWO -c \"umask 146\"'; :"), ["not-one", "two"]);
}

#[test]
fn parents_of_processes_from_before_are_their_parents_now() {
    let Some(mut harness) = Harness::new() else { return };
    let place = Place::new("parent-before");
    let one = place.copy("one");
    let child = waiting(&one, "umask 147; exec sh -c 'umask 147'");
    let own = resolved("/proc/self/exe");
    load(
        &mut harness,
        0o147,
        "matchParentBinaries",
        &[("test", "In", &format!("['{own}']")), ("one", "In", &format!("['{}']", one.display()))],
    );
    let mut names = told(&mut harness, || go(child));
    // The second shell begins with the mask: it asks for it, which is to set it again.
    names.dedup();
    assert_eq!(names, ["one", "test"]);
}

/// Not a test: the process that [`exec_by_any_thread_keeps_what_is_known`] starts.
#[test]
fn helper_that_calls_exec_from_a_thread() {
    if std::env::var_os("HELP_WITH_EXEC").is_some() {
        panic!("{}", Command::new("/bin/sh").args(["-c", "umask 150"]).exec());
    }
}

#[test]
fn exec_by_any_thread_keeps_what_is_known() {
    let Some(mut harness) = Harness::new() else { return };
    let own = resolved("/proc/self/exe");
    let sh = resolved("/bin/sh");
    load(&mut harness, 0o150, "matchBinaries", &[("sh", "In", &format!("['{sh}']"))]);
    load(&mut harness, 0o150, "matchParentBinaries", &[("test", "In", &format!("['{own}']"))]);
    let names = told(&mut harness, || {
        let mut helper = Command::new("/proc/self/exe");
        helper.args(["--exact", "helper_that_calls_exec_from_a_thread"]);
        shell(helper.env("HELP_WITH_EXEC", "1"));
    });
    assert_eq!(names, ["sh", "test"]);
}

#[test]
fn what_is_kept_can_be_given_up_and_begun_again() {
    let Some(mut harness) = Harness::new() else { return };
    load(&mut harness, 0o151, "matchBinaries", &[("any", "NotIn", "[/nowhere]")]);
    assert_eq!(told(&mut harness, || umask(0o151)), ["any"]);
    harness.remove("any");
    assert!(told(&mut harness, || umask(0o151)).is_empty());
    load(&mut harness, 0o151, "matchBinaries", &[("again", "Prefix", "[/]")]);
    assert_eq!(told(&mut harness, || umask(0o151)), ["again"]);
}

#[test]
fn thousands_of_values_are_no_problem_and_nothing_is_lost() {
    let Some(mut harness) = Harness::new() else { return };
    let mut values: Vec<String> = (0..3000).map(|n| format!("/opt/{n}/bin")).collect();
    load(&mut harness, 0o152, "matchBinaries", &[("others", "In", &format!("{values:?}"))]);
    values.push(resolved("/proc/self/exe"));
    load(&mut harness, 0o152, "matchBinaries", &[("many", "In", &format!("{values:?}"))]);
    assert_eq!(told(&mut harness, || umask(0o152)), ["many"]);
    assert_eq!(harness.policies.lost_records().unwrap(), 0);
}
