//! A policy under construction, and how it is written: YAML with comments.

use policy::document::{ActionName, Operator, TypeName};

/// Columns of comments.
const WIDTH: usize = 110;

/// What was asked for, as hooks of a policy.
#[derive(Debug, Clone, Default)]
pub(super) struct Rule {
    /// What it does, for the beginning of the policy.
    pub(super) about: String,
    /// What it does not do.
    pub(super) limits: Vec<String>,
    /// Its hooks.
    pub(super) hooks: Vec<Hook>,
    /// Why this kernel does not let it do what it is for.
    pub(super) doubt: Option<String>,
}

/// A hook of a policy.
#[derive(Debug, Clone)]
pub(super) struct Hook {
    /// Why it is there.
    pub(super) why: String,
    /// Where it attaches.
    pub(super) at: At,
    /// Text of its events.
    pub(super) message: String,
    /// What it reads.
    pub(super) args: Vec<Arg>,
    /// Filters that must hold together; one selector for each list. Without any, one that always matches.
    pub(super) selectors: Vec<Vec<Filter>>,
    /// What it does then.
    pub(super) actions: Vec<Action>,
}

/// Where a hook attaches.
#[derive(Debug, Clone)]
pub(super) enum At {
    Lsm(String),
    Function(String),
    Syscall(String),
    RawTracepoint(&'static str, &'static str),
}

/// A value that is read.
#[derive(Debug, Clone)]
pub(super) struct Arg {
    pub(super) index: u32,
    pub(super) kind: TypeName,
    /// Field to follow; may be empty.
    pub(super) resolve: &'static str,
    /// Whether it is of the current task, not an argument.
    pub(super) of_task: bool,
    pub(super) label: &'static str,
}

/// A condition on the value at a position of the hook's args.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    pub(super) arg: usize,
    pub(super) operator: Operator,
    pub(super) values: Vec<String>,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The call fails with this error.
    Deny(i32),
    /// The process ends.
    Kill,
}

impl Arg {
    /// An argument of the hook.
    pub(super) fn new(index: u32, kind: TypeName, label: &'static str) -> Self {
        Self { index, kind, resolve: "", of_task: false, label }
    }

    /// A field of it.
    pub(super) fn field(self, resolve: &'static str) -> Self {
        Self { resolve, ..self }
    }

    /// A field of the task that makes the call.
    pub(super) fn task(kind: TypeName, resolve: &'static str, label: &'static str) -> Self {
        Self { index: 0, kind, resolve, of_task: true, label }
    }

    fn write(&self, line: &mut impl FnMut(usize, &str)) {
        line(4, &format!("- index: {}", self.index));
        if self.of_task {
            line(6, "source: current_task");
        }
        line(6, &format!("type: {}", self.kind));
        if !self.resolve.is_empty() {
            line(6, &format!("resolve: {}", self.resolve));
        }
        line(6, &format!("label: {}", self.label));
    }
}

impl Filter {
    pub(super) fn new<V: ToString>(
        arg: usize,
        operator: Operator,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self { arg, operator, values: values.into_iter().map(|value| value.to_string()).collect() }
    }
}

/// The policy.
#[derive(Debug)]
pub(super) struct Draft {
    rules: Vec<Rule>,
    except: Vec<String>,
    monitor: bool,
}

impl Draft {
    /// `except`: executables that nothing applies to.
    pub(super) fn new(except: Vec<String>, monitor: bool) -> Self {
        Self { rules: Vec::new(), except, monitor }
    }

    pub(super) fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    /// The policy in YAML.
    pub(super) fn text(&self, name: &str) -> String {
        let mut text = String::new();
        for rule in &self.rules {
            text.push_str(&comment("", &rule.about));
            for limit in &rule.limits {
                text.push_str(&comment("", &format!("- {limit}")));
            }
        }
        text.push_str("apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n");
        text.push_str(&format!("  name: {}\nspec:\n", quoted(name)));
        if self.monitor {
            text.push_str(&comment("  ", "Nothing is denied: events say what would have been."));
            text.push_str("  options:\n  - name: policy-mode\n    value: monitor\n");
        }
        for section in ["kprobes", "tracepoints", "lsmhooks"] {
            let hooks = self.rules.iter().flat_map(|rule| &rule.hooks);
            let hooks: Vec<&Hook> = hooks.filter(|hook| hook.at.section() == section).collect();
            if !hooks.is_empty() {
                text.push_str(&format!("  {section}:\n"));
                hooks.into_iter().for_each(|hook| text.push_str(&self.hook(hook)));
            }
        }
        text
    }

