//! Changing the mode in a policy's text: the option `policy-mode` and nothing else.
//!
//! The change is made in the text, so that comments, order and style stay. What comes out is read
//! again and compared with what went in: either it says the same but for the mode, or it is not given
//! out. Where the text is too unusual to be changed in place, the list of options is written anew.

use crate::checked::{CheckedPolicy, Mode};
use crate::problem::{Path, Problem, Problems, Report};
use crate::text::{Content, Located, Node, Parts, join_surrogates, locate, read};

/// The option.
const NAME: &str = "policy-mode";

/// Rewrites a policy, in YAML or JSON, so that it asks for this mode: an option `policy-mode` is taken
/// out of `spec.options`, and the new one is put at the end; the list is made where there is none. `file`
/// is the text's name in messages.
///
/// # Errors
/// What is wrong with the policy; that [`Mode::MonitorOnly`] cannot be asked for; or, where anchors and
/// aliases are woven through the options, that they have to be written plainly.
pub fn set_mode(file: &str, text: &str, mode: Mode) -> Result<String, Problems> {
    CheckedPolicy::read(file, text)?;
    let name = match mode {
        Mode::Enforce => "enforce",
        Mode::Monitor => "monitor",
        Mode::MonitorOnly => {
            let message = "the mode can be set to enforce or monitor";
            return Err(problem(file, None, message));
        }
    };
    // Places are those in the text as the parser has it.
    let text = join_surrogates(text).unwrap_or_else(|| text.to_owned());
    let root = nodes(file, &text)?;
    let options = Options::of(&root, name);
    let tries = [Edit::in_place, Edit::anew];
    tries
        .into_iter()
        .filter_map(|attempt| {
            let edit = Edit { text: &text, options: &options, mode: name };
            attempt(&edit, &locate(&text)?)
        })
        .find(|changed| options.are_all_that_changed(&root, changed, mode))
        .ok_or_else(|| {
            let message = "the mode cannot be set in a text written like this: write spec.options \
                           without anchors and aliases";
            problem(file, Some(&root), message)
        })
}

fn problem(file: &str, root: Option<&Node>, message: &str) -> Problems {
    let spec = Path::ROOT.key("spec");
    let path = spec.key("options");
    let mark = root.map(|root| root.find(&path)).unwrap_or_default();
    let problem = Problem { mark, path: path.to_string(), message: message.to_owned() };
    Problems { file: file.to_owned(), list: vec![problem], omitted: 0 }
}

fn nodes(file: &str, text: &str) -> Result<Node, Problems> {
    let mut report = Report::default();
    let root = read(text, &mut report);
    report.finish(file)?;
    root.ok_or_else(|| problem(file, None, "the document is empty"))
}

fn get<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let Content::Mapping(entries) = &node.content else { return None };
    entries.iter().find(|entry| entry.key == name).map(|entry| &entry.value)
}

/// The options before and after.
struct Options {
    /// Position of the one that is taken out.
    old: Option<usize>,
    /// What shall be there then: names, and values where there are any.
    wanted: Vec<(String, Option<String>)>,
}

impl Options {
    fn of(root: &Node, mode: &str) -> Self {
        let mut written = written_options(root);
        let old = written.iter().position(|(name, _)| name == NAME);
        written.retain(|(name, _)| name != NAME);
        written.push((NAME.to_owned(), Some(mode.to_owned())));
        Self { old, wanted: written }
    }

    /// Whether a text says what the old one said, but for the mode.
    fn are_all_that_changed(&self, old: &Node, text: &str, mode: Mode) -> bool {
        let mut report = Report::default();
        let Some(new) = read(text, &mut report) else { return false };
        report.count() == 0
            && same(old, &new, 0)
            && written_options(&new) == self.wanted
            && CheckedPolicy::read("", text).is_ok_and(|policy| policy.settings.mode == Some(mode))
    }

    /// All of them in one line, as JSON, which YAML takes too.
    fn line(&self) -> String {
        let options: Vec<String> =
            self.wanted.iter().map(|(name, value)| option(name, value.as_deref())).collect();
        format!("[{}]", options.join(", "))
    }
}

/// One option as JSON.
fn option(name: &str, value: Option<&str>) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    match value {
        Some(value) => format!("{{\"name\": {}, \"value\": {}}}", quoted(name), quoted(value)),
        None => format!("{{\"name\": {}}}", quoted(name)),
    }
}

fn written_options(root: &Node) -> Vec<(String, Option<String>)> {
    let text = |node: Option<&Node>| match node.map(|node| &node.content) {
        Some(Content::Scalar(scalar)) => Some(scalar.text.clone()),
        _ => None,
    };
    let options = get(root, "spec").and_then(|spec| get(spec, "options"));
    let Some(Content::Sequence(items)) = options.map(|options| &options.content) else {
        return Vec::new();
    };
    let option = |item| (text(get(item, "name")).unwrap_or_default(), text(get(item, "value")));
    items.iter().map(option).collect()
}

/// Whether two trees are the same wherever they stand, `spec.options` left out.
fn same(a: &Node, b: &Node, depth: usize) -> bool {
    match (&a.content, &b.content) {
        (Content::Null, Content::Null) => true,
        (Content::Scalar(a), Content::Scalar(b)) => (&a.text, a.plain) == (&b.text, b.plain),
        (Content::Sequence(a), Content::Sequence(b)) => {
            // Options stand in no list.
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b, 2))
        }
        (Content::Mapping(a), Content::Mapping(b)) => {
            let kept = |key: &str| depth != 1 || key != "options";
            let count = |entries: &[crate::text::Entry]| {
                entries.iter().filter(|entry| kept(&entry.key)).count()
            };
            count(a) == count(b)
                && a.iter().filter(|entry| kept(&entry.key)).all(|entry| {
                    let other = b.iter().find(|other| other.key == entry.key);
                    let below = if depth == 0 && entry.key == "spec" { 1 } else { 2 };
                    other.is_some_and(|other| same(&entry.value, &other.value, below))
                })
        }
        _ => false,
    }
}

