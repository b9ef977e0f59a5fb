//! Label and field selectors of lists and watches.

use serde_json::Value;

/// Which objects are asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    labels: Vec<Condition>,
    fields: Vec<Condition>,
}

#[derive(Debug, Clone)]
enum Condition {
    Equal(String, String),
    NotEqual(String, String),
    Exists(String),
}

impl Selector {
    /// Reads `labelSelector` and `fieldSelector`. Only equality and existence.
    pub(crate) fn new(labels: Option<&str>, fields: Option<&str>) -> Result<Self, String> {
        Ok(Self { labels: conditions(labels)?, fields: conditions(fields)? })
    }

    /// Whether an object is among those.
    pub(crate) fn selects(&self, object: &Value) -> bool {
        let label = |key: &str| object["metadata"]["labels"][key].as_str().map(str::to_owned);
        let field = |path: &str| {
            let value = path.split('.').fold(object, |value, part| &value[part]);
            Some(value.as_str().unwrap_or_default().to_owned())
        };
        self.labels.iter().all(|condition| condition.holds(label))
            && self.fields.iter().all(|condition| condition.holds(field))
    }
}

impl Condition {
    fn holds(&self, value: impl Fn(&str) -> Option<String>) -> bool {
        match self {
            Self::Equal(key, wanted) => value(key).as_ref() == Some(wanted),
            Self::NotEqual(key, other) => value(key).as_ref() != Some(other),
            Self::Exists(key) => value(key).is_some(),
        }
    }
}

fn conditions(text: Option<&str>) -> Result<Vec<Condition>, String> {
    let parts = text.unwrap_or_default().split(',').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let pair = |split: &str| {
                let (key, value) = part.split_once(split)?;
                Some((key.to_owned(), value.to_owned()))
            };
            if part.contains([' ', '(']) {
                return Err(format!("{part:?}: only equality and existence are understood here"));
            }
            if let Some((key, value)) = pair("!=") {
                return Ok(Condition::NotEqual(key, value));
            }
            if let Some((key, value)) = pair("==").or_else(|| pair("=")) {
                return Ok(Condition::Equal(key, value));
            }
            Ok(Condition::Exists(part.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_and_fields() {
        let pod = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"nodeName": "n"}});
        let selects = |labels, fields| Selector::new(labels, fields).unwrap().selects(&pod);
        assert!(selects(None, None) && selects(Some("a=1"), Some("spec.nodeName=n")));
        assert!(!selects(Some("a=2"), None) && !selects(None, Some("spec.nodeName==m")));
        assert!(selects(Some("a"), None) && !selects(Some("b"), None));
        assert!(selects(Some("b!=1"), Some("spec.nodeName!=")));
        assert!(Selector::new(Some("a in (1)"), None).is_err());
    }
}
