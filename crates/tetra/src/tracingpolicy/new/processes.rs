//! Rules on programs that are executed and on privileges.

use std::path::Path;

use policy::document::{Operator, TypeName};

use super::draft::{Action, Arg, At, Filter, Hook, Rule};
use super::place::Place;
use super::ways::Ways;
use crate::error::Error;

/// Kills who executes a program.
pub(super) fn kill_on_exec(path: &Path) -> Result<Rule, Error> {
    let place = Place::of(path, false)?;
    let operator = if place.directory { Operator::Prefix } else { Operator::Equal };
    let hook = Hook {
        why: "The process has become the program and has not run any of it: the signal comes first. `program` \
              is the file that is executed, whatever links led to it."
            .into(),
        at: At::RawTracepoint("sched", "sched_process_exec"),
        message: format!("execution of {}", place.path),
        args: vec![Arg::new(2, TypeName::LinuxBinprm, "program")],
        selectors: vec![vec![Filter::new(0, operator, [place.value()])]],
        actions: vec![Action::Kill],
    };
    Ok(Rule {
        about: format!("Kills processes that execute {}.", place.path),
        limits: vec![
            "A copy of the program elsewhere is another program.".to_owned(),
            "Of a script, the program is its interpreter.".to_owned(),
            "What runs already goes on.".to_owned(),
        ],
        hooks: vec![hook],
        doubt: None,
    })
}

/// Reports processes that become root or gain capabilities.
pub(super) fn privilege_change(ways: &Ways<'_>) -> Rule {
    let about = "Reports processes that become root or gain capabilities.".to_owned();
    if !ways.sees_functions() {
        return Rule {
            about,
            limits: vec![
                "This kernel lets no functions be hooked: only the system calls by which processes ask for \
                 other privileges are seen. Programs that gain them when they are executed (setuid bits, file \
                 capabilities) show in process_exec events."
                    .to_owned(),
            ],
            hooks: calls(),
            doubt: None,
        };
    }
    let became = Hook {
        why: "All changes of credentials pass here, also those by programs with setuid bits. `before` is what \
              the process has still, `after` what it gets."
            .into(),
        at: At::Function("commit_creds".into()),
        message: "became root".into(),
        args: vec![
            Arg::new(0, TypeName::Uint32, "after").field("euid.val"),
            Arg::task(TypeName::Uint32, "cred.euid.val", "before"),
            Arg::new(0, TypeName::Cred, "credentials"),
        ],
        selectors: vec![vec![
            Filter::new(0, Operator::Equal, [0]),
            Filter::new(1, Operator::NotEqual, [0]),
        ]],
        actions: Vec::new(),
    };
    Rule {
        about,
        limits: vec![
            "Capabilities that are gained without becoming root are reported only where capset(2) asks for \
             them: those of files show in process_exec events.".to_owned(),
        ],
        hooks: std::iter::once(became).chain(calls().into_iter().filter(is_capset)).collect(),
        doubt: None,
    }
}

fn is_capset(hook: &Hook) -> bool {
    matches!(&hook.at, At::Syscall(name) if name == "capset")
}

/// System calls by which a process asks for other privileges.
fn calls() -> Vec<Hook> {
    let call = |name: &str, labels: &'static [&'static str]| Hook {
        why: format!("{name}(2)."),
        at: At::Syscall(name.to_owned()),
        message: format!("{name} asks for root"),
        args: (0..).zip(labels).map(|(at, label)| Arg::new(at, TypeName::Int, label)).collect(),
        selectors: (0..labels.len())
            .map(|at| vec![Filter::new(at, Operator::Equal, [0])])
            .collect(),
        actions: Vec::new(),
    };
    vec![
        call("setuid", &["user"]),
        call("setreuid", &["real", "effective"]),
        call("setresuid", &["real", "effective", "saved"]),
        Hook {
            why: "capset(2), by which a process takes capabilities that it is permitted."
                .to_owned(),
            at: At::Syscall("capset".to_owned()),
            message: "capabilities are set".to_owned(),
            args: Vec::new(),
            selectors: Vec::new(),
            actions: Vec::new(),
        },
    ]
}
