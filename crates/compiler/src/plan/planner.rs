//! Going through a policy hook by hook, and collecting what is wrong with them on this machine.

use super::denial::Denial;
use super::executable::Executable;
use super::list::{MANY, Missing};
use super::multi;
use super::{Attachment, EventKind, HookPlan, Input, OperandPlace, Plan, Source};
use crate::Machine;
use kernel::features::Feature;
use kernel::kallsyms::Kallsyms;
use policy::checked::{
    Action, Call, CheckedPolicy, Comparison, Filter, FilterTest, Function, Hook, Place, Selector,
    Subject, Target, Test, ValueKind,
};
use policy::document::TypeName;
use policy::{Problem, Problems};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

impl Plan {
    /// Decides how the policy is put into effect on a machine.
    ///
    /// # Errors
    /// Everything that this machine lacks for it or that does not fit its kernel, with its place.
    pub fn new(policy: Arc<CheckedPolicy>, machine: &Machine) -> Result<Self, Problems> {
        let mut planner = Planner {
            machine,
            policy: &policy,
            hooks: Vec::new(),
            enforcers: Vec::new(),
            enforcing: false,
            problems: Vec::new(),
            notes: Vec::new(),
            symbols: OnceCell::new(),
            executables: HashMap::new(),
            of_many: false,
            of_list: 0,
        };
        planner.run();
        let Planner { mut hooks, enforcers, problems, mut notes, .. } = planner;
        multi::join(&mut hooks);
        if let Some(problems) = Problems::of(&policy.file, problems) {
            return Err(problems);
        }
        notes.sort();
        notes.dedup();
        let [hooks, enforcers] =
            [hooks, enforcers].map(|all| all.into_iter().map(Arc::new).collect());
        Ok(Self { policy, hooks, enforcers, notes })
    }
}

/// The work on one policy.
pub(super) struct Planner<'a> {
    pub(super) machine: &'a Machine,
    pub(super) policy: &'a CheckedPolicy,
    pub(super) hooks: Vec<HookPlan>,
    pub(super) enforcers: Vec<HookPlan>,
    /// What is added now is a call of an enforcer.
    pub(super) enforcing: bool,
    problems: Vec<Problem>,
    notes: Vec<Problem>,
    symbols: OnceCell<Option<Kallsyms>>,
    /// Executables and libraries that were opened, by the path in the policy.
    pub(super) executables: HashMap<String, Arc<Executable>>,
    /// Whether the system call that is hooked is one of very many of a list or of the policy.
    pub(super) of_many: bool,
    /// How many functions the list has that the function is of; 0 if it is of none.
    pub(super) of_list: usize,
}

/// What was found out about one place that a hook attaches to.
pub(super) struct Found {
    pub(super) event: EventKind,
    pub(super) attachment: Attachment,
    pub(super) reason: String,
}

/// The values of a hook.
pub(super) struct Inputs {
    pub(super) args: Vec<Input>,
    pub(super) data: Vec<Input>,
    pub(super) returned: Option<Input>,
}

