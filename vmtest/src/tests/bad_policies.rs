//! Policies that cannot work: each is told with its place and what would be right, and the agent goes on
//! with the others. All of them lie in one directory, with one good policy among them, and are tried by
//! command as well.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::fcntl::AT_FDCWD;
use nix::unistd::symlinkat;

use crate::agent::Agent;
use crate::lab::Lab;
use crate::test::{Need, Test};

/// These tests.
pub(crate) const TESTS: &[Test] = &[
    Test::new("bad_policies::are_told_and_stop_nobody", told_and_stop_nobody),
    Test::new("bad_policies::about_functions_are_told", functions_are_told)
        .needs(&[Need::Vm])
        .seconds(300),
    Test::new("bad_policies::of_hostile_size_are_bounded", hostile_sizes).seconds(300),
];

/// A bad policy, and what has to be said of it.
struct Bad {
    /// Of the file, without extension.
    name: &'static str,
    text: String,
    told: &'static [&'static str],
}

const HEAD: &str = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: ";

/// The spec begins in line 6.
fn bad(name: &'static str, spec: &str, told: &'static [&'static str]) -> Bad {
    Bad { name, text: format!("{HEAD}{name}\nspec:\n{spec}"), told }
}

fn good(target: &str) -> String {
    format!(
        "{HEAD}good\nspec:\n  kprobes:\n  - call: sys_symlinkat\n    args: [{{index: 0, type: \
         string}}]\n    selectors: [{{matchArgs: [{{index: 0, operator: Equal, values: [\"{target}\"]\
         }}]}}]\n"
    )
}

/// What is wrong whatever the kernel, and what is wrong of system calls and tracepoints.
fn everywhere() -> Vec<Bad> {
    vec![
        bad(
            "unknown-call",
            "  kprobes:\n  - call: sys_symlinkatt\n",
            &["unknown-call.yaml:7:5 spec.kprobes[0]", "did you mean `sys_symlinkat`?"],
        ),
        bad(
            "unknown-tracepoint",
            "  tracepoints:\n  - {subsystem: sched, event: sched_process_exek, raw: true}\n",
            &["unknown-tracepoint.yaml:7:5 spec.tracepoints[0]", "`sched_process_exec`?"],
        ),
        bad(
            "unknown-field",
            "  kprobes:\n  - call: sys_symlinkat\n    arguments: [{index: 0, type: string}]\n",
            &[
                "unknown-field.yaml:8:5 spec.kprobes[0].arguments",
                "unknown field",
                "message, tags, args, data",
            ],
        ),
        bad(
            "wrong-raw-index",
            "  tracepoints:\n  - subsystem: sched\n    event: sched_process_exec\n    raw: true\n    \
             args: [{index: 5, type: int}]\n",
            &["wrong-raw-index.yaml:10:12 spec.tracepoints[0].args[0]", "sched_process_exec("],
        ),
        bad(
            "unknown-type",
            "  kprobes:\n  - call: sys_symlinkat\n    args: [{index: 0, type: strin}]\n",
            &["unknown-type.yaml:8:29 spec.kprobes[0].args[0].type", "`string`"],
        ),
        bad(
            "wrong-operator",
            "  kprobes:\n  - call: sys_symlinkat\n    args: [{index: 0, type: string}]\n    \
             selectors:\n    - matchArgs: [{index: 0, operator: SAddr, values: [127.0.0.1]}]\n",
            &["wrong-operator.yaml:10:", "spec.kprobes[0].selectors[0].matchArgs[0].operator"],
        ),
        bad(
            "unknown-operator",
            "  kprobes:\n  - call: sys_symlinkat\n    args: [{index: 0, type: string}]\n    \
             selectors:\n    - matchArgs: [{index: 0, operator: Prefixx, values: [/etc]}]\n",
            &["unknown-operator.yaml:10:", "matchArgs[0].operator", "`Prefix`"],
        ),
        bad(
            "wrong-value",
            "  kprobes:\n  - call: sys_umask\n    args: [{index: 0, type: int}]\n    \
             selectors:\n    - matchArgs:\n      - index: 0\n        operator: Equal\n        \
             values: [\"7\", \"seven\"]\n",
            &["wrong-value.yaml:13:", "matchArgs[0].values[1]", "seven"],
        ),
        bad(
            "many-wrongs",
            "  kprobes:\n  - call: sys_umask\n    syscal: true\n    args: [{index: x, type: int}]\n    \
             selectors:\n    - matchPIDs: [{operator: Inn, values: [1]}]\n",
            &["many-wrongs.yaml:8:5", "many-wrongs.yaml:9:20", "many-wrongs.yaml:11:"],
        ),
        bad("good", "  kprobes: [{call: sys_umask}]\n", &["there is a policy `good` in domain"]),
        Bad {
            name: "no-yaml",
            text: "kind: TracingPolicy\n\tspec: [".to_owned(),
            told: &["no-yaml.yaml:1:7: this is not valid YAML"],
        },
        Bad {
            name: "two-documents",
            text: format!("{}---\n{}", good("/a"), good("/b")),
            told: &["two-documents.yaml:11:1: a second document begins here"],
        },
        Bad { name: "empty", text: String::new(), told: &["empty.yaml"] },
    ]
}

/// What is wrong on a kernel with kprobes, trampolines and LSM programs.
fn of_functions() -> Vec<Bad> {
    vec![
        bad(
            "unknown-function",
            "  kprobes:\n  - call: security_file_permision\n    syscall: false\n",
            &[
                "unknown-function.yaml:7:5 spec.kprobes[0]",
                "the nearest name is `security_file_permission`",
            ],
        ),
        bad(
            "unknown-record",
            "  tracepoints:\n  - {subsystem: sched, event: sched_process_exek}\n",
            &["unknown-record.yaml:7:5 spec.tracepoints[0]", "`sched_process_exec`?"],
        ),
        bad(
            "unknown-subsystem",
            "  tracepoints:\n  - {subsystem: sheduler, event: sched_process_exec}\n",
            &["unknown-subsystem.yaml:7:5 spec.tracepoints[0]", "subsystem `sheduler`"],
        ),
        bad(
            "wrong-record-index",
            "  tracepoints:\n  - {subsystem: signal, event: signal_generate, args: [{index: 30}]}\n",
            &["wrong-record-index.yaml:7:", "args[0]", "4 sig"],
        ),
        bad(
            "wrong-index",
            "  kprobes:\n  - call: sys_symlinkat\n    args: [{index: 3, type: string}]\n",
            &["wrong-index.yaml:8:12 spec.kprobes[0].args[0]", "symlinkat("],
        ),
        bad(
            "wrong-type",
            "  kprobes:\n  - call: sys_symlinkat\n    args: [{index: 0, type: sock}]\n",
            &["wrong-type.yaml:8:12 spec.kprobes[0].args[0]", "is no sock of the kernel's"],
        ),
        bad(
            "unknown-lsm-hook",
            "  lsmhooks:\n  - hook: file_opne\n",
            &["unknown-lsm-hook.yaml:7:5 spec.lsmhooks[0]", "`file_open`?"],
        ),
        bad(
            "lsm-hook-with-prefix",
            "  lsmhooks:\n  - hook: security_file_open\n",
            &["lsm-hook-with-prefix.yaml:7:5 spec.lsmhooks[0]", "write `file_open`"],
        ),
        bad(
            "wrong-function-index",
            "  kprobes:\n  - call: do_mkdirat\n    syscall: false\n    args: [{index: 7, type: int}]\n",
            &["wrong-function-index.yaml:9:12 spec.kprobes[0].args[0]", "do_mkdirat("],
        ),
        bad(
            "wrong-resolve",
            "  lsmhooks:\n  - hook: file_open\n    args: [{index: 0, type: int, resolve: f_flag}]\n",
            &["wrong-resolve.yaml:8:12 spec.lsmhooks[0].args[0]", "f_flags"],
        ),
        // Not to be traced (noinstr): kprobes themselves come through it.
        bad(
            "notrace",
            "  kprobes:\n  - call: exc_int3\n    syscall: false\n",
            &["notrace.yaml:7:5 spec.kprobes[0]", "exc_int3"],
        ),
        // It is a part of whoever calls it.
        bad(
            "inlined",
            "  kprobes:\n  - call: get_current\n    syscall: false\n",
            &["inlined.yaml:7:5 spec.kprobes[0]", "get_current", "put it into its callers"],
        ),
        // Assembly has no types; some kernels do not have it.
        bad(
            "without-types",
            "  kprobes:\n  - call: copy_user_generic_string\n    syscall: false\n    args: [{index: 0}]\n",
            &["without-types.yaml:", "spec.kprobes[0]", "copy_user_generic_string"],
        ),
    ]
}

/// All of them from a directory and by command.
fn try_all(lab: &Lab, policies: &[Bad]) -> Result<()> {
    let dir = lab.path("policies");
    fs::create_dir(&dir)?;
    for Bad { name, text, .. } in policies {
        fs::write(dir.join(format!("{name}.yaml")), text)?;
    }
    let target = "/target/of/the/good/one";
    // The first of its name counts.
    fs::write(dir.join("go.yaml"), good(target))?;
    let mut agent = lab.agent(&[&format!("--tracing-policy-dir={}", dir.display())])?;
    let log = agent.log();
    let mut wrong = Vec::new();
    let look = |wrong: &mut Vec<String>, how: &str, bad: &Bad, text: &str| {
        for told in bad.told.iter().filter(|told| !text.contains(*told)) {
            let mine: Vec<_> = text.lines().filter(|line| line.contains(bad.name)).collect();
            wrong.push(format!("{} {how}: not told: {told}:\n{}", bad.name, mine.join("\n")));
        }
    };
    for bad in policies {
        look(&mut wrong, "from the directory", bad, &log);
        let file = dir.join(format!("{}.yaml", bad.name));
        let added = add(&agent, &file)?;
        // By command the second of its name is of another domain, and good.
        if bad.name != "good" {
            look(&mut wrong, "by command", bad, &added.stderr);
            if added.status.success() {
                wrong.push(format!("{} was added by command", bad.name));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let counts = format!("loaded=1 failed={}", policies.len());
    ensure!(log.contains(&counts), "{counts} is not in the log:\n{log}");
    symlinkat(target, AT_FDCWD, &lab.path("link"))?;
    agent.wait_for("the good policy sees", |events| !events.of_policy("good").is_empty())?;
    agent.stop()?;
    Ok(())
}

fn add(agent: &Agent, file: &Path) -> Result<crate::lab::Done> {
    agent.ask(&["tracingpolicy", "add", file.to_str().context("a path")?])
}

fn told_and_stop_nobody(lab: &Lab) -> Result<()> {
    try_all(lab, &everywhere())
}

fn functions_are_told(lab: &Lab) -> Result<()> {
    try_all(lab, &of_functions())
}

/// Aliases that stand for a billion elements, a document of brackets, and a megabyte of values of which
/// one is wrong.
fn hostile_sizes(lab: &Lab) -> Result<()> {
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (name, of) in "bcdefghij".chars().zip("abcdefghi".chars()) {
        let aliases = vec![format!("*{of}"); 10].join(", ");
        bomb.push_str(&format!("{name}: &{name} [{aliases}]\n"));
    }
    let values: String = (0..60_000).map(|n| format!("\"{n}\", ")).collect();
    let policies = [
        Bad { name: "bomb", text: bomb, told: &["bomb.yaml:"] },
        bad("inner-bomb", &inner_bomb(), &["inner-bomb.yaml:"]),
        Bad { name: "deep", text: "[".repeat(1 << 20), told: &["deep.yaml:1:"] },
        bad(
            "megabyte",
            &format!(
                "  kprobes:\n  - call: sys_umask\n    args: [{{index: 0, type: int}}]\n    selectors:\n    \
                 - matchArgs:\n      - index: 0\n        operator: Equal\n        values: \
                 [{values}\"many\"]\n"
            ),
            &["megabyte.yaml:13:", "values[60000]", "many"],
        ),
    ];
    try_all(lab, &policies)
}

/// A billion selectors by aliases.
fn inner_bomb() -> String {
    let mut spec =
        String::from("  kprobes:\n  - call: sys_umask\n    selectors:\n    - &a [x, x, x, x]\n");
    for (name, of) in "bcdefghijklmno".chars().zip("abcdefghijklmn".chars()) {
        let aliases = vec![format!("*{of}"); 8].join(", ");
        spec.push_str(&format!("    - &{name} [{aliases}]\n"));
    }
    spec
}
