//! `tetra explain`: the fields of policies, from the definitions of their kinds that are built in.

use clap::{Args, ValueEnum};
use policy::crd::{Kind, definition};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::table;

/// Columns of descriptions.
const WIDTH: usize = 90;

/// What to explain.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A kind, or a field of it: `tracingpolicy.spec.kprobes`, `tgtp[spec][kprobes]`
    #[arg(required_unless_present = "list", conflicts_with = "list")]
    resource: Option<String>,
    /// Print the kinds that there are
    #[arg(long)]
    list: bool,
    /// Print the names of all fields below, without what they mean
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Print YAML with all fields below
    #[arg(long, conflicts_with = "recursive")]
    example: bool,
    /// Version of the kind [default: the only one]
    #[arg(long, value_name = "VERSION", default_value = "", hide_default_value = true)]
    api_version: String,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

/// How the explanation is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people.
    Text,
    /// The schema in OpenAPI, as JSON.
    Json,
    /// The schema in OpenAPI, as YAML.
    Yaml,
}

/// A kind as it is defined.
struct Resource {
    kind: String,
    /// Names by which it is asked for, in lower case.
    names: Vec<String>,
    short: String,
    group: String,
    version: String,
    schema: Value,
}

impl Resource {
    fn of(kind: Kind) -> Self {
        let definition = definition(kind);
        let spec = &definition["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (names, version) = (&spec["names"], &spec["versions"][0]);
        let short = text(&names["shortNames"][0]);
        Self {
            kind: text(&names["kind"]),
            names: vec![
                text(&names["singular"]),
                text(&names["plural"]),
                short.clone(),
                text(&definition["metadata"]["name"]),
            ],
            short,
            group: text(&spec["group"]),
            version: text(&version["name"]),
            schema: version["schema"]["openAPIV3Schema"].clone(),
        }
    }
}

/// What there is to say.
///
/// # Errors
/// There is no such kind or field.
pub(crate) fn run(flags: &Flags) -> Result<String, Error> {
    let all = [Kind::TracingPolicy, Kind::TracingPolicyNamespaced].map(Resource::of);
    let Some(asked) = flags.resource.as_deref().filter(|_| !flags.list) else {
        return Ok(list(&all));
    };
    let path = path(asked);
    let (name, fields) = path.split_first().ok_or_else(|| unknown_kind(asked, &all))?;
    let lower = name.to_ascii_lowercase();
    let resource = all.iter().find(|resource| resource.names.contains(&lower));
    let resource = resource.ok_or_else(|| unknown_kind(name, &all))?;
    let version = format!("{}/{}", resource.group, resource.version);
    if !["", &version, &resource.version].contains(&flags.api_version.as_str()) {
        return Err(Error::Usage(format!(
            "{} has no version {:?}: its version is {version}",
            resource.kind, flags.api_version
        )));
    }
    let (schema, required) = field(&resource.schema, fields, &resource.kind)?;
    if flags.example {
        return Ok(yaml(&example(schema), 0));
    }
    Ok(match flags.output {
        Form::Json => serde_json::to_string_pretty(schema)? + "\n",
        Form::Yaml => yaml(schema, 0),
        Form::Text => {
            let name = fields.last().map(|name| (name.as_str(), required));
            text(resource, &version, name, schema, flags.recursive)
        }
    })
}

fn list(all: &[Resource]) -> String {
    let mut rows = vec![vec!["NAME".to_owned(), "SHORTNAMES".to_owned()]];
    rows.extend(all.iter().map(|one| vec![one.kind.clone(), one.short.clone()]));
    table::lines(&rows).into_iter().map(|line| line + "\n").collect()
}

fn unknown_kind(name: &str, all: &[Resource]) -> Error {
    let names = all.iter().flat_map(|one| one.names.iter().map(String::as_str));
    let near = policy::did_you_mean(name, names);
    let hint = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
    Error::Usage(format!("there is no kind `{name}`{hint}\n`tetra explain --list` prints all"))
}

/// `kind.field[other].more` in parts. Numbers in brackets are of elements, which are all alike.
fn path(text: &str) -> Vec<String> {
    let parts = text.split(['.', '[', ']']);
    let named = parts.filter(|part| !part.is_empty() && part.parse::<usize>().is_err());
    named.map(ToOwned::to_owned).collect()
}

/// The schema of a field, and whether it has to be given.
fn field<'s>(root: &'s Value, path: &[String], kind: &str) -> Result<(&'s Value, bool), Error> {
    let (mut schema, mut required) = (root, false);
    let mut passed = kind.to_owned();
    for name in path {
        let Some(fields) = fields(schema) else {
            return Err(Error::Usage(format!(
                "`{passed}` has no fields: it is {}",
                type_of(schema)
            )));
        };
        let known = fields.keys().map(String::as_str);
        let key = known.clone().find(|key| key.eq_ignore_ascii_case(name));
        let Some(key) = key else {
            let hint = match policy::did_you_mean(name, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it has {}", known.collect::<Vec<_>>().join(", ")),
            };
            return Err(Error::Usage(format!("`{passed}` has no field `{name}`: {hint}")));
        };
        required = is_required(inner(schema), key);
        schema = &fields[key];
        passed = format!("{passed}.{key}");
    }
    Ok((schema, required))
}

