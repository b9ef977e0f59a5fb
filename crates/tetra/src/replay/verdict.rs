//! Whether a policy would have matched a recorded event.
//!
//! The reference evaluator is asked twice: with filters on what the recording lacks taken out, which
//! matches whatever may match, and with those filters on nothing, which hold of nothing and so match only
//! what must.

use std::collections::HashMap;

use api::tetragon::GetEventsResponse;
use api::tetragon::get_events_response::Event as Recorded;
use policy::CheckedPolicy;
use policy::checked::{
    Argument, BinaryFilter, Comparison, Filter, FilterTest, Hook, PidFilter, Selector, Subject,
};
use policy::document::TypeName;
use policy::evaluate::{Selectors, applies};

use super::event::{Known, Values, event};
use super::hook;
use super::value::kind;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It would have matched, by the selector of that number if that can be told (hooks can have none).
    Matches(Option<usize>),
    /// It would not have.
    No,
    /// It cannot be told, as this is not in the recording.
    Unknown(String),
}

/// A policy's verdict on an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged {
    /// Number of the hook.
    pub(super) hook: usize,
    /// The verdict.
    pub(super) verdict: Verdict,
}

/// A policy, and those that the recording was made with.
pub(super) struct Judge<'p> {
    policy: &'p CheckedPolicy,
    recorders: Vec<&'p CheckedPolicy>,
    /// For what is known, and the types of values for which the policy gives none: the selectors as they
    /// are, and those without what is not known.
    prepared: HashMap<(usize, Known, Vec<Option<TypeName>>), Prepared<'p>>,
}

type Prepared<'p> = Result<(Selectors<'p>, Selectors<'p>), String>;

impl<'p> Judge<'p> {
    /// For a policy. Recordings that were made by the policy itself need no others.
    pub(super) fn new(policy: &'p CheckedPolicy, recorders: &'p [CheckedPolicy]) -> Self {
        let recorders = recorders.iter().chain([policy]).collect();
        Self { policy, recorders, prepared: HashMap::new() }
    }

    /// What each hook that the event comes from says.
    pub(super) fn judge(&mut self, recorded: &GetEventsResponse) -> Vec<Judged> {
        let Some(body) = &recorded.event else { return Vec::new() };
        let Some(values) = Values::of(body) else { return Vec::new() };
        let policy = self.policy;
        let hooks = policy.hooks.iter().enumerate();
        hooks
            .filter(|(_, hook)| hook::is_at(policy, hook, body))
            .map(|(number, hook)| Judged {
                hook: number,
                verdict: self.verdict(number, hook, body, &values),
            })
            .collect()
    }

    fn verdict(
        &mut self,
        number: usize,
        hook: &'p Hook,
        body: &Recorded,
        values: &Values<'_>,
    ) -> Verdict {
        let by = self.recorders.iter().find_map(|by| {
            let named = body.policy_name() == Some(&by.name);
            let hooks = by.hooks.iter().filter(|_| named);
            hooks.into_iter().find(|hook| hook::is_at(by, hook, body))
        });
        let values = &by.map_or(*values, |by| values.by(by));
        let args = hook::places(&hook.args, by.map(|by| &by.args[..]), values.args);
        let data = hook::places(&hook.data, by.map(|by| &by.data[..]), values.data);
        let (event, known) = event(body, hook, values, &args, &data);
        if self.policy.scope.is_restricted() || self.policy.namespace.is_some() {
            if !known.workload {
                return Verdict::Unknown("the pod".to_owned());
            }
            if !applies(self.policy, &event.process.workload) {
                return Verdict::No;
            }
        }
        // Types that only the kernel tells are those of the values that came.
        let auto = |own: &Argument, place: &Option<usize>, all: &[_]| match own.kind {
            TypeName::Auto => kind(all.get((*place)?)?),
            kind => Some(kind),
        };
        let mut kinds: Vec<Option<TypeName>> = Vec::new();
        kinds.extend(hook.args.iter().zip(&args).map(|(own, at)| auto(own, at, values.args)));
        kinds.extend(hook.data.iter().zip(&data).map(|(own, at)| auto(own, at, values.data)));
        kinds.push(hook.return_arg.as_ref().and_then(|own| match own.kind {
            TypeName::Auto => kind(values.returned?),
            kind => Some(kind),
        }));
        let (policy, key) = (self.policy, (number, known.clone(), kinds.clone()));
        let prepared =
            self.prepared.entry(key).or_insert_with(|| prepare(policy, hook, &known, &kinds));
        let (certain, possible) = match prepared {
            Ok(both) => both,
            Err(problem) => return Verdict::Unknown(problem.clone()),
        };
        match (certain.evaluate(&event), possible.evaluate(&event)) {
            (_, None) => Verdict::No,
            (Some(sure), Some(maybe)) => {
                Verdict::Matches(sure.selector.filter(|_| sure.selector == maybe.selector))
            }
            (None, Some(maybe)) => Verdict::Unknown(lacking(hook, maybe.selector, &known)),
        }
    }
}

fn prepare<'p>(
    policy: &'p CheckedPolicy,
    hook: &Hook,
    known: &Known,
    kinds: &[Option<TypeName>],
) -> Prepared<'p> {
    let kind_of = |subject: Subject| {
        let place = match subject {
            Subject::Argument(place) => place,
            Subject::Data(place) => hook.args.len() + place,
            Subject::Return => hook.args.len() + hook.data.len(),
            Subject::Expression => return None,
        };
        *kinds.get(place)?
    };
    let both = |change: fn(&Selector, &Known) -> Selector| {
        let selectors: Vec<Selector> =
            hook.selectors.iter().map(|selector| change(selector, known)).collect();
        Selectors::new(&selectors, &policy.lists, kind_of).map_err(|problems| {
            problems.first().map_or_else(String::new, |problem| problem.message.clone())
        })
    };
    Ok((both(certain)?, both(possible)?))
}

