//! How filters make a selector, and selectors a hook.
//!
//! - A selector's entry part holds when all its filters by process, arguments and data hold.
//! - At entry the first selector whose entry part holds acts (`matchActions`). A hook without selectors
//!   matches always; one with selectors of which none holds, never.
//! - Where the return is hooked, the event comes when the call returns. Among the selectors whose entry
//!   part held, the first one whose return filters hold supplies the event and acts
//!   (`matchReturnActions`). If there is none, there is no event.

use super::event::Event;
use super::value::Value;
use super::{
    binary, capability, expression, file, integer, namespace, network, process, syscall, text,
    truth, workload,
};
use crate::checked::{Comparison, FilterTest, List, Selector, Subject, Test};
use crate::document::TypeName;
use crate::problem::Problem;

/// The selectors of a hook, every type in them known.
#[derive(Debug, Clone)]
pub struct Selectors<'p> {
    selectors: Vec<Selector>,
    lists: &'p [List],
}

/// What matched at entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What acts at entry.
    pub first: Match,
    /// Positions of the selectors whose entry part holds, in order; empty when the hook has none.
    pub holding: Vec<usize>,
}

/// What matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// Position of the selector that acts; `None` when the hook has none.
    pub selector: Option<usize>,
    /// What is taken as seen by the match.
    pub recorded: Recorded,
}

/// What is taken as seen by a match: its present value is recorded for the process, so that the same
/// change does not match again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recorded {
    /// The namespaces.
    pub namespaces: bool,
    /// The capabilities.
    pub capabilities: bool,
}

impl<'p> Selectors<'p> {
    /// The selectors of a hook. `lists` are those of its policy. `kind` gives the type of a value for
    /// which the policy does not say it (`auto`); for all others it is not asked.
    ///
    /// # Errors
    /// Everything that is wrong with filters on values of those types.
    pub fn new(
        selectors: &[Selector],
        lists: &'p [List],
        kind: impl Fn(Subject) -> Option<TypeName>,
    ) -> Result<Self, Vec<Problem>> {
        let mut selectors = selectors.to_vec();
        let mut problems = Vec::new();
        for selector in &mut selectors {
            for filter in selector.filters.iter_mut().chain(&mut selector.return_filters) {
                let FilterTest::Deferred(deferred) = &filter.test else { continue };
                match kind(filter.subject).filter(|kind| *kind != TypeName::Auto) {
                    Some(kind) => match deferred.resolve(kind, lists) {
                        Ok(test) => filter.test = FilterTest::Known(test),
                        Err(wrong) => problems.extend(wrong),
                    },
                    None => problems.push(Problem {
                        mark: filter.place.mark,
                        path: filter.place.path.clone(),
                        message: "the type of the value is not known: give it a type".to_owned(),
                    }),
                }
            }
        }
        if problems.is_empty() { Ok(Self { selectors, lists }) } else { Err(problems) }
    }

    /// What acts on a call as a whole: at entry if it has not returned, else at return.
    #[must_use]
    pub fn evaluate(&self, event: &Event) -> Option<Match> {
        let entry = self.at_entry(event)?;
        match &event.returned {
            None => Some(entry.first),
            Some(returned) => self.at_return(&entry, returned),
        }
    }

    /// What matches at entry; the event's return value is not looked at.
    #[must_use]
    pub fn at_entry(&self, event: &Event) -> Option<Entry> {
        let holding: Vec<usize> = (0..self.selectors.len())
            .filter(|position| self.entry_holds(&self.selectors[*position], event))
            .collect();
        if holding.is_empty() && !self.selectors.is_empty() {
            return None;
        }
        let selector = holding.first().copied();
        Some(Entry { first: self.matched(selector), holding })
    }

