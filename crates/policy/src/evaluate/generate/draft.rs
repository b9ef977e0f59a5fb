//! A policy in the making: what a test can print, and make smaller while it still fails.

use super::random::Random;
use super::{around, filter};
use crate::document::{Operator, TypeName};
use crate::evaluate::{Namespaces, Process};
use std::fmt;

/// What is hooked, and what of it is captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The hook's section and first fields in YAML flow style, left open:
    /// `kprobes: [{call: f, syscall: false`.
    pub hook: String,
    /// Types of the arguments to capture, never `auto`. Those of the function are numbered in this
    /// order; behind each `char_buf` comes one more, which holds its length.
    pub args: Vec<TypeName>,
    /// Type of the return value, if that is captured.
    pub returned: Option<TypeName>,
    /// Whether all of a `char_buf` is captured (`maxData`).
    pub max_data: bool,
}

/// A policy with one hook. Displays as its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    call: Call,
    selectors: Vec<Selector>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Selector {
    /// Parts about the process: key and content.
    process: Vec<(&'static str, String)>,
    args: Vec<Filter>,
    returns: Vec<Filter>,
}

/// A filter as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    /// Positions in `args`.
    pub(super) positions: Vec<usize>,
    pub(super) operator: Operator,
    pub(super) values: Vec<String>,
}

impl Call {
    /// The number of the function's argument at each position of `args`.
    #[must_use]
    pub fn indices(&self) -> Vec<u32> {
        let mut next = 0;
        let width = |kind: &TypeName| if needs_size(*kind) { 2 } else { 1 };
        let index = |kind| {
            let index = next;
            next += width(kind);
            index
        };
        self.args.iter().map(index).collect()
    }
}

/// Whether the argument behind one of this type says how much there is of it.
fn needs_size(kind: TypeName) -> bool {
    matches!(kind, TypeName::CharBuf | TypeName::CharIovec)
}

pub(super) fn draw(
    random: &mut Random,
    call: &Call,
    process: Option<(&Process, &Namespaces)>,
) -> Draft {
    let subjects: Vec<usize> = (0..call.args.len())
        .filter(|position| !call.args[*position].kind().operators().is_empty())
        .collect();
    // What matches always is soon tried out.
    let count = if random.once_in(16) { 0 } else { 1 + random.below(4) };
    let selectors = (0..count).map(|_| {
        let none = subjects.is_empty() || random.once_in(12);
        let filters = if none { 0 } else { 1 + random.below(3) };
        let args = (0..filters).map(|_| {
            let position = random.pick_or(&subjects, 0);
            filter::draw(random, &call.args, position)
        });
        let args = args.collect();
        let returned = call.returned.filter(|kind| filter::comparable(*kind));
        let returns = match returned {
            Some(kind) if random.once_in(2) => vec![filter::draw(random, &[kind], 0)],
            _ => Vec::new(),
        };
        let process =
            process.map(|(process, host)| around::draw(random, process, host)).unwrap_or_default();
        Selector { process, args, returns }
    });
    let selectors = selectors.collect();
    Draft { call: call.clone(), selectors }
}

impl Draft {
    /// The smallest draft found for which the test still fails: without selectors, filters and values
    /// that do not matter, and with short values. `fails` is asked of drafts that pass every check.
    #[must_use]
    pub fn shrink(self, mut fails: impl FnMut(&Self) -> bool) -> Self {
        let mut smallest = self;
        loop {
            let valid =
                |draft: &Self| crate::CheckedPolicy::read("draft", &draft.to_string()).is_ok();
            let next = smallest.smaller().into_iter().find(|draft| valid(draft) && fails(draft));
            match next {
                Some(next) => smallest = next,
                None => return smallest,
            }
        }
    }

