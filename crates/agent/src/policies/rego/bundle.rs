//! Modules and data of a directory, and what they answer.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use policy::CheckedPolicy;
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};
use serde_json::{Map, json};

use super::super::files::is_left_over;
use super::super::text::Origin;
use super::{RegoError, TIME, input};

/// Rules that are asked.
const ADMISSION: &str = "data.tetragon.admission";
const POLICIES: &str = "data.tetragon.policies";

/// Steps of an evaluation between two looks at the clock.
const STEPS: NonZeroU32 = NonZeroU32::MIN.saturating_add(255);

/// Bytes of all modules and data.
const MAX_SIZE: u64 = 64 << 20;
/// Deepest directory below the one that is named.
const MAX_DEPTH: usize = 16;

/// The text of modules and data.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Sources {
    modules: Vec<(PathBuf, String)>,
    /// With the names that lead to it.
    data: Vec<(PathBuf, Vec<String>, String)>,
    size: u64,
}

impl Sources {
    /// Reads a directory and those below it, by name. What is hidden, and other files, are left alone.
    pub(super) fn read(dir: &Path) -> Result<Self, RegoError> {
        let mut sources = Self::default();
        sources.read_dir(dir, &[])?;
        Ok(sources)
    }

    fn read_dir(&mut self, dir: &Path, names: &[String]) -> Result<(), RegoError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |error: std::io::Error| RegoError::Unreadable { path, error: error.to_string() }
        };
        let mut paths = BTreeSet::new();
        for entry in fs::read_dir(dir).map_err(unreadable(dir))? {
            let entry = entry.map_err(unreadable(dir))?;
            if !is_left_over(entry.file_name().as_encoded_bytes()) {
                let is_dir = entry.file_type().map_err(unreadable(dir))?.is_dir();
                paths.insert((entry.path(), is_dir));
            }
        }
        for (path, is_dir) in paths {
            let text = |path: &Path| path.to_string_lossy().into_owned();
            let stem = path.file_stem().map(|stem| text(Path::new(stem))).unwrap_or_default();
            let mut below = names.to_vec();
            if is_dir {
                below.push(path.file_name().map(|name| text(Path::new(name))).unwrap_or_default());
                if names.len() < MAX_DEPTH {
                    self.read_dir(&path, &below)?;
                }
                continue;
            }
            let extension = path.extension().and_then(|extension| extension.to_str());
            let is_data = matches!(extension, Some("json" | "yaml" | "yml"));
            if !is_data && extension != Some("rego") {
                continue;
            }
            self.size += fs::metadata(&path).map_err(unreadable(&path))?.len();
            if self.size > MAX_SIZE {
                let error = format!("the files have more than {MAX_SIZE} bytes together");
                return Err(RegoError::Unreadable { path: dir.to_owned(), error });
            }
            let content = fs::read_to_string(&path).map_err(unreadable(&path))?;
            if is_data {
                if stem != "data" {
                    below.push(stem);
                }
                self.data.push((path, below, content));
            } else if !stem.ends_with("_test") {
                self.modules.push((path, content));
            }
        }
        Ok(())
    }
}

/// Modules and data that can be evaluated.
pub(super) struct Bundle {
    engine: Engine,
    judges: bool,
    makes: bool,
}

impl Bundle {
    /// Compiles the modules, and tries them: what they make, and what they say of a policy.
    pub(super) fn new(sources: &Sources, node: &serde_json::Value) -> Result<Self, RegoError> {
        let mut engine = Engine::new();
        engine.set_gather_prints(true);
        engine.set_execution_timer_config(ExecutionTimerConfig {
            limit: TIME,
            check_interval: STEPS,
        });
        for (path, text) in &sources.modules {
            let wrong = |error: String| RegoError::Wrong { path: path.clone(), error };
            add_module(&mut engine, path, text).map_err(wrong)?;
        }
        add_data(&mut engine, json!({ "node": node }))
            .map_err(|error| RegoError::Evaluation(error.to_string()))?;
        for (path, names, text) in &sources.data {
            let wrong = |error: String| RegoError::Wrong { path: path.clone(), error };
            let file = path.display().to_string();
            let content = policy::to_json(&file, text).map_err(|error| wrong(error.to_string()))?;
            let document = nested(names, content).map_err(wrong)?;
            add_data(&mut engine, document).map_err(wrong)?;
        }
        let packages = engine.get_packages().map_err(failed)?;
        let has = |name: &str| packages.iter().any(|package| package == name);
        let bundle = Self { engine, judges: has(ADMISSION), makes: has(POLICIES) };
        if !bundle.judges && !bundle.makes {
            tracing::warn!(
                "no module of --policy-rego-dir has the package tetragon.admission or \
                 tetragon.policies: there are no rules for policies"
            );
        }
        bundle.policies()?;
        if bundle.judges {
            let sample = CheckedPolicy::read("sample", SAMPLE);
            let sample = sample.and_then(|sample| input::input(&sample, "grpc", Origin::Grpc));
            let sample = sample.map_err(|error| RegoError::Evaluation(error.to_string()))?;
            bundle.denials(sample)?;
        }
        Ok(bundle)
    }

