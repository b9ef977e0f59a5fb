//! Which events, and which of their fields, somebody wants: a client of the agent, an export, or the
//! reader of a file.
//!
//! [`Selection`] takes and denies events by lists of `Filter`s, each compiled once ([`EventFilter`]);
//! [`FieldFilters`] takes fields out of those that are left. Both come as messages of the API or as
//! JSON ([`json`]). What has to do with fields by name works on the bytes of messages (`wire`) with
//! the help of their descriptors (`schema`): expressions in CEL ([`Expression`]) and field masks.

mod cel;
mod error;
mod event;
mod fields;
pub mod json;
mod schema;
mod selection;
mod wire;

pub use cel::Expression;
pub use error::FilterError;
pub use event::EventFilter;
pub use fields::FieldFilters;
pub use selection::Selection;
