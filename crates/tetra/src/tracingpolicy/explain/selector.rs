//! What a hook reads, and when a selector matches, in words.

use compiler::plan::{HookPlan, Input, Source};
use policy::checked::{
    BinaryFilter, CapabilityFilter, Filter, FilterTest, NamespaceFilter, NamespaceId,
    PathComparison, PidFilter, ReturnAction, Scope, Selector, Subject,
};
use policy::document::{CapabilitySet, LabelOperator, LabelSelector};
use policy::names;

use super::words::{joined, quoted};
use super::{action, comparison};

/// The values that a hook reads: `argument 0 (file)`.
pub(super) fn values(hook: &HookPlan) -> Vec<String> {
    let inputs = hook.args.iter().chain(&hook.data);
    let mut values: Vec<String> =
        inputs.map(|input| format!("{} ({})", name(input), input.kind)).collect();
    values.extend(hook.returned.as_ref().map(|input| format!("the result ({})", input.kind)));
    values
}

/// What people call a value.
fn name(input: &Input) -> String {
    let whole = match &input.source {
        Source::Argument { index, .. } => format!("argument {index}"),
        Source::Returned { .. } => "the result".to_owned(),
        Source::CurrentTask => "the current task".to_owned(),
        Source::Register { .. } => "a register".to_owned(),
        Source::Operand(_) | Source::Field { .. } => format!("`{}`", input.place.path),
    };
    let field = match input.resolve.as_str() {
        "" => whole,
        field => format!("`{field}` of {whole}"),
    };
    match input.label.as_str() {
        "" => field,
        label => format!("{field}, called `{label}`,"),
    }
}

/// The same without what only the first mention says.
fn brief(input: &Input) -> String {
    match input.label.as_str() {
        "" => name(input),
        label => format!("`{label}`"),
    }
}

/// A sentence: when it matches, and what it does then.
pub(super) fn text(selector: &Selector, hook: &HookPlan) -> String {
    let Selector {
        place,
        label,
        workloads: of,
        pids,
        binaries,
        parent_binaries,
        namespaces,
        namespace_changes,
        capabilities,
        capability_changes,
        filters,
        return_filters,
        actions,
        return_actions,
    } = selector;
    let input = |at: usize| hook.args.get(at).map_or_else(|| format!("args[{at}]"), brief);
    let mut when: Vec<String> = Vec::new();
    when.extend(of.as_ref().and_then(workloads).map(|whom| format!("it is {whom}")));
    when.extend(pids.iter().map(by_pid));
    when.extend(binaries.iter().map(|filter| by_binary("the executable", filter)));
    when.extend(parent_binaries.iter().map(|filter| by_binary("the parent's executable", filter)));
    when.extend(namespaces.iter().map(by_namespace));
    for change in namespace_changes {
        let kinds: Vec<String> = change.kinds.iter().map(ToString::to_string).collect();
        let other = if change.negated { "another namespace than" } else { "the namespace" };
        when.push(format!("{other} {} changed since the call before", joined(&kinds, "or")));
    }
    when.extend(capabilities.iter().map(by_capability));
    when.extend(capability_changes.iter().map(by_capability_change));
    when.extend(filters.iter().map(|filter| by_value(filter, hook, &input)));
    let (back, now): (Vec<String>, Vec<String>) =
        (return_filters.iter().map(|filter| by_value(filter, hook, &input)).collect(), when);
    let mut named = format!("line {}", place.mark.line);
    if !label.is_empty() {
        named.push_str(&format!(", `{label}`"));
    }
    let begin = match now.is_empty() {
        true => format!("always ({named})"),
        false => format!("if {} ({named})", joined(&now, "and")),
    };
    let mut done = action::text(actions, &input);
    if !back.is_empty() || !return_actions.is_empty() {
        let then = action::text(return_actions, &input);
        let back = match back.is_empty() {
            true => "when it returns".to_owned(),
            false => format!("when it returns and {}", joined(&back, "and")),
        };
        // At entry nothing is reported: the event comes at return.
        done = match actions.iter().any(|action| action.value.is_enforcing()) || actions.len() > 1 {
            true => format!("{done}; {back}, it {then}"),
            false if return_actions.is_empty() => format!("{done}, {back}"),
            false => format!("{back}, it {then}"),
        };
    }
    match hook.return_action {
        Some(ReturnAction::TrackSock) => done.push_str(", and remembers the owner of the result"),
        Some(ReturnAction::UntrackSock) => done.push_str(", and forgets the owner of the result"),
        None => {}
    }
    format!("{begin}: {done}.")
}

fn by_value(filter: &Filter, hook: &HookPlan, input: &dyn Fn(usize) -> String) -> String {
    let subject = match filter.subject {
        Subject::Argument(at) => input(at),
        Subject::Data(at) => hook.data.get(at).map_or_else(|| format!("data[{at}]"), brief),
        Subject::Return => "the result".to_owned(),
        Subject::Expression => {
            return format!("its expression in line {} holds", filter.place.mark.line);
        }
    };
    match &filter.test {
        FilterTest::Known(test) => format!("{subject} {}", comparison::text(test, input)),
        FilterTest::Deferred(_) => format!("{subject} is as line {} says", filter.place.mark.line),
    }
}

