//! Points and spans of time.
//!
//! In JSON a timestamp is RFC 3339 in UTC (`2024-02-29T12:00:00.5Z` becomes `...00.500Z`) and a
//! duration is seconds (`1.500s`), both with 0, 3, 6 or 9 digits behind the point.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 00:00:00 UTC, negative before.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds behind `seconds`, 0 to 999,999,999.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Timestamp {
    /// From the years 1 to 9999, as the JSON form and the format's definition demand.
    pub fn is_valid(&self) -> bool {
        (-62_135_596_800..=253_402_300_799).contains(&self.seconds)
            && (0..1_000_000_000).contains(&self.nanos)
    }
}

/// RFC 3339 in UTC with 0, 3, 6 or 9 digits behind the point.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        prost_types::Timestamp { seconds: self.seconds, nanos: self.nanos }.fmt(f)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let prost_types::Timestamp { seconds, nanos } = time.into();
        Self { seconds, nanos }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.is_valid() {
            return Err(ser::Error::custom(format_args!(
                "timestamp of {} s and {} ns is outside of the years 1 to 9999",
                self.seconds, self.nanos
            )));
        }
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let prost_types::Timestamp { seconds, nanos } =
            text.parse().map_err(|_| de::Error::custom(format_args!("bad timestamp {text:?}")))?;
        Ok(Self { seconds, nanos })
    }
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Duration {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds beyond them, of the same sign, less than a second.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// Seconds with 0, 3, 6 or 9 digits behind the point, and `s`.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        prost_types::Duration { seconds: self.seconds, nanos: self.nanos }.fmt(f)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let prost_types::Duration { seconds, nanos } =
            text.parse().map_err(|_| de::Error::custom(format_args!("bad duration {text:?}")))?;
        Ok(Self { seconds, nanos })
    }
}
