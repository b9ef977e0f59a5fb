//! Where a hook is tried: the verdict of its program beside that of the evaluator.

use crate::campaign::Bench;
use crate::harness::Harness;
use crate::real::{Given, Memory, Opened};
use compiler::observed::Observed;
use compiler::plan::{Attachment, EventKind, HookPlan, Input, Length, Source};
use compiler::trial::{self, Trial, Trials};
use kernel::features::Feature;
use policy::checked::{Argument, Hook};
use policy::document::TypeName;
use policy::evaluate::generate::Call;
use policy::evaluate::{Namespaces, Process, Selectors};
use policy::{CheckedPolicy, Problems};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Laboratory {
    /// This process, where it is known as the kernel knows it.
    process: Option<Process>,
    /// Namespaces of the host.
    host: Namespaces,
    trials: Trials,
    /// What tells where the first of the files is.
    address: Trial,
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
pub(crate) type Verdict = Option<(Option<usize>, Vec<Option<Observed>>, Option<Observed>)>;

impl Failure {
    pub(crate) fn new(kind: Kind, given: Option<&Given>, text: impl ToString) -> Self {
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
        Self::of(Harness::new()?)
    }

    /// The same, for policies that are compiled as for a kernel without `feature`.
    pub(crate) fn lacking(feature: Feature) -> Option<Self> {
        Self::of(Harness::lacking(feature)?)
    }

    fn of(harness: Harness) -> Option<Self> {
        let mut trials = Trials::new(harness.machine.clone(), &harness.base).unwrap();
        let tasks = harness.base.scan().unwrap();
        harness.base.adopt(&tasks).unwrap();
        let (btf, host) = (&harness.machine.btf, harness.machine.host.clone());
        let memory = Memory::new(btf);
        let policy = Arc::new(read(ADDRESS).unwrap());
        let slot = format!("files.fdt.fd[{}]", memory.slot(0));
        let address =
            Input { resolve: slot, ..plain(&policy.hooks[0].data[0], Source::CurrentTask) };
        let hops = btf.path(btf.find_struct("task_struct").unwrap(), &address.resolve).unwrap();
        let hook = HookPlan { data: vec![Input { hops, ..address }], ..plan(&policy.hooks[0]) };
        let address = trials.load(&policy, &hook).unwrap();
        Some(Self { process: crate::process::own(), host, trials, address, memory, harness })
    }

    /// Types of which structures are made up on this kernel.
    pub(crate) fn objects(&self) -> Vec<TypeName> {
        let btf = &self.harness.machine.btf;
        let made = |kind: &TypeName| crate::objects::can_be_made(*kind, btf);
        TypeName::ALL.iter().copied().filter(made).collect()
    }

    fn said(
        &mut self,
        trial: &mut Trial,
        call: &Call,
        given: &Given,
    ) -> Result<Verdict, compiler::Error> {
        let files = call.args.iter().zip(given.files.iter().chain(std::iter::repeat(&None)));
        self.memory.files = files
            .map(|(kind, file)| match (kind, file) {
                (TypeName::Kiocb | TypeName::LinuxBinprm, Some(file)) => self.file(file),
                _ => Ok(0),
            })
            .collect::<Result<_, _>>()?;
        let call = given.call(call, &mut self.memory);
        let seen = self.trials.run(trial, &call)?;
        Ok(seen.map(|seen| {
            assert_eq!(seen.process.pid, std::process::id());
            (seen.selector, seen.args, seen.returned)
        }))
    }

    /// The address of a `struct file`.
    fn file(&mut self, opened: &Opened) -> Result<u64, compiler::Error> {
        self.memory.open(0, opened);
        let seen = self.trials.run(&mut self.address, &trial::Call::default())?;
        match seen.unwrap().data.as_slice() {
            [Some(Observed::Size(address))] => Ok(*address),
            other => panic!("{other:?}"),
        }
    }

    /// The hook on a function of which only the policy says what its arguments are.
    fn plan(&self, hook: &Hook) -> HookPlan {
        let btf = &self.harness.machine.btf;
        let task = btf.find_struct("task_struct").unwrap();
        let argument = |argument: &Argument| {
            let index = argument.index;
            let member = match argument.kind {
                TypeName::File => "",
                TypeName::Path => ".f_path",
                TypeName::Dentry => ".f_path.dentry",
                _ => {
                    let source = Source::Argument { index, pointee: None, hidden: false };
                    return plain(argument, source);
                }
            };
            let resolve = format!("files.fdt.fd[{}]{member}", self.memory.slot(index));
            let hops = btf.path(task, &resolve).unwrap();
            Input { resolve, hops, ..plain(argument, Source::CurrentTask) }
        };
        HookPlan { args: hook.args.iter().map(argument).collect(), ..plan(hook) }
    }
}

impl Bench for Laboratory {
    fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    fn host(&self) -> &Namespaces {
        &self.host
    }

    fn time(&self) -> Duration {
        Duration::from_secs(20)
    }

    fn check(
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
            Err(error) if is_too_much(&error) => return Ok(None),
            Err(error) => return Err(Failure::new(Kind::Program, calls.first(), explain(&error))),
        };
        let selectors = Selectors::new(&hook.selectors, &policy.lists, |_| None).unwrap();
        let mut matched = 0;
        for given in calls {
            let said = self
                .said(&mut trial, call, given)
                .map_err(|error| Failure::new(Kind::Run, Some(given), error))?;
            let (args, returned) = given.captured(call, &self.memory);
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
}

/// A policy that captures a number of the task.
const ADDRESS: &str = "
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: address}
spec:
  kprobes:
  - {call: tried, syscall: false, data: [{index: 0, type: uint64, source: current_task, resolve: pid}]}
";

/// A value that is read from a source as it is.
fn plain(argument: &Argument, source: Source) -> Input {
    Input {
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
    }
}

/// A hook without arguments.
fn plan(hook: &Hook) -> HookPlan {
    let returned = hook.return_arg.as_ref();
    HookPlan {
        denial: None,
        place: hook.place.clone(),
        event: EventKind::Kprobe { function: "tried".to_owned() },
        attachment: Attachment::Kprobe { function: "tried".to_owned(), syscall: false },
        reason: String::new(),
        args: Vec::new(),
        data: Vec::new(),
        returned: returned.map(|argument| plain(argument, Source::Returned { pointee: None })),
        return_action: hook.return_action,
        selectors: hook.selectors.clone(),
        message: hook.message.clone(),
        tags: hook.tags.clone(),
    }
}

/// As a line that can be read.
pub(crate) fn short(verdict: &Verdict) -> String {
    let mut text = format!("{verdict:?}");
    if let Some((end, _)) = text.char_indices().nth(2000) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Whether the verifier gave up after a million instructions.
fn is_too_much(error: &compiler::Error) -> bool {
    let error = match error {
        compiler::Error::Hook { cause, .. } => cause,
        other => other,
    };
    matches!(error, compiler::Error::Kernel(kernel::Error::Rejected(rejected))
        if rejected.cause().contains("BPF program is too large. Processed"))
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
