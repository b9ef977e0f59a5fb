//! Where a hook is tried: the verdict of its program beside that of the evaluator.

use crate::given::Call;
use crate::harness::Harness;
use crate::hook::Hook;
use compiler::observed::Observed;
use compiler::plan::{Attachment, EventKind, HookPlan, Input, Source};
use compiler::trial::{self, Trial, Trials};
use policy::CheckedPolicy;
use policy::checked::{self, Argument};
use policy::evaluate::{Event, Selectors, Value};
use std::sync::Arc;

pub(crate) struct Laboratory {
    harness: Harness,
    trials: Trials,
}

/// What went wrong with a hook.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    /// The call that it went wrong with.
    pub(crate) call: Option<Call>,
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
    fn new(kind: Kind, text: impl ToString) -> Self {
        Self { kind, call: None, text: text.to_string() }
    }

    /// For the one who has to find out why.
    pub(crate) fn show(&self, hook: &Hook) -> String {
        let call = self.call.as_ref().map_or(String::new(), |call| format!("{call:?}\n"));
        format!("{:?}\n{}{call}{}", self.kind, hook.yaml(), self.text)
    }
}

impl Laboratory {
    /// `None`, with a word on stderr: it cannot be done here.
    pub(crate) fn new() -> Option<Self> {
        let harness = Harness::new()?;
        let trials = Trials::new(harness.machine.clone(), &harness.base).unwrap();
        Some(Self { harness, trials })
    }

    /// Tries a hook on calls; gives how many of them matched.
    pub(crate) fn check(&mut self, hook: &Hook, calls: &[Call]) -> Result<usize, Failure> {
        let yaml = hook.yaml();
        let policy = CheckedPolicy::read("random.yaml", &yaml)
            .map_err(|problems| Failure::new(Kind::Policy, problems))?;
        let policy = Arc::new(policy);
        let plan = plan(&policy.hooks[0]);
        let mut trial = self
            .trials
            .load(&policy, &plan)
            .map_err(|error| Failure::new(Kind::Program, explain(&error)))?;
        let mut matched = 0;
        for call in calls {
            let said = self.try_one(&mut trial, call).map_err(|error| Failure {
                call: Some(call.clone()),
                ..Failure::new(Kind::Run, error)
            })?;
            let expected = expected(&policy, hook, call);
            if said != expected {
                let text = format!(
                    "the evaluator says {expected:?}\nthe program says   {said:?}\n{}",
                    trial.disassembly().unwrap()
                );
                return Err(Failure { kind: Kind::Verdict, call: Some(call.clone()), text });
            }
            matched += usize::from(said.is_some());
        }
        Ok(matched)
    }

    fn try_one(&mut self, trial: &mut Trial, call: &Call) -> Result<Verdict, compiler::Error> {
        let mut memory = Vec::new();
        let mut arguments = [0; trial::ARGUMENTS];
        for (word, given) in arguments.iter_mut().zip(&call.args) {
            *word = given.word(&mut memory);
        }
        let call = trial::Call { arguments, returned: call.returned };
        let seen = self.trials.run(trial, &call)?;
        Ok(seen.map(|seen| {
            assert_eq!(seen.process.pid, std::process::id());
            (seen.selector, seen.args, seen.returned)
        }))
    }
}

/// What the evaluator says, and what is to be captured.
fn expected(policy: &CheckedPolicy, hook: &Hook, call: &Call) -> Verdict {
    let values = hook.args.iter().zip(&call.args);
    let (args, observed): (Vec<Value>, Vec<_>) =
        values.map(|(arg, given)| given.expected(arg.kind)).unzip();
    let returned =
        hook.returned.map(|kind| crate::given::Given::Word(call.returned).expected(kind));
    let (returned, seen) = returned.map_or((None, None), |(value, seen)| (Some(value), seen));
    let event = Event { args, returned, ..Event::default() };
    let selectors = &policy.hooks[0].selectors;
    let selectors = Selectors::new(selectors, &policy.lists, |_| None).unwrap();
    selectors.evaluate(&event).map(|matched| (matched.selector, observed, seen))
}

/// The whole of an error, the verifier's last words included.
fn explain(error: &compiler::Error) -> String {
    let text = format!("{error}\n");
    if let compiler::Error::Kernel(kernel::Error::Rejected(rejected)) = error {
        let log = rejected.log();
        let from = log.char_indices().rev().nth(6000).map_or(0, |(at, _)| at);
        return text + &log[from..];
    }
    text
}

/// The hook on a function of which only the policy says what its arguments are.
fn plan(hook: &checked::Hook) -> HookPlan {
    let input = |argument: &Argument, source| Input {
        place: argument.place.clone(),
        kind: argument.kind,
        label: argument.label.clone(),
        source,
        resolve: String::new(),
        hops: Vec::new(),
        length: argument.size_argument.map(|index| Source::Argument { index, pointee: None }),
        return_copy: argument.return_copy,
        max_data: argument.max_data,
    };
    let argument = |argument: &Argument| {
        input(argument, Source::Argument { index: argument.index, pointee: None })
    };
    HookPlan {
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
