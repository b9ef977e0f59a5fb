//! `tetra tracingpolicy explain`: what a policy watches, matches and does, in words; how each hook is
//! attached on a kernel, what it costs there, and what slips past it. Nothing is loaded, and the agent is not
//! asked.

mod action;
mod comparison;
mod selector;
mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use compiler::Machine;
use compiler::admission::admit;
use compiler::explain::{Explained, explain};
use compiler::lint::lints;
use compiler::plan::{EventKind, HookPlan, Plan};
use policy::checked::{Mode, OverrideMethod};
use policy::{CheckedPolicy, Problem};

use super::kernel::Kernel;
use super::read;
use crate::error::Error;
use words::{joined, sentence, size, wrapped};

/// How many places of one hook are named; of more only the number is told.
const NAMED: usize = 4;

/// What to explain, on which kernel.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// YAML or JSON
    file: PathBuf,
    #[command(flatten)]
    kernel: Kernel,
}

/// A paragraph on the policy, one for each hook, and one on all together.
pub(crate) fn run(flags: &Flags) -> Result<String, Error> {
    let file = flags.file.display().to_string();
    let text = read(&flags.file)?;
    let wrong = |problems: policy::Problems| Error::Policy(problems.to_string());
    let policy = Arc::new(CheckedPolicy::read(&file, &text).map_err(wrong)?);
    let machine = flags.kernel.machine()?;
    let plan = Plan::new(policy, &machine).map_err(wrong)?;
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    Explanation { plan: &plan, machine: &machine, cpus }.text()
}

/// An explanation under way.
struct Explanation<'p> {
    plan: &'p Plan,
    machine: &'p Machine,
    /// CPUs that counters are for.
    cpus: u64,
}

