//! Events: the messages that clients get, and the queue of those that wait for something.

pub mod message;
pub mod waiting;
