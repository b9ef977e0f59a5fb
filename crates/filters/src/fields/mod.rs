//! Field filters: which fields of an event are kept.
//!
//! Filters apply one after the other. Paths, such as `process.pod.name`, start in the body of an
//! event; its envelope (node, time, cluster) is always kept. A filter that includes nothing leaves
//! only the envelope and the kind.

mod mask;

use std::borrow::Cow;

use api::tetragon::{EventType, FieldFilter, FieldFilterAction, GetEventsResponse};
use prost::Message as _;

use crate::error::FilterError;
use crate::schema;
use crate::wire;
use mask::{Mask, Wrong};

/// Compiled field filters; the default changes nothing.
#[derive(Debug, Default)]
pub struct FieldFilters {
    filters: Vec<Filter>,
}

#[derive(Debug)]
struct Filter {
    /// Kinds of events that it is about; with `inverted`, all others.
    kinds: Vec<EventType>,
    inverted: bool,
    action: FieldFilterAction,
    /// By kind of event: its number in `GetEventsResponse` and the fields that the mask names there.
    masks: Vec<(u32, Mask)>,
}

impl FieldFilters {
    /// Compiles filters. A path has to lead somewhere in one of the kinds that its filter is about.
    pub fn new(filters: &[FieldFilter]) -> Result<Self, FilterError> {
        let compile = |(at, filter): (usize, &FieldFilter)| {
            Filter::new(filter).map_err(|source| FilterError::InList {
                list: "field_filters",
                number: at + 1,
                source: Box::new(source),
            })
        };
        Ok(Self { filters: filters.iter().enumerate().map(compile).collect::<Result<_, _>>()? })
    }

    /// Whether nothing is taken out of any event.
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Takes out of an event what is not wanted. One that no filter is about is not copied.
    pub fn apply<'a>(&self, event: &'a GetEventsResponse) -> Cow<'a, GetEventsResponse> {
        let kind = event.event_type();
        let mut bytes = None;
        for filter in self.filters.iter().filter(|filter| filter.is_about(kind)) {
            let whole = bytes.unwrap_or_else(|| event.encode_to_vec());
            bytes = Some(filter.apply(&whole));
        }
        // What was taken out of an encoded message leaves an encoded message.
        let rest = bytes.and_then(|bytes| GetEventsResponse::decode(bytes.as_slice()).ok());
        rest.map_or(Cow::Borrowed(event), Cow::Owned)
    }
}

impl Filter {
    fn new(filter: &FieldFilter) -> Result<Self, FilterError> {
        let kinds: Vec<EventType> = filter
            .event_set
            .iter()
            .map(|number| {
                EventType::try_from(*number)
                    .map_err(|_| FilterError::Number { field: "event_set", number: *number })
            })
            .collect::<Result<_, _>>()?;
        let action = FieldFilterAction::try_from(filter.action)
            .map_err(|_| FilterError::Number { field: "action", number: filter.action })?;
        let mut compiled = Self {
            kinds,
            inverted: filter.invert_event_set.unwrap_or(false),
            action,
            masks: Vec::new(),
        };
        let paths = filter.fields.as_ref().map_or(&[][..], |fields| &fields.paths);
        let about: Vec<_> = schema::kinds()
            .filter(|(field, _)| {
                let kind =
                    field.number.try_into().ok().and_then(|n: i32| EventType::try_from(n).ok());
                kind.is_some_and(|kind| compiled.is_about(kind))
            })
            .collect();
        let mut masks: Vec<(u32, Mask)> =
            about.iter().map(|(field, _)| (field.number, Mask::default())).collect();
        for path in paths {
            let added: Vec<Result<(), Wrong>> = about
                .iter()
                .zip(&mut masks)
                .map(|((_, message), (_, mask))| mask.add(message, path))
                .collect();
            if !about.is_empty() && added.iter().all(Result::is_err) {
                let why = wrong(added.into_iter().filter_map(Result::err));
                return Err(FilterError::Path { path: path.clone(), why });
            }
        }
        compiled.masks = masks;
        Ok(compiled)
    }

    fn is_about(&self, kind: EventType) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind) != self.inverted
    }

    fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for field in wire::fields(bytes) {
            let mask = self.masks.iter().find(|(number, _)| *number == field.number);
            match mask.filter(|_| schema::is_kind(field.number)) {
                Some((_, mask)) => {
                    let mut body = Vec::new();
                    mask.apply(self.action, field.value.bytes(), &mut body);
                    wire::put_bytes(&mut out, field.number, &body);
                }
                None => out.extend_from_slice(field.whole),
            }
        }
        out
    }
}

/// What is wrong with a path that leads nowhere in any kind of events: what the one says in which it
/// leads furthest, or is likest to a name.
fn wrong(all: impl Iterator<Item = Wrong>) -> String {
    let likeness = |wrong: &Wrong| (wrong.depth, wrong.why.contains("did you mean"));
    let best = all.reduce(|best, next| if likeness(&next) > likeness(&best) { next } else { best });
    best.map(|wrong| wrong.why).unwrap_or_default()
}

#[cfg(test)]
mod tests;
