//! `tetra tracingpolicy check`: everything that is wrong with policies, and what is weaker in them than it
//! looks, on a kernel. Nothing is loaded, and the agent is not asked.
//!
//! | what | severity |
//! |---|---|
//! | it would not be loaded: its text, its names on this kernel, an action that the kernel cannot carry out | error |
//! | a rule that enforces can be got past, or in part only | warning |
//! | worth knowing | note |

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use compiler::Machine;
use compiler::admission::admit;
use compiler::explain::explain;
use compiler::lint::lints;
use compiler::plan::Plan;
use policy::{CheckedPolicy, Mark, Problem, Problems};
use serde::Serialize;

use super::kernel::Kernel;
use super::{Form, read};
use crate::error::Error;
use crate::output::print;

/// What to check, for which kernel.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// YAML or JSON
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Warnings are failures, too
    #[arg(long)]
    warnings_as_errors: bool,
    /// Accept policies whose enforcing actions this kernel cannot all carry out, as agents do that run
    /// with --allow-degraded-enforcement
    #[arg(long)]
    allow_degraded_enforcement: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
    #[command(flatten)]
    kernel: Kernel,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    Error,
    Warning,
    Note,
}

/// Something about a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) column: usize,
    /// Where in the document; empty for the document itself.
    pub(super) path: String,
    pub(super) severity: Severity,
    pub(super) message: String,
}

impl Finding {
    fn of(file: &str, severity: Severity, problem: Problem) -> Self {
        let Problem { mark: Mark { line, column }, path, message } = problem;
        Self { file: file.to_owned(), line, column, path, severity, message }
    }

    /// As compilers write it, so that editors and CI systems find the place.
    fn line(&self) -> String {
        let Self { file, line, column, path, severity, message } = self;
        let severity = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
        format!("{file}:{line}:{column}: {severity}: {path}{message}")
    }
}

