//! YAML and JSON text as a tree of nodes that know their places.

mod node;
mod reader;

pub(crate) use node::{Content, Entry, Node, boolean, integer};
pub(crate) use reader::read;
