//! One declaration per field: what decoding, the list of known fields, defaults, constraints and the
//! CRD's OpenAPI schema all follow from.
//!
//! [`record!`](crate::record) declares a mapping with its fields, `choices!` a string of a fixed set.
//! A value that cannot be decoded is reported and replaced by a stand-in, so that all problems of a
//! document come at once; whoever depends on such a value asks the report.

use crate::problem::{Path, Report, excerpt, hint};
use crate::text::{Content, Entry, Node, boolean, integer};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A type that a document's values are decoded into.
pub(crate) trait Decode: Sized {
    /// The value in the node, or a stand-in and a problem.
    fn decode(node: &Node, path: &Path<'_>, report: &mut Report) -> Self;

    /// What stands in for a value that is missing or wrong.
    fn stand_in() -> Self;

    /// The type in OpenAPI v3.
    fn schema() -> Value;
}

/// A value that can be a field's default.
pub(crate) trait Literal {
    /// The value as the schema writes it.
    fn json(&self) -> Value;
}

/// What a field's schema says beyond its type.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Constraint {
    /// At most so many elements.
    MaxItems(usize),
    /// Kubernetes replaces the mapping or list as a whole.
    Atomic,
    /// The API server's own validation covers it; the schema says only that it is an object.
    Opaque,
}

impl Constraint {
    pub(crate) fn describe(self, schema: &mut Value) {
        match self {
            Self::MaxItems(most) => schema["maxItems"] = json!(most),
            Self::Atomic if schema["type"] == "array" => {
                schema["x-kubernetes-list-type"] = json!("atomic");
            }
            Self::Atomic => schema["x-kubernetes-map-type"] = json!("atomic"),
            Self::Opaque => *schema = json!({"type": "object"}),
        }
    }

    pub(crate) fn check(self, node: &Node, path: &Path<'_>, report: &mut Report) {
        if let (Self::MaxItems(most), Content::Sequence(items)) = (self, &node.content)
            && let Some(beyond) = items.get(most)
        {
            let message = format!("{} elements, but at most {most} are allowed", items.len());
            report.error(beyond.mark, path, message);
        }
    }
}

/// The fields of a mapping while a record is decoded from it.
pub(crate) struct Fields<'n> {
    node: &'n Node,
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    pub(crate) fn of(
        node: &'n Node,
        known: &[&str],
        path: &Path<'_>,
        report: &mut Report,
    ) -> Option<Self> {
        let Content::Mapping(entries) = &node.content else {
            wrong_type("a mapping", node, path, report);
            return None;
        };
        for entry in entries {
            if !known.contains(&entry.key.as_str()) {
                let key = excerpt(&entry.key);
                let message = format!("unknown field `{key}`: {}", hint(&entry.key, known));
                report.error(entry.mark, &path.key(&entry.key), message);
            }
        }
        Some(Self { node, entries })
    }

    /// The field's value; a null is no value.
    fn get(&self, key: &str) -> Option<&'n Node> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        (!matches!(entry.value.content, Content::Null)).then_some(&entry.value)
    }

    pub(crate) fn optional<T: Decode>(
        &self,
        key: &str,
        constraints: &[Constraint],
        path: &Path<'_>,
        report: &mut Report,
    ) -> Option<T> {
        let node = self.get(key)?;
        let path = path.key(key);
        for constraint in constraints {
            constraint.check(node, &path, report);
        }
        Some(T::decode(node, &path, report))
    }

    pub(crate) fn required<T: Decode>(
        &self,
        key: &str,
        constraints: &[Constraint],
        path: &Path<'_>,
        report: &mut Report,
    ) -> T {
        self.optional(key, constraints, path, report).unwrap_or_else(|| {
            report.replace(self.node.mark, &path.key(key), format!("`{key}` is missing"));
            T::stand_in()
        })
    }
}

/// Reports a node of the wrong type.
pub(crate) fn wrong_type(wanted: &str, node: &Node, path: &Path<'_>, report: &mut Report) {
    report.replace(node.mark, path, format!("{wanted} is wanted here, not {}", node.what()));
}

impl Decode for String {
    fn decode(node: &Node, path: &Path<'_>, report: &mut Report) -> Self {
        match &node.content {
            Content::Scalar(scalar) => scalar.text.clone(),
            _ => {
                wrong_type("a string", node, path, report);
                Self::new()
            }
        }
    }

    fn stand_in() -> Self {
        Self::new()
    }

