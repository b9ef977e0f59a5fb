//! What policies saw, in the form of the API.
//!
//! An [`Observation`](compiler::observed::Observation) has values as the kernel had them: numbers, bytes,
//! modes. Here they become the texts and messages that clients know. A further type of value is one more
//! arm in `argument.rs`.

mod action;
mod argument;
mod bpf;
mod event;
mod module;
mod network;
mod path;
mod text;

pub use event::{Hit, event};