/// Changes to a text.
struct Edit<'t> {
    text: &'t str,
    options: &'t Options,
    mode: &'t str,
}

impl Edit<'_> {
    /// The list as it stands, changed; a new one where there is none.
    fn in_place(&self, root: &Located) -> Option<String> {
        let (_, spec) = root.entry("spec")?;
        let Some((_, options)) = spec.entry("options") else { return self.create(spec) };
        match &options.parts {
            Parts::Sequence { items, flow: None } => self.block(items),
            Parts::Sequence { items, flow: Some(inside) } => Some(self.flow(items, *inside)),
            _ => None,
        }
    }

    /// The list in one line, in place of what is there.
    fn anew(&self, root: &Located) -> Option<String> {
        let (_, spec) = root.entry("spec")?;
        let (key, options) = spec.entry("options")?;
        let colon = key.end + self.text.get(key.end..)?.find(':')? + 1;
        let line = format!(" {}", self.options.line());
        Some(self.replace(&[(colon, options.end.max(colon), &line)]))
    }

    fn create(&self, spec: &Located) -> Option<String> {
        let Parts::Mapping { entries, flow } = &spec.parts else { return None };
        if let Some(inside) = flow {
            let comma = if entries.is_empty() { "" } else { ", " };
            let line = format!("\"options\": {}{comma}", self.options.line());
            return Some(self.replace(&[(*inside, *inside, &line)]));
        }
        let (first, _) = entries.first()?;
        let indent = self.indent(first.start)?;
        let newline = self.newline();
        let list = match self.options.wanted.as_slice() {
            [_] => format!("{newline}{}", self.entry(indent)),
            // What is merged in from elsewhere gives way to a list of one's own.
            _ => format!(" {}{newline}", self.options.line()),
        };
        self.append(spec.end, &format!("{indent}options:{list}"), &[])
    }

    fn block(&self, items: &[Located]) -> Option<String> {
        let dash = |item: &Located| {
            let before = self.text[..item.start].trim_end().strip_suffix('-')?;
            Some(before.len())
        };
        let last = items.last()?;
        let entry = self.entry(self.indent(dash(last)?)?);
        let removed = match self.options.old.and_then(|old| items.get(old)) {
            Some(old) => {
                let dash = dash(old)?;
                let start = dash - self.indent(dash)?.len();
                vec![(start, self.line_end(old.end), "")]
            }
            None => Vec::new(),
        };
        self.append(last.end, &entry, &removed)
    }

    fn flow(&self, items: &[Located], inside: usize) -> String {
        let entry = option(NAME, Some(self.mode));
        let old = self.options.old.filter(|old| *old < items.len());
        let removed = old.map(|old| match (items.get(old + 1), old.checked_sub(1)) {
            (Some(next), _) => (items[old].start, next.start, ""),
            (None, Some(previous)) => (items[previous].end, items[old].end, ""),
            (None, None) => (items[old].start, items[old].end, ""),
        });
        let remaining = items.iter().enumerate().rfind(|(index, _)| Some(*index) != old);
        let (at, entry) = match remaining {
            Some((_, last)) => (last.end, format!(", {entry}")),
            None => (inside, entry),
        };
        let mut changes: Vec<(usize, usize, &str)> = removed.into_iter().collect();
        changes.push((at, at, &entry));
        self.replace(&changes)
    }

    /// The new option as an item of a block list.
    fn entry(&self, indent: &str) -> String {
        let (mode, newline) = (self.mode, self.newline());
        format!("{indent}- name: {NAME}{newline}{indent}  value: {mode}{newline}")
    }

    /// Puts whole lines behind the line in which `end` is, besides other changes.
    fn append(&self, end: usize, lines: &str, others: &[(usize, usize, &str)]) -> Option<String> {
        let at = self.line_end(end);
        // The last line of a text may have no end; what is taken out begins a line.
        let ended =
            self.text.get(..at)?.ends_with('\n') || others.iter().any(|other| other.1 == at);
        let newline = self.newline();
        let lines = if ended { lines.to_owned() } else { format!("{newline}{}", lines.trim_end()) };
        let mut changes = others.to_vec();
        changes.push((at, at, &lines));
        Some(self.replace(&changes))
    }

    /// Behind the end of the line in which something ends.
    fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |length| at + length + 1)
    }

    /// The blanks before something that is the first in its line.
    fn indent(&self, at: usize) -> Option<&str> {
        let start = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let indent = &self.text[start..at];
        indent.bytes().all(|byte| byte == b' ').then_some(indent)
    }

    fn newline(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }

    /// Replaces ranges of the text, which do not overlap.
    fn replace(&self, changes: &[(usize, usize, &str)]) -> String {
        let mut changes = changes.to_vec();
        changes.sort_by_key(|(start, end, _)| (*start, *end));
        let mut changed = String::with_capacity(self.text.len() + 128);
        let mut done = 0;
        for (start, end, with) in changes {
            changed.push_str(self.text.get(done..start).unwrap_or_default());
            changed.push_str(with);
            done = end.max(done);
        }
        changed.push_str(&self.text[done..]);
        changed
    }
}