/// Whether all is known that a filter asks for.
fn is_known(filter: &Filter, known: &Known) -> bool {
    let of = |values: &[bool], place: usize| values.get(place).copied().unwrap_or(false);
    let before = match &filter.test {
        FilterTest::Known(test) => match test.comparison {
            Comparison::CapabilitiesGained { before } => of(&known.args, before),
            _ => true,
        },
        FilterTest::Deferred(_) => true,
    };
    before
        && match filter.subject {
            Subject::Argument(place) => of(&known.args, place),
            Subject::Data(place) => of(&known.data, place),
            Subject::Return => known.returned,
            // Which ones it names is not looked at.
            Subject::Expression => known.args.iter().all(|known| *known),
        }
}

/// A selector that holds only when it must. Most of what is not known holds of nothing as it is.
fn certain(selector: &Selector, known: &Known) -> Selector {
    let mut selector = selector.clone();
    let deferred = |filter: &Filter| {
        matches!(filter.test, FilterTest::Deferred(_)) && !is_known(filter, known)
    };
    let denies_ancestors = selector.pids.iter().any(|pid| pid.negated && pid.follow_forks)
        || (selector.binaries.iter())
            .chain(&selector.parent_binaries)
            .any(|binary| binary.negated && binary.follow_children);
    let never = (!known.capabilities && !selector.capabilities.is_empty())
        || (!known.pid_in_namespace && selector.pids.iter().any(|pid| pid.in_namespace))
        || (!known.ancestors && denies_ancestors)
        || selector.filters.iter().any(deferred);
    if never || selector.return_filters.iter().any(deferred) {
        // None of no processes.
        selector.pids = vec![PidFilter {
            place: selector.place.clone(),
            negated: false,
            values: Vec::new(),
            in_namespace: false,
            follow_forks: false,
        }];
        selector.filters.clear();
        selector.return_filters.clear();
    }
    selector
}

/// A selector that holds whenever it may: without filters on what is not known.
fn possible(selector: &Selector, known: &Known) -> Selector {
    let mut selector = selector.clone();
    selector.filters.retain(|filter| is_known(filter, known));
    selector.return_filters.retain(|filter| is_known(filter, known));
    selector.pids.retain(|pid| {
        (known.pid_in_namespace || !pid.in_namespace)
            && (known.ancestors || pid.negated || !pid.follow_forks)
    });
    // That none of those that are known matches can be told.
    let follows =
        |binary: &BinaryFilter| known.ancestors || binary.negated || !binary.follow_children;
    selector.binaries.retain(follows);
    selector.parent_binaries.retain(|binary| known.parent && follows(binary));
    if !known.namespaces {
        selector.namespaces.clear();
    }
    if !known.capabilities {
        selector.capabilities.clear();
    }
    // What was before the call is in no recording.
    selector.namespace_changes.clear();
    selector.capability_changes.clear();
    selector.workloads = selector.workloads.filter(|_| known.workload);
    selector
}

/// What would have to be known, for people.
fn lacking(hook: &Hook, selector: Option<usize>, known: &Known) -> String {
    let Some(selector) = selector.and_then(|selector| hook.selectors.get(selector)) else {
        return String::new();
    };
    let mut lacking = Vec::new();
    for filter in selector.filters.iter().chain(&selector.return_filters) {
        if is_known(filter, known) {
            continue;
        }
        let name = |what: &str, place: usize, values: &[Argument]| {
            let label = values.get(place).map_or("", |value| value.label.as_str());
            match label {
                "" => format!("{what}[{place}]"),
                label => format!("{what}[{place}] ({label})"),
            }
        };
        lacking.push(match filter.subject {
            Subject::Argument(place) => name("args", place, &hook.args),
            Subject::Data(place) => name("data", place, &hook.data),
            Subject::Return => "the return value".to_owned(),
            Subject::Expression => "some of args".to_owned(),
        });
    }
    let pids = &selector.pids;
    let follows = pids.iter().any(|pid| pid.follow_forks)
        || selector.binaries.iter().any(|binary| binary.follow_children)
        || selector.parent_binaries.iter().any(|binary| binary.follow_children);
    for (missing, what) in [
        (
            !known.pid_in_namespace && pids.iter().any(|pid| pid.in_namespace),
            "the process id in its namespace",
        ),
        (!known.ancestors && follows, "all ancestors (--enable-ancestors)"),
        (!known.parent && !selector.parent_binaries.is_empty(), "the parent"),
        (
            !known.namespaces && !selector.namespaces.is_empty(),
            "the namespaces (--enable-process-ns)",
        ),
        (
            !known.capabilities && !selector.capabilities.is_empty(),
            "the capabilities (--enable-process-cred)",
        ),
        (!selector.namespace_changes.is_empty(), "the namespaces before the call"),
        (!selector.capability_changes.is_empty(), "the capabilities before the call"),
        (!known.workload && selector.workloads.is_some(), "the pod"),
    ] {
        if missing {
            lacking.push(what.to_owned());
        }
    }
    lacking.dedup();
    lacking.join(", ")
}
