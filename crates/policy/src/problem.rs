//! What is wrong with a policy, and where: places, paths and the bounded list of problems.
//!
//! A problem always has a place in the text (line and column, both counted from 1, columns in
//! characters) and a path into the document (`spec.kprobes[0].call`). Problems are collected and
//! come all at once, in the order of the text, at most [`LIMIT`] of them; the rest are counted.

use std::fmt;

/// How many problems are kept; more are counted only.
pub const LIMIT: usize = 100;

/// Longest excerpt of the user's text in a message, in characters.
const EXCERPT: usize = 64;

/// A place in the text, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

impl Default for Mark {
    fn default() -> Self {
        Self { line: 1, column: 1 }
    }
}

/// The way from the document's root to a node, kept on the stack of whoever walks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub(crate) const ROOT: Path<'static> = Path { parent: None, step: Step::Root };

    pub(crate) fn key(&'a self, key: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Key(key) }
    }

    pub(crate) fn index(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    /// The steps from the root on.
    pub(crate) fn steps(&self) -> Vec<Step<'a>> {
        let mut steps = Vec::new();
        let mut at = Some(*self);
        while let Some(path) = at {
            if !matches!(path.step, Step::Root) {
                steps.push(path.step);
            }
            at = path.parent.copied();
        }
        steps.reverse();
        steps
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.steps().into_iter().enumerate() {
            match step {
                Step::Root => {}
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    let dot = if position == 0 { "" } else { "." };
                    write!(f, "{dot}{}", excerpt(key))?;
                }
            }
        }
        Ok(())
    }
}

/// One thing that is wrong, or worth a note.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where in the text.
    pub mark: Mark,
    /// Where in the document, e.g. `spec.kprobes[0].call`; empty for the document itself.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    /// The problem in one line, as compilers write it: `file:line:column path: message`.
    #[must_use]
    pub fn line(&self, file: &str) -> String {
        let Mark { line, column } = self.mark;
        if self.path.is_empty() {
            format!("{file}:{line}:{column}: {}", self.message)
        } else {
            format!("{file}:{line}:{column} {}: {}", self.path, self.message)
        }
    }
}

/// Everything that is wrong with a policy. Displays as one line per problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    /// The name of the text, as it was given.
    pub file: String,
    /// The problems, in the order of the text; never empty.
    pub list: Vec<Problem>,
    /// How many more there are.
    pub omitted: usize,
}

impl Problems {
    /// Problems of the text `file`, put in its order, each told once, at most [`LIMIT`] of them.
    /// `None` when there is none.
    #[must_use]
    pub fn of(file: &str, mut list: Vec<Problem>) -> Option<Self> {
        list.sort();
        list.dedup();
        let omitted = list.len().saturating_sub(LIMIT);
        list.truncate(LIMIT);
        (!list.is_empty()).then(|| Self { file: file.to_owned(), list, omitted })
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.list.iter().enumerate() {
            let newline = if position == 0 { "" } else { "\n" };
            write!(f, "{newline}{}", problem.line(&self.file))?;
        }
        if self.omitted > 0 {
            write!(f, "\n{}: and {} more", self.file, self.omitted)?;
        }
        Ok(())
    }
}

/// Collects problems and notes.
#[derive(Debug, Default)]
pub(crate) struct Report {
    problems: Vec<Problem>,
    notes: Vec<Problem>,
    omitted: usize,
    /// Paths at which a value had to be replaced by a stand-in, so that what depends on it cannot
    /// be judged.
    replaced: Vec<String>,
}