    fn schema() -> Value {
        json!({"type": "string"})
    }
}

impl Literal for String {
    fn json(&self) -> Value {
        json!(self)
    }
}

impl Decode for bool {
    fn decode(node: &Node, path: &Path<'_>, report: &mut Report) -> Self {
        let value = match &node.content {
            Content::Scalar(scalar) if scalar.plain => boolean(&scalar.text),
            _ => None,
        };
        value.unwrap_or_else(|| {
            wrong_type("a boolean (true or false)", node, path, report);
            false
        })
    }

    fn stand_in() -> Self {
        false
    }

    fn schema() -> Value {
        json!({"type": "boolean"})
    }
}

impl Literal for bool {
    fn json(&self) -> Value {
        json!(self)
    }
}

macro_rules! integers {
    ($($ty:ident: $format:literal, $least:expr, $most:expr, $schema:expr;)*) => {$(
        impl Decode for $ty {
            fn decode(node: &Node, path: &Path<'_>, report: &mut Report) -> Self {
                let value = match &node.content {
                    Content::Scalar(scalar) if scalar.plain => integer(&scalar.text),
                    Content::Scalar(scalar) if integer(&scalar.text).is_some() => {
                        let message = "a number is wanted here: write it without quotes";
                        report.replace(node.mark, path, message);
                        return 0;
                    }
                    _ => None,
                };
                let Some(value) = value else {
                    wrong_type("a whole number", node, path, report);
                    return 0;
                };
                let (least, most): ($ty, $ty) = ($least, $most);
                if value < i128::from(least) || value > i128::from(most) {
                    let message = format!("{value} is out of range: {least} to {most}");
                    report.replace(node.mark, path, message);
                    return 0;
                }
                Self::try_from(value).unwrap_or_default()
            }

            fn stand_in() -> Self {
                0
            }

            fn schema() -> Value {
                let mut schema = $schema;
                schema["type"] = json!("integer");
                schema["format"] = json!($format);
                schema
            }
        }
    )*};
}

// Kubernetes' integer formats are signed, so unsigned fields end where those end.
integers! {
    i32: "int32", i32::MIN, i32::MAX, json!({});
    i64: "int64", i64::MIN, i64::MAX, json!({});
    u32: "int32", 0, i32::MAX.unsigned_abs(), json!({"minimum": 0});
    u64: "int64", 0, i64::MAX.unsigned_abs(), json!({"minimum": 0});
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, path: &Path<'_>, report: &mut Report) -> Self {
        let Content::Sequence(items) = &node.content else {
            wrong_type("a list", node, path, report);
            return Self::new();
        };
        let decode = |(index, item)| T::decode(item, &path.index(index), report);
        items.iter().enumerate().map(decode).collect()
    }

    fn stand_in() -> Self {
        Self::new()
    }

    fn schema() -> Value {
        json!({"type": "array", "items": T::schema()})
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(node: &Node, path: &Path<'_>, report: &mut Report) -> Self {
        let Content::Mapping(entries) = &node.content else {
            wrong_type("a mapping", node, path, report);
            return Self::new();
        };
        entries
            .iter()
            .map(|entry| {
                (entry.key.clone(), T::decode(&entry.value, &path.key(&entry.key), report))
            })
            .collect()
    }

    fn stand_in() -> Self {
        Self::new()
    }

    fn schema() -> Value {
        json!({"type": "object", "additionalProperties": T::schema()})
    }
}

/// Anything at all; what it is does not matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anything;

impl Decode for Anything {
    fn decode(_: &Node, _: &Path<'_>, _: &mut Report) -> Self {
        Self
    }

    fn stand_in() -> Self {
        Self
    }

    fn schema() -> Value {
        json!({"x-kubernetes-preserve-unknown-fields": true})
    }
}

/// Joins the lines of a doc comment.
pub(crate) fn description(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// Decodes a choice.
pub(crate) fn choose<T>(
    node: &Node,
    path: &Path<'_>,
    report: &mut Report,
    named: fn(&str) -> Option<T>,
    names: &[&str],
) -> Option<T> {
    let Content::Scalar(scalar) = &node.content else {
        wrong_type("a name", node, path, report);
        return None;
    };
    let choice = named(&scalar.text);
    if choice.is_none() {
        let message =
            format!("`{}` is unknown: {}", excerpt(&scalar.text), hint(&scalar.text, names));
        report.replace(node.mark, path, message);
    }
    choice
}
