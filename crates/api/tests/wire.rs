//! Holds the compiled .proto files against `wire.txt`, so that no number, type or label can drift.

#![allow(clippy::unwrap_used)] // as in tests, also in their helpers

use std::fmt::Write;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

const EXPECTED: &str = include_str!("wire.txt");

/// Name without the leading dot and our own package.
fn short(name: &str) -> &str {
    let name = name.strip_prefix('.').unwrap_or(name);
    name.strip_prefix("tetragon.").unwrap_or(name)
}

fn type_name(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => short(field.type_name()).to_owned(),
        other => other.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    }
}

/// `map<K,V>` when the field is a map's hidden list of entries.
fn map_type(message: &DescriptorProto, field: &FieldDescriptorProto) -> Option<String> {
    let name = field.type_name().rsplit('.').next()?;
    let entry = message.nested_type.iter().find(|nested| {
        nested.name() == name && nested.options.as_ref().is_some_and(|o| o.map_entry())
    })?;
    Some(format!("map<{},{}>", type_name(&entry.field[0]), type_name(&entry.field[1])))
}

fn reserved(out: &mut String, ranges: impl Iterator<Item = (i32, i32)>) {
    let ranges: Vec<String> = ranges.map(|(first, last)| format!("{first}-{last}")).collect();
    if !ranges.is_empty() {
        writeln!(out, "  reserved {}", ranges.join(",")).unwrap();
    }
}

fn write_message(out: &mut String, prefix: &str, message: &DescriptorProto) {
    let name = format!("{prefix}{}", message.name());
    writeln!(out, "message {name}").unwrap();
    for field in &message.field {
        write!(out, "  {} = {} ", field.name(), field.number()).unwrap();
        match map_type(message, field) {
            Some(map) => out.push_str(&map),
            None => {
                out.push_str(&type_name(field));
                if field.label() == Label::Repeated {
                    out.push_str(" repeated");
                }
            }
        }
        if field.proto3_optional() {
            out.push_str(" optional");
        } else if let Some(index) = field.oneof_index {
            write!(out, " oneof {}", message.oneof_decl[index as usize].name()).unwrap();
        }
        if field.options.as_ref().is_some_and(|o| o.deprecated()) {
            out.push_str(" deprecated");
        }
        out.push('\n');
    }
    // In a message the end of a range is exclusive.
    reserved(out, message.reserved_range.iter().map(|r| (r.start(), r.end() - 1)));
    for nested in &message.nested_type {
        if !nested.options.as_ref().is_some_and(|o| o.map_entry()) {
            write_message(out, &format!("{name}."), nested);
        }
    }
    assert!(message.enum_type.is_empty(), "nested enums would go unnoticed");
}

fn write_enum(out: &mut String, r#enum: &EnumDescriptorProto) {
    writeln!(out, "enum {}", r#enum.name()).unwrap();
    for value in &r#enum.value {
        write!(out, "  {} = {}", value.name(), value.number()).unwrap();
        if value.options.as_ref().is_some_and(|o| o.deprecated()) {
            out.push_str(" deprecated");
        }
        out.push('\n');
    }
    reserved(out, r#enum.reserved_range.iter().map(|r| (r.start(), r.end())));
}

/// All of package `tetragon` in the form of `wire.txt`.
fn describe(set: &FileDescriptorSet) -> String {
    let mut out = String::new();
    for file in set.file.iter().filter(|file| file.package() == "tetragon") {
        assert_eq!(file.syntax(), "proto3");
        writeln!(out, "file {}", file.name()).unwrap();
        for import in &file.dependency {
            writeln!(out, "  import {import}").unwrap();
        }
        file.message_type.iter().for_each(|message| write_message(&mut out, "", message));
        file.enum_type.iter().for_each(|r#enum| write_enum(&mut out, r#enum));
        for service in &file.service {
            writeln!(out, "service {}", service.name()).unwrap();
            for call in &service.method {
                assert!(!call.client_streaming());
                let stream = if call.server_streaming() { "stream " } else { "" };
                let old = call.options.as_ref().is_some_and(|o| o.deprecated());
                writeln!(
                    out,
                    "  {} {} -> {stream}{}{}",
                    call.name(),
                    short(call.input_type()),
                    short(call.output_type()),
                    if old { " deprecated" } else { "" }
                )
                .unwrap();
            }
        }
    }
    out
}

#[test]
fn compiled_descriptors_are_what_clients_rely_on() {
    let set = FileDescriptorSet::decode(api::DESCRIPTORS).unwrap();
    let found = describe(&set);
    // Files come in the order of their imports; what is in them keeps its order.
    let blocks = |text: &str| {
        let mut blocks: Vec<String> = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match blocks.last_mut() {
                Some(block) if line.starts_with("  ") => {
                    block.push('\n');
                    block.push_str(line);
                }
                _ => blocks.push(line.to_owned()),
            }
        }
        blocks.sort();
        blocks
    };
    let (expected, found) = (blocks(EXPECTED), blocks(&found));
    let missing: Vec<_> = expected.iter().filter(|block| !found.contains(block)).collect();
    let surplus: Vec<_> = found.iter().filter(|block| !expected.contains(block)).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "expected, not compiled: {missing:#?}\ncompiled, not expected: {surplus:#?}"
    );
    assert!(expected.len() > 100, "the fixture has lost its content");
}

#[test]
fn event_numbers_are_those_of_the_envelope() {
    use api::tetragon::EventType;
    let set = FileDescriptorSet::decode(api::DESCRIPTORS).unwrap();
    let messages = set.file.iter().flat_map(|file| &file.message_type);
    let envelope = messages.into_iter().find(|m| m.name() == "GetEventsResponse").unwrap();
    let mut members: Vec<(String, i32)> = envelope
        .field
        .iter()
        .filter(|field| field.oneof_index.is_some())
        .map(|field| (field.name().to_uppercase(), field.number()))
        .collect();
    let mut kinds: Vec<(String, i32)> =
        EventType::ALL.iter().map(|kind| (kind.as_str_name().to_owned(), *kind as i32)).collect();
    members.sort();
    kinds.sort();
    assert_eq!(members, kinds);
}
