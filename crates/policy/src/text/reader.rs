//! Reads YAML, and JSON as the part of YAML that it is, into nodes.
//!
//! Aliases are replaced by copies of what they name and merge keys (`<<`) by the entries they
//! merge, as Kubernetes' tools do. Text that grows by that is bounded: so many nodes and so many
//! bytes, so that a few lines of nested aliases cannot take the memory. Nesting is bounded too.

use super::node::{Content, Entry, Node, Scalar};
use crate::problem::{Mark, Path, Report, excerpt};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput};
use std::collections::{HashMap, HashSet};

/// Most nodes, copies of aliases counted.
const NODES: usize = 1 << 20;
/// Most bytes of scalars, copies of aliases counted.
const BYTES: usize = 32 << 20;
/// Deepest nesting.
const DEPTH: usize = 64;

/// What stops the reading.
struct Stop {
    mark: Mark,
    message: String,
}

/// Reads the one document in the text. Problems go to the report; `None` when nothing could be
/// read.
pub(crate) fn read(text: &str, report: &mut Report) -> Option<Node> {
    // JSON's surrogate pairs are not YAML; nothing else of JSON is foreign to it.
    let joined = join_surrogates(text);
    let mut reader = Reader {
        parser: Parser::new_from_str(joined.as_deref().unwrap_or(text)),
        mark: Mark::default(),
        end: Mark::default(),
        anchors: HashMap::new(),
        nodes: 0,
        bytes: 0,
        report,
    };
    match reader.documents() {
        Ok(node) => node,
        Err(stop) => {
            report.replace(stop.mark, &Path::ROOT, stop.message);
            None
        }
    }
}

/// Where a scalar's first character is, if it stands between these places as it is, in quotes or not.
fn begins(text: &str, start: Mark, end: Mark) -> Option<Mark> {
    let width = end.column.checked_sub(start.column).filter(|_| start.line == end.line)?;
    match width.checked_sub(text.chars().count())? {
        0 => Some(start),
        2 => Some(Mark { column: start.column + 1, ..start }),
        _ => None,
    }
}

struct Reader<'t, 'r> {
    parser: Parser<'t, StrInput<'t>>,
    /// Where the last event begins and ends.
    mark: Mark,
    end: Mark,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    bytes: usize,
    report: &'r mut Report,
}

