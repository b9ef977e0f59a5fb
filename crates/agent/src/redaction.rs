//! Redaction: secrets in arguments and environment are masked before any event is made of them.
//!
//! A filter has regular expressions; what their capture groups match becomes `*****`. A regular expression
//! without groups masks nothing. Filters apply in order, each to what the one before left.

use regex::Regex;
use serde::Deserialize;

/// What stands for a secret.
const MASK: &str = "*****";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    #[serde(default)]
    redact: Vec<String>,
    #[serde(default)]
    binary_regex: Vec<String>,
    // Part of the published form, without effect there too.
    #[serde(default, rename = "match")]
    _match: serde::de::IgnoredAny,
}

/// Redaction filters that do not read as such.
#[derive(Debug, thiserror::Error)]
pub enum RedactionError {
    /// Not JSON objects one after the other.
    #[error("redaction filter {number} is not an object with redact and binary_regex: {source}")]
    Syntax {
        /// Which filter, from 1.
        number: usize,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A regular expression that does not compile.
    #[error("redaction filter {number}: regular expression {regex:?}: {source}")]
    Regex {
        /// Which filter, from 1.
        number: usize,
        /// The expression.
        regex: String,
        /// What is wrong with it.
        source: Box<regex::Error>,
    },
    /// A filter that has nothing to mask.
    #[error("redaction filter {number} has no redact expressions")]
    Empty {
        /// Which filter, from 1.
        number: usize,
    },
}

#[derive(Clone, Debug)]
struct Filter {
    redact: Vec<Regex>,
    binary: Vec<Regex>,
}

/// Redaction filters; the default has none.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    filters: Vec<Filter>,
}

impl Redaction {
    /// Reads JSON objects with `redact` and `binary_regex` lists, one after the other.
    pub fn parse(text: &str) -> Result<Self, RedactionError> {
        let sources = serde_json::Deserializer::from_str(text).into_iter::<Source>();
        let filters = sources
            .enumerate()
            .map(|(at, source)| {
                let number = at + 1;
                let source = source.map_err(|source| RedactionError::Syntax { number, source })?;
                if source.redact.is_empty() {
                    return Err(RedactionError::Empty { number });
                }
                Ok(Filter {
                    redact: compile(number, source.redact)?,
                    binary: compile(number, source.binary_regex)?,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { filters })
    }

    /// Masks secrets in the text of arguments, or in a `NAME=value` of the environment, of a binary.
    pub fn apply(&self, binary: &str, text: String) -> String {
        let applicable = self.filters.iter().filter(|filter| {
            filter.binary.is_empty() || filter.binary.iter().any(|regex| regex.is_match(binary))
        });
        applicable.flat_map(|filter| &filter.redact).fold(text, |text, regex| mask(regex, text))
    }
}

fn compile(number: usize, texts: Vec<String>) -> Result<Vec<Regex>, RedactionError> {
    texts
        .into_iter()
        .map(|regex| {
            Regex::new(&regex).map_err(|source| RedactionError::Regex {
                number,
                regex,
                source: Box::new(source),
            })
        })
        .collect()
}

fn mask(regex: &Regex, text: String) -> String {
    if regex.captures_len() == 1 {
        return text;
    }
    let mut out = String::new();
    let mut kept = 0;
    for captures in regex.captures_iter(&text) {
        let mut groups: Vec<_> =
            captures.iter().skip(1).flatten().map(|group| group.range()).collect();
        // An outer group starts no later and ends no earlier than those in it.
        groups.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
        for range in groups {
            if range.start >= kept {
                out.push_str(&text[kept..range.start]);
                out.push_str(MASK);
                kept = range.end;
            }
        }
    }
    if kept == 0 && out.is_empty() {
        return text;
    }
    out.push_str(&text[kept..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(filters: &str, binary: &str, text: &str) -> String {
        Redaction::parse(filters).unwrap().apply(binary, text.to_owned())
    }

    #[test]
    fn groups_are_masked() {
        let cases = [
            (
                r#"{"redact":["--password(?:\\s+|=)(\\S*)"]}"#,
                "--password=x --user me --password y",
                "--password=***** --user me --password *****",
            ),
            (r#"{"redact":["(?:--token) (\\S+)"]}"#, "a --token t b", "a --token ***** b"),
            (r#"{"redact":["\\W(passwd?)\\W"]}"#, " passwd pass", " ***** pass"),
            (r#"{"redact":["secret"]}"#, "a secret", "a secret"),
            (r#"{"redact":["(a(b)c)"]}"#, "xabcx", "x*****x"),
            (r#"{"redact":["(a)(b)"]}"#, "ab ab", "********** **********"),
            (r#"{"redact":["(x)|(y)"]}"#, "axbyc", "a*****b*****c"),
            (r#"{"redact":["(a)"]} {"redact":["b(\\*+)"]}"#, "ba", "b*****"),
            (r#"{"redact":["(ä+)"]}"#, "öäü", "ö*****ü"),
        ];
        for (filters, text, expected) in cases {
            assert_eq!(apply(filters, "/bin/x", text), expected, "{filters}");
        }
        assert_eq!(apply("", "/bin/x", "a"), "a");
    }

    #[test]
    fn binaries() {
        let filters = "{\"redact\":[\"(a)\"],\"binary_regex\":[\"^/bin/x$\",\"curl\"]}\n\
                       {\"redact\":[\"(b)\"]}";
        assert_eq!(apply(filters, "/bin/x", "ab"), "**********");
        assert_eq!(apply(filters, "/usr/bin/curl", "ab"), "**********");
        assert_eq!(apply(filters, "/bin/y", "ab"), "a*****");
    }

    #[test]
    fn errors_name_the_filter() {
        let cases = [
            (r#"{"redact":["(a)"]} {"redact":["("]}"#, "filter 2"),
            (r#"{"redact":["(a)"]} nonsense"#, "filter 2"),
            (r#"{"binary_regex":["a"]}"#, "filter 1 has no redact"),
            (r#"{"redact":["a"],"wrong":1}"#, "wrong"),
        ];
        for (text, part) in cases {
            let error = Redaction::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(Redaction::parse(r#"{"redact":["(a)"],"match":[{"x":1}]}"#).is_ok());
    }
}
