//! Compiles `proto/` into messages, gRPC client and server, and the messages' proto-JSON form.

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

/// Well-known types whose JSON form is not that of a message: `src/google/` has them. The
/// wrapper types need nothing: prost makes them plain options.
const GOOGLE: [&str; 4] = ["Any", "Duration", "FieldMask", "Timestamp"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let encoded = descriptors.encode_to_vec();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), &encoded)?;

    let mut messages = tonic_prost_build::configure().btree_map(".");
    let mut json = pbjson_build::Builder::new();
    for name in GOOGLE {
        let proto = format!(".google.protobuf.{name}");
        let rust = format!("crate::google::{name}");
        messages = messages.extern_path(&proto, &rust);
        json.extern_path(proto, rust);
    }
    messages.compile_fds(descriptors)?;
    json.register_descriptors(&encoded)?
        .preserve_proto_field_names()
        .ignore_unknown_fields()
        .btree_map(["."])
        .build(&[".tetragon"])?;
    Ok(())
}