impl Explanation<'_> {
    fn text(&self) -> Result<String, Error> {
        let mut remarks = self.remarks();
        let mut text = wrapped("", &self.head());
        // A hook on a list has a plan for each of its members.
        let mut hooks: Vec<(&str, Vec<&Arc<HookPlan>>)> = Vec::new();
        for hook in self.plan.hooks.iter().chain(&self.plan.enforcers) {
            let path = hook.place.path.as_str();
            match hooks.iter_mut().find(|(known, _)| *known == path) {
                Some((_, all)) => all.push(hook),
                None => hooks.push((path, vec![hook])),
            }
        }
        for (path, hooks) in hooks {
            text.push('\n');
            text.push_str(&self.hook(path, &hooks)?);
            let below = |known: &String| {
                known.strip_prefix(path).is_some_and(|rest| {
                    rest.is_empty() || rest.starts_with('.') || rest.starts_with('[')
                })
            };
            let mine: Vec<String> = remarks.keys().filter(|known| below(known)).cloned().collect();
            for key in mine {
                for remark in remarks.remove(&key).unwrap_or_default() {
                    text.push_str(&wrapped("  ", &remark));
                }
            }
        }
        text.push('\n');
        for remark in remarks.into_values().flatten() {
            text.push_str(&wrapped("", &remark));
        }
        text.push_str(&wrapped("", &self.cost_of_all()?));
        Ok(text)
    }

    /// What it is, whom it is about, and whether it interferes.
    fn head(&self) -> String {
        let policy = &self.plan.policy;
        let mut parts = vec![format!("The policy `{}` is about {}.", policy.name, self.whom())];
        if let Some(nodes) = &policy.nodes {
            parts.push(format!("It is for nodes with {}.", selector::labels(nodes)));
        }
        parts.push(
            match (policy.mode(), self.plan.mode()) {
                (Mode::MonitorOnly, _) => "It reports and never interferes.",
                (Mode::Monitor, _) => {
                    "It is in mode monitor: what it would do to processes is only reported."
                }
                (Mode::Enforce, Mode::Enforce) => "It is in mode enforce: it acts on processes.",
                (Mode::Enforce, _) => {
                    "It is meant to act on processes, but this kernel can do nothing of it: it would only \
                     report."
                }
            }
            .to_owned(),
        );
        if let Some(method) = policy.settings.override_method {
            let name = match method {
                OverrideMethod::FmodRet => "a fmod_ret program",
                OverrideMethod::OverrideReturn => "bpf_override_return",
            };
            parts.push(format!("Results are replaced by {name} only, as its option says."));
        }
        if policy.loader.is_some() {
            parts.push(
                "It reports each executable and library that is mapped into a process.".to_owned(),
            );
        }
        parts.join(" ")
    }

    fn whom(&self) -> String {
        let policy = &self.plan.policy;
        let whom = match selector::workloads(&policy.scope) {
            Some(whom) => whom,
            None => "every process of the machine".to_owned(),
        };
        match &policy.namespace {
            Some(namespace) => format!("{whom}, in the namespace `{namespace}` of Kubernetes"),
            None => whom,
        }
    }

    /// What is to say by path in the policy: errors, warnings and notes.
    fn remarks(&self) -> BTreeMap<String, Vec<String>> {
        let mut remarks: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut add = |word: &str, list: Vec<Problem>| {
            for Problem { mark, path, message } in list {
                let remark = format!("{word} (line {}): {message}.", mark.line);
                remarks.entry(path).or_default().push(remark);
            }
        };
        let plan = self.plan;
        match admit(plan, false) {
            Err(problems) => add("Refused", problems.list),
            Ok(()) => add("Warning", plan.not_enforced()),
        }
        add("Warning", lints(plan, &self.machine.btf));
        add("Note", plan.policy.notes.iter().chain(&plan.notes).cloned().collect());
        remarks
    }

    /// A hook of the policy at all its places.
    fn hook(&self, path: &str, hooks: &[&Arc<HookPlan>]) -> Result<String, Error> {
        let Some(first) = hooks.first() else { return Ok(String::new()) };
        let enforcer = path.starts_with("spec.enforcers");
        let mut text = format!("{path} (line {})\n", first.place.mark.line);
        let mut say = |words: String| text.push_str(&wrapped("  ", &words));
        let events: Vec<String> = hooks.iter().map(|hook| event(&hook.event)).collect();
        let seen = some(&events);
        if enforcer {
            say(format!("Stops {seen} when another hook has notified it for the thread."));
        } else {
            let when = if first.at_return() { ", and reports when it has returned" } else { "" };
            say(format!("Looks at {seen}{when}."));
        }
        let mut ways: Vec<(String, Vec<String>)> = Vec::new();
        for hook in hooks {
            let how = format!("because: {}", hook.reason);
            let place = hook.attachment.to_string();
            match ways.iter_mut().find(|(known, _)| *known == how) {
                Some((_, places)) => places.push(place),
                None => ways.push((how, vec![place])),
            }
        }
        for (why, places) in ways {
            say(format!("Attached by {}, {why}.", some(&places)));
        }
        let read = selector::values(first);
        if !read.is_empty() {
            say(format!("Reads {}.", joined(&read, "and")));
        }
        if !first.message.is_empty() {
            say(format!("Its events say: {}", first.message));
        }
        if let Some(denial) = first.denial.as_ref() {
            say(format!("Override: {denial}."));
        }
        match first.selectors.as_slice() {
            [] if enforcer => {}
            [] => say("Every call is reported.".to_owned()),
            selectors => {
                if selectors.len() > 1 {
                    say("The first of these that matches acts:".to_owned());
                }
                for selector in selectors {
                    let words = selector::text(selector, first);
                    text.push_str(&wrapped("  - ", &sentence(&words)));
                }
            }
        }
        let mine = hooks.iter().map(|hook| (*hook).clone()).collect::<Vec<_>>();
        let (plans, enforcers) = if enforcer { (Vec::new(), mine) } else { (mine, Vec::new()) };
        let alone =
            Plan { policy: self.plan.policy.clone(), hooks: plans, enforcers, notes: Vec::new() };
        text.push_str(&wrapped("  ", &format!("Costs {}.", self.cost(&alone)?)));
        Ok(text)
    }

    /// What the programs of a plan cost, if nothing else hooks the same places.
    fn cost(&self, plan: &Plan) -> Result<String, Error> {
        let programs = explain(std::slice::from_ref(plan), self.machine)
            .map_err(|cause| Error::Kernel(cause.to_string()))?;
        let slots: usize = programs.iter().map(|Explained { program, .. }| program.slots()).sum();
        let memory: u64 = programs.iter().map(|one| one.memory.total(self.cpus)).sum();
        let programs = match programs.len() {
            1 => "1 program".to_owned(),
            count => format!("{count} programs"),
        };
        Ok(format!("{slots} instructions in {programs} and {} of kernel memory", size(memory)))
    }

    fn cost_of_all(&self) -> Result<String, Error> {
        Ok(format!(
            "In all, on {} CPUs: {}. Policies that hook the same places share their programs. Beside this the \
             kernel keeps what the agent's own programs record of processes, whatever the policies.",
            self.cpus,
            self.cost(self.plan)?
        ))
    }
}