impl Planner<'_> {
    fn run(&mut self) {
        let policy = self.policy;
        if let Some(place) = &policy.loader
            && let Err(why) = super::attachment::lacks(self.machine, Feature::BuildId)
        {
            let message = format!("this kernel does not tell of executable mappings: {why}");
            self.error(place, message);
        }
        let is_call = |hook: &&Hook| {
            let Target::Kprobe(function) = &hook.target else { return false };
            function.syscall && matches!(function.call, Call::Function(_))
        };
        self.of_many = policy.hooks.iter().filter(is_call).count() >= MANY;
        for hook in &policy.hooks {
            match &hook.target {
                Target::Kprobe(function) | Target::Fentry(function) => {
                    self.functions(hook, function);
                }
                Target::Tracepoint { subsystem, event, raw: false } => {
                    self.tracepoint(hook, subsystem, event);
                }
                Target::Tracepoint { subsystem, event, raw: true } => {
                    self.raw_tracepoint(hook, subsystem, event);
                }
                Target::Lsm(name) => self.lsm(hook, name),
                Target::Uprobe(program) => self.uprobe(hook, program),
                Target::Usdt { path, provider, name, btf_path } => {
                    self.usdt(hook, path, provider, name, btf_path.as_deref());
                }
            }
        }
        for enforcer in &policy.enforcers {
            self.enforcer(enforcer);
        }
    }

    pub(super) fn functions(&mut self, hook: &Hook, function: &Function) {
        match &function.call {
            Call::Function(name) if function.syscall => {
                let missing = Missing::of(function.ignore_missing);
                self.syscall(hook, name, &hook.place, missing);
            }
            Call::Function(name) => {
                let missing = Missing::of(function.ignore_missing);
                self.function(hook, name, &hook.place, missing);
            }
            Call::List(name) => self.list(hook, function, name),
        }
    }

    pub(super) fn error(&mut self, place: &Place, message: impl Into<String>) {
        self.problems.push(problem(place, message));
    }

    pub(super) fn note(&mut self, place: &Place, message: impl Into<String>) {
        self.notes.push(problem(place, message));
    }

    /// How many problems there are so far.
    pub(super) fn problems(&self) -> usize {
        self.problems.len()
    }

    /// The kernel's symbols, where they are known.
    pub(super) fn symbols(&self) -> Option<&Kallsyms> {
        self.symbols.get_or_init(|| self.machine.functions.symbols()).as_ref()
    }

    /// Adds a hook, whose values are known, if its selectors fit them.
    pub(super) fn add(&mut self, hook: &Hook, found: Found, inputs: Inputs) {
        let before = self.problems();
        let selectors: Vec<Selector> =
            hook.selectors.iter().map(|selector| self.selector(selector, hook, &inputs)).collect();
        if let (Some(_), Some(input)) = (hook.return_action, &inputs.returned) {
            self.socket(&input.place, "the return value", input.kind);
        }
        if self.problems() > before {
            return;
        }
        let Found { event, mut attachment, mut reason } = found;
        let called = called(&event, &attachment);
        let denial = match self.enforcing {
            true => Some(self.enforced(&attachment, called)),
            false => self.denial(&selectors, &attachment, called),
        };
        if let (Some(Denial::Gates(_)), Some(called)) = (&denial, called) {
            let action = if self.enforcing { "NotifyEnforcer for" } else { "Override of" };
            for remark in Self::remarks(called) {
                self.note(&hook.place, format!("{action} {called}: {remark}"));
            }
        }
        if let (Some(Denial::OverrideReturn), Some(kprobe)) = (&denial, attachment.as_kprobe()) {
            attachment = kprobe;
            reason = "a kprobe, whose programs can return in place of the call".to_owned();
        }
        let Inputs { args, data, returned } = inputs;
        let plans = if self.enforcing { &mut self.enforcers } else { &mut self.hooks };
        plans.push(HookPlan {
            place: hook.place.clone(),
            event,
            attachment,
            reason,
            denial,
            args,
            data,
            returned,
            return_action: hook.return_action,
            selectors,
            message: hook.message.clone(),
            tags: hook.tags.clone(),
        });
    }

    /// The selector, with every filter's question asked of the type that the value turned out to have.
    fn selector(&mut self, selector: &Selector, hook: &Hook, inputs: &Inputs) -> Selector {
        let mut selector = selector.clone();
        for filter in selector.filters.iter_mut().chain(&mut selector.return_filters) {
            let (written, input) = match filter.subject {
                Subject::Argument(at) => (hook.args.get(at), inputs.args.get(at)),
                Subject::Data(at) => (hook.data.get(at), inputs.data.get(at)),
                Subject::Return => (hook.return_arg.as_ref(), inputs.returned.as_ref()),
                Subject::Expression => continue,
            };
            if let (Some(written), Some(input)) = (written, input) {
                self.filter(filter, written.kind, input.kind);
            }
        }
        for action in &selector.actions {
            let Action::Set { argument, .. } = &action.value else { continue };
            if let Some(input) = inputs.args.get(*argument)
                && !is_settable(input)
            {
                let message = format!(
                    "args[{argument}] ({}) is no number of 4 bytes in memory: only such can be set",
                    input.source
                );
                self.error(&action.place, message);
            }
        }
        for action in selector.actions.iter().chain(&selector.return_actions) {
            let (Action::TrackSock(at) | Action::UntrackSock(at)) = &action.value else { continue };
            if let Some(input) = inputs.args.get(*at) {
                self.socket(&action.place, &format!("args[{at}]"), input.kind);
            }
        }
        selector
    }

    /// Refuses to track what is no socket.
    fn socket(&mut self, place: &Place, what: &str, kind: TypeName) {
        if kind.kind() != ValueKind::Socket {
            let message = format!("{what} is of type {kind}: only sock and socket can be tracked");
            self.error(place, message);
        }
    }

    fn filter(&mut self, filter: &mut Filter, written: TypeName, kind: TypeName) {
        match &filter.test {
            FilterTest::Deferred(deferred) => match deferred.resolve(kind, &self.policy.lists) {
                Ok(test) => filter.test = FilterTest::Known(test),
                Err(problems) => self.problems.extend(problems),
            },
            FilterTest::Known(_) if written.kind() != kind.kind() => {
                let message = format!(
                    "this filter is about a value of type {written}, but the kernel's types say that \
                     it is of type {kind}: write `type: {kind}` there"
                );
                self.error(&filter.place, message);
            }
            FilterTest::Known(_) => {}
        }
        if let FilterTest::Known(Test { comparison: Comparison::Syscalls { lists, .. }, .. }) =
            &filter.test
        {
            for name in lists {
                self.calls_exist(name);
            }
        }
    }
}

/// Whether Set can write to a value: a number of 4 bytes in memory of the process.
fn is_settable(input: &Input) -> bool {
    let Source::Operand(operand) = &input.source else { return false };
    operand.size == 4 && matches!(operand.place, OperandPlace::Memory { .. })
}

/// The name of the system call that a hook is on, without prefix.
pub(super) fn called<'e>(event: &'e EventKind, attachment: &Attachment) -> Option<&'e str> {
    let syscall = matches!(
        attachment,
        Attachment::Trampoline { syscall: true, .. }
            | Attachment::Kprobe { syscall: true, .. }
            | Attachment::Syscall { .. }
    );
    match event {
        EventKind::Kprobe { function } if syscall => super::syscall::stem(function),
        _ => None,
    }
}

fn problem(place: &Place, message: impl Into<String>) -> Problem {
    Problem { mark: place.mark, path: place.path.clone(), message: message.into() }
}
