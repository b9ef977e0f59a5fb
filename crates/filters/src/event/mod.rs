//! One filter: an event has to pass every field of it that is set, and passes a field with several
//! values by any of them.

mod capabilities;
mod labels;
mod processes;

use api::tetragon::{EventType, Filter, GetEventsResponse, Pod, Process};
use regex::RegexSet;

use crate::cel::Expression;
use crate::error::FilterError;
use capabilities::Capabilities;
use labels::LabelSelector;
use processes::FollowedProcesses;

/// A compiled `Filter`.
#[derive(Debug, Default)]
pub struct EventFilter {
    kinds: Vec<EventType>,
    tests: Vec<Test>,
    expressions: Vec<Expression>,
}

/// What is asked of an event; in the order in which it is cheapest to ask.
#[derive(Debug)]
enum Test {
    Pids(Vec<u32>),
    InInitTree(bool),
    HealthCheck(bool),
    PolicyNames(Vec<String>),
    Namespaces(Vec<String>),
    Capabilities(Capabilities),
    Binary(RegexSet),
    ParentBinary(RegexSet),
    AncestorBinary(RegexSet),
    Arguments(RegexSet),
    ParentArguments(RegexSet),
    Namespace(RegexSet),
    Pod(RegexSet),
    ContainerName(RegexSet),
    ContainerId(RegexSet),
    Labels(Vec<LabelSelector>),
    Processes(FollowedProcesses),
}

/// Makes a test of regular expressions.
type OfRegexes = fn(RegexSet) -> Test;

impl EventFilter {
    /// Compiles a filter.
    pub fn new(filter: &Filter) -> Result<Self, FilterError> {
        // Named one by one, so that a new field cannot be forgotten here.
        let Filter {
            binary_regex,
            namespace,
            health_check,
            pid,
            pid_set,
            event_set,
            pod_regex,
            arguments_regex,
            labels,
            policy_names,
            capabilities,
            parent_binary_regex,
            cel_expression,
            parent_arguments_regex,
            container_id,
            in_init_tree,
            ancestor_binary_regex,
            container_name_regex,
            namespace_regex,
        } = filter;
        let kinds = event_set.iter().map(|number| {
            EventType::try_from(*number)
                .map_err(|_| FilterError::Number { field: "event_set", number: *number })
        });
        let mut tests = Vec::new();
        // First and on every event, as it has to see processes start and end.
        if !pid_set.is_empty() {
            tests.push(Test::Processes(FollowedProcesses::new(pid_set)));
        }
        tests.extend(some(pid).map(Test::Pids));
        tests.extend(in_init_tree.map(Test::InInitTree));
        tests.extend(health_check.map(Test::HealthCheck));
        tests.extend(some(policy_names).map(Test::PolicyNames));
        tests.extend(some(namespace).map(Test::Namespaces));
        if let Some(wanted) = capabilities {
            tests.push(Test::Capabilities(Capabilities::new(wanted)?));
        }
        let regexes: [(_, &[String], OfRegexes); 9] = [
            ("binary_regex", binary_regex, Test::Binary),
            ("parent_binary_regex", parent_binary_regex, Test::ParentBinary),
            ("ancestor_binary_regex", ancestor_binary_regex, Test::AncestorBinary),
            ("arguments_regex", arguments_regex, Test::Arguments),
            ("parent_arguments_regex", parent_arguments_regex, Test::ParentArguments),
            ("namespace_regex", namespace_regex, Test::Namespace),
            ("pod_regex", pod_regex, Test::Pod),
            ("container_name_regex", container_name_regex, Test::ContainerName),
            ("container_id", container_id, Test::ContainerId),
        ];
        for (field, list, test) in regexes.into_iter().filter(|(_, list, _)| !list.is_empty()) {
            tests.push(test(compile(field, list)?));
        }
        if !labels.is_empty() {
            let selectors = labels.iter().map(|selector| LabelSelector::parse(selector));
            tests.push(Test::Labels(selectors.collect::<Result<_, _>>()?));
        }
        let expressions = cel_expression.iter().map(|text| Expression::new(text));
        Ok(Self {
            kinds: kinds.collect::<Result<_, _>>()?,
            tests,
            expressions: expressions.collect::<Result<_, _>>()?,
        })
    }

