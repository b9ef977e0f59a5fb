//! Filters by captured values.

use super::argument::Argument;
use super::cel::Expression;
use super::checker::{Checker, Place};
use super::comparison::{self, Comparison, Test, ValueKind};
use super::list::List;
use crate::document::{ArgumentFilter as Written, Operator, TypeName};
use crate::problem::{Mark, Path, Problem};

/// A filter by captured values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Where it stands.
    pub place: Place,
    /// What is asked about.
    pub subject: Subject,
    /// What is asked.
    pub test: FilterTest,
}

/// What a filter asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The value at this position of `args`.
    Argument(usize),
    /// The value at this position of `data`.
    Data(usize),
    /// The return value.
    Return,
    /// The arguments that the expression names.
    Expression,
}

/// What a filter asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterTest {
    /// A question.
    Known(Test),
    /// A question about a value whose type only the kernel's types tell.
    Deferred(Deferred),
}

/// An operator and its values, until the type is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deferred {
    operator: Operator,
    values: Vec<String>,
    marks: Vec<Mark>,
    place: Place,
}

impl Deferred {
    /// The question, asked of a value of this type.
    ///
    /// # Errors
    /// Everything that is wrong with the operator or its values, for this type.
    pub fn resolve(&self, kind: TypeName, lists: &[List]) -> Result<Test, Vec<Problem>> {
        comparison::parse(self.operator, kind, &self.values, lists).map_err(|wrong| {
            let problem = |(index, message): comparison::Wrong| {
                let value = index.and_then(|index| Some((index, *self.marks.get(index)?)));
                let (mark, path) = value.map_or_else(
                    || (self.place.mark, format!("{}.operator", self.place.path)),
                    |(index, mark)| (mark, format!("{}.values[{index}]", self.place.path)),
                );
                Problem { mark, path, message }
            };
            wrong.into_iter().map(problem).collect()
        })
    }
}

/// The values of a hook that filters can ask about.
pub(crate) struct Values<'a> {
    pub(crate) args: &'a [Argument],
    pub(crate) data: &'a [Argument],
    pub(crate) return_kind: Option<TypeName>,
    /// Whether `index` in matchArgs is a position in `args`, as for tracepoints.
    pub(crate) by_position: bool,
}

/// The list in a selector that a filter stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Args,
    Data,
    Return,
}

pub(crate) fn check(
    written: &Written,
    section: Section,
    values: &Values<'_>,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Option<Filter> {
    let place = checker.place(path);
    let operator = written.operator;
    match operator {
        Operator::CelExpr => return expression(written, section, values, path, checker),
        Operator::CapabilitiesGained => return gained(written, section, values, path, checker),
        _ => {}
    }
    let (subject, kind) = match section {
        Section::Args => {
            let position = argument(written, values, path, checker)?;
            (Subject::Argument(position), values.args[position].kind)
        }
        Section::Data => {
            let position = positions(written, values.data.len(), "data", path, checker)?;
            (Subject::Data(position), values.data[position].kind)
        }
        Section::Return => (Subject::Return, values.return_kind?),
    };
    let lists = std::mem::take(&mut checker.lists);
    let parsed = if kind == TypeName::Auto {
        let values_at = path.key("values");
        let marks = (0..written.values.len())
            .map(|index| checker.place(&values_at.index(index)).mark)
            .collect();
        let values = written.values.clone();
        Ok(FilterTest::Deferred(Deferred { operator, values, marks, place: place.clone() }))
    } else {
        comparison::parse(operator, kind, &written.values, &lists).map(FilterTest::Known)
    };
    checker.lists = lists;
    match parsed {
        Ok(test) => Some(Filter { place, subject, test }),
        Err(wrong) => {
            let (operator_at, values_at) = (path.key("operator"), path.key("values"));
            for (index, message) in wrong {
                match index {
                    None => checker.error(&operator_at, message),
                    Some(index) => checker.error(&values_at.index(index), message),
                }
            }
            None
        }
    }
}

