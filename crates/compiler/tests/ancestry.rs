//! followChildren and followForks.

#![allow(clippy::unwrap_used)]

mod harness;

use harness::{
    Harness, Place, command, go, load, resolved, shell, told, umask, umask_hook, unshare_command,
    waiting,
};
use std::process::Command;

#[test]
fn children_match_when_their_ancestor_has_ended_or_runs_something_else() {
    let Some(mut harness) = Harness::new() else { return };
    let place = Place::new("children");
    let [one, two] = ["one/sh", "two/sh"].map(|name| place.copy(name));
    let follow = format!("[/x, {}], followChildren: true", one.display());
    load(
        &mut harness,
        0o161,
        "matchBinaries",
        &[
            ("in", "In", &follow),
            ("not-in", "NotIn", &follow),
            ("plain", "In", &format!("[{}]", one.display())),
        ],
    );
    let mut run = |path, script: &str| {
        let script = script.replace("TWO", &format!("{}", two.display()));
        told(&mut harness, || shell(&mut command(path, &script)))
    };
    assert_eq!(run(&one, "umask 161"), ["in", "plain"]);
    assert_eq!(run(&one, "(umask 161); :"), ["in", "plain"]);
    assert_eq!(run(&one, "TWO -c 'umask 161'; :"), ["in"]);
    assert_eq!(run(&one, "exec TWO -c 'umask 161'"), ["in"]);
    assert_eq!(run(&one, "exec TWO -c 'TWO -c \"umask 161\"; :'"), ["in"]);
    assert_eq!(run(&two, "umask 161"), ["not-in"]);
    // The first shell does not wait: the one that tells has lost its ancestors.
    let orphan = "(sleep 0.3; exec TWO -c 'umask 161') & :";
    let names = told_late(&mut harness, || {
        shell(&mut command(&one, &orphan.replace("TWO", two.to_str().unwrap())))
    });
    assert_eq!(names, ["in"]);
}

/// What is told also by processes that nobody waits for.
fn told_late(harness: &mut Harness, body: impl FnOnce()) -> Vec<String> {
    told(harness, || {
        body();
        std::thread::sleep(std::time::Duration::from_millis(900));
    })
}

#[test]
fn children_from_before_are_asked_for_their_living_ancestors() {
    let Some(mut harness) = Harness::new() else { return };
    let place = Place::new("living");
    let [one, two] = ["one/sh", "two/sh"].map(|name| place.copy(name));
    // A grandchild that runs something else.
    let script = format!("{0} -c \"{0} -c 'echo; read line; umask 162'; :\"; :", two.display());
    let child = waiting(&one, &script);
    let other = waiting(&two, "umask 162");
    let follow = format!("[{}], followChildren: true", one.display());
    load(
        &mut harness,
        0o162,
        "matchBinaries",
        &[("in", "In", &follow), ("not-in", "NotIn", &follow)],
    );
    load(&mut harness, 0o162, "matchParentBinaries", &[("parent", "In", &follow)]);
    assert_eq!(told(&mut harness, || go(child)), ["in", "parent"]);
    assert_eq!(told(&mut harness, || go(other)), ["not-in"]);
}

#[test]
fn parents_are_followed_from_the_parent_on() {
    let Some(mut harness) = Harness::new() else { return };
    let place = Place::new("parents");
    let [one, two] = ["one/sh", "two/sh"].map(|name| place.copy(name));
    let follow = format!("[{}], followChildren: true", one.display());
    load(
        &mut harness,
        0o163,
        "matchParentBinaries",
        &[("in", "In", &follow), ("not-in", "NotIn", &follow)],
    );
    let mut run = |path, script: &str| {
        let script = script.replace("TWO", &format!("{}", two.display()));
        told(&mut harness, || shell(&mut command(path, &script)))
    };
    assert_eq!(run(&one, "umask 163"), ["not-in"]);
    assert_eq!(run(&one, "(umask 163); :"), ["in"]);
    assert_eq!(run(&one, "exec TWO -c 'umask 163'"), ["in"]);
    assert_eq!(run(&one, "TWO -c \"TWO -c 'umask 163'; :\"; :"), ["in"]);
    assert_eq!(run(&two, "(umask 163); :"), ["not-in"]);
}

#[test]
fn forks_of_a_process_are_followed_by_its_id() {
    let Some(mut harness) = Harness::new() else { return };
    let own = std::process::id();
    for (name, operator, values) in [
        ("in", "In", vec![own]),
        ("not-in", "NotIn", vec![own]),
        ("other", "In", vec![own + 100_000]),
        ("not-other", "NotIn", vec![own + 100_000]),
    ] {
        let filter =
            format!("matchPIDs: [{{operator: {operator}, values: {values:?}, followForks: true}}]");
        harness.load(&umask_hook(name, 0o164, &filter));
    }
    let deep = "sh -c \"sh -c 'umask 164'; :\"; :";
    let names = told(&mut harness, || shell(Command::new("sh").args(["-c", deep])));
    assert_eq!(names, ["in", "not-other"]);
    let orphan = "(sleep 0.3; umask 164) & :";
    let names = told_late(&mut harness, || shell(Command::new("sh").args(["-c", orphan])));
    assert_eq!(names, ["in", "not-other"]);
    // Last: shells that begin with this mask set it again when they are asked to change it.
    assert_eq!(told(&mut harness, || umask(0o164)), ["in", "not-other"]);
}

#[test]
fn ids_in_a_namespace_are_followed_within_it() {
    let Some(mut harness) = Harness::new() else { return };
    for (name, operator, values) in
        [("first", "In", "[1]"), ("not-first", "NotIn", "[1]"), ("host", "In", "[0]")]
    {
        let filter = format!(
            "matchPIDs: [{{operator: {operator}, values: {values}, isNamespacePID: true, followForks: true}}]"
        );
        harness.load(&umask_hook(name, 0o165, &filter));
    }
    let inside = "(umask 165); :";
    let names = told(&mut harness, || {
        shell(unshare_command().args(["-pf", "sh", "-c", inside]));
    });
    assert_eq!(names, ["first"]);
    assert_eq!(told(&mut harness, || umask(0o165)), ["host", "not-first"]);
}

/// Not a test: the process that [`exec_by_any_thread_keeps_the_answer`] starts.
#[test]
fn helper_that_calls_exec_from_a_thread() {
    use std::os::unix::process::CommandExt;
    if std::env::var_os("HELP_WITH_EXEC").is_some() {
        panic!("{}", Command::new("/bin/sh").args(["-c", "umask 166"]).exec());
    }
}

#[test]
fn exec_by_any_thread_keeps_the_answer() {
    let Some(mut harness) = Harness::new() else { return };
    let follow = format!("['{}'], followChildren: true", resolved("/proc/self/exe"));
    load(
        &mut harness,
        0o166,
        "matchBinaries",
        &[("in", "In", &follow), ("not-in", "NotIn", &follow)],
    );
    let names = told(&mut harness, || {
        let mut helper = Command::new("/proc/self/exe");
        helper.args(["--exact", "helper_that_calls_exec_from_a_thread"]);
        shell(helper.env("HELP_WITH_EXEC", "1"));
    });
    assert_eq!(names, ["in"]);
}
