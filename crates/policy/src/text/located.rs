//! The parts of a text with where they begin and end, for changing one of them and nothing else.
//!
//! For text that [`read`](super::read) takes: nesting is bounded and keys are scalars. Aliases stay
//! what they are.

use saphyr_parser::{Event, Parser, Span, SpannedEventReceiver};

/// A part of the text, in bytes. The end is that of the content: behind its last character, without
/// blanks and comments that follow.
#[derive(Debug, Clone)]
pub(crate) struct Located {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) parts: Parts,
}

/// What a part consists of.
#[derive(Debug, Clone)]
pub(crate) enum Parts {
    /// A scalar, with its text, or an alias.
    Leaf(String),
    Sequence {
        items: Vec<Located>,
        flow: Option<usize>,
    },
    /// `flow` is where the content begins behind the bracket, when it is written in brackets.
    Mapping {
        entries: Vec<(Located, Located)>,
        flow: Option<usize>,
    },
}

impl Located {
    /// The entry of a mapping.
    pub(crate) fn entry(&self, name: &str) -> Option<&(Located, Located)> {
        let Parts::Mapping { entries, .. } = &self.parts else { return None };
        entries.iter().find(|(key, _)| matches!(&key.parts, Parts::Leaf(text) if text == name))
    }
}

/// The root of the first document in the text; `None` when there is none.
pub(crate) fn locate(text: &str) -> Option<Located> {
    let mut offsets: Vec<usize> = text.char_indices().map(|(offset, _)| offset).collect();
    offsets.push(text.len());
    let mut builder = Builder { text, offsets, open: Vec::new(), root: None };
    Parser::new_from_str(text).load(&mut builder, false).ok()?;
    builder.root
}

/// Takes the parser's events; collections are on a stack until they end.
struct Builder<'t> {
    text: &'t str,
    /// Of every character, the parser's unit, the offset in bytes.
    offsets: Vec<usize>,
    open: Vec<Open>,
    root: Option<Located>,
}

struct Open {
    start: usize,
    flow: Option<usize>,
    mapping: bool,
    children: Vec<Located>,
}

impl Builder<'_> {
    /// Start and end in bytes, blanks at the end left out.
    fn range(&self, span: &Span) -> (usize, usize) {
        let offset = |index: usize| self.offsets.get(index).copied().unwrap_or(self.text.len());
        let (start, end) = (offset(span.start.index()), offset(span.end.index()));
        let content = self.text.get(start..end).unwrap_or_default().trim_end();
        (start, start + content.len())
    }

    fn open(&mut self, span: &Span, mapping: bool) {
        let (start, end) = self.range(span);
        let bracket = if mapping { '{' } else { '[' };
        let flow = self.text[start..end].ends_with(bracket).then_some(end);
        self.open.push(Open { start, flow, mapping, children: Vec::new() });
    }

    fn close(&mut self, span: &Span) {
        let Some(open) = self.open.pop() else { return };
        let last = open.children.iter().map(|child| child.end).max();
        let end = match open.flow {
            // The span may run on to the next part; it begins at the bracket.
            Some(_) => self.range(span).0 + 1,
            None => last.unwrap_or(open.start),
        };
        let parts = if open.mapping {
            let mut children = open.children.into_iter();
            let entries = std::iter::from_fn(|| children.next().zip(children.next())).collect();
            Parts::Mapping { entries, flow: open.flow }
        } else {
            Parts::Sequence { items: open.children, flow: open.flow }
        };
        self.add(Located { start: open.start, end, parts });
    }

    fn add(&mut self, located: Located) {
        match self.open.last_mut() {
            Some(open) => open.children.push(located),
            None => {
                self.root.get_or_insert(located);
            }
        }
    }
}

impl<'t> SpannedEventReceiver<'t> for Builder<'_> {
    fn on_event(&mut self, event: Event<'t>, span: Span) {
        match event {
            Event::SequenceStart(..) => self.open(&span, false),
            Event::MappingStart(..) => self.open(&span, true),
            Event::SequenceEnd | Event::MappingEnd => self.close(&span),
            Event::Scalar(text, ..) => {
                let (start, end) = self.range(&span);
                self.add(Located { start, end, parts: Parts::Leaf(text.into_owned()) });
            }
            Event::Alias(_) => {
                let (start, end) = self.range(&span);
                self.add(Located { start, end, parts: Parts::Leaf(String::new()) });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_those_of_the_content() {
        let text = "a: é # x\nb: # y\n  - {c: d }  \n\n  # z\n  - e:\n      f\ng: [h ,\n i ] # w\n";
        let root = locate(text).unwrap();
        let written = |located: &Located| text[located.start..located.end].to_owned();
        let (_, b) = root.entry("b").unwrap();
        assert_eq!(written(b), "- {c: d }  \n\n  # z\n  - e:\n      f");
        let Parts::Sequence { items, flow: None } = &b.parts else { panic!("{b:?}") };
        assert_eq!(items.iter().map(written).collect::<Vec<_>>(), ["{c: d }", "e:\n      f"]);
        let (key, g) = root.entry("g").unwrap();
        assert_eq!((written(key), written(g)), ("g".to_owned(), "[h ,\n i ]".to_owned()));
        let Parts::Sequence { flow: Some(inside), .. } = g.parts else { panic!("{g:?}") };
        assert_eq!(&text[inside..inside + 2], "h ");
    }
}