    /// Drafts with one thing less.
    fn smaller(&self) -> Vec<Self> {
        let mut drafts = Vec::new();
        for selector in 0..self.selectors.len() {
            let mut draft = self.clone();
            draft.selectors.remove(selector);
            drafts.push(draft);
        }
        for selector in 0..self.selectors.len() {
            for part in 0..self.selectors[selector].process.len() {
                let mut draft = self.clone();
                draft.selectors[selector].process.remove(part);
                drafts.push(draft);
            }
            for returns in [false, true] {
                for filter in 0..self.filters(selector, returns).len() {
                    let mut draft = self.clone();
                    draft.filters_mut(selector, returns).remove(filter);
                    drafts.push(draft);
                    let values = &self.filters(selector, returns)[filter].values;
                    for smaller in smaller_values(values) {
                        let mut draft = self.clone();
                        draft.filters_mut(selector, returns)[filter].values = smaller;
                        drafts.push(draft);
                    }
                }
            }
        }
        drafts
    }

    fn filters(&self, selector: usize, returns: bool) -> &[Filter] {
        let selector = &self.selectors[selector];
        if returns { &selector.returns } else { &selector.args }
    }

    fn filters_mut(&mut self, selector: usize, returns: bool) -> &mut Vec<Filter> {
        let selector = &mut self.selectors[selector];
        if returns { &mut selector.returns } else { &mut selector.args }
    }
}

/// The values without one half, without one of them, and with one of them shorter.
fn smaller_values(values: &[String]) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    if values.len() > 2 {
        let (first, second) = values.split_at(values.len() / 2);
        all.extend([first.to_vec(), second.to_vec()]);
    }
    for at in 0..values.len() {
        if values.len() > 1 {
            let mut fewer = values.to_vec();
            fewer.remove(at);
            all.push(fewer);
        }
        let count = values[at].chars().count();
        for length in [count / 2, count.saturating_sub(1)] {
            if length < count {
                let mut shorter = values.to_vec();
                shorter[at] = values[at].chars().take(length).collect();
                all.push(shorter);
            }
        }
    }
    all
}

impl fmt::Display for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Call { hook, args, returned, max_data } = &self.call;
        writeln!(f, "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy")?;
        writeln!(f, "metadata: {{name: drawn}}\nspec:\n  {hook},")?;
        let indices = self.call.indices();
        let list = indices.iter().zip(args).map(|(index, kind)| match kind {
            kind if needs_size(*kind) => {
                let more =
                    if *max_data && *kind == TypeName::CharBuf { ", maxData: true" } else { "" };
                format!("{{index: {index}, type: {kind}, sizeArgIndex: {}{more}}}", index + 2)
            }
            kind => format!("{{index: {index}, type: {kind}}}"),
        });
        writeln!(f, "    args: [{}],", list.collect::<Vec<_>>().join(", "))?;
        if let Some(kind) = returned {
            writeln!(f, "    return: true, returnArg: {{index: 0, type: {kind}}},")?;
        }
        writeln!(f, "    selectors: [")?;
        for selector in &self.selectors {
            write!(f, "      {{")?;
            for (key, content) in &selector.process {
                write!(f, "{key}: {content},\n       ")?;
            }
            writeln!(f, "matchArgs: [")?;
            for filter in &selector.args {
                let positions: Vec<String> =
                    filter.positions.iter().map(ToString::to_string).collect();
                write_filter(f, &format!("args: [{}]", positions.join(", ")), filter)?;
            }
            write!(f, "      ]")?;
            if !selector.returns.is_empty() {
                writeln!(f, ", matchReturnArgs: [")?;
                for filter in &selector.returns {
                    write_filter(f, "index: 0", filter)?;
                }
                write!(f, "      ]")?;
            }
            writeln!(f, "}},")?;
        }
        writeln!(f, "    ]}}]")
    }
}

fn write_filter(f: &mut fmt::Formatter<'_>, subject: &str, filter: &Filter) -> fmt::Result {
    let quoted = |value: &String| serde_json::Value::from(value.as_str()).to_string();
    let values: Vec<String> = filter.values.iter().map(quoted).collect();
    let operator = filter.operator;
    write!(f, "        {{{subject}, operator: {operator}")?;
    if values.is_empty() { Ok(()) } else { write!(f, ", values: [{}]", values.join(", ")) }?;
    writeln!(f, "}},")
}
