//! A hook of a policy as data that can be made, made smaller, and written as YAML.

use std::fmt::Write as _;

/// A hook.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Hook {
    pub(crate) args: Vec<Arg>,
    /// Type of the return value.
    pub(crate) returned: Option<&'static str>,
    pub(crate) selectors: Vec<Selector>,
}

/// An argument; its index is its position.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arg {
    pub(crate) kind: &'static str,
    /// Position of the argument with the length.
    pub(crate) size: Option<usize>,
}

/// A selector.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Selector {
    pub(crate) process: Vec<Clause>,
    pub(crate) filters: Vec<Filter>,
    pub(crate) returns: Vec<Filter>,
}

/// An entry of a filter by process.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Clause {
    /// Key of the list that it stands in.
    pub(crate) list: &'static str,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) values: Vec<String>,
}

/// A filter by value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Filter {
    /// Positions of arguments; none for expressions and return values.
    pub(crate) positions: Vec<usize>,
    pub(crate) operator: &'static str,
    pub(crate) values: Vec<String>,
}

impl Hook {
    /// The policy.
    pub(crate) fn yaml(&self) -> String {
        let mut text = String::from(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: random}\nspec:\n  \
             kprobes:\n  - call: tried\n    syscall: false\n",
        );
        if let Some(kind) = self.returned {
            let _ = writeln!(text, "    return: true\n    returnArg: {{index: 0, type: {kind}}}");
        }
        if !self.args.is_empty() {
            text.push_str("    args:\n");
        }
        for (index, Arg { kind, size }) in self.args.iter().enumerate() {
            let size = size.map_or(String::new(), |at| format!(", sizeArgIndex: {}", at + 1));
            let _ = writeln!(text, "    - {{index: {index}, type: {kind}{size}}}");
        }
        if !self.selectors.is_empty() {
            text.push_str("    selectors:\n");
        }
        for selector in &self.selectors {
            selector.write(&mut text);
        }
        text
    }
}

impl Selector {
    fn write(&self, text: &mut String) {
        let mut lists: Vec<(&str, Vec<String>)> = Vec::new();
        let mut add = |list, entry| match lists.iter_mut().find(|(name, _)| *name == list) {
            Some((_, entries)) => entries.push(entry),
            None => lists.push((list, vec![entry])),
        };
        for Clause { list, fields, values } in &self.process {
            let mut entry = String::new();
            for (key, value) in fields {
                let _ = write!(entry, "{key}: {value}, ");
            }
            add(list, format!("{{{entry}values: {}}}", list_of(values)));
        }
        for filter in &self.filters {
            add("matchArgs", filter.entry());
        }
        for filter in &self.returns {
            add("matchReturnArgs", filter.entry());
        }
        if lists.is_empty() {
            text.push_str("    - {}\n");
        }
        for (index, (name, entries)) in lists.iter().enumerate() {
            let _ = writeln!(text, "    {} {name}:", if index == 0 { "-" } else { " " });
            for entry in entries {
                let _ = writeln!(text, "      - {entry}");
            }
        }
    }
}

impl Filter {
    fn entry(&self) -> String {
        let Self { positions, operator, values } = self;
        let args = match positions.as_slice() {
            [] => String::new(),
            positions => format!("args: {positions:?}, "),
        };
        format!("{{{args}operator: {operator}, values: {}}}", list_of(values))
    }
}

fn list_of(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| quote(value)).collect();
    format!("[{}]", quoted.join(", "))
}

/// A double-quoted scalar.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
