//! A message of any type, with its type's name.
//!
//! In JSON it is `{"@type": NAME, "value": ...}` for the types that settings come in: the wrapper
//! types, `Value`, `ListValue` and `Struct`. Any other type keeps its bytes, as base64, so that
//! nothing that a newer agent says is lost; there is no way back from that form.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::{DecodeError, Message, Name};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::{Value as Json, json};

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Any {
    /// `type.googleapis.com/` and the full name of the message.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The encoded message.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

impl Any {
    /// Packs a message. Plain `bool`, `i64`, `String` and so on are the wrapper types.
    pub fn pack<M: Message + Name>(message: &M) -> Self {
        Self { type_url: M::type_url(), value: message.encode_to_vec() }
    }

    /// Packs a list of strings, as a `google.protobuf.ListValue`.
    pub fn pack_strings<S: Into<String>>(strings: impl IntoIterator<Item = S>) -> Self {
        let string = |s: S| Value { kind: Some(Kind::StringValue(s.into())) };
        let list = ListValue { values: strings.into_iter().map(string).collect() };
        Self {
            type_url: "type.googleapis.com/google.protobuf.ListValue".into(),
            value: list.encode_to_vec(),
        }
    }

    /// The value as JSON has it.
    ///
    /// # Errors
    /// The bytes are not a message of the type.
    pub fn to_json(&self) -> Result<Json, DecodeError> {
        let bytes = self.value.as_slice();
        let name = self.type_url.rsplit('/').next().unwrap_or_default();
        Ok(match name {
            "google.protobuf.StringValue" => json!(String::decode(bytes)?),
            "google.protobuf.BoolValue" => json!(bool::decode(bytes)?),
            "google.protobuf.Int32Value" => json!(i32::decode(bytes)?),
            "google.protobuf.UInt32Value" => json!(u32::decode(bytes)?),
            "google.protobuf.Int64Value" => json!(i64::decode(bytes)?.to_string()),
            "google.protobuf.UInt64Value" => json!(u64::decode(bytes)?.to_string()),
            "google.protobuf.DoubleValue" => json!(f64::decode(bytes)?),
            "google.protobuf.FloatValue" => json!(f32::decode(bytes)?),
            "google.protobuf.Value" => json_of(Value::decode(bytes)?),
            "google.protobuf.ListValue" => json_of_list(ListValue::decode(bytes)?),
            "google.protobuf.Struct" => json_of_struct(Struct::decode(bytes)?),
            _ => json!(STANDARD.encode(bytes)),
        })
    }
}

fn json_of(value: Value) -> Json {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::NumberValue(number)) => json!(number),
        Some(Kind::StringValue(string)) => json!(string),
        Some(Kind::BoolValue(bool)) => json!(bool),
        Some(Kind::StructValue(fields)) => json_of_struct(fields),
        Some(Kind::ListValue(list)) => json_of_list(list),
    }
}

fn json_of_list(list: ListValue) -> Json {
    Json::Array(list.values.into_iter().map(json_of).collect())
}

fn json_of_struct(fields: Struct) -> Json {
    Json::Object(fields.fields.into_iter().map(|(name, value)| (name, json_of(value))).collect())
}

fn value_of(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(bool) => Kind::BoolValue(bool),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(string) => Kind::StringValue(string),
        Json::Array(values) => Kind::ListValue(list_of(values)),
        Json::Object(fields) => Kind::StructValue(struct_of(fields)),
    };
    Value { kind: Some(kind) }
}

fn list_of(values: Vec<Json>) -> ListValue {
    ListValue { values: values.into_iter().map(value_of).collect() }
}

fn struct_of(fields: serde_json::Map<String, Json>) -> Struct {
    Struct { fields: fields.into_iter().map(|(name, value)| (name, value_of(value))).collect() }
}

/// `{"@type": ..., "value": ...}`, in this order.
#[derive(Serialize, Deserialize)]
struct Form {
    #[serde(rename = "@type")]
    type_url: String,
    value: Json,
}

impl Serialize for Any {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.to_json().map_err(|cause| {
            ser::Error::custom(format_args!("cannot decode the {}: {cause}", self.type_url))
        })?;
        Form { type_url: self.type_url.clone(), value }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Numbers of 64 bits are strings in JSON, and those of 32 bits may be.
        fn number<T: serde::de::DeserializeOwned + std::str::FromStr>(
            json: Json,
        ) -> serde_json::Result<T> {
            match &json {
                Json::String(text) => match text.parse() {
                    Ok(number) => Ok(number),
                    Err(_) => serde_json::from_value(json),
                },
                _ => serde_json::from_value(json),
            }
        }
        let Form { type_url, value } = Form::deserialize(deserializer)?;
        let value = match type_url.rsplit('/').next().unwrap_or_default() {
            "google.protobuf.StringValue" => {
                serde_json::from_value::<String>(value).map(|v| v.encode_to_vec())
            }
            "google.protobuf.BoolValue" => {
                serde_json::from_value::<bool>(value).map(|v| v.encode_to_vec())
            }
            "google.protobuf.Int32Value" => number::<i32>(value).map(|v| v.encode_to_vec()),
            "google.protobuf.UInt32Value" => number::<u32>(value).map(|v| v.encode_to_vec()),
            "google.protobuf.Int64Value" => number::<i64>(value).map(|v| v.encode_to_vec()),
            "google.protobuf.UInt64Value" => number::<u64>(value).map(|v| v.encode_to_vec()),
            "google.protobuf.DoubleValue" => number::<f64>(value).map(|v| v.encode_to_vec()),
            "google.protobuf.FloatValue" => number::<f32>(value).map(|v| v.encode_to_vec()),
            "google.protobuf.Value" => Ok(value_of(value).encode_to_vec()),
            "google.protobuf.ListValue" => {
                serde_json::from_value(value).map(|v| list_of(v).encode_to_vec())
            }
            "google.protobuf.Struct" => {
                serde_json::from_value(value).map(|v| struct_of(v).encode_to_vec())
            }
            name => {
                return Err(de::Error::custom(format_args!("cannot read a {name:?} from JSON")));
            }
        };
        Ok(Self { type_url, value: value.map_err(de::Error::custom)? })
    }
}
