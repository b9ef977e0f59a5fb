//! Where a hook is tried: the verdict of its program beside that of the evaluator.

use crate::harness::Harness;
use crate::real::{Given, Memory};
use compiler::observed::Observed;
use compiler::plan::{Attachment, EventKind, HookPlan, Input, Length, Source};
use compiler::trial::{Trial, Trials};
use policy::checked::{Argument, Hook};
use policy::document::TypeName;
use policy::evaluate::generate::Call;
use policy::evaluate::{Namespaces, Process, Selectors};
use policy::{CheckedPolicy, Problems};
use std::fmt;
use std::sync::Arc;

pub(crate) struct Laboratory {
    /// This process, where it is known as the kernel knows it.
    pub(crate) process: Option<Process>,
    /// Namespaces of the host.
    pub(crate) host: Namespaces,
    trials: Trials,
    memory: Memory,
    harness: Harness,
}

/// What went wrong with a hook.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    /// The call that it went wrong with.
    pub(crate) given: Option<Box<Given>>,
    text: String,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The policy is refused: the generator is wrong, or the checks.
    Policy,
    /// The program cannot be made, or the kernel refuses it.
    Program,
    /// The program cannot be run.
    Run,
    /// Program and evaluator do not say the same.
    Verdict,
}

/// What is said about a call: the selector, if there are some; `args`; the return value.
type Verdict = Option<(Option<usize>, Vec<Option<Observed>>, Option<Observed>)>;

impl Failure {
    fn new(kind: Kind, given: Option<&Given>, text: impl ToString) -> Self {
        Self { kind, given: given.cloned().map(Box::new), text: text.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(given) = &self.given {
            writeln!(f, "{given:?}")?;
        }
        write!(f, "{:?}: {}", self.kind, self.text)
    }
}

/// Reads and checks a policy.
pub(crate) fn read(yaml: &str) -> Result<CheckedPolicy, Problems> {
    CheckedPolicy::read("random.yaml", yaml)
}

impl Laboratory {
    /// `None`, with a word on stderr: it cannot be done here.
    pub(crate) fn new() -> Option<Self> {
        let harness = Harness::new()?;
        let trials = Trials::new(harness.machine.clone(), &harness.base).unwrap();
        let tasks = harness.base.scan().unwrap();
        harness.base.adopt(&tasks).unwrap();
        let host = harness.machine.host.clone();
        Some(Self { process: crate::process::own(), host, trials, memory: Memory::new(), harness })
    }

    /// Tries the one hook of a policy; gives how many of the calls matched, unless an
    /// operator is not compiled yet.
    pub(crate) fn check(
        &mut self,
        yaml: &str,
        call: &Call,
        calls: &[Given],
    ) -> Result<Option<usize>, Failure> {
        let policy = read(yaml).map_err(|problems| Failure::new(Kind::Policy, None, problems))?;
        let policy = Arc::new(policy);
        let hook = &policy.hooks[0];
        let mut trial = match self.trials.load(&policy, &self.plan(hook)) {
            Ok(trial) => trial,
            // Nothing tells programs of workloads yet.
            Err(compiler::Error::Unsupported(what)) if what == "workloads" => return Ok(None),
            Err(error) => return Err(Failure::new(Kind::Program, calls.first(), explain(&error))),
        };
        let selectors = Selectors::new(&hook.selectors, &policy.lists, |_| None).unwrap();
        let mut matched = 0;
        for given in calls {
            let said = self
                .said(&mut trial, call, given)
                .map_err(|error| Failure::new(Kind::Run, Some(given), error))?;
            let (args, returned) = given.captured(call);
            let expected = selectors.evaluate(&given.event);
            let expected = expected.map(|matched| (matched.selector, args, returned));
            if said != expected {
                let text = format!(
                    "the evaluator says {}\nthe program says   {}\n{}",
                    short(&expected),
                    short(&said),
                    trial.disassembly().unwrap()
                );
                return Err(Failure::new(Kind::Verdict, Some(given), text));
            }
            matched += usize::from(said.is_some());
        }
        Ok(Some(matched))
    }

    fn said(
        &mut self,
        trial: &mut Trial,
        call: &Call,
        given: &Given,
    ) -> Result<Verdict, compiler::Error> {
        let call = given.call(call, &mut self.memory);
        let seen = self.trials.run(trial, &call)?;
        Ok(seen.map(|seen| {
            assert_eq!(seen.process.pid, std::process::id());
            (seen.selector, seen.args, seen.returned)
        }))
    }

    /// The hook on a function of which only the policy says what its arguments are.
    fn plan(&self, hook: &Hook) -> HookPlan {
        let input = |argument: &Argument, source| Input {
            place: argument.place.clone(),
            kind: argument.kind,
            label: argument.label.clone(),
            source,
            resolve: String::new(),
            hops: Vec::new(),
            length: argument.size_argument.map(|index| Length {
                source: Source::Argument { index, pointee: None, hidden: false },
                size: 8,
            }),
            return_copy: argument.return_copy,
            max_data: argument.max_data,
        };
        let btf = &self.harness.machine.btf;
        let task = btf.find_struct("task_struct").unwrap();
        let argument = |argument: &Argument| {
            let plain = input(
                argument,
                Source::Argument { index: argument.index, pointee: None, hidden: false },
            );
            let member = match argument.kind {
                TypeName::File => "",
                TypeName::Path => ".f_path",
                _ => return plain,
            };
            let resolve = format!("files.fdt.fd[{}]{member}", self.memory.slot(argument.index));
            let hops = btf.path(task, &resolve).unwrap();
            Input { source: Source::CurrentTask, resolve, hops, ..plain }
        };
        HookPlan {
            denial: None,
            place: hook.place.clone(),
            event: EventKind::Kprobe { function: "tried".to_owned() },
            attachment: Attachment::Kprobe { function: "tried".to_owned(), syscall: false },
            reason: String::new(),
            args: hook.args.iter().map(argument).collect(),
            data: Vec::new(),
            returned: hook
                .return_arg
                .as_ref()
                .map(|argument| input(argument, Source::Returned { pointee: None })),
            return_action: hook.return_action,
            selectors: hook.selectors.clone(),
            message: hook.message.clone(),
            tags: hook.tags.clone(),
        }
    }
}

/// As a line that can be read.
fn short(verdict: &Verdict) -> String {
    let mut text = format!("{verdict:?}");
    if let Some((end, _)) = text.char_indices().nth(2000) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The whole of an error, the verifier's last words included.
fn explain(error: &compiler::Error) -> String {
    let text = format!("{error}\n");
    let error = match error {
        compiler::Error::Hook { cause, .. } => cause,
        other => other,
    };
    if let compiler::Error::Kernel(kernel::Error::Rejected(rejected)) = error {
        let log = rejected.log();
        let from = log.char_indices().rev().nth(6000).map_or(0, |(at, _)| at);
        return text + &log[from..];
    }
    text
}
