//! The JSON form of messages, as protobuf defines it: fields in the order of the .proto files under
//! their names there, those at their default left out, 64-bit numbers as strings, bytes in base64,
//! enums by name.
//!
//! Read is more than is written, also as protobuf has it: names in lower camel case, numbers in
//! strings, `null` for the default, enums by number, fields that do not exist here (they are passed
//! over). A number that an enum has no name for stays a number both ways.
//!
//! `build/json.rs` writes the implementations of [`Fields`] and [`Names`]; a [`Form`] says how the
//! values of one type of field look.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde::de::{self, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

/// A message as a set of named fields.
pub(crate) trait Fields: Default {
    /// Its full name, for errors.
    const NAME: &'static str;
    /// Writes its fields.
    fn write<M: SerializeMap>(&self, object: &mut Object<M>) -> Result<(), M::Error>;
    /// Reads the field of a name.
    fn read<'de, M: MapAccess<'de>>(
        &mut self,
        key: &str,
        value: Value<'_, M>,
    ) -> Result<(), M::Error>;
}

/// Names of an enum's values.
pub(crate) trait Names {
    /// Name of a number.
    fn name(number: i32) -> Option<&'static str>;
    /// Number of a name.
    fn number(name: &str) -> Option<i32>;
}

/// How the values of a type of field look.
pub(crate) trait Form {
    /// The value in Rust.
    type Value: Default;
    /// Whether it is left out.
    fn is_default(value: &Self::Value) -> bool;
    /// Writes it.
    fn write<S: Serializer>(value: &Self::Value, to: S) -> Result<S::Ok, S::Error>;
    /// Reads it; `null` does not come here.
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self::Value, D::Error>;
}

/// A value with its form, for serde.
struct Written<'a, F: Form>(&'a F::Value);

impl<F: Form> Serialize for Written<'_, F> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        F::write(self.0, to)
    }
}

struct Read<F: Form>(F::Value);

impl<'de, F: Form> Deserialize<'de> for Read<F> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        F::read(from).map(Self)
    }
}

/// Strings, booleans, messages: what serde itself puts right.
pub(crate) struct Plain<T>(PhantomData<T>);

impl<T: Default + PartialEq + Serialize + DeserializeOwned> Form for Plain<T> {
    type Value = T;
    fn is_default(value: &T) -> bool {
        *value == T::default()
    }
    fn write<S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        value.serialize(to)
    }
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        T::deserialize(from)
    }
}

/// Integers of 32 bits.
pub(crate) struct Short<T>(PhantomData<T>);

impl<T: Default + PartialEq + Serialize + TryFrom<i128>> Form for Short<T> {
    type Value = T;
    fn is_default(value: &T) -> bool {
        *value == T::default()
    }
    fn write<S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        value.serialize(to)
    }
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        read_integer(from)
    }
}

/// Integers of 64 bits, which not every reader of JSON could hold as numbers.
pub(crate) struct Long<T>(PhantomData<T>);

impl<T: Default + PartialEq + fmt::Display + TryFrom<i128>> Form for Long<T> {
    type Value = T;
    fn is_default(value: &T) -> bool {
        *value == T::default()
    }
    fn write<S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        read_integer(from)
    }
}

/// An integer, as a number (also as `1e3` or `5.0`) or in a string.
fn read_integer<'de, T: TryFrom<i128>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    struct Integer;
    impl Visitor<'_> for Integer {
        type Value = i128;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an integer")
        }
        fn visit_i64<E: de::Error>(self, value: i64) -> Result<i128, E> {
            Ok(value.into())
        }
        fn visit_u64<E: de::Error>(self, value: u64) -> Result<i128, E> {
            Ok(value.into())
        }
        fn visit_f64<E: de::Error>(self, value: f64) -> Result<i128, E> {
            // Beyond 2^53 a float no longer says which integer is meant.
            if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
                Ok(value as i128)
            } else {
                Err(E::invalid_value(de::Unexpected::Float(value), &self))
            }
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<i128, E> {
            let number = text.parse();
            number.map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }
    let number = from.deserialize_any(Integer)?;
    T::try_from(number).map_err(|_| de::Error::custom(format_args!("{number} is out of range")))
}

/// Byte strings.
pub(crate) struct Bytes;

impl Form for Bytes {
    type Value = Vec<u8>;
    fn is_default(value: &Vec<u8>) -> bool {
        value.is_empty()
    }
    fn write<S: Serializer>(value: &Vec<u8>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(value))
    }
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = Text::deserialize(from)?;
        // Both alphabets, with or without padding.
        let digits = text.0.trim_end_matches('=');
        let bytes = STANDARD_NO_PAD.decode(digits).or_else(|_| URL_SAFE_NO_PAD.decode(digits));
        bytes.map_err(|cause| de::Error::custom(format_args!("bad base64: {cause}")))
    }
}

/// Enums.
pub(crate) struct Enum<E>(PhantomData<E>);

impl<E: Names> Form for Enum<E> {
    type Value = i32;
    fn is_default(value: &i32) -> bool {
        *value == 0
    }
    fn write<S: Serializer>(value: &i32, to: S) -> Result<S::Ok, S::Error> {
        match E::name(*value) {
            Some(name) => to.serialize_str(name),
            None => to.serialize_i32(*value),
        }
    }
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<i32, D::Error> {
        struct Number<E>(PhantomData<E>);
        impl<E: Names> Visitor<'_> for Number<E> {
            type Value = i32;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name or number of an enum's value")
            }
            fn visit_i64<X: de::Error>(self, value: i64) -> Result<i32, X> {
                let number = i32::try_from(value);
                number.map_err(|_| X::invalid_value(de::Unexpected::Signed(value), &self))
            }
            fn visit_u64<X: de::Error>(self, value: u64) -> Result<i32, X> {
                let number = i32::try_from(value);
                number.map_err(|_| X::invalid_value(de::Unexpected::Unsigned(value), &self))
            }
            fn visit_str<X: de::Error>(self, name: &str) -> Result<i32, X> {
                let number = E::number(name);
                number.ok_or_else(|| X::invalid_value(de::Unexpected::Str(name), &self))
            }
        }
        from.deserialize_any(Number(PhantomData::<E>))
    }
}

