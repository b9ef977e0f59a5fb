//! Fields of a message by number, as a tree.

use std::collections::BTreeMap;

use api::tetragon::FieldFilterAction;

use crate::schema::{Kind, Message};
use crate::wire;

/// Fields that are named, each with those within it that are; none stands for all of it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Mask {
    fields: BTreeMap<u32, Mask>,
}

/// A path that leads nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// How many names lead somewhere.
    pub(super) depth: usize,
    /// What is wrong with the next.
    pub(super) why: String,
}

impl Wrong {
    fn here(why: String) -> Self {
        Self { depth: 0, why }
    }

    fn further(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

impl Mask {
    /// Adds a path; names in it are separated by dots.
    pub(super) fn add(&mut self, message: &'static Message, path: &str) -> Result<(), Wrong> {
        let (name, rest) = match path.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        let field = message.field(name).ok_or_else(|| Wrong::here(message.without(name)))?;
        let is_new = !self.fields.contains_key(&field.number);
        let inner = self.fields.entry(field.number).or_default();
        let result = match (rest, field.kind) {
            (None, _) => {
                inner.fields.clear();
                return Ok(());
            }
            // All of it is named already.
            (Some(_), Kind::Message(_)) if !is_new && inner.fields.is_empty() => Ok(()),
            (Some(rest), Kind::Message(index)) => {
                inner.add(index.message(), rest).map_err(Wrong::further)
            }
            (Some(rest), _) => {
                Err(Wrong::here(format!("{name:?} has no fields, so no {rest:?}")).further())
            }
        };
        if result.is_err() && is_new {
            self.fields.remove(&field.number);
        }
        result
    }

    /// Appends what is left of a message. Of a repeated message each is treated alike.
    pub(super) fn apply(&self, action: FieldFilterAction, bytes: &[u8], out: &mut Vec<u8>) {
        for field in wire::fields(bytes) {
            match (self.fields.get(&field.number), action) {
                (Some(inner), _) if !inner.fields.is_empty() => {
                    let mut body = Vec::new();
                    inner.apply(action, field.value.bytes(), &mut body);
                    wire::put_bytes(out, field.number, &body);
                }
                (Some(_), FieldFilterAction::Include) | (None, FieldFilterAction::Exclude) => {
                    out.extend_from_slice(field.whole);
                }
                (Some(_), FieldFilterAction::Exclude) | (None, FieldFilterAction::Include) => {}
            }
        }
    }
}
