//! Writes the implementations of `crate::json::Fields`, which give messages their JSON form, and
//! of `crate::json::Names` for enums.
//!
//! Names of Rust items follow from those in the .proto files by the rules of prost-build.

use std::fmt::Write;

use heck::{ToLowerCamelCase, ToSnakeCase, ToUpperCamelCase};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// What cannot be put into JSON here: nothing that the API uses.
#[derive(Debug)]
pub(crate) struct Unsupported(String);

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the JSON form of {} is not implemented", self.0)
    }
}

impl std::error::Error for Unsupported {}

/// The code for all messages and enums of a package.
pub(crate) fn generate(files: &FileDescriptorSet, package: &str) -> Result<String, Unsupported> {
    let mut out = String::new();
    for file in files.file.iter().filter(|file| file.package() == package) {
        for r#enum in &file.enum_type {
            line(
                &mut out,
                &format!("crate::json::names!({});", r#enum.name().to_upper_camel_case()),
            );
        }
        for message in &file.message_type {
            let names = Names { package, proto: message.name().to_owned(), module: String::new() };
            write_message(&mut out, &names, message)?;
        }
    }
    Ok(out)
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// Where a message is.
struct Names<'a> {
    package: &'a str,
    /// Its name in the .proto file, with those that it is nested in.
    proto: String,
    /// The Rust module that it is in: empty, or ending in `::`.
    module: String,
}

fn write_message(
    out: &mut String,
    names: &Names<'_>,
    message: &DescriptorProto,
) -> Result<(), Unsupported> {
    let own_module = format!("{}{}::", names.module, message.name().to_snake_case());
    for nested in message.nested_type.iter().filter(|nested| !is_map_entry(nested)) {
        let names = Names {
            package: names.package,
            proto: format!("{}.{}", names.proto, nested.name()),
            module: own_module.clone(),
        };
        write_message(out, &names, nested)?;
    }

    let (mut writes, mut reads) = (String::new(), String::new());
    let mut members_of = None;
    for field in &message.field {
        let json = field.name();
        let key = match json.to_lower_camel_case() {
            camel if camel == json => format!("{json:?}"),
            camel => format!("{json:?} | {camel:?}"),
        };
        let form = form(names.package, message, field)?;
        match field.oneof_index.filter(|_| !field.proto3_optional()) {
            None => {
                let (slot, rust) = (field.number(), ident(field.name()));
                put(&mut writes, format_args!("object.field::<{form}>({json:?}, &self.{rust})?;"));
                put(
                    &mut reads,
                    format_args!("{key} => self.{rust} = value.once::<{form}>({slot})?,"),
                );
            }
            Some(index) => {
                let oneof = message.oneof_decl[index as usize].name();
                let (rust, kind) = (ident(oneof), oneof.to_upper_camel_case());
                let member = format!("{own_module}{kind}::{}", field.name().to_upper_camel_case());
                // Members of a oneof stand together; they share a place in `slot`.
                let first = message.field.iter().find(|f| f.oneof_index == Some(index));
                let slot = first.map_or(0, FieldDescriptorProto::number);
                if members_of != Some(index) {
                    members_of = Some(index);
                    for other in message.field.iter().filter(|f| f.oneof_index == Some(index)) {
                        let variant = other.name().to_upper_camel_case();
                        let form = self::form(names.package, message, other)?;
                        let json = other.name();
                        put(
                            &mut writes,
                            format_args!(
                                "if let Some({own_module}{kind}::{variant}(value)) = &self.{rust} \
                                 {{ object.member::<{form}>({json:?}, value)?; }}"
                            ),
                        );
                    }
                }
                put(
                    &mut reads,
                    format_args!(
                        "{key} => if let Some(value) = value.member::<{form}>({slot})? \
                         {{ self.{rust} = Some({member}(value)); }},"
                    ),
                );
            }
        }
    }
    let rust = format!("{}{}", names.module, message.name().to_upper_camel_case());
    line(out, &format!("impl crate::json::Fields for {rust} {{"));
    line(out, &format!("    const NAME: &'static str = \"{}.{}\";", names.package, names.proto));
    line(
        out,
        "    fn write<M: serde::ser::SerializeMap>(&self, object: &mut crate::json::Object<M>)",
    );
    line(out, "        -> Result<(), M::Error> {");
    line(out, &format!("{writes}        Ok(())\n    }}"));
    line(out, "    fn read<'de, M: serde::de::MapAccess<'de>>(");
    line(out, "        &mut self, key: &str, mut value: crate::json::Value<'_, M>,");
    line(out, "    ) -> Result<(), M::Error> {");
    line(out, &format!("        match key {{\n{reads}            _ => value.skip()?,\n        }}"));
    line(out, "        Ok(())\n    }\n}");
    line(out, &format!("crate::json::message!({rust});"));
    Ok(())
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "            {text}");
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|options| options.map_entry())
}

/// Name of a struct field; raw, for some are keywords.
fn ident(name: &str) -> String {
    format!("r#{}", name.to_snake_case())
}

/// The type in `crate::json` that stands for a field's form.
fn form(
    package: &str,
    message: &DescriptorProto,
    field: &FieldDescriptorProto,
) -> Result<String, Unsupported> {
    let unsupported = || Unsupported(format!("{}.{}", message.name(), field.name()));
    let local = |name: &str| {
        let name = name.strip_prefix(&format!(".{package}."))?;
        let mut parts: Vec<String> = name.split('.').map(ToSnakeCase::to_snake_case).collect();
        *parts.last_mut()? = name.rsplit('.').next()?.to_upper_camel_case();
        Some(parts.join("::"))
    };
    let mut optional = field.proto3_optional();
    let inner = match field.r#type() {
        Type::String => "Plain<String>".to_owned(),
        Type::Bool => "Plain<bool>".to_owned(),
        Type::Int32 => "Short<i32>".to_owned(),
        Type::Uint32 => "Short<u32>".to_owned(),
        Type::Int64 => "Long<i64>".to_owned(),
        Type::Uint64 => "Long<u64>".to_owned(),
        Type::Bytes => "Bytes".to_owned(),
        Type::Enum => format!("Enum<{}>", local(field.type_name()).ok_or_else(unsupported)?),
        Type::Message => {
            let name = field.type_name();
            let entry = message.nested_type.iter().find(|nested| {
                is_map_entry(nested) && name.ends_with(&format!(".{}", nested.name()))
            });
            if let Some(entry) = entry {
                if entry.field[0].r#type() != Type::String {
                    return Err(unsupported());
                }
                return Ok(format!("crate::json::Map<{}>", form(package, entry, &entry.field[1])?));
            }
            optional = field.label() != Label::Repeated
                && field.oneof_index.is_none_or(|_| field.proto3_optional());
            match name.strip_prefix(".google.protobuf.") {
                Some("BoolValue") => "Plain<bool>".to_owned(),
                Some("Int32Value") => "Short<i32>".to_owned(),
                Some("UInt32Value") => "Short<u32>".to_owned(),
                Some(name @ ("Any" | "Duration" | "FieldMask" | "Timestamp")) => {
                    format!("Plain<crate::google::{name}>")
                }
                Some(_) => return Err(unsupported()),
                None => format!("Plain<{}>", local(name).ok_or_else(unsupported)?),
            }
        }
        _ => return Err(unsupported()),
    };
    let inner = format!("crate::json::{inner}");
    Ok(if field.label() == Label::Repeated {
        format!("crate::json::List<{inner}>")
    } else if optional {
        format!("crate::json::Maybe<{inner}>")
    } else {
        inner
    })
}