/// What a hook sees.
fn event(event: &EventKind) -> String {
    match event {
        EventKind::Kprobe { function } => match function.split_once("_sys_") {
            Some(("__x64" | "__arm64", call)) => format!("the system call {call}"),
            Some(("__ia32" | "__ia32_compat" | "__arm64_compat", call)) => {
                format!("the system call {call} of 32-bit programs")
            }
            _ => format!("the kernel's function {function}"),
        },
        EventKind::Tracepoint { subsystem, event } => format!("the tracepoint {subsystem}/{event}"),
        EventKind::Lsm { hook } => format!("the LSM hook {hook}"),
        EventKind::Uprobe { path, symbol, offset, .. } => match symbol.as_str() {
            "" => format!("offset {offset:#x} of {path}"),
            symbol => format!("{symbol} of {path}"),
        },
        EventKind::Usdt { path, provider, name } => {
            format!("the static probe {provider}:{name} of {path}")
        }
    }
}

/// The first of many, and how many more there are.
fn some(all: &[String]) -> String {
    match all.len() {
        count if count > NAMED => {
            format!("{} and {} more", all[..NAMED - 1].join(", "), count + 1 - NAMED)
        }
        _ => joined(all, "and"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracingpolicy::kernel::everything;
    use kernel::btf::{Btf, KERNEL_BTF};

    fn explained(spec: &str) -> String {
        let text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec:\n{spec}"
        );
        let policy = Arc::new(CheckedPolicy::read("p.yaml", &text).unwrap());
        let machine =
            Machine::recorded(Arc::new(Btf::from_file(KERNEL_BTF).unwrap()), everything());
        let plan = Plan::new(policy, &machine).unwrap();
        let text = Explanation { plan: &plan, machine: &machine, cpus: 2 }.text().unwrap();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn says(text: &str, parts: &[&str]) {
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
    }

    #[test]
    fn a_rule_that_denies() {
        let text = explained(
            "  lsmhooks:\n  - hook: file_open\n    message: \"a secret\"\n    args:\n    \
             - {index: 0, type: file}\n    - {index: 0, type: uint32, resolve: f_mode}\n    selectors:\n    \
             - matchBinaries: [{operator: NotIn, values: [/usr/bin/vault], followChildren: true}]\n      \
             matchArgs:\n      - {index: 0, operator: Prefix, values: [/srv/secret/, /srv/key/]}\n      \
             matchActions: [{action: NoPost}, {action: Override, argError: -13}]\n    \
             - matchPIDs: [{operator: In, values: [1], followForks: true}]\n",
        );
        says(
            &text,
            &[
                "The policy `p` is about every process of the machine. It is in mode enforce",
                "spec.lsmhooks[0] (line 6) Looks at the LSM hook file_open.",
                "Reads argument 0 (file) and `f_mode` of argument 0 (uint32).",
                "The first of these that matches acts:",
                "the executable, and those that it was started by, are not /usr/bin/vault",
                "argument 0 begins with /srv/secret/ or /srv/key/",
                "makes the call fail with -13 (Permission denied)",
                "reports nothing",
                "the process is 1 or descends from it",
                "Warning (line 12): a path is where a file is",
                "instructions in 1 program",
            ],
        );
    }

    #[test]
    fn all_calls_of_a_system_call() {
        let text = explained(
            "  kprobes:\n  - call: sys_openat\n    syscall: true\n    return: true\n    returnArg: {index: 0, \
             type: int}\n    selectors:\n    - matchReturnArgs: [{index: 0, operator: LT, values: [\"0\"]}]\n      \
             matchActions: [{action: Post, rateLimit: 1m, kernelStackTrace: true}]\n",
        );
        says(
            &text,
            &[
                "It reports and never interferes.",
                "Looks at the system call openat, and reports when it has returned.",
                "the result is less than 0",
                "with the kernel's stack",
                "at most once in 60s",
            ],
        );
    }

    #[test]
    fn lists_are_told_of_together() {
        let text = explained(
            "  lists:\n  - name: calls\n    type: syscalls\n    values: [sys_dup, sys_dup2, sys_dup3, sys_read, \
             sys_write]\n  kprobes:\n  - call: list:calls\n    syscall: true\n",
        );
        says(
            &text,
            &[
                "Looks at the system call dup, the system call dup2, the system call dup3 and 2 more.",
                "Every call is reported.",
            ],
        );
    }
}
