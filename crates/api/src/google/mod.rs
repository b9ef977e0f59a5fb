//! The `google.protobuf` messages of the API whose JSON form is their own: timestamp, duration,
//! field mask, any. On the wire they are what every protobuf implementation has.

mod any;
mod field_mask;
mod time;

pub use any::Any;
pub use field_mask::FieldMask;
pub use time::{Duration, Timestamp};
