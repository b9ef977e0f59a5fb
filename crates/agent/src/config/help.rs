//! What the flags' declarations say to people: the help and the generated documentation.

use super::flag::{Flag, Value};
use super::groups::GROUPS;
use super::source::Place;
use super::table::FLAGS;
use std::fmt::Write as _;

/// First line of `--version`.
pub fn version() -> String {
    format!("tetragon {}", crate::VERSION)
}

/// The text of `--help`: all flags by purpose, and where settings are looked for.
pub fn help() -> String {
    let mut text = "Tetragon - eBPF-based security observability and runtime enforcement\n\n\
                    Usage:\n  tetragon [flags]\n"
        .to_owned();
    let declared =
        |flag: &Flag| (synopsis(flag.short, flag.name, flag.kind.type_name()), usage(flag));
    let mut groups: Vec<(&str, Vec<(String, String)>)> = GROUPS
        .iter()
        .map(|(title, names)| {
            let flags = FLAGS.iter().filter(|flag| names.contains(&flag.name));
            (*title, flags.map(declared).collect())
        })
        .collect();
    let own = [
        (synopsis(Some('h'), "help", ""), "Print this help, and exit".to_owned()),
        (synopsis(None, "version", ""), "Print the version, and exit".to_owned()),
    ];
    if let Some((_, last)) = groups.last_mut() {
        last.extend(own);
    }
    let lines = groups.iter().flat_map(|(_, lines)| lines);
    let width = lines.map(|(synopsis, _)| synopsis.len()).max().unwrap_or(0);
    for (title, lines) in groups {
        let _ = writeln!(text, "\n{title}:");
        for (synopsis, usage) in lines {
            let _ = writeln!(text, "  {synopsis:width$}  {usage}");
        }
    }
    text + "\nSettings are looked for in, later ones win:\n" + &sources()
}

fn sources() -> String {
    let mut text = String::new();
    for place in Place::standard() {
        let _ = match place {
            Place::DropIns(path) => {
                writeln!(text, "  {}/FLAG, the value as content", path.display())
            }
            Place::Yaml(path) => writeln!(text, "  {}, lines `FLAG: value`", path.display()),
        };
    }
    text + "  the directory of --config-dir, as above\n  \
            environment variables, e.g. TETRAGON_LOG_LEVEL\n  the command line\n\n\
            `tetra config` prints what is in effect in a running agent, and where it was found.\n"
}

/// The text of `--generate-docs`: YAML with name, default and usage of every flag.
pub fn docs() -> String {
    let mut text = "name: tetragon\nsynopsis: Tetragon - eBPF-based security observability and \
                    runtime enforcement\nusage: tetragon [flags]\noptions:\n"
        .to_owned();
    for flag in FLAGS.iter().filter(|flag| !flag.hidden) {
        let _ = writeln!(text, "    - name: {}", flag.name);
        if let Some(short) = flag.short {
            let _ = writeln!(text, "      shorthand: {short}");
        }
        let default = flag.kind.default_value().to_string();
        let _ = writeln!(text, "      default_value: {}", quoted(&default));
        let _ = writeln!(text, "      usage: {}", quoted(&usage_without_default(flag)));
    }
    text
}

/// `-d, --debug` or `    --name type`.
fn synopsis(short: Option<char>, name: &str, type_name: &str) -> String {
    let short = short.map_or("   ".to_owned(), |letter| format!("-{letter},"));
    let space = if type_name.is_empty() { "" } else { " " };
    format!("{short} --{name}{space}{type_name}")
}

fn usage_without_default(flag: &Flag) -> String {
    let idle = if flag.kind.acts() { "" } else { " [no effect in this version]" };
    format!("{}{idle}", flag.help)
}

fn usage(flag: &Flag) -> String {
    let default = match flag.kind.default_value() {
        Value::Bool(false) | Value::Int(0) | Value::Uint(0) | Value::Duration(0) => String::new(),
        Value::Strings(list) if list.is_empty() => String::new(),
        Value::Str(text) if text.is_empty() => String::new(),
        Value::Str(text) => format!(" (default {text:?})"),
        value => format!(" (default {value})"),
    };
    usage_without_default(flag) + &default
}

/// A YAML scalar in single quotes, which need no escapes but for the quote itself.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
