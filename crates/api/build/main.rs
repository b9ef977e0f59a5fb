//! Compiles `proto/` into messages, gRPC client and server, and the messages' JSON form.

mod json;

use std::path::PathBuf;

use prost::Message;

const FILES: [&str; 6] = [
    "tetragon/bpf.proto",
    "tetragon/capabilities.proto",
    "tetragon/eventlogservice.proto",
    "tetragon/tetragon.proto",
    "tetragon/events.proto",
    "tetragon/sensors.proto",
];

/// Well-known types whose JSON form is not that of a message: `src/google/` has them. The wrapper
/// types need nothing: prost makes them plain options.
const GOOGLE: [&str; 4] = ["Any", "Duration", "FieldMask", "Timestamp"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    std::fs::write(out.join("tetragon.json.rs"), json::generate(&descriptors, "tetragon")?)?;

    let mut messages = tonic_prost_build::configure().btree_map(".");
    for name in GOOGLE {
        messages = messages
            .extern_path(format!(".google.protobuf.{name}"), format!("crate::google::{name}"));
    }
    messages.compile_fds(descriptors)?;
    Ok(())
}
