//! The dashboards in `install/grafana` ask for metrics that there are.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Names that begin with `prefix`, in a text.
fn names(text: &str, prefix: &str) -> BTreeSet<String> {
    let ends = |character: char| !(character.is_ascii_alphanumeric() || character == '_');
    text.match_indices(prefix)
        .map(|(at, _)| text[at..].split(ends).next().unwrap().to_owned())
        .collect()
}

#[test]
fn dashboards_ask_for_metrics_that_there_are() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let served =
        names(&fs::read_to_string(own.join("src/metrics/families.rs")).unwrap(), "tetragon_");
    let mut asked = BTreeSet::new();
    for entry in fs::read_dir(own.join("../../install/grafana")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let board: serde_json::Value = serde_json::from_str(&text).unwrap();
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                asked.extend(names(target["expr"].as_str().unwrap(), "tetragon_"));
            }
        }
    }
    assert!(asked.len() > 20, "{asked:?}");
    let missing: Vec<_> = asked.difference(&served).collect();
    assert!(missing.is_empty(), "no such metrics: {missing:?}");
}
