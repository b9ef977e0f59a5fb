//! What messages consist of, from the descriptors of the API: names, numbers and types of fields.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// A message of the API.
#[derive(Debug, Default)]
pub(crate) struct Message {
    /// Its full name, such as `tetragon.Process`.
    pub(crate) name: String,
    fields: Vec<Field>,
}

/// A field of a message.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) number: u32,
    pub(crate) repeated: bool,
    pub(crate) kind: Kind,
}

/// What a field holds, as far as it matters here: how a value is encoded and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    /// `int32`, `int64` and enums: a varint, sign-extended.
    Int,
    /// `uint32` and `uint64`: a varint.
    Uint,
    /// `double`: eight bytes.
    Double,
    String,
    Bytes,
    /// `google.protobuf.Timestamp`.
    Timestamp,
    /// `google.protobuf.BoolValue` and its like: a message whose field 1 is the value.
    Wrapper(Scalar),
    /// An entry of a map: a message with key (a string) and value.
    Entry(Scalar),
    Message(MessageIndex),
    /// What no event has, such as `google.protobuf.Any`.
    Opaque,
}

/// What a wrapper or a map can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Bool,
    Int,
    Uint,
    String,
}

/// A message in the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageIndex(usize);

/// The kinds of events, as `tetragon.GetEventsResponse` has them.
pub(crate) static RESPONSE: &str = "tetragon.GetEventsResponse";
/// The number below which its fields are kinds of events; the others belong to the envelope. The
/// agent's own additions have numbers from [`OWN`] on.
const ENVELOPE: u32 = 1000;
/// The first number of events that only this agent sends.
const OWN: u32 = 40_000;

static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::read);

#[derive(Default)]
struct Schema {
    messages: Vec<Message>,
    by_name: HashMap<String, usize>,
}

impl Schema {
    fn read() -> Self {
        let mut schema = Self::default();
        // The descriptors are part of the executable: tests read them.
        let files = FileDescriptorSet::decode(api::DESCRIPTORS).unwrap_or_default();
        let mut all = Vec::new();
        for file in &files.file {
            for message in &file.message_type {
                collect(file.package(), message, &mut all);
            }
        }
        for (at, (name, _)) in all.iter().enumerate() {
            schema.by_name.insert(name.clone(), at);
        }
        let entries: HashMap<&str, &DescriptorProto> = all
            .iter()
            .filter(|(_, message)| {
                message.options.as_ref().is_some_and(|options| options.map_entry())
            })
            .map(|(name, message)| (name.as_str(), *message))
            .collect();
        schema.messages = all
            .iter()
            .map(|(name, message)| Message {
                name: name.clone(),
                fields: message.field.iter().map(|field| schema.field(field, &entries)).collect(),
            })
            .collect();
        schema
    }

    fn field(
        &self,
        field: &FieldDescriptorProto,
        entries: &HashMap<&str, &DescriptorProto>,
    ) -> Field {
        let message = field.type_name().trim_start_matches('.');
        let kind = match (scalar(field), field.r#type()) {
            (Some(Scalar::Bool), _) => Kind::Bool,
            (Some(Scalar::Int), _) => Kind::Int,
            (Some(Scalar::Uint), _) => Kind::Uint,
            (Some(Scalar::String), _) => Kind::String,
            (None, Type::Bytes) => Kind::Bytes,
            (None, Type::Double) => Kind::Double,
            (None, Type::Message) => match message {
                "google.protobuf.Timestamp" => Kind::Timestamp,
                "google.protobuf.BoolValue" => Kind::Wrapper(Scalar::Bool),
                "google.protobuf.Int32Value" | "google.protobuf.Int64Value" => {
                    Kind::Wrapper(Scalar::Int)
                }
                "google.protobuf.UInt32Value" | "google.protobuf.UInt64Value" => {
                    Kind::Wrapper(Scalar::Uint)
                }
                "google.protobuf.StringValue" => Kind::Wrapper(Scalar::String),
                _ => match entries.get(message) {
                    Some(entry) => entry
                        .field
                        .iter()
                        .find(|field| field.number() == 2)
                        .and_then(scalar)
                        .map_or(Kind::Opaque, Kind::Entry),
                    None => self
                        .by_name
                        .get(message)
                        .map_or(Kind::Opaque, |at| Kind::Message(MessageIndex(*at))),
                },
            },
            _ => Kind::Opaque,
        };
        Field {
            name: field.name().to_owned(),
            number: field.number().unsigned_abs(),
            repeated: field.label() == Label::Repeated,
            kind,
        }
    }
}