/// Prints the findings.
///
/// # Errors
/// One of the policies would not be loaded; with `--warnings-as-errors` also: one has a warning.
pub(crate) fn run(flags: &Flags) -> Result<(), Error> {
    let machine = flags.kernel.machine()?;
    let mut findings = Vec::new();
    let mut clean = Vec::new();
    let mut failed = 0;
    let fails = |finding: &Finding| match finding.severity {
        Severity::Error => true,
        Severity::Warning => flags.warnings_as_errors,
        Severity::Note => false,
    };
    for file in &flags.files {
        let found = of_file(file, &machine, flags.allow_degraded_enforcement);
        failed += usize::from(found.iter().any(fails));
        if found.is_empty() {
            clean.push(file.display().to_string());
        }
        findings.extend(found);
    }
    let text = match flags.output {
        Form::Json => serde_json::to_string_pretty(&findings)? + "\n",
        Form::Text => {
            let ok = clean.iter().map(|file| format!("{file}: ok"));
            let lines = findings.iter().map(Finding::line).chain(ok);
            lines.map(|line| line + "\n").collect()
        }
    };
    print(&text)?;
    let count = |severity| findings.iter().filter(|one| one.severity == severity).count();
    match failed {
        0 => Ok(()),
        _ => Err(Error::Policy(format!(
            "{failed} of {} not accepted: {}, {}",
            counted(flags.files.len(), "policy", "policies"),
            counted(count(Severity::Error), "error", "errors"),
            counted(count(Severity::Warning), "warning", "warnings"),
        ))),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn of_file(path: &Path, machine: &Machine, allow_degraded: bool) -> Vec<Finding> {
    let file = path.display().to_string();
    match read(path) {
        Ok(text) => findings(&file, &text, machine, allow_degraded),
        Err(error) => {
            let problem =
                Problem { mark: Mark::default(), path: String::new(), message: error.to_string() };
            vec![Finding::of(&file, Severity::Error, problem)]
        }
    }
}

/// What is to say of a policy on a machine, in the order of its text.
pub(super) fn findings(
    file: &str,
    text: &str,
    machine: &Machine,
    allow_degraded: bool,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |severity, list: Vec<Problem>| {
        found.extend(list.into_iter().map(|problem| Finding::of(file, severity, problem)));
    };
    match CheckedPolicy::read(file, text).map(Arc::new) {
        Err(problems) => add(Severity::Error, whole(problems)),
        Ok(policy) => {
            add(Severity::Note, policy.notes.clone());
            match Plan::new(policy, machine) {
                Err(problems) => add(Severity::Error, whole(problems)),
                Ok(plan) => on_machine(&plan, machine, allow_degraded, &mut add),
            }
        }
    }
    found.sort_by_key(|one| (one.line, one.column));
    found
}

fn on_machine(
    plan: &Plan,
    machine: &Machine,
    allow_degraded: bool,
    add: &mut impl FnMut(Severity, Vec<Problem>),
) {
    add(Severity::Note, plan.notes.clone());
    match admit(plan, allow_degraded) {
        Err(problems) => add(Severity::Error, whole(problems)),
        Ok(()) => add(Severity::Warning, plan.not_enforced()),
    }
    add(Severity::Warning, lints(plan, &machine.btf));
    if let Err(error) = explain(std::slice::from_ref(plan), machine) {
        let problem =
            Problem { mark: Mark::default(), path: String::new(), message: error.to_string() };
        add(Severity::Error, vec![problem]);
    }
}

/// All of them, and a word about those that were only counted.
fn whole(problems: Problems) -> Vec<Problem> {
    let Problems { mut list, omitted, .. } = problems;
    if omitted > 0 {
        let mark = list.last().map_or_else(Mark::default, |last| last.mark);
        let message = format!("and {omitted} more");
        list.push(Problem { mark, path: String::new(), message });
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracingpolicy::kernel::everything;
    use kernel::btf::{Btf, KERNEL_BTF};

    fn machine() -> Machine {
        Machine::recorded(Arc::new(Btf::from_file(KERNEL_BTF).unwrap()), everything())
    }

    fn found(spec: &str) -> Vec<(Severity, usize, String)> {
        let text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec:\n{spec}"
        );
        let found = findings("p.yaml", &text, &machine(), false);
        found.into_iter().map(|one| (one.severity, one.line, one.message)).collect()
    }

    #[test]
    fn problems_of_the_text_come_all_at_once() {
        let found = found("  kprobes:\n  - cal: x\n    syscal: true\n");
        let lines: Vec<usize> = found.iter().map(|(_, line, _)| *line).collect();
        assert_eq!(lines, [6, 6, 7], "{found:?}");
        assert!(found.iter().all(|(severity, ..)| *severity == Severity::Error));
    }

    #[test]
    fn hooks_are_looked_up_in_the_kernel_with_suggestions() {
        let found = found("  kprobes:\n  - call: sys_opennat\n    syscall: true\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].2.contains("did you mean `sys_openat`?"), "{found:?}");
    }

    #[test]
    fn rules_that_can_be_got_past_are_warned_of() {
        let late = "  kprobes:\n  - call: sys_symlinkat\n    syscall: true\n    args:\n    \
                    - {index: 0, type: string}\n    selectors:\n    - matchArgs:\n      \
                    - {index: 0, operator: Equal, values: [/etc/passwd]}\n      \
                    matchActions: [{action: Sigkill}]\n";
        let found = found(late);
        assert!(found.iter().all(|(severity, ..)| *severity == Severity::Warning), "{found:?}");
        assert!(found.iter().any(|(.., said)| said.contains("has been carried out then")));
    }

    #[test]
    fn what_an_agent_would_refuse_is_an_error() {
        let all = "  kprobes:\n  - call: sys_openat\n    syscall: true\n    selectors:\n    \
                   - matchActions: [{action: Sigkill}]\n";
        let found = found(all);
        assert!(
            found.iter().any(|(severity, line, said)| *severity == Severity::Error
                && *line == 9
                && said.contains("this stops every process")),
            "{found:?}"
        );
    }

    #[test]
    fn a_clean_policy_has_none() {
        let clean = "  kprobes:\n  - call: sys_openat\n    syscall: true\n";
        assert_eq!(found(clean), []);
    }

    #[test]
    fn lines_are_as_compilers_write_them() {
        let mark = Mark { line: 3, column: 5 };
        let problem = Problem { mark, path: "spec.x".into(), message: "wrong".into() };
        let finding = Finding::of("a.yaml", Severity::Warning, problem);
        assert_eq!(finding.line(), "a.yaml:3:5: warning: spec.x: wrong");
        let json = serde_json::to_value(&finding).unwrap();
        assert_eq!(json["severity"], "warning");
        assert_eq!(json["line"], 3);
    }
}
