//! The YAML configuration file: one mapping from flags to values or lists of values.

use super::flag::Raw;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

/// One `flag: value`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) raw: Raw,
}

/// Text that is not such a mapping.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) problem: String,
}

/// Reads a file's text. A key without a value (`key:`) is left out: it sets nothing.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, Malformed> {
    let mut events = Events { parser: Parser::new_from_str(text), line: 1 };
    let mut entries = Vec::new();
    loop {
        match events.next()? {
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            Event::StreamEnd | Event::Nothing => return Ok(entries),
            // A document without content.
            Event::Scalar(value, ScalarStyle::Plain, ..) if is_null(&value) => {}
            Event::MappingStart(..) => events.mapping(&mut entries)?,
            _ => return Err(events.malformed("a mapping of flags to values is wanted")),
        }
    }
}

struct Events<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    line: usize,
}

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<Event<'a>, Malformed> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                self.line = line(&span);
                Ok(event)
            }
            Some(Err(error)) => Err(scan_error(&error)),
            None => Ok(Event::StreamEnd),
        }
    }

    fn malformed(&self, problem: &str) -> Malformed {
        Malformed { line: self.line, problem: problem.to_owned() }
    }

    fn mapping(&mut self, entries: &mut Vec<Entry>) -> Result<(), Malformed> {
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return Ok(()),
                Event::Scalar(key, ..) => key.to_ascii_lowercase(),
                _ => return Err(self.malformed("the name of a flag is wanted")),
            };
            let line = self.line;
            let raw = match self.next()? {
                Event::Scalar(value, ScalarStyle::Plain, ..) if is_null(&value) => continue,
                Event::Scalar(value, ..) if value.is_empty() => Raw::Zero,
                Event::Scalar(value, ..) => Raw::Text(value.into_owned()),
                Event::SequenceStart(..) => Raw::List(self.list(&key)?),
                _ => return Err(self.malformed(&format!("{key}: a value or a list is wanted"))),
            };
            entries.push(Entry { key, line, raw });
        }
    }

    fn list(&mut self, key: &str) -> Result<Vec<String>, Malformed> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(items),
                Event::Scalar(item, ..) => items.push(item.into_owned()),
                _ => return Err(self.malformed(&format!("{key}: a list of values is wanted"))),
            }
        }
    }
}

/// The plain scalars that YAML's core schema reads as null.
fn is_null(value: &str) -> bool {
    matches!(value, "" | "~" | "null" | "Null" | "NULL")
}

fn line(span: &Span) -> usize {
    span.start.line().max(1)
}

fn scan_error(error: &ScanError) -> Malformed {
    Malformed {
        line: error.marker().line().max(1),
        problem: format!("is no YAML: {}", error.info()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, line: usize, raw: Raw) -> Entry {
        Entry { key: key.to_owned(), line, raw }
    }

    #[test]
    fn reads_values_lists_and_lines() {
        let text = "# comment\nlog-level: debug\n\nEnable-Ancestors: [base, lsm]\nempty: \"\"\n\
                    nothing:\nexport-rate-limit: -1\nexport-denylist: |-\n  {\"a\":1}\n  {\"b\":2}\n";
        let wanted = vec![
            entry("log-level", 2, Raw::Text("debug".into())),
            entry("enable-ancestors", 4, Raw::List(vec!["base".into(), "lsm".into()])),
            entry("empty", 5, Raw::Zero),
            entry("export-rate-limit", 7, Raw::Text("-1".into())),
            entry("export-denylist", 8, Raw::Text("{\"a\":1}\n{\"b\":2}".into())),
        ];
        assert_eq!(parse(text).unwrap(), wanted);
    }

    #[test]
    fn an_empty_file_sets_nothing() {
        for text in ["", "# only a comment\n", "---\n"] {
            assert_eq!(parse(text).unwrap(), Vec::new(), "{text:?}");
        }
    }

    #[test]
    fn says_where_it_is_wrong() {
        assert_eq!(parse("a: b\nc: {d: e}\n").unwrap_err().line, 2);
        assert_eq!(parse("- a\n").unwrap_err().line, 1);
        let broken = parse("a: b\nc: \"d\n").unwrap_err();
        assert!(broken.problem.starts_with("is no YAML: "), "{broken:?}");
        assert!(broken.line >= 2, "{broken:?}");
    }
}