/// Messages of a file, nested ones included.
fn collect<'a>(
    scope: &str,
    message: &'a DescriptorProto,
    all: &mut Vec<(String, &'a DescriptorProto)>,
) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        collect(&name, nested, all);
    }
    all.push((name, message));
}

fn scalar(field: &FieldDescriptorProto) -> Option<Scalar> {
    match field.r#type() {
        Type::Bool => Some(Scalar::Bool),
        Type::Int32 | Type::Int64 | Type::Enum => Some(Scalar::Int),
        Type::Uint32 | Type::Uint64 => Some(Scalar::Uint),
        Type::String => Some(Scalar::String),
        _ => None,
    }
}

impl MessageIndex {
    /// The message.
    pub(crate) fn message(self) -> &'static Message {
        &SCHEMA.messages[self.0]
    }
}

impl Message {
    /// The message of a full name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        SCHEMA.by_name.get(name).map(|at| &SCHEMA.messages[*at])
    }

    /// The field of a name.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// What to say of a field that is not there: the one that was meant, or those there are.
    pub(crate) fn without(&self, name: &str) -> String {
        let likeness = |field: &&Field| strsim::jaro_winkler(name, &field.name);
        let best = self
            .fields
            .iter()
            .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
            .filter(|field| likeness(field) > 0.8);
        let short = self.name.rsplit('.').next().unwrap_or_default();
        match best {
            Some(best) => format!("{short} has no field {name:?}; did you mean {:?}?", best.name),
            None => {
                let names: Vec<&str> =
                    self.fields.iter().map(|field| field.name.as_str()).collect();
                format!("{short} has no field {name:?}; it has {}", names.join(", "))
            }
        }
    }
}

/// The fields of `GetEventsResponse` that are kinds of events.
pub(crate) fn kinds() -> impl Iterator<Item = (&'static Field, &'static Message)> {
    let response = Message::named(RESPONSE);
    response.into_iter().flat_map(|response| &response.fields).filter_map(|field| {
        match field.kind {
            Kind::Message(index) if is_kind(field.number) => Some((field, index.message())),
            _ => None,
        }
    })
}

/// Whether a field of `GetEventsResponse` is a kind of event, and not part of the envelope.
pub(crate) fn is_kind(number: u32) -> bool {
    !(ENVELOPE..OWN).contains(&number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::tetragon::EventType;

    #[test]
    fn every_kind_of_event_is_known() {
        let mut numbers: Vec<u32> = kinds().map(|(field, _)| field.number).collect();
        numbers.sort_unstable();
        let mut wanted: Vec<u32> = EventType::ALL.into_iter().map(|kind| kind as u32).collect();
        wanted.sort_unstable();
        assert_eq!(numbers, wanted);
    }

    #[test]
    fn no_field_of_an_event_is_opaque() {
        fn walk(message: &Message, depth: u32) {
            for field in message.fields.iter().filter(|_| depth < 8) {
                assert_ne!(field.kind, Kind::Opaque, "{}.{}", message.name, field.name);
                if let Kind::Message(index) = field.kind {
                    walk(index.message(), depth + 1);
                }
            }
        }
        walk(Message::named(RESPONSE).unwrap(), 0);
    }

    #[test]
    fn fields_of_all_sorts() {
        let process = Message::named("tetragon.Process").unwrap();
        let of = |name: &str| process.field(name).unwrap().kind;
        assert_eq!(of("pid"), Kind::Wrapper(Scalar::Uint));
        assert_eq!(of("binary"), Kind::String);
        assert_eq!(of("start_time"), Kind::Timestamp);
        assert_eq!(of("in_init_tree"), Kind::Wrapper(Scalar::Bool));
        assert!(matches!(of("pod"), Kind::Message(_)));
        let pod = Message::named("tetragon.Pod").unwrap();
        assert_eq!(pod.field("pod_labels").unwrap().kind, Kind::Entry(Scalar::String));
        assert_eq!(
            process.without("binray"),
            "Process has no field \"binray\"; did you mean \"binary\"?"
        );
    }
}
