//! The gRPC API: what the agent and its clients say to each other.
//!
//! [`tetragon`] holds the messages of `proto/tetragon/`, their proto-JSON form (serde: original
//! field names, defaults left out, 64-bit numbers as strings, unknown fields ignored), and client
//! and server of both services. [`google`] holds the messages of `google.protobuf` that have a
//! JSON form of their own; wrapper messages such as `UInt32Value` are plain `Option<u32>`s.
//! [`event`] answers what every user of events asks.

pub mod event;
pub mod google;
mod json;

/// The generated messages and services of package `tetragon`.
#[allow(missing_docs, unreachable_pub, unused_variables, deprecated, rustdoc::all, clippy::all)]
pub mod tetragon {
    tonic::include_proto!("tetragon");
    include!(concat!(env!("OUT_DIR"), "/tetragon.json.rs"));
}

/// The compiled `proto/` as an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