/// Values that can be absent.
pub(crate) struct Maybe<F>(PhantomData<F>);

impl<F: Form> Form for Maybe<F> {
    type Value = Option<F::Value>;
    fn is_default(value: &Self::Value) -> bool {
        value.is_none()
    }
    fn write<S: Serializer>(value: &Self::Value, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => F::write(value, to),
            None => to.serialize_none(),
        }
    }
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self::Value, D::Error> {
        F::read(from).map(Some)
    }
}

/// Repeated fields.
pub(crate) struct List<F>(PhantomData<F>);

impl<F: Form> Form for List<F> {
    type Value = Vec<F::Value>;
    fn is_default(values: &Self::Value) -> bool {
        values.is_empty()
    }
    fn write<S: Serializer>(values: &Self::Value, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(Written::<F>))
    }
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self::Value, D::Error> {
        let values = Vec::<Read<F>>::deserialize(from)?;
        Ok(values.into_iter().map(|value| value.0).collect())
    }
}

/// Maps with strings as keys.
pub(crate) struct Map<F>(PhantomData<F>);

impl<F: Form> Form for Map<F> {
    type Value = BTreeMap<String, F::Value>;
    fn is_default(values: &Self::Value) -> bool {
        values.is_empty()
    }
    fn write<S: Serializer>(values: &Self::Value, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(values.iter().map(|(key, value)| (key, Written::<F>(value))))
    }
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self::Value, D::Error> {
        let values = BTreeMap::<String, Read<F>>::deserialize(from)?;
        Ok(values.into_iter().map(|(key, value)| (key, value.0)).collect())
    }
}

/// The object that a message becomes.
pub(crate) struct Object<M>(M);

impl<M: SerializeMap> Object<M> {
    /// Adds a field, unless it is at its default.
    pub(crate) fn field<F: Form>(
        &mut self,
        key: &'static str,
        value: &F::Value,
    ) -> Result<(), M::Error> {
        if F::is_default(value) { Ok(()) } else { self.member::<F>(key, value) }
    }

    /// Adds a field in any case: that it is there says which member of a oneof is set.
    pub(crate) fn member<F: Form>(
        &mut self,
        key: &'static str,
        value: &F::Value,
    ) -> Result<(), M::Error> {
        self.0.serialize_entry(key, &Written::<F>(value))
    }
}

/// Writes a message.
pub(crate) fn write<T: Fields, S: Serializer>(message: &T, to: S) -> Result<S::Ok, S::Error> {
    let mut object = Object(to.serialize_map(None)?);
    message.write(&mut object)?;
    object.0.end()
}

/// The value of a field, still to be read.
pub(crate) struct Value<'a, M> {
    map: &'a mut M,
    key: &'a str,
    /// The numbers of the fields that were there already.
    seen: &'a mut Vec<i32>,
}

impl<'de, M: MapAccess<'de>> Value<'_, M> {
    /// Reads the value of a field. Two values for one field contradict each other, as do two
    /// members of a oneof, which share the `number` of the first.
    pub(crate) fn once<F: Form>(&mut self, number: i32) -> Result<F::Value, M::Error> {
        self.member::<F>(number).map(Option::unwrap_or_default)
    }

    /// The same for a member of a oneof: nothing if it is `null`.
    pub(crate) fn member<F: Form>(&mut self, number: i32) -> Result<Option<F::Value>, M::Error> {
        let value = self.map.next_value::<Option<Read<F>>>()?.map(|value| value.0);
        if value.is_some() && self.seen.contains(&number) {
            let text = format_args!("{:?} is set twice, or with what excludes it", self.key);
            return Err(de::Error::custom(text));
        }
        if value.is_some() {
            self.seen.push(number);
        }
        Ok(value)
    }

    /// Passes over the value of an unknown field.
    pub(crate) fn skip(&mut self) -> Result<(), M::Error> {
        self.map.next_value::<IgnoredAny>().map(drop)
    }
}

/// A string, borrowed where the input allows.
struct Text<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Borrow)
    }
}

/// Reads a message.
pub(crate) fn read<'de, T: Fields, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    struct Message<T>(PhantomData<T>);
    impl<'de, T: Fields> Visitor<'de> for Message<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "an object with the fields of {}", T::NAME)
        }
        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<T, M::Error> {
            let mut message = T::default();
            let mut seen = Vec::new();
            while let Some(Text(key)) = map.next_key()? {
                let value = Value { map: &mut map, key: &key, seen: &mut seen };
                message.read(&key, value)?;
            }
            Ok(message)
        }
    }
    from.deserialize_map(Message(PhantomData))
}

/// Gives a message to serde.
macro_rules! message {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                crate::json::write(self, to)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                crate::json::read(from)
            }
        }
    };
}
pub(crate) use message;

/// The names of an enum, by the functions that prost gives it.
macro_rules! names {
    ($type:ty) => {
        impl crate::json::Names for $type {
            fn name(number: i32) -> Option<&'static str> {
                Self::try_from(number).ok().map(|value| value.as_str_name())
            }
            fn number(name: &str) -> Option<i32> {
                Self::from_str_name(name).map(i32::from)
            }
        }
    };
}
pub(crate) use names;
