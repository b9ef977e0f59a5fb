//! Filters as JSON objects, one after the other, as flags and files have them.
//!
//! Other than messages from a client, in which an unknown field may be one of a newer version, these
//! are written by people: an unknown field is an error, as a filter without it would take too much.

use api::tetragon::{FieldFilter, Filter};
use serde_json::Value;

use crate::error::FilterError;
use crate::schema::{Kind, Message};

/// Reads `Filter`s.
pub fn filters(text: &str) -> Result<Vec<Filter>, FilterError> {
    read(text, "tetragon.Filter")
}

/// Reads `FieldFilter`s.
pub fn field_filters(text: &str) -> Result<Vec<FieldFilter>, FilterError> {
    // The mask is a text, or a list in JSON that was made by hand.
    read(text, "tetragon.FieldFilter")
}

fn read<T: serde::de::DeserializeOwned>(text: &str, name: &str) -> Result<Vec<T>, FilterError> {
    let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    values
        .enumerate()
        .map(|(at, value)| {
            let error = |why| FilterError::Json { number: at + 1, why };
            let value = value.map_err(|source| error(source.to_string()))?;
            if let Some(message) = Message::named(name) {
                check(message, &value).map_err(error)?;
            }
            serde_json::from_value(value).map_err(|source| error(source.to_string()))
        })
        .collect()
}

/// Whether all names in an object are fields.
fn check(message: &'static Message, value: &Value) -> Result<(), String> {
    let Value::Object(object) = value else {
        return Err(format!("{value} is no object"));
    };
    for (name, value) in object {
        let field = message.field(name).or_else(|| message.field(&snake_case(name)));
        let field = field.ok_or_else(|| message.without(name))?;
        if let (Kind::Message(index), Value::Object(_)) = (field.kind, value) {
            check(index.message(), value)?;
        }
    }
    Ok(())
}

/// `binaryRegex` as `binary_regex`.
fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(character.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::tetragon::EventType;

    #[test]
    fn one_after_the_other() {
        let text = r#"{"event_set":["PROCESS_EXEC"],"binaryRegex":["^/bin/"]}
            {"pid":[1],"in_init_tree":false}{"capabilities":{"effective":{"any":["CAP_BPF"]}}}"#;
        let filters = filters(text).unwrap();
        assert_eq!(filters.len(), 3);
        assert_eq!(filters[0].event_set, [EventType::ProcessExec as i32]);
        assert_eq!(filters[0].binary_regex, ["^/bin/"]);
        assert_eq!(filters[1].in_init_tree, Some(false));
        assert_eq!(super::filters(" \n").unwrap(), []);
        let fields = field_filters(
            r#"{"fields":"process.binary,parent.pod","event_set":["PROCESS_EXIT"],"invert_event_set":true,"action":"EXCLUDE"}"#,
        );
        assert_eq!(fields.unwrap()[0].fields.as_ref().unwrap().paths.len(), 2);
    }

    #[test]
    fn what_is_none_is_told() {
        let table = [
            (
                r#"{"binary_regx":["a"]}"#,
                "filter 1: Filter has no field \"binary_regx\"; did you mean",
            ),
            (r#"{} {"capabilities":{"efective":{}}}"#, "filter 2: CapFilter has no field"),
            (r#"{} nonsense"#, "filter 2: "),
            (r#"["a"]"#, "filter 1: [\"a\"] is no object"),
            (r#"{"event_set":["PROCESS_EXEK"]}"#, "filter 1: "),
            (r#"{"pid":["x"]}"#, "filter 1: "),
        ];
        for (text, part) in table {
            let error = filters(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
