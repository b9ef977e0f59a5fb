//! Sets of fields, by path.
//!
//! In JSON a mask is one string, `process.startTime,parent`: paths joined by commas, names in
//! lower camel case. Names as the .proto files have them (`process.start_time`) are read as well,
//! because that is how people write them.

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

/// `google.protobuf.FieldMask`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct FieldMask {
    /// Paths: field names joined by dots.
    #[prost(string, repeated, tag = "1")]
    pub paths: Vec<String>,
}

/// Lower camel case of a path, or nothing when the way back would lead elsewhere.
fn camel(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut raise = false;
    for c in path.chars() {
        match c {
            '_' if raise => return None,
            '_' => raise = true,
            'A'..='Z' => return None,
            'a'..='z' if raise => {
                out.push(c.to_ascii_uppercase());
                raise = false;
            }
            _ if raise => return None,
            _ => out.push(c),
        }
    }
    (!raise).then_some(out)
}

fn snake(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 4);
    for c in path.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

impl Serialize for FieldMask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let paths: Result<Vec<_>, _> = self
            .paths
            .iter()
            .map(|path| {
                camel(path).ok_or_else(|| {
                    ser::Error::custom(format_args!("field path {path:?} has no JSON form"))
                })
            })
            .collect();
        serializer.serialize_str(&paths?.join(","))
    }
}

impl<'de> Deserialize<'de> for FieldMask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let paths = match text.as_str() {
            "" => Vec::new(),
            text => text.split(',').map(snake).collect(),
        };
        Ok(Self { paths })
    }
}
