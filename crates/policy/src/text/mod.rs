//! YAML and JSON text as a tree of nodes that know their places.

mod json;
mod located;
mod node;
mod reader;

pub use json::to_json;
pub(crate) use located::{Located, Parts, locate};
pub(crate) use node::{Content, Entry, Node, boolean, integer};
pub(crate) use reader::{join_surrogates, read};
