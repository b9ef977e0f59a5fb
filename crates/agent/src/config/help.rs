//! What the flags' declarations say to people: the help and the generated documentation.

use super::flag::{Flag, Value};
use super::table::FLAGS;
use std::fmt::Write as _;

/// First line of `--version`.
pub fn version() -> String {
    format!("tetragon {}", crate::VERSION)
}

/// The text of `--help`.
pub fn help() -> String {
    let mut text = "Tetragon - eBPF-based security observability and runtime enforcement\n\n\
                    Usage:\n  tetragon [flags]\n\nFlags:\n"
        .to_owned();
    let own = [
        (synopsis(Some('h'), "help", ""), "Print this help, and exit".to_owned()),
        (synopsis(None, "version", ""), "Print the version, and exit".to_owned()),
    ];
    let declared = FLAGS
        .iter()
        .filter(|flag| !flag.hidden)
        .map(|flag| (synopsis(flag.short, flag.name, flag.kind.type_name()), usage(flag)));
    let mut lines: Vec<_> = declared.chain(own).collect();
    lines.sort_by(|(a, _), (b, _)| a[5..].cmp(&b[5..]));
    let width = lines.iter().map(|(synopsis, _)| synopsis.len()).max().unwrap_or(0);
    for (synopsis, usage) in lines {
        let _ = writeln!(text, "  {synopsis:width$}  {usage}");
    }
    text
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