fn by_pid(filter: &PidFilter) -> String {
    let PidFilter { place: _, negated, values, in_namespace, follow_forks } = filter;
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    let values = joined(&values, "or");
    let what = if *in_namespace { "the process in its own namespace" } else { "the process" };
    match (negated, follow_forks) {
        (false, false) => format!("{what} is {values}"),
        (false, true) => format!("{what} is {values} or descends from it"),
        (true, false) => format!("{what} is not {values}"),
        (true, true) => format!("{what} neither is {values} nor descends from it"),
    }
}

fn by_binary(what: &str, filter: &BinaryFilter) -> String {
    let BinaryFilter { place: _, negated, comparison, values, follow_children } = filter;
    let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    let values = joined(&values, "or");
    let verb = match (comparison, negated, follow_children) {
        (PathComparison::Exact, false, _) => "is",
        (PathComparison::Exact, true, false) => "is not",
        (PathComparison::Exact, true, true) => "are not",
        (PathComparison::Prefix, false, _) => "begins with",
        (PathComparison::Prefix, true, _) => "does not begin with",
        (PathComparison::Postfix, false, _) => "ends with",
        (PathComparison::Postfix, true, _) => "does not end with",
    };
    match (follow_children, negated) {
        (false, _) => format!("{what} {verb} {values}"),
        (true, true) => format!("{what}, and those that it was started by, {verb} {values}"),
        (true, false) => format!("{what}, or one that it was started by, {verb} {values}"),
    }
}

fn by_namespace(filter: &NamespaceFilter) -> String {
    let value = |id: &NamespaceId| match id {
        NamespaceId::Host => "the host's".to_owned(),
        NamespaceId::Inode(number) => number.to_string(),
    };
    let values: Vec<String> = filter.values.iter().map(value).collect();
    let is = if filter.negated { "is not" } else { "is" };
    format!("the namespace {} {is} {}", filter.kind, joined(&values, "or"))
}

fn by_capability(filter: &CapabilityFilter) -> String {
    let has = if filter.negated { "none" } else { "one" };
    format!("the process has {has} of the {}", capabilities_of(filter))
}

fn by_capability_change(filter: &CapabilityFilter) -> String {
    let which = if filter.negated { "another" } else { "one" };
    let than = if filter.negated { "than" } else { "of" };
    format!("{which} {than} the {} changed since the call before", capabilities_of(filter))
}

/// `effective capabilities CAP_SYS_ADMIN or CAP_BPF`
fn capabilities_of(filter: &CapabilityFilter) -> String {
    let set = match filter.set {
        CapabilitySet::Effective => "effective",
        CapabilitySet::Inheritable => "inheritable",
        CapabilitySet::Permitted => "permitted",
    };
    let held = (0..u64::BITS).filter(|bit| filter.mask >> bit & 1 != 0);
    let name = |bit: u32| names::capability(bit).map_or_else(|| bit.to_string(), ToOwned::to_owned);
    let names = joined(&held.map(name).collect::<Vec<_>>(), "or");
    let outside = match filter.outside_host_user_namespace {
        true => ", outside of the host's user namespace,",
        false => "",
    };
    format!("{set} capabilities {names}{outside}")
}

/// Whom a restriction leaves; `None`: everybody.
pub(super) fn workloads(scope: &Scope) -> Option<String> {
    if !scope.is_restricted() {
        return None;
    }
    let pods = scope.pods.as_ref().map(|pods| format!("pods with {}", labels(pods)));
    let containers =
        scope.containers.as_ref().map(|these| format!("containers with {}", labels(these)));
    let mut whom: Vec<String> = match (pods, containers) {
        (Some(pods), Some(containers)) => vec![format!("processes of {containers} in {pods}")],
        (one, other) => {
            one.or(other).map(|these| format!("processes of {these}")).into_iter().collect()
        }
    };
    if scope.host {
        whom.push("processes of the host".to_owned());
    }
    Some(joined(&whom, "and"))
}

/// What labels have to be.
pub(super) fn labels(selector: &LabelSelector) -> String {
    let exact = selector.match_labels.iter().map(|(key, value)| format!("{key}={}", value.0));
    let required = selector.match_expressions.iter().map(|one| {
        let values = || joined(&one.values, "or");
        match one.operator {
            LabelOperator::In => format!("{} {}", one.key, values()),
            LabelOperator::NotIn => format!("{} not {}", one.key, values()),
            LabelOperator::Exists => format!("any {}", one.key),
            LabelOperator::DoesNotExist => format!("no {}", one.key),
        }
    });
    let all: Vec<String> = exact.chain(required).collect();
    if all.is_empty() { "any labels".to_owned() } else { joined(&all, "and") }
}
