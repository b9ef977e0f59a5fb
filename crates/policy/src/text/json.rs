//! A document as JSON, as it is written: nothing of a schema is applied.

use serde_json::{Map, Number, Value};

use super::node::{Content, Node, Scalar, boolean, integer};
use super::read;
use crate::problem::{Problems, Report};

/// Reads YAML or JSON. `file` is the text's name in messages. An empty text is null.
///
/// # Errors
/// It is neither.
pub fn to_json(file: &str, text: &str) -> Result<Value, Problems> {
    let mut report = Report::default();
    let root = read(text, &mut report);
    report.finish(file)?;
    Ok(root.as_ref().map_or(Value::Null, value))
}

fn value(node: &Node) -> Value {
    match &node.content {
        Content::Null => Value::Null,
        Content::Scalar(scalar) => of_scalar(scalar),
        Content::Sequence(items) => Value::Array(items.iter().map(value).collect()),
        Content::Mapping(entries) => {
            let entries = entries.iter().map(|entry| (entry.key.clone(), value(&entry.value)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}

fn of_scalar(scalar: &Scalar) -> Value {
    let text = || Value::String(scalar.text.clone());
    if !scalar.plain {
        return text();
    }
    if let Some(boolean) = boolean(&scalar.text) {
        return Value::Bool(boolean);
    }
    if let Some(number) = integer(&scalar.text) {
        return Number::from_i128(number).map_or_else(text, Value::Number);
    }
    let fraction = scalar.text.parse::<f64>().ok().and_then(Number::from_f64);
    fraction.map_or_else(text, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_words_have_the_types_that_kubernetes_reads() {
        let text = "a: [1, -0x10, '1', 1.5, yes, null, 2e3, x]\nb: {c: |\n    text\n  }\n";
        let text = text.replace("|\n    text\n  ", "\"text\\n\"");
        let expected = json!({
            "a": [1, -16, "1", 1.5, true, null, 2000.0, "x"], "b": {"c": "text\n"}
        });
        assert_eq!(to_json("d.yaml", &text).unwrap(), expected);
        assert_eq!(to_json("d.json", &expected.to_string()).unwrap(), expected);
        assert_eq!(to_json("d.yaml", "").unwrap(), Value::Null);
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_place() {
        let error = to_json("d.yaml", "a: 1\nb: [").unwrap_err().to_string();
        assert!(error.starts_with("d.yaml:"), "{error}");
    }
}