/// What an array's elements are, or a mapping's values.
fn inner(schema: &Value) -> &Value {
    let mut schema = schema;
    for key in ["items", "additionalProperties"] {
        if let Some(below) = schema.get(key).filter(|below| below.is_object()) {
            schema = below;
        }
    }
    schema
}

fn fields(schema: &Value) -> Option<&Map<String, Value>> {
    inner(schema).get("properties")?.as_object()
}

fn is_required(schema: &Value, field: &str) -> bool {
    schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == field))
}

/// `string`, `[]Object`, `map[string]Object`
fn type_of(schema: &Value) -> String {
    match schema["type"].as_str() {
        Some("array") => format!("[]{}", type_of(&schema["items"])),
        Some("object") => match schema.get("additionalProperties") {
            Some(below) if below.is_object() => format!("map[string]{}", type_of(below)),
            _ => "Object".to_owned(),
        },
        Some(other) => other.to_owned(),
        None => "any".to_owned(),
    }
}

fn text(
    resource: &Resource,
    version: &str,
    field: Option<(&str, bool)>,
    schema: &Value,
    recursive: bool,
) -> String {
    let mut text = format!("KIND:       {}\nVERSION:    {version}\n\n", resource.kind);
    if let Some((name, required)) = field {
        let mark = if required { " -required-" } else { "" };
        text.push_str(&format!("FIELD: {name} <{}>{mark}\n\n", type_of(schema)));
    }
    text.push_str("DESCRIPTION:\n");
    text.push_str(&described(schema, "    "));
    if fields(schema).is_some() {
        text.push_str("\nFIELDS:\n");
        text.push_str(&listed(schema, 1, recursive));
    }
    text
}

/// The description, and which values there are.
fn described(schema: &Value, indent: &str) -> String {
    let mut words = schema["description"].as_str().unwrap_or_default().to_owned();
    if let Some(default) = schema.get("default").filter(|value| **value != "") {
        words.push_str(&format!(" Default: {default}."));
    }
    let mut text = wrapped(&words, indent);
    let choices = [schema, inner(schema)].into_iter().find_map(|one| one["enum"].as_array());
    if let Some(choices) = choices {
        let names: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
        text.push_str(&wrapped(&format!("One of: {}.", names.join(", ")), indent));
    }
    text
}

fn listed(schema: &Value, depth: usize, recursive: bool) -> String {
    let indent = "  ".repeat(depth);
    let mut text = String::new();
    for (name, below) in fields(schema).into_iter().flatten() {
        let mark = if is_required(inner(schema), name) { " -required-" } else { "" };
        text.push_str(&format!("{indent}{name}\t<{}>{mark}\n", type_of(below)));
        match recursive {
            true => text.push_str(&listed(below, depth + 1, true)),
            false => {
                text.push_str(&described(below, &format!("{indent}  ")));
                text.push('\n');
            }
        }
    }
    text
}

fn wrapped(words: &str, indent: &str) -> String {
    let mut text = String::new();
    let mut line = indent.to_owned();
    for word in words.split_whitespace() {
        if line.len() > indent.len() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = indent.to_owned();
        }
        if line.len() > indent.len() {
            line.push(' ');
        }
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
    text
}