    fn hook(&self, hook: &Hook) -> String {
        let mut text = comment("  ", &hook.why);
        let mut line = |indent: usize, words: &str| {
            text.push_str(&format!("{}{words}\n", " ".repeat(indent)));
        };
        match &hook.at {
            At::Lsm(name) => line(2, &format!("- hook: {name}")),
            At::Function(name) => {
                line(2, &format!("- call: {name}"));
                line(4, "syscall: false");
            }
            At::Syscall(name) => {
                line(2, &format!("- call: sys_{name}"));
                line(4, "syscall: true");
            }
            At::RawTracepoint(subsystem, event) => {
                line(2, &format!("- subsystem: {subsystem}"));
                line(4, &format!("event: {event}"));
                line(4, "raw: true");
            }
        }
        line(4, &format!("message: {}", quoted(&hook.message)));
        for (list, of_task) in [("args", false), ("data", true)] {
            let args: Vec<&Arg> = hook.args.iter().filter(|arg| arg.of_task == of_task).collect();
            if !args.is_empty() {
                line(4, &format!("{list}:"));
            }
            args.into_iter().for_each(|arg| arg.write(&mut line));
        }
        let always = [Vec::new()];
        let selectors = if hook.selectors.is_empty() { &always[..] } else { &hook.selectors };
        if hook.selectors.is_empty() && hook.actions.is_empty() && self.except.is_empty() {
            return text;
        }
        line(4, "selectors:");
        for filters in selectors {
            self.selector(filters, hook, &mut line);
        }
        text
    }

    fn selector(&self, filters: &[Filter], hook: &Hook, line: &mut impl FnMut(usize, &str)) {
        // The first key stands behind the dash.
        let mut dash = "- ";
        let mut key = |line: &mut dyn FnMut(usize, &str), name: &str| {
            let lead = std::mem::replace(&mut dash, "  ");
            line(4, &format!("{lead}{name}:"));
        };
        if !self.except.is_empty() {
            key(line, "matchBinaries");
            line(6, "- operator: NotIn");
            line(8, "followChildren: true");
            values(&self.except, 8, line);
        }
        for (name, of_task) in [("matchArgs", false), ("matchData", true)] {
            let is_so = |at: usize| hook.args.get(at).is_some_and(|arg| arg.of_task == of_task);
            let mut first = true;
            for filter in filters.iter().filter(|filter| is_so(filter.arg)) {
                if std::mem::take(&mut first) {
                    key(line, name);
                }
                // Positions are counted in the list that the value is in.
                let position = (0..filter.arg).filter(|at| is_so(*at)).count();
                line(6, &format!("- args: [{position}]"));
                line(8, &format!("operator: {}", filter.operator));
                values(&filter.values, 8, line);
            }
        }
        if !hook.actions.is_empty() {
            key(line, "matchActions");
        }
        for action in &hook.actions {
            match action {
                Action::Deny(error) => {
                    line(6, &format!("- action: {}", ActionName::Override));
                    line(8, &format!("argError: {error}"));
                }
                Action::Kill => line(6, &format!("- action: {}", ActionName::Sigkill)),
            }
        }
    }
}

fn values(values: &[String], indent: usize, line: &mut impl FnMut(usize, &str)) {
    line(indent, "values:");
    for value in values {
        line(indent, &format!("- {}", quoted(value)));
    }
}

impl At {
    fn section(&self) -> &'static str {
        match self {
            Self::Lsm(_) => "lsmhooks",
            Self::Function(_) | Self::Syscall(_) => "kprobes",
            Self::RawTracepoint(..) => "tracepoints",
        }
    }
}

/// A string of YAML: JSON's are.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Lines of a comment.
fn comment(indent: &str, words: &str) -> String {
    let mut text = String::new();
    let mut line = String::new();
    for word in words.split_whitespace() {
        let length = indent.len() + 2 + line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && length > WIDTH {
            text.push_str(&format!("{indent}# {line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        text.push_str(&format!("{indent}# {line}\n"));
    }
    text
}