impl Report {
    pub(crate) fn error(&mut self, mark: Mark, path: &Path<'_>, message: impl Into<String>) {
        let problem = Problem { mark, path: path.to_string(), message: message.into() };
        if self.problems.len() >= LIMIT {
            self.omitted += 1;
        } else if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// An error whose value is replaced by a stand-in.
    pub(crate) fn replace(&mut self, mark: Mark, path: &Path<'_>, message: impl Into<String>) {
        if self.replaced.len() < LIMIT {
            self.replaced.push(path.to_string());
        }
        self.error(mark, path, message);
    }

    pub(crate) fn note(&mut self, mark: Mark, path: &Path<'_>, message: impl Into<String>) {
        let note = Problem { mark, path: path.to_string(), message: message.into() };
        if self.notes.len() < LIMIT && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Whether a stand-in was put at this path or below it.
    pub(crate) fn has_replaced(&self, path: &Path<'_>) -> bool {
        let path = path.to_string();
        self.replaced.iter().any(|replaced| {
            replaced
                .strip_prefix(&path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    /// How many problems there are.
    pub(crate) fn count(&self) -> usize {
        self.problems.len() + self.omitted
    }

    /// The notes, or the problems if there are any.
    pub(crate) fn finish(mut self, file: &str) -> Result<Vec<Problem>, Problems> {
        if self.problems.is_empty() {
            self.notes.sort();
            return Ok(self.notes);
        }
        self.problems.sort();
        Err(Problems { file: file.to_owned(), list: self.problems, omitted: self.omitted })
    }
}

/// The text, cut to what a message can bear, control characters escaped.
pub(crate) fn excerpt(text: &str) -> String {
    let mut cut: String = text
        .chars()
        .take(EXCERPT)
        .flat_map(|c| {
            let escape = c.is_control();
            escape.then(|| c.escape_default()).into_iter().flatten().chain((!escape).then_some(c))
        })
        .collect();
    if text.chars().nth(EXCERPT).is_some() {
        cut.push('…');
    }
    cut
}

/// The names as a message lists them: `a, b or c`.
pub(crate) fn alternatives<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.as_slice() {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The known name that is nearest to a wrong one, if one is near.
pub fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing is quadratic in length, and no known name is this long.
    if wrong.len() > 128 {
        return None;
    }
    let lower = wrong.to_ascii_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_ascii_lowercase()), name))
        .filter(|(distance, name)| *distance <= name.len().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The end of a message about an unknown name: the nearest known one, or all of them.
pub(crate) fn hint(wrong: &str, known: &[&str]) -> String {
    match did_you_mean(wrong, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there is none".to_owned(),
        None => format!("it can be {}", alternatives(known.iter().copied())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_like_the_document() {
        let spec = Path::ROOT.key("spec");
        let kprobes = spec.key("kprobes");
        let hook = kprobes.index(3);
        assert_eq!(hook.key("call").to_string(), "spec.kprobes[3].call");
    }

    #[test]
    fn stand_ins_are_found_below_a_path_but_not_beside_it() {
        let kprobes = Path::ROOT.key("kprobes");
        let mut report = Report::default();
        report.replace(Mark::default(), &kprobes.index(1).key("call"), "wrong");
        assert!(report.has_replaced(&kprobes.index(1)));
        assert!(report.has_replaced(&kprobes));
        assert!(!report.has_replaced(&kprobes.index(0)));
        assert!(!report.has_replaced(&Path::ROOT.key("kprobe")));
    }

    #[test]
    fn problems_are_bounded_and_counted() {
        let mut report = Report::default();
        for line in 1..=LIMIT + 7 {
            report.error(Mark { line, column: 1 }, &Path::ROOT, format!("problem {line}"));
        }
        let problems = report.finish("p.yaml").unwrap_err();
        assert_eq!((problems.list.len(), problems.omitted), (LIMIT, 7));
        assert!(problems.to_string().ends_with("\np.yaml: and 7 more"));
    }

    #[test]
    fn problems_of_later_stages_are_put_in_order() {
        let problem = |line: usize| Problem {
            mark: Mark { line, column: 1 },
            path: String::new(),
            message: "wrong".to_owned(),
        };
        assert_eq!(Problems::of("p", Vec::new()), None);
        let problems = Problems::of("p", vec![problem(3), problem(1), problem(3)]).unwrap();
        assert_eq!(problems.to_string(), "p:1:1: wrong\np:3:1: wrong");
        let many = Problems::of("p", (0..LIMIT + 7).map(problem).collect()).unwrap();
        assert_eq!((many.list.len(), many.omitted), (LIMIT, 7));
    }

    #[test]
    fn the_nearest_name_is_suggested_only_when_near() {
        let known = ["operator", "values", "index"];
        assert_eq!(did_you_mean("operater", known), Some("operator"));
        assert_eq!(did_you_mean("Values", known), Some("values"));
        assert_eq!(did_you_mean("somethingElse", known), None);
    }

    #[test]
    fn excerpts_are_short_and_printable() {
        assert_eq!(excerpt("a\nb"), "a\\nb");
        assert_eq!(excerpt(&"x".repeat(1000)).chars().count(), EXCERPT + 1);
    }
}
