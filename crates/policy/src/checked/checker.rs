//! What all checks share: the document's places and the report.

use crate::checked::list::List;
use crate::problem::{Mark, Path, Report};
use crate::text::Node;

/// Where in the text and in the document something stands, for messages about it later on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Place in the text.
    pub mark: Mark,
    /// Path in the document, e.g. `spec.kprobes[0].selectors[1]`.
    pub path: String,
}

/// Something with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub value: T,
}

pub(crate) struct Checker<'d> {
    root: &'d Node,
    pub(crate) report: Report,
    pub(crate) lists: Vec<List>,
    pub(crate) has_enforcers: bool,
    pub(crate) namespaced: bool,
}

impl<'d> Checker<'d> {
    pub(crate) fn new(root: &'d Node, report: Report, namespaced: bool) -> Self {
        Self { root, report, lists: Vec::new(), has_enforcers: false, namespaced }
    }

    pub(crate) fn error(&mut self, path: &Path<'_>, message: impl Into<String>) {
        self.report.error(self.root.find(path), path, message);
    }

    /// An error about what stands in the text at the path, behind so many bytes of it.
    pub(crate) fn error_within(&mut self, path: &Path<'_>, at: usize, message: &str) {
        let Some(scalar) = self.root.scalar(path) else { return self.error(path, message) };
        let before = scalar.text.get(..at).map_or(0, |before| before.chars().count());
        match scalar.begins {
            Some(begins) => {
                let mark = Mark { column: begins.column + before, ..begins };
                self.report.error(mark, path, message);
            }
            None => self.error(path, format!("{message} (character {} of it)", before + 1)),
        }
    }

    pub(crate) fn note(&mut self, path: &Path<'_>, message: impl Into<String>) {
        self.report.note(self.root.find(path), path, message);
    }

    pub(crate) fn place(&self, path: &Path<'_>) -> Place {
        Place { mark: self.root.find(path), path: path.to_string() }
    }

    /// The value, or an error at the path.
    pub(crate) fn ok<T>(&mut self, path: &Path<'_>, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.error(path, message)).ok()
    }

    /// The values that parse; the others are errors, each at its own place.
    pub(crate) fn each<T>(
        &mut self,
        values: &[String],
        path: &Path<'_>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        values
            .iter()
            .enumerate()
            .filter_map(|(index, value)| self.ok(&path.index(index), parse(value)))
            .collect()
    }
}