impl<'t> Reader<'t, '_> {
    fn next(&mut self) -> Result<Event<'t>, Stop> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                self.mark = mark(&span.start);
                self.end = mark(&span.end);
                Ok(event)
            }
            Some(Err(error)) => Err(Stop {
                mark: mark(error.marker()),
                message: format!("this is not valid YAML: {}", error.info()),
            }),
            None => Ok(Event::StreamEnd),
        }
    }

    fn stop(&self, message: &str) -> Stop {
        Stop { mark: self.mark, message: message.to_owned() }
    }

    fn documents(&mut self) -> Result<Option<Node>, Stop> {
        let mut found: Option<Node> = None;
        loop {
            match self.next()? {
                Event::StreamStart
                | Event::DocumentStart(_)
                | Event::DocumentEnd
                | Event::Nothing => {}
                Event::StreamEnd => return Ok(found),
                event => {
                    let node = self.node(event, &Path::ROOT, 0)?;
                    match &found {
                        _ if matches!(node.content, Content::Null) => {}
                        None => found = Some(node),
                        Some(_) => {
                            let message = "a second document begins here: \
                                           put every policy into its own file";
                            return Err(Stop { mark: node.mark, message: message.to_owned() });
                        }
                    }
                }
            }
        }
    }

    fn count(&mut self, nodes: usize, bytes: usize) -> Result<(), Stop> {
        self.nodes += nodes;
        self.bytes += bytes;
        if self.nodes > NODES || self.bytes > BYTES {
            return Err(self.stop(&format!(
                "the document is too large: more than {NODES} values or {BYTES} bytes, \
                 aliases counted as often as they are used"
            )));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'t>, path: &Path<'_>, depth: usize) -> Result<Node, Stop> {
        let (mark, end) = (self.mark, self.end);
        if depth > DEPTH {
            return Err(self.stop(&format!("nested more than {DEPTH} levels deep")));
        }
        self.count(1, 0)?;
        let (anchor, content) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.count(0, text.len())?;
                let core = tag.as_ref().is_some_and(|tag| tag.is_yaml_core_schema());
                let string = core && tag.as_ref().is_some_and(|tag| tag.suffix == "str");
                let plain = style == ScalarStyle::Plain && !string;
                let content = if plain && is_null(&text) {
                    Content::Null
                } else {
                    let begins = begins(&text, mark, end);
                    Content::Scalar(Scalar { text: text.into_owned(), plain, begins })
                };
                (anchor, content)
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break,
                        event => {
                            let at = path.index(items.len());
                            items.push(self.node(event, &at, depth + 1)?);
                        }
                    }
                }
                (anchor, Content::Sequence(items))
            }
            Event::MappingStart(anchor, _) => {
                (anchor, Content::Mapping(self.mapping(path, depth)?))
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.stop("this alias stands inside of what it names"));
                };
                let (nodes, bytes) = size(&node);
                self.count(nodes, bytes)?;
                if depth + height(&node) > DEPTH {
                    return Err(self.stop(&format!("nested more than {DEPTH} levels deep")));
                }
                return Ok(node);
            }
            _ => return Err(self.stop("this is not valid YAML here")),
        };
        let node = Node { mark, content };
        if anchor != 0 {
            // The copy that aliases are made from takes memory as well.
            let (nodes, bytes) = size(&node);
            self.count(nodes, bytes)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn mapping(&mut self, path: &Path<'_>, depth: usize) -> Result<Vec<Entry>, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = HashSet::new();
        let mut merged = Vec::new();
        loop {
            let event = self.next()?;
            let mark = self.mark;
            let (key, plain) = match event {
                Event::MappingEnd => break,
                Event::Scalar(key, style, ..) => (key.into_owned(), style == ScalarStyle::Plain),
                _ => return Err(self.stop("a key is a name, not a list, mapping or alias")),
            };
            self.count(1, key.len())?;
            let at = path.key(&key);
            let event = self.next()?;
            let value = self.node(event, &at, depth + 1)?;
            if plain && key == "<<" {
                merged.push((mark, value));
            } else if seen.insert(key.clone()) {
                entries.push(Entry { mark, key, value });
            } else {
                let message = format!("`{}` is given twice: keep one of them", excerpt(&key));
                self.report.error(mark, &at, message);
            }
        }
        for (mark, value) in merged {
            let sources = match value.content {
                Content::Sequence(items) => items,
                content => vec![Node { mark: value.mark, content }],
            };
            for source in sources {
                let Content::Mapping(source) = source.content else {
                    let message = "`<<` merges mappings: name one, or a list of them, by aliases";
                    self.report.error(mark, path, message);
                    continue;
                };
                for entry in source {
                    if seen.insert(entry.key.clone()) {
                        entries.push(entry);
                    }
                }
            }
        }
        Ok(entries)
    }
}

/// The plain scalars that are null.
fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn mark(marker: &Marker) -> Mark {
    Mark { line: marker.line().max(1), column: marker.col() + 1 }
}

/// Nodes and bytes below and including this one.
fn size(node: &Node) -> (usize, usize) {
    match &node.content {
        Content::Null => (1, 0),
        Content::Scalar(scalar) => (1, scalar.text.len()),
        Content::Sequence(items) => items.iter().map(size).fold((1, 0), add),
        Content::Mapping(entries) => entries
            .iter()
            .map(|entry| add(size(&entry.value), (1, entry.key.len())))
            .fold((1, 0), add),
    }
}

fn add(a: (usize, usize), b: (usize, usize)) -> (usize, usize) {
    (a.0 + b.0, a.1 + b.1)
}

fn height(node: &Node) -> usize {
    let below = match &node.content {
        Content::Null | Content::Scalar(_) => None,
        Content::Sequence(items) => items.iter().map(height).max(),
        Content::Mapping(entries) => entries.iter().map(|entry| height(&entry.value)).max(),
    };
    below.map_or(0, |below| below + 1)
}