    /// Whether an event passes.
    pub fn takes(&self, event: &GetEventsResponse) -> bool {
        let kind = event.event_type();
        // One that follows processes stands first, and sees events of other kinds as well.
        let followed = match self.tests.first() {
            Some(Test::Processes(processes)) => processes.take(event),
            _ => true,
        };
        followed
            && (self.kinds.is_empty() || self.kinds.contains(&kind))
            && self.tests.iter().all(|test| test.passes(event))
            && (self.expressions.is_empty()
                || self.expressions.iter().any(|expression| expression.holds(event)))
    }

    /// Whether it asks for a kind of events by name.
    pub(crate) fn names(&self, kind: EventType) -> bool {
        self.kinds.contains(&kind)
    }

    /// Whether it takes events of a kind, if they pass its other tests.
    pub(crate) fn may_take(&self, kind: EventType) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    /// Whether it takes every event of a kind.
    pub(crate) fn takes_all_of(&self, kind: EventType) -> bool {
        self.may_take(kind) && self.tests.is_empty() && self.expressions.is_empty()
    }

    /// Whether it follows processes.
    pub(crate) fn follows_processes(&self) -> bool {
        matches!(self.tests.first(), Some(Test::Processes(_)))
    }
}

/// A list, if it has anything.
fn some<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn compile(field: &'static str, list: &[String]) -> Result<RegexSet, FilterError> {
    RegexSet::new(list).map_err(|source| {
        // The set does not say which one it was.
        let wrong = list.iter().find(|regex| regex::Regex::new(regex).is_err());
        FilterError::Regex {
            field,
            regex: wrong.cloned().unwrap_or_default(),
            source: Box::new(source),
        }
    })
}

impl Test {
    /// Whether an event passes. One without a process passes no question about processes.
    fn passes(&self, event: &GetEventsResponse) -> bool {
        match self {
            // Asked before.
            Self::Processes(_) => true,
            Self::PolicyNames(names) => {
                event.policy_name().is_some_and(|policy| names.iter().any(|name| name == policy))
            }
            Self::ParentBinary(regexes) => {
                event.parent().is_some_and(|parent| regexes.is_match(&parent.binary))
            }
            Self::ParentArguments(regexes) => {
                event.parent().is_some_and(|parent| regexes.is_match(&parent.arguments))
            }
            Self::AncestorBinary(regexes) => {
                event.ancestors().iter().any(|ancestor| regexes.is_match(&ancestor.binary))
            }
            _ => event.process().is_some_and(|process| self.takes_process(process)),
        }
    }

    fn takes_process(&self, process: &Process) -> bool {
        let pod = process.pod.as_ref();
        let container = pod.and_then(|pod| pod.container.as_ref());
        match self {
            Self::Pids(pids) => process.pid.is_some_and(|pid| pids.contains(&pid)),
            Self::InInitTree(wanted) => process.in_init_tree == Some(*wanted),
            Self::HealthCheck(wanted) => {
                container.is_some_and(|container| container.maybe_exec_probe) == *wanted
            }
            Self::Namespaces(names) => {
                let namespace = pod.map_or("", |pod| pod.namespace.as_str());
                names.iter().any(|name| name == namespace)
            }
            Self::Capabilities(wanted) => {
                process.cap.as_ref().is_some_and(|have| wanted.are_those_of(have))
            }
            Self::Binary(regexes) => regexes.is_match(&process.binary),
            Self::Arguments(regexes) => regexes.is_match(&process.arguments),
            Self::Namespace(regexes) => pod.is_some_and(|pod| regexes.is_match(&pod.namespace)),
            Self::Pod(regexes) => pod.is_some_and(|pod: &Pod| regexes.is_match(&pod.name)),
            Self::ContainerName(regexes) => {
                container.is_some_and(|container| regexes.is_match(&container.name))
            }
            Self::ContainerId(regexes) => regexes.is_match(&process.docker),
            Self::Labels(selectors) => pod.is_some_and(|pod| {
                selectors.iter().any(|selector| selector.takes(&pod.pod_labels))
            }),
            Self::Processes(_)
            | Self::PolicyNames(_)
            | Self::ParentBinary(_)
            | Self::ParentArguments(_)
            | Self::AncestorBinary(_) => true,
        }
    }
}

#[cfg(test)]
mod tests;