    /// What matches at return.
    #[must_use]
    pub fn at_return(&self, entry: &Entry, returned: &Value) -> Option<Match> {
        if entry.holding.is_empty() {
            return Some(entry.first);
        }
        let holds = |position: &&usize| {
            self.selectors.get(**position).is_some_and(|selector| {
                let mut filters = selector.return_filters.iter();
                filters.all(|filter| self.known_holds(&filter.test, Some(returned), &[]))
            })
        };
        entry.holding.iter().find(holds).map(|position| self.matched(Some(*position)))
    }

    fn matched(&self, selector: Option<usize>) -> Match {
        let recorded = selector.and_then(|position| self.selectors.get(position)).map_or_else(
            Recorded::default,
            |selector| Recorded {
                namespaces: !selector.namespace_changes.is_empty(),
                capabilities: !selector.capability_changes.is_empty(),
            },
        );
        Match { selector, recorded }
    }

    fn entry_holds(&self, selector: &Selector, event: &Event) -> bool {
        let process = &event.process;
        let scope = selector.workloads.as_ref();
        scope.is_none_or(|scope| workload::includes(scope, &process.workload))
            && selector.pids.iter().all(|filter| process::holds(filter, process))
            && selector.binaries.iter().all(|filter| binary::holds(filter, process))
            && selector.parent_binaries.iter().all(|filter| binary::parent_holds(filter, process))
            && selector.namespaces.iter().all(|filter| namespace::holds(filter, event))
            && selector.capabilities.iter().all(|filter| capability::holds(filter, event))
            && selector.namespace_changes.iter().all(|filter| namespace::changed(filter, event))
            && selector.capability_changes.iter().all(|filter| capability::changed(filter, event))
            && selector.filters.iter().all(|filter| {
                let value = match filter.subject {
                    Subject::Argument(position) => event.args.get(position),
                    Subject::Data(position) => event.data.get(position),
                    Subject::Return => event.returned.as_ref(),
                    Subject::Expression => None,
                };
                self.known_holds(&filter.test, value, &event.args)
            })
    }

    fn known_holds(&self, test: &FilterTest, value: Option<&Value>, args: &[Value]) -> bool {
        match test {
            FilterTest::Known(test) => self.test_holds(test, value, args),
            // `new` leaves none of these.
            FilterTest::Deferred(_) => false,
        }
    }

    fn test_holds(&self, test: &Test, value: Option<&Value>, args: &[Value]) -> bool {
        let answer = match (&test.comparison, value) {
            (Comparison::Cel(condition), _) => expression::holds(condition, args),
            (Comparison::CapabilitiesGained { before }, Some(after)) => {
                args.get(*before).and_then(|before| capability::gained(before, after))
            }
            (Comparison::Syscalls { numbers, lists }, Some(value)) => {
                syscall::compare(numbers, lists, self.lists, value)
            }
            (comparison, Some(value)) => comparison.holds(value),
            (_, None) => None,
        };
        truth::holds(answer, test.negated)
    }
}

impl Comparison {
    /// Whether it holds of the value; `None` when that cannot be told: the value could not be read, is
    /// of another kind, or is not all that the comparison is about (`CapabilitiesGained`, `Cel`, lists of
    /// system calls).
    #[must_use]
    pub fn holds(&self, value: &Value) -> Option<bool> {
        match self {
            Self::Integers(_) | Self::Greater(_) | Self::Less(_) | Self::Mask(_) => {
                integer::compare(self, value)
            }
            Self::Equal(_)
            | Self::Prefix(_)
            | Self::Postfix(_)
            | Self::Contains(_)
            | Self::ContainsIgnoringCase(_)
            | Self::Matches(_) => text::compare(self, value),
            Self::SourceAddress(_)
            | Self::DestinationAddress(_)
            | Self::SourcePort(_)
            | Self::DestinationPort(_)
            | Self::Protocol(_)
            | Self::Family(_)
            | Self::State(_) => network::compare(self, value),
            Self::FileType(types) => file::compare(types, value),
            Self::Syscalls { numbers, lists } => syscall::compare(numbers, lists, &[], value),
            Self::CapabilitiesGained { .. } | Self::Cel(_) => None,
        }
    }
}