/// Replaces `\ud83d\ude00`, JSON's way to write a character beyond the basic plane, by YAML's.
/// `None` when there is none.
pub(crate) fn join_surrogates(text: &str) -> Option<String> {
    if !text.trim_start().starts_with('{') || !text.contains("\\u") {
        return None;
    }
    let mut joined = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        joined.push_str(&rest[..at]);
        rest = &rest[at..];
        let unit = |from: usize| {
            let escape = rest.get(from..from + 6)?.strip_prefix("\\u")?;
            u16::from_str_radix(escape, 16).ok()
        };
        let pair = unit(0).zip(unit(6)).map(|(high, low)| [high, low]);
        let character = pair.and_then(|pair| {
            let mut decoded = char::decode_utf16(pair);
            let first = decoded.next()?.ok()?;
            decoded.next().is_none().then_some(first)
        });
        if let Some(character) = character {
            joined.push(character);
            rest = &rest[12..];
        } else {
            let escape = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
            joined.push_str(&rest[..escape]);
            rest = &rest[escape..];
        }
    }
    joined.push_str(rest);
    Some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        let mut report = Report::default();
        read(text, &mut report);
        report.finish("t").unwrap_err().to_string()
    }

    fn tree(text: &str) -> Node {
        let mut report = Report::default();
        let node = read(text, &mut report).unwrap();
        report.finish("t").unwrap();
        node
    }

    #[test]
    fn places_are_counted_from_one() {
        let node = tree("a:\n  b: [x, y]\n");
        let a = Path::ROOT.key("a");
        let b = a.key("b");
        assert_eq!(node.find(&a), Mark { line: 1, column: 1 });
        assert_eq!(node.find(&b), Mark { line: 2, column: 3 });
        assert_eq!(node.find(&b.index(1)), Mark { line: 2, column: 10 });
        assert_eq!(node.find(&b.key("missing")), Mark { line: 2, column: 3 });
    }

    #[test]
    fn merge_keys_give_way_to_written_ones() {
        let node = tree("base: &base {x: 1, y: 2}\nuse:\n  <<: *base\n  y: 3\n");
        let Content::Mapping(entries) = &node.content else { panic!() };
        let Content::Mapping(used) = &entries[1].value.content else { panic!() };
        let text = |key: &str| {
            let entry = used.iter().find(|entry| entry.key == key).unwrap();
            let Content::Scalar(scalar) = &entry.value.content else { panic!() };
            scalar.text.clone()
        };
        assert_eq!((text("x"), text("y")), ("1".to_owned(), "3".to_owned()));
    }

    #[test]
    fn json_is_read_with_its_surrogate_pairs() {
        let node = tree("{\"a\": \"\\ud83d\\ude00 \\\\ud83d \\u0041\\/\",\n\t\"b\": null}");
        let Content::Mapping(entries) = &node.content else { panic!() };
        let Content::Scalar(scalar) = &entries[0].value.content else { panic!() };
        assert_eq!(scalar.text, "😀 \\ud83d A/");
        assert!(matches!(entries[1].value.content, Content::Null));
    }

    #[test]
    fn aliases_cannot_take_the_memory() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..30 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(problems(&text).contains("the document is too large"), "{}", problems(&text));
        let long = "y".repeat(1 << 20);
        let text = format!("a: &a {long}\nb: [{}]\n", vec!["*a"; 1000].join(", "));
        assert!(problems(&text).contains("the document is too large"));
    }

    #[test]
    fn says_what_is_no_document() {
        for (text, wanted) in [
            ("a: 1\na: 2\n", "t:2:1 a: `a` is given twice: keep one of them"),
            (
                "a: 1\n---\nb: 2\n",
                "t:3:1: a second document begins here: put every policy into its own file",
            ),
            ("a: &x [*x]\n", "t:1:8: this alias stands inside of what it names"),
            ("[a]: 1\n", "t:1:1: a key is a name, not a list, mapping or alias"),
            (
                "a: {<<: 3}\n",
                "t:1:5 a: `<<` merges mappings: name one, or a list of them, by aliases",
            ),
        ] {
            assert_eq!(problems(text), wanted, "{text:?}");
        }
        assert!(problems("a: \"b\n").contains("this is not valid YAML"));
        assert!(problems(&"[".repeat(100)).contains("nested more than 64 levels deep"));
    }
}
