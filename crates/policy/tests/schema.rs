//! The generated CRDs hold every field that policies in the field rely on.

use policy::crd::{Kind, definition, schema};
use serde_json::Value;
use std::collections::HashMap;

const FIXTURE: &str = include_str!("schema.txt");

type Shapes<'f> = HashMap<&'f str, Vec<Vec<&'f str>>>;

fn shapes() -> (Shapes<'static>, &'static str) {
    let mut shapes = Shapes::new();
    let mut last = "";
    for line in FIXTURE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(field) = line.strip_prefix("  ") {
            shapes.entry(last).or_default().push(field.split(' ').collect());
        } else {
            last = line;
            shapes.insert(line, Vec::new());
        }
    }
    (shapes, last)
}

/// Compares a schema with a type of the fixture; counts the fields.
fn compare(
    shapes: &Shapes<'_>,
    wanted: &str,
    schema: &Value,
    path: &str,
    wrong: &mut Vec<String>,
) -> usize {
    let mut expect = |key: &str, value: &str| {
        if schema[key] != value {
            wrong.push(format!("{path}: {key} is {}, not {value}", schema[key]));
        }
    };
    if let Some(element) = wanted.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        expect("type", "array");
        return compare(shapes, element, &schema["items"], &format!("{path}[]"), wrong);
    }
    if let Some(value) = wanted.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        expect("type", "object");
        let path = format!("{path}{{*}}");
        return compare(shapes, value, &schema["additionalProperties"], &path, wrong);
    }
    let Some(fields) = shapes.get(wanted) else {
        let (wanted, choices) = wanted.split_once('(').unwrap_or((wanted, ""));
        let (ty, format) = wanted.split_once(':').unwrap_or((wanted, ""));
        expect("type", ty);
        if !format.is_empty() {
            expect("format", format);
        }
        for choice in choices.trim_end_matches(')').split('|').filter(|choice| !choice.is_empty()) {
            if !schema["enum"].as_array().is_some_and(|all| all.contains(&choice.into())) {
                wrong.push(format!("{path}: {choice} is missing"));
            }
        }
        return 0;
    };
    expect("type", "object");
    let mut count = 0;
    for field in fields {
        let (name, ty, rest) = (field[0], field[1], &field[2..]);
        let path = format!("{path}.{name}");
        let Some(property) = schema["properties"].get(name) else {
            wrong.push(format!("{path} is missing"));
            continue;
        };
        if property["description"].as_str().is_none_or(str::is_empty) && name != "metadata" {
            wrong.push(format!("{path} has no description"));
        }
        let required =
            schema["required"].as_array().is_some_and(|list| list.contains(&name.into()));
        if required != rest.contains(&"required") {
            wrong.push(format!("{path}: required is {required}"));
        }
        let default = rest.iter().find_map(|rest| rest.strip_prefix("default="));
        let has = match &property["default"] {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        // A default that says the same as absence may be there or not.
        if default.is_some() && has.as_deref() != default {
            wrong.push(format!("{path}: default is {has:?}"));
        }
        count += 1 + compare(shapes, ty, property, &path, wrong);
    }
    count
}

#[test]
fn every_field_is_there() {
    let (shapes, document) = shapes();
    for kind in [Kind::TracingPolicy, Kind::TracingPolicyNamespaced] {
        let mut wrong = Vec::new();
        let count = compare(&shapes, document, &schema(kind), "", &mut wrong);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(count > 900, "only {count} fields");
    }
}

#[test]
fn no_field_is_foreign_to_the_field() {
    let (shapes, _) = shapes();
    let known: Vec<&str> = shapes.values().flatten().map(|field| field[0]).collect();
    fn names(schema: &Value, found: &mut Vec<String>) {
        for (key, value) in schema.as_object().into_iter().flatten() {
            if key == "properties" {
                found.extend(value.as_object().unwrap().keys().cloned());
                value.as_object().unwrap().values().for_each(|value| names(value, found));
            } else {
                names(value, found);
            }
        }
    }
    let mut found = Vec::new();
    names(&schema(Kind::TracingPolicy), &mut found);
    found.sort();
    found.dedup();
    found.retain(|name| !known.contains(&name.as_str()));
    // Parameters of actions that older releases had.
    assert_eq!(found, ["argFd", "argName"]);
}

#[test]
fn rules_and_constraints_are_in_the_schema() {
    let spec = schema(Kind::TracingPolicy)["properties"]["spec"]["properties"].clone();
    let rule = |schema: &Value| schema["x-kubernetes-validations"][0]["message"].clone();
    assert_eq!(rule(&spec["kprobes"]["items"]), "ReturnArg not specified with Return=true.");
    assert_eq!(rule(&spec["hostSelector"]), "The hostSelector should be either null or {}.");
    assert_eq!(
        rule(&schema(Kind::TracingPolicyNamespaced)),
        "TracingPolicyNamespaced should have a null spec.hostSelector."
    );
    let hook = &spec["uprobes"]["items"]["properties"];
    assert_eq!(hook["tags"]["maxItems"], 16);
    assert_eq!(hook["args"]["items"]["properties"]["index"]["minimum"], 0);
    assert_eq!(spec["podSelector"]["x-kubernetes-map-type"], "atomic");
    let expressions = &spec["podSelector"]["properties"]["matchExpressions"];
    assert_eq!(expressions["x-kubernetes-list-type"], "atomic");
    let label = &spec["podSelector"]["properties"]["matchLabels"]["additionalProperties"];
    assert_eq!(label["maxLength"], 63);
}

#[test]
fn definitions_have_the_established_names() {
    let cluster = definition(Kind::TracingPolicy);
    assert_eq!(cluster["metadata"]["name"], "tracingpolicies.cilium.io");
    assert_eq!(cluster["spec"]["scope"], "Cluster");
    let namespaced = definition(Kind::TracingPolicyNamespaced);
    assert_eq!(namespaced["metadata"]["name"], "tracingpoliciesnamespaced.cilium.io");
    assert_eq!(namespaced["spec"]["names"]["shortNames"][0], "tgtpn");
    assert_eq!(namespaced["spec"]["scope"], "Namespaced");
}