/// A value of a schema, with every field.
fn example(schema: &Value) -> Value {
    if let Some(default) = schema.get("default") {
        return default.clone();
    }
    if let Some(first) = schema["enum"].as_array().and_then(|all| all.first()) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("array") => Value::Array(vec![example(&schema["items"])]),
        Some("object") => match (fields(schema), schema.get("additionalProperties")) {
            (_, Some(below)) if below.is_object() => {
                Value::Object(Map::from_iter([("name".to_owned(), example(below))]))
            }
            (Some(fields), _) => Value::Object(
                fields.iter().map(|(name, below)| (name.clone(), example(below))).collect(),
            ),
            (None, _) => Value::Object(Map::new()),
        },
        Some("integer") => Value::from(0),
        Some("boolean") => Value::from(false),
        _ => Value::from("string"),
    }
}

/// A value as YAML, in blocks.
fn yaml(value: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let below = |value: &Value| match value {
        Value::Object(map) if !map.is_empty() => format!("\n{}", yaml(value, depth + 1)),
        Value::Array(list) if !list.is_empty() => format!("\n{}", yaml(value, depth)),
        plain => format!(" {plain}\n"),
    };
    match value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().map(|(key, value)| format!("{indent}{key}:{}", below(value))).collect()
        }
        Value::Array(list) if !list.is_empty() => {
            let element = |value: &Value| {
                let text = yaml(value, depth + 1);
                // The dash stands in the place of the first line's indentation.
                format!("{indent}- {}", text.trim_start())
            };
            list.iter().map(element).collect()
        }
        plain => format!("{indent}{plain}\n"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn explained(arguments: &[&str]) -> Result<String, String> {
        let line = Line::try_parse_from(std::iter::once(&"explain").chain(arguments)).unwrap();
        run(&line.flags).map_err(|error| error.to_string())
    }

    #[test]
    fn a_kind_and_its_fields() {
        let text = explained(&["tracingpolicy"]).unwrap();
        assert!(text.starts_with("KIND:       TracingPolicy\nVERSION:    cilium.io/v1alpha1\n\n"));
        assert!(text.contains("\nFIELDS:\n") && text.contains("  spec\t<Object> -required-\n"));
        let text = explained(&["TGTP.spec.kprobes"]).unwrap();
        assert!(text.contains("FIELD: kprobes <[]Object>\n"), "{text}");
        assert!(text.contains("  call\t<string> -required-\n"), "{text}");
        assert_eq!(explained(&["tracingpolicy[spec][kprobes][0]"]).unwrap(), text);
        let text = explained(&["tgtp.spec.kprobes.selectors.matchArgs.operator"]).unwrap();
        assert!(text.contains("One of: Equal, "), "{text}");
    }

    #[test]
    fn the_list_has_both_kinds() {
        let text = explained(&["--list"]).unwrap();
        assert_eq!(
            text,
            "NAME                      SHORTNAMES\n\
             TracingPolicy             tgtp\n\
             TracingPolicyNamespaced   tgtpn\n"
        );
    }

    #[test]
    fn mistakes_come_with_a_hint() {
        let error = explained(&["tracingpolice"]).unwrap_err();
        assert!(error.contains("did you mean `tracingpolicy`?"), "{error}");
        let error = explained(&["tgtp.spec.kprobs"]).unwrap_err();
        assert!(
            error.contains("`TracingPolicy.spec` has no field `kprobs`: did you mean `kprobes`")
        );
        let error = explained(&["tgtp.spec.kprobes.call.x"]).unwrap_err();
        assert!(error.contains("has no fields: it is string"), "{error}");
        let error = explained(&["tgtp", "--api-version", "v2"]).unwrap_err();
        assert!(error.contains("cilium.io/v1alpha1"), "{error}");
    }

    #[test]
    fn other_forms() {
        let json: Value =
            serde_json::from_str(&explained(&["tgtp", "-o", "json"]).unwrap()).unwrap();
        assert_eq!(json["type"], "object");
        let text = explained(&["tgtp.spec", "-R"]).unwrap();
        assert!(
            text.contains("\n    matchPIDs\t<[]Object>\n") || text.contains("matchPIDs"),
            "{text}"
        );
        let example = explained(&["tgtp.spec.kprobes.args", "--example"]).unwrap();
        assert!(example.starts_with("- btfType: \"\"\n"), "{example}");
        assert!(example.contains("\n  index: 0\n"), "{example}");
    }
}