/// The position in `args` of the argument that a matchArgs filter names.
fn argument(
    written: &Written,
    values: &Values<'_>,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Option<usize> {
    if !written.args.is_empty() || values.by_position {
        return positions(written, values.args.len(), "args", path, checker);
    }
    let index = written.index.unwrap_or(0);
    let position = values.args.iter().position(|arg| arg.index == index);
    if position.is_none() {
        let known: Vec<String> = values.args.iter().map(|arg| arg.index.to_string()).collect();
        let known = match known.as_slice() {
            [] => "args is empty".to_owned(),
            known => format!("args has index {}", known.join(", ")),
        };
        let message = format!("no argument of index {index} is captured: {known}");
        checker.error(&path.key("index"), message);
    }
    position
}

/// The one position that a filter names, by `args` or `index`.
fn positions(
    written: &Written,
    len: usize,
    list: &str,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Option<usize> {
    let (written, at) = match written.args.as_slice() {
        [] => (written.index.unwrap_or(0), path.key("index")),
        [position] => (*position, path.key("args")),
        _ => {
            let message = format!("`{}` is about one value: give one position", written.operator);
            checker.error(&path.key("args"), message);
            return None;
        }
    };
    position(written, len, list, &at, checker)
}

fn position(
    position: u32,
    len: usize,
    list: &str,
    at: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Option<usize> {
    let found = usize::try_from(position).ok().filter(|position| *position < len);
    if found.is_none() {
        let message = format!("there is no {list}[{position}]: {list} has {len} elements");
        checker.error(at, message);
    }
    found
}

fn gained(
    written: &Written,
    section: Section,
    values: &Values<'_>,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Option<Filter> {
    let at = path.key("args");
    if section != Section::Args {
        checker.error(&path.key("operator"), "CapabilitiesGained is for matchArgs only");
        return None;
    }
    if !written.values.is_empty() {
        checker.error(&path.key("values"), "`CapabilitiesGained` takes no values");
    }
    let [before, after] = written.args.as_slice() else {
        checker.error(&at, "`CapabilitiesGained` needs two positions in args: [old, new]");
        return None;
    };
    let mut sides = Vec::new();
    for written in [*before, *after] {
        let position = position(written, values.args.len(), "args", &at, checker)?;
        let kind = values.args[position].kind;
        if kind.kind() != ValueKind::CapabilitySet {
            let message = format!(
                "args[{position}] is of type {kind}: CapabilitiesGained compares kernel_cap_t, \
                 cap_inheritable, cap_permitted or cap_effective"
            );
            checker.error(&at, message);
            return None;
        }
        sides.push(position);
    }
    let comparison = Comparison::CapabilitiesGained { before: sides[0] };
    let test = FilterTest::Known(Test { negated: false, comparison });
    Some(Filter { place: checker.place(path), subject: Subject::Argument(sides[1]), test })
}

fn expression(
    written: &Written,
    section: Section,
    values: &Values<'_>,
    path: &Path<'_>,
    checker: &mut Checker<'_>,
) -> Option<Filter> {
    if section != Section::Args {
        checker.error(&path.key("operator"), "CelExpr is for matchArgs only");
        return None;
    }
    let at = path.key("values");
    let [text] = written.values.as_slice() else {
        checker.error(&at, "`CelExpr` needs one value, the expression");
        return None;
    };
    let kinds: Vec<TypeName> = values.args.iter().map(|arg| arg.kind).collect();
    let expression = match Expression::parse(text, &kinds) {
        Ok(expression) => expression,
        Err(wrong) => {
            checker.error_within(&at.index(0), wrong.at, &wrong.message);
            return None;
        }
    };
    let test = Test { negated: false, comparison: Comparison::Cel(expression) };
    let (place, subject) = (checker.place(path), Subject::Expression);
    Some(Filter { place, subject, test: FilterTest::Known(test) })
}
