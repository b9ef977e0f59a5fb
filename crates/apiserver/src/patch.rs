//! Merge patches (RFC 7386), which server-side apply is taken for as well.

use serde_json::Value;

/// Changes a value as a patch says: objects are merged, null removes, anything else replaces.
pub(crate) fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = Value::Object(serde_json::Map::new());
    }
    let Value::Object(object) = value else { return };
    for (key, change) in changes {
        match change {
            Value::Null => {
                object.remove(key);
            }
            change => merge(object.entry(key).or_insert(Value::Null), change),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_merged() {
        let mut value = json!({"a": {"b": 1, "c": 2}, "d": [1]});
        merge(&mut value, &json!({"a": {"b": null, "e": {"f": 3}}, "d": [2]}));
        assert_eq!(value, json!({"a": {"c": 2, "e": {"f": 3}}, "d": [2]}));
    }
}
