//! Label selectors in the form that `kubectl -l` takes: requirements that stand between commas, all of
//! which have to hold: `key`, `!key`, `key = value`, `key != value`, `key in (a, b)`,
//! `key notin (a, b)`. As there, `!=` and `notin` hold for what has no such label.

use std::collections::BTreeMap;

use crate::error::FilterError;

/// A selector.
#[derive(Debug)]
pub(super) struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, PartialEq)]
enum Requirement {
    Exists(String),
    Absent(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
}

impl LabelSelector {
    pub(super) fn parse(text: &str) -> Result<Self, FilterError> {
        let error = |why: String| FilterError::Labels { selector: text.to_owned(), why };
        let requirements =
            split(text).map(|part| Requirement::parse(part.trim())).collect::<Result<_, _>>();
        Ok(Self { requirements: requirements.map_err(error)? })
    }

    pub(super) fn takes(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| requirement.holds(labels))
    }
}

/// Parts between commas that are not in parentheses; none of an empty text.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    let parts = text.split(move |character| {
        match character {
            '(' => inside = true,
            ')' => inside = false,
            _ => {}
        }
        character == ',' && !inside
    });
    parts.filter(move |_| !text.trim().is_empty())
}

impl Requirement {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(key) = text.strip_prefix('!') {
            return Ok(Self::Absent(name(key)?));
        }
        if let Some((key, value)) = text.split_once("!=") {
            return Ok(Self::NotIn(name(key)?, vec![self::value(value)?]));
        }
        if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
            return Ok(Self::In(name(key)?, vec![self::value(value)?]));
        }
        let Some((key, rest)) = text.split_once(char::is_whitespace) else {
            return Ok(Self::Exists(name(text)?));
        };
        let rest = rest.trim_start();
        let (list, of): (_, fn(_, _) -> _) =
            match (rest.strip_prefix("notin"), rest.strip_prefix("in")) {
                (Some(list), _) => (list, Self::NotIn),
                (None, Some(list)) => (list, Self::In),
                (None, None) => {
                    return Err(format!("{rest:?} is neither `in (...)` nor `notin (...)`"));
                }
            };
        let list = list.trim();
        let inner = list.strip_prefix('(').and_then(|list| list.strip_suffix(')'));
        let inner = inner.ok_or_else(|| format!("{list:?} is no list like (a, b)"))?;
        let values = inner.split(',').map(self::value).collect::<Result<_, _>>()?;
        Ok(of(name(key)?, values))
    }

    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Exists(key) => labels.contains_key(key),
            Self::Absent(key) => !labels.contains_key(key),
            Self::In(key, values) => labels.get(key).is_some_and(|label| values.contains(label)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|label| !values.contains(label)),
        }
    }
}

fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:".contains(character);
    if text.is_empty() || !text.chars().all(plain) {
        return Err(format!("{text:?} is no name of a label"));
    }
    Ok(text.to_owned())
}

fn value(text: &str) -> Result<String, String> {
    let text = text.trim();
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    if !text.chars().all(plain) {
        return Err(format!("{text:?} is no value of a label"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors() {
        let labels: BTreeMap<String, String> =
            [("app", "web"), ("tier", "front"), ("k8s:io.x/y", ""), ("n", "1")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into();
        let table = [
            ("", true),
            ("app", true),
            ("other", false),
            ("!other", true),
            ("!app", false),
            ("app=web", true),
            ("app == web", true),
            ("app=db", false),
            ("app!=db", true),
            ("other!=db", true),
            ("app!=web", false),
            ("app in (db, web)", true),
            ("app in (db)", false),
            ("other in (db)", false),
            ("app notin (db,x),tier=front", true),
            ("app notin (web)", false),
            ("app=web,tier in (back, mid),n", false),
            ("k8s:io.x/y=", true),
            ("k8s:io.x/y=a", false),
        ];
        for (text, wanted) in table {
            assert_eq!(LabelSelector::parse(text).unwrap().takes(&labels), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_none_is_told() {
        for text in ["app in web", "app like (x)", "a,,b", "a b", "=x", "a=b c", "app in (a"] {
            let error = LabelSelector::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("labels: selector {text:?}:")), "{error}");
        }
    }
}