    /// Whether there are admission rules.
    pub(super) fn judges(&self) -> bool {
        self.judges
    }

    /// What speaks against a policy.
    pub(super) fn denials(&self, input: serde_json::Value) -> Result<Vec<String>, RegoError> {
        let denied = self.evaluate(ADMISSION, "deny", input)?;
        let reason = |value: &Value| match value {
            Value::String(text) => text.to_string(),
            Value::Object(fields) => match fields.get(&Value::from("msg")) {
                Some(Value::String(text)) => text.to_string(),
                _ => value.to_string(),
            },
            other => other.to_string(),
        };
        match &denied {
            Value::Undefined | Value::Bool(false) => Ok(Vec::new()),
            Value::Bool(true) => Ok(vec!["tetragon.admission.deny is true".to_owned()]),
            Value::Set(values) => Ok(values.iter().map(reason).collect()),
            Value::Array(values) => Ok(values.iter().map(reason).collect()),
            Value::String(_) => Ok(vec![reason(&denied)]),
            other => Err(RegoError::Evaluation(format!(
                "tetragon.admission.deny is {other}; a set of messages is wanted: `deny contains \
                 message if {{ ... }}`"
            ))),
        }
    }

    /// The texts of the policies that are made.
    pub(super) fn policies(&self) -> Result<Vec<String>, RegoError> {
        if !self.makes {
            return Ok(Vec::new());
        }
        let made = self.evaluate(POLICIES, "policy", json!({}))?;
        let values: Vec<&Value> = match &made {
            Value::Undefined => Vec::new(),
            Value::Set(values) => values.iter().collect(),
            Value::Array(values) => values.iter().collect(),
            other => {
                return Err(RegoError::Evaluation(format!(
                    "tetragon.policies.policy is {other}; a set of policies is wanted: `policy \
                     contains p if {{ ... }}`"
                )));
            }
        };
        let text = |value: &Value| match value {
            Value::String(text) => Ok(text.to_string()),
            other => other.to_json_str().map_err(failed),
        };
        values.into_iter().map(text).collect()
    }

    fn evaluate(
        &self,
        package: &str,
        rule: &str,
        input: serde_json::Value,
    ) -> Result<Value, RegoError> {
        // What an evaluation leaves behind shall not be seen by the next one.
        let mut engine = self.engine.clone();
        engine.set_input(input.into());
        let value = engine.eval_rule(format!("{package}.{rule}")).map_err(|error| {
            let error = error.to_string();
            match error.contains("not a valid rule path") {
                true => failed(format!("package {package} has no rule `{rule}`")),
                false => failed(error),
            }
        });
        for line in engine.take_prints().unwrap_or_default() {
            tracing::info!("rules for policies print: {line}");
        }
        value
    }
}

fn failed(error: impl std::fmt::Display) -> RegoError {
    RegoError::Evaluation(error.to_string().trim().to_owned())
}

/// In the syntax of today, else in that of before 1.0 (`deny[message] { ... }`).
fn add_module(engine: &mut Engine, path: &Path, text: &str) -> Result<(), String> {
    let path = path.display().to_string();
    let Err(error) = engine.add_policy(path.clone(), text.to_owned()) else { return Ok(()) };
    engine.set_rego_v0(true);
    let added = engine.add_policy(path, text.to_owned());
    engine.set_rego_v0(false);
    added.map(drop).map_err(|_| error.to_string().trim().to_owned())
}

fn add_data(engine: &mut Engine, document: serde_json::Value) -> Result<(), String> {
    engine.add_data(document.into()).map_err(|error| error.to_string().trim().to_owned())
}

/// The document that has the content under these names.
fn nested(names: &[String], content: serde_json::Value) -> Result<serde_json::Value, String> {
    let mut document = content;
    for name in names.iter().rev() {
        document = serde_json::Value::Object(Map::from_iter([(name.clone(), document)]));
    }
    let Some(root) = document.as_object() else {
        return Err("it holds no mapping, and its name `data` gives its content none".to_owned());
    };
    match root.keys().find(|key| matches!(key.as_str(), "node" | "tetragon")) {
        Some(taken) => Err(format!("`data.{taken}` is taken: choose another name")),
        None => Ok(document),
    }
}

/// What rules are tried on.
const SAMPLE: &str = "apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: sample}
spec:
  kprobes:
  - call: tcp_connect
    syscall: false
    args: [{index: 0, type: sock}]
    selectors:
    - matchArgs: [{index: 0, operator: DPort, values: ['443']}]
      matchActions: [{action: Post}]
";
