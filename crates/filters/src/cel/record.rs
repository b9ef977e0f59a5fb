//! A message of the API as a value in CEL. Fields are decoded when they are asked for; those that are
//! not set have their defaults, as protobuf messages have in CEL.

use cel::ExecutionError;
use cel::common::traits::Indexer;
use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString,
    CelTimestamp, CelUInt, Type,
};
use cel::common::value::{CowVal, Val};
use std::collections::HashMap;
use std::sync::Arc;

use crate::schema::{Field, Kind, Message, Scalar};
use crate::wire::{self, Value};

/// What the name of a field starts with where `has()` asks for it: a field that is not set has a value
/// all the same.
pub(super) const PRESENCE: &str = "has ";

/// What CEL takes messages for.
static TYPE: Type = Type::new_unspecified_type("message");

/// A message, as bytes; an empty one has nothing set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'v> {
    message: &'static Message,
    bytes: &'v [u8],
}

impl<'v> Record<'v> {
    pub(super) fn new(message: &'static Message, bytes: &'v [u8]) -> Self {
        Self { message, bytes }
    }

    /// Values of a field in their order.
    fn values(&self, field: &Field) -> impl Iterator<Item = Value<'v>> {
        let number = field.number;
        wire::fields(self.bytes).filter(move |f| f.number == number).map(|field| field.value)
    }

    fn value(&self, field: &Field) -> Box<dyn Val + 'v> {
        if let Kind::Entry(scalar) = field.kind {
            let entries = self.values(field).map(|entry| entry_of(scalar, entry.bytes()));
            return Box::new(CelMap::from(entries.collect::<HashMap<_, _>>()));
        }
        if field.repeated {
            // Numbers stand together in one field.
            let values = self.values(field).flat_map(|value| match (field.kind, value) {
                (Kind::Int | Kind::Uint | Kind::Bool, Value::Bytes(packed)) => {
                    wire::varints(packed).map(Value::Varint).collect()
                }
                _ => vec![value],
            });
            let list: Vec<_> = values.map(|value| single(field.kind, Some(value))).collect();
            return Box::new(CelList::from(list));
        }
        single(field.kind, self.values(field).last())
    }

    fn get(&self, name: &str) -> Result<Box<dyn Val + 'v>, ExecutionError> {
        let missing = || ExecutionError::NoSuchKey(Arc::new(name.to_owned()));
        if let Some(name) = name.strip_prefix(PRESENCE) {
            let field = self.message.field(name).ok_or_else(missing)?;
            // CEL takes the error for the answer.
            let value: Option<Box<dyn Val>> =
                self.values(field).next().map(|_| Box::new(CelBool::from(true)) as _);
            return value.ok_or_else(missing);
        }
        self.message.field(name).map(|field| self.value(field)).ok_or_else(missing)
    }
}

/// The value of a field that is not repeated; the default, if it is not set.
fn single<'v>(kind: Kind, value: Option<Value<'v>>) -> Box<dyn Val + 'v> {
    let number = value.map_or(0, Value::number);
    let bytes = value.map_or(&[][..], Value::bytes);
    match kind {
        Kind::Bool => scalar(Scalar::Bool, number, bytes),
        Kind::Int => scalar(Scalar::Int, number, bytes),
        Kind::Uint => scalar(Scalar::Uint, number, bytes),
        Kind::String => scalar(Scalar::String, number, bytes),
        Kind::Double => match value {
            Some(Value::Eight(bits)) => Box::new(CelDouble::from(f64::from_bits(bits))),
            _ => Box::new(CelDouble::from(0.0)),
        },
        Kind::Bytes => Box::new(CelBytes::from(bytes)),
        Kind::Timestamp => {
            let part = |number| part(bytes, number).map_or(0, Value::number);
            match chrono_time(part(1).cast_signed(), part(2)) {
                Some(time) if value.is_some() => Box::new(CelTimestamp::from(time)),
                _ => Box::new(CelNull),
            }
        }
        Kind::Wrapper(inner) if value.is_some() => {
            let value = part(bytes, 1);
            scalar(inner, value.map_or(0, Value::number), value.map_or(&[], Value::bytes))
        }
        Kind::Message(index) => Box::new(Record::new(index.message(), bytes)),
        Kind::Wrapper(_) | Kind::Entry(_) | Kind::Opaque => Box::new(CelNull),
    }
}

fn scalar<'v>(kind: Scalar, number: u64, bytes: &'v [u8]) -> Box<dyn Val + 'v> {
    match kind {
        Scalar::Bool => Box::new(CelBool::from(number != 0)),
        Scalar::Int => Box::new(CelInt::from(number.cast_signed())),
        Scalar::Uint => Box::new(CelUInt::from(number)),
        // The encoding promises UTF-8.
        Scalar::String => Box::new(CelString::from(std::str::from_utf8(bytes).unwrap_or_default())),
    }
}

/// A field of a message.
fn part(bytes: &[u8], number: u32) -> Option<Value<'_>> {
    wire::fields(bytes).filter(|field| field.number == number).last().map(|field| field.value)
}

fn entry_of(kind: Scalar, bytes: &[u8]) -> (CelMapKey<'_>, Box<dyn Val + '_>) {
    let key = part(bytes, 1).map_or(&[][..], Value::bytes);
    let value = part(bytes, 2);
    let value = scalar(kind, value.map_or(0, Value::number), value.map_or(&[], Value::bytes));
    (CelMapKey::from(std::str::from_utf8(key).unwrap_or_default()), value)
}

fn chrono_time(seconds: i64, nanoseconds: u64) -> Option<chrono::DateTime<chrono::FixedOffset>> {
    let time = chrono::DateTime::from_timestamp(seconds, u32::try_from(nanoseconds).ok()?)?;
    Some(time.fixed_offset())
}

impl Val for Record<'_> {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        &TYPE
    }

    fn clone_as_boxed<'w>(&self) -> Box<dyn Val + 'w>
    where
        Self: 'w,
    {
        Box::new(*self)
    }

    fn as_indexer<'b, 'w>(&'b self) -> Option<&'b (dyn Indexer + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }
}

impl<'v> Indexer for Record<'v> {
    fn get<'b, 'w>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'w>, ExecutionError>
    where
        Self: 'w,
    {
        Ok(CowVal::Owned(Record::get(self, name_of(index)?)?))
    }

    fn steal<'w>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'w>, ExecutionError>
    where
        Self: 'w,
    {
        Record::get(&self, name_of(index)?)
    }
}

fn name_of(index: &dyn Val) -> Result<&str, ExecutionError> {
    let name = index.downcast_ref::<CelString>().map(CelString::inner);
    name.ok_or_else(|| ExecutionError::NoSuchKey(Arc::new(format!("{index:?}"))))
}
