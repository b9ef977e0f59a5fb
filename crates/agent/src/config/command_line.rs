//! The command line: `--flag value`, `--flag=value`, `--flag` for booleans, `-d`.

use super::flag::{Kind, Raw};
use super::source::{Setting, Source};
use super::{ConfigError, Flag, nearest, table};
use std::ffi::OsString;
use std::iter::Peekable;

/// What the command line asks for besides settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) help: bool,
    pub(super) version: bool,
    pub(super) docs: bool,
}

/// Reads the arguments after the program's name. A list flag given several times adds up; of any
/// other the last one counts.
pub(super) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    settings: &mut Vec<Setting>,
    errors: &mut Vec<ConfigError>,
) -> Asked {
    let mut asked = Asked::default();
    let mut arguments = arguments.into_iter().peekable();
    let mut line = Line { settings: Vec::new(), errors };
    while let Some(argument) = arguments.next() {
        let Some(argument) = argument.to_str() else {
            line.wrong(format!("{argument:?} is not valid UTF-8"));
            continue;
        };
        if let Some(long) = argument.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            match name {
                "help" => asked.help = true,
                "version" => asked.version = true,
                "" => line.wrong(format!("unexpected argument {argument:?}")),
                _ => line.long(name, value, &mut arguments),
            }
        } else if let Some(letters) = argument.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            for letter in letters.chars() {
                match table::FLAGS.iter().find(|flag| flag.short == Some(letter)) {
                    _ if letter == 'h' => asked.help = true,
                    Some(flag) => line.push(flag, "true".to_owned()),
                    None => line.wrong(format!("unknown flag -{letter}; see --help")),
                }
            }
        } else {
            line.wrong(format!("unexpected argument {argument:?}; settings are --flag=value"));
        }
    }
    asked.docs = line.settings.iter().any(|setting| {
        setting.flag.name == "generate-docs"
            && setting.flag.kind.parse(&setting.raw) == Ok(super::Value::Bool(true))
    });
    settings.append(&mut line.settings);
    asked
}

struct Line<'a> {
    settings: Vec<Setting>,
    errors: &'a mut Vec<ConfigError>,
}

impl Line<'_> {
    fn wrong(&mut self, problem: String) {
        self.errors.push(ConfigError::CommandLine(problem));
    }

    fn long(
        &mut self,
        name: &str,
        value: Option<String>,
        rest: &mut Peekable<impl Iterator<Item = OsString>>,
    ) {
        let Some(flag) = table::find(name) else {
            let hint =
                nearest(name).map_or("see --help".to_owned(), |n| format!("is --{n} meant?"));
            if value.is_none() {
                // What follows is most likely its value, and no mistake of its own.
                rest.next_if(|next| !next.to_string_lossy().starts_with('-'));
            }
            return self.wrong(format!("unknown flag --{name}; {hint}"));
        };
        let value = match (value, &flag.kind) {
            (Some(value), _) => value,
            (None, Kind::Bool(..)) => "true".to_owned(),
            (None, _) => match rest.next().map(OsString::into_string) {
                Some(Ok(value)) => value,
                Some(Err(value)) => return self.wrong(format!("--{name} {value:?} is not UTF-8")),
                None => return self.wrong(format!("--{name} needs a value")),
            },
        };
        self.push(flag, value);
    }

    fn push(&mut self, flag: &'static Flag, value: String) {
        if let Kind::Strings(_) = flag.kind {
            let earlier = self.settings.iter_mut().find(|s| s.flag.name == flag.name);
            if let Some(Setting { raw: Raw::Text(list), .. }) = earlier {
                list.push(',');
                list.push_str(&value);
                return;
            }
        }
        let source = Source::CommandLine;
        self.settings.push(Setting { flag, raw: Raw::Text(value), source });
    }
}
