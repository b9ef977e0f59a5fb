//! `tetra config`: what the agent's settings are in effect, and where each was found.

use api::tetragon::{GetInfoRequest, get_info_response::ConfVal};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::error::Error;
use crate::info::setting;
use crate::server::Server;
use crate::table;

/// What an agent says of a value that nobody set.
const DEFAULT: &str = "default";

/// Flags of the command.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Settings to print [default: all]
    names: Vec<String>,
    /// Leave out those that nobody set
    #[arg(long)]
    changed: bool,
    /// How to print them
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// A table, or an object with value and source of each.
pub(crate) async fn run(server: &Server, flags: &Flags) -> Result<String, Error> {
    let answer = server.call(async |client| client.get_info(GetInfoRequest {}).await).await?;
    text(answer.conf, flags)
}

fn text(settings: Vec<ConfVal>, flags: &Flags) -> Result<String, Error> {
    if let Some(name) = flags.names.iter().find(|name| !settings.iter().any(|s| s.key == **name)) {
        let near = policy::did_you_mean(name, settings.iter().map(|setting| setting.key.as_str()));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        return Err(Error::Usage(format!("the agent has no setting {name}{hint}")));
    }
    let wanted = settings.into_iter().filter(|setting| {
        (flags.names.is_empty() || flags.names.contains(&setting.key))
            && !(flags.changed && setting.source == DEFAULT)
    });
    let settings = wanted.map(|ConfVal { key, value, source }| {
        let value = value.map_or(Value::Null, |value| setting(&value));
        (key, value, source)
    });
    match flags.output {
        Output::Json => {
            let object: serde_json::Map<_, _> = settings
                .map(|(key, value, source)| (key, json!({ "value": value, "source": source })))
                .collect();
            Ok(serde_json::to_string_pretty(&object)? + "\n")
        }
        Output::Text => {
            let mut rows = vec![["NAME", "VALUE", "SOURCE"].map(str::to_owned).to_vec()];
            rows.extend(settings.map(|(key, value, source)| {
                // Agents of before do not say it.
                let source = if source.is_empty() { "-".to_owned() } else { source };
                vec![key, shown(&value), source]
            }));
            Ok(table::lines(&rows).join("\n") + "\n")
        }
    }
}

/// A value in one line.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) if text.contains(char::is_whitespace) => format!("{text:?}"),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> =
                items.iter().map(|item| item.as_str().unwrap_or_default().to_owned()).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::google::Any;

    fn settings() -> Vec<ConfVal> {
        let one = |key: &str, value, source: &str| ConfVal {
            key: key.into(),
            value: Some(value),
            source: source.into(),
        };
        vec![
            one("debug", Any::pack(&true), "environment variable TETRAGON_DEBUG"),
            one("export-filename", Any::pack(&String::new()), "default"),
            one("rb-size", Any::pack(&"65k".to_owned()), "/etc/tetragon/tetragon.yaml:3"),
            one("node-labels", Any::pack_strings(["a=b".to_owned()]), ""),
        ]
    }

    fn flags(names: &[&str], changed: bool, output: Output) -> Flags {
        Flags { names: names.iter().map(|name| (*name).to_owned()).collect(), changed, output }
    }

    #[test]
    fn each_with_its_source() {
        let all = text(settings(), &flags(&[], false, Output::Text)).unwrap();
        let expected = "NAME              VALUE   SOURCE\n\
                        debug             true    environment variable TETRAGON_DEBUG\n\
                        export-filename   \"\"      default\n\
                        rb-size           65k     /etc/tetragon/tetragon.yaml:3\n\
                        node-labels       [a=b]   -\n";
        assert_eq!(all, expected);
        let changed = text(settings(), &flags(&[], true, Output::Text)).unwrap();
        assert!(!changed.contains("export-filename") && changed.contains("rb-size"), "{changed}");
        let one = text(settings(), &flags(&["rb-size"], false, Output::Json)).unwrap();
        let expected =
            json!({"rb-size": {"value": "65k", "source": "/etc/tetragon/tetragon.yaml:3"}});
        assert_eq!(serde_json::from_str::<Value>(&one).unwrap(), expected);
        let error = text(settings(), &flags(&["rbsize"], false, Output::Text)).unwrap_err();
        assert_eq!(error.to_string(), "the agent has no setting rbsize; did you mean rb-size?");
    }
}
