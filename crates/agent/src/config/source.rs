//! Where settings stand besides the command line: directories of drop-in files, YAML files and
//! the environment.
//!
//! A drop-in's file name is the flag's, its content the value; an empty one resets the flag to its
//! type's zero. What is hidden (name starts with a dot, as the links of a mounted ConfigMap) is no
//! drop-in.

use super::flag::{Flag, Raw};
use super::{ConfigError, nearest, table, yaml};
use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nowhere: the flag's default.
    Default,
    /// A drop-in file, or a line (counted from 1) of a YAML file.
    File {
        /// The file.
        path: PathBuf,
        /// The line; none in a drop-in, which holds one value.
        line: Option<usize>,
    },
    /// This environment variable.
    Environment(String),
    /// The command line.
    CommandLine,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// A place that may hold settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A directory with one file per flag.
    DropIns(PathBuf),
    /// A YAML file of `flag: value` lines.
    Yaml(PathBuf),
}

impl Place {
    /// The places that are read on every start; later ones win.
    pub fn standard() -> Vec<Self> {
        vec![
            Self::DropIns("/usr/lib/tetragon/tetragon.conf.d".into()),
            Self::DropIns("/usr/local/lib/tetragon/tetragon.conf.d".into()),
            Self::Yaml("tetragon.yaml".into()),
            Self::Yaml("/etc/tetragon/tetragon.yaml".into()),
            Self::DropIns("/etc/tetragon/tetragon.conf.d".into()),
        ]
    }
}

/// One flag's value in one source.
pub(super) struct Setting {
    pub(super) flag: &'static Flag,
    pub(super) raw: Raw,
    pub(super) source: Source,
}

/// What was found so far, lowest precedence first.
#[derive(Default)]
pub(super) struct Found {
    pub(super) settings: Vec<Setting>,
    pub(super) warnings: Vec<String>,
    pub(super) errors: Vec<ConfigError>,
}

impl Found {
    /// Reads a place. One that does not exist holds nothing.
    pub(super) fn read(&mut self, place: &Place) {
        let (path, read) = match place {
            Place::DropIns(directory) => (directory, self.read_drop_ins(directory)),
            Place::Yaml(file) => (file, self.read_yaml(file)),
        };
        match read {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                self.errors.push(ConfigError::Unreadable { path: path.clone(), error });
            }
            _ => {}
        }
    }

    /// Reads a directory of drop-ins that somebody asked for: it has to exist.
    pub(super) fn read_asked(&mut self, directory: &Path) {
        if let Err(error) = self.read_drop_ins(directory) {
            self.errors.push(ConfigError::Unreadable { path: directory.to_owned(), error });
        }
    }

    fn read_drop_ins(&mut self, directory: &Path) -> std::io::Result<()> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            names.push(entry?.file_name());
        }
        names.sort();
        for name in names {
            let path = directory.join(&name);
            let name = name.to_string_lossy();
            if name.starts_with('.') || path.is_dir() {
                continue;
            }
            let source = Source::File { path: path.clone(), line: None };
            let Some(flag) = self.flag(&name, &source) else { continue };
            match std::fs::read_to_string(&path) {
                Ok(content) => {
                    let content = content.trim_end_matches(['\n', '\r']);
                    let raw = match content.trim() {
                        "" => Raw::Zero,
                        _ if matches!(flag.kind, super::Kind::Str(..)) => Raw::Text(content.into()),
                        trimmed => Raw::Text(trimmed.into()),
                    };
                    self.settings.push(Setting { flag, raw, source });
                }
                Err(error) => self.errors.push(ConfigError::Unreadable { path, error }),
            }
        }
        Ok(())
    }

    fn read_yaml(&mut self, file: &Path) -> std::io::Result<()> {
        let text = std::fs::read_to_string(file)?;
        match yaml::parse(&text) {
            Ok(entries) => {
                for yaml::Entry { key, line, raw } in entries {
                    let source = Source::File { path: file.to_owned(), line: Some(line) };
                    if let Some(flag) = self.flag(&key, &source) {
                        self.settings.push(Setting { flag, raw, source });
                    }
                }
            }
            Err(yaml::Malformed { line, problem }) => {
                let source = Source::File { path: file.to_owned(), line: Some(line) };
                self.errors.push(ConfigError::Malformed { origin: source, problem });
            }
        }
        Ok(())
    }

    /// The flag called `name`; a warning when there is none, for a file may be newer or older
    /// than the agent.
    fn flag(&mut self, name: &str, source: &Source) -> Option<&'static Flag> {
        let flag = table::find(name);
        if flag.is_none() {
            let hint = nearest(name).map_or(String::new(), |near| format!(" (is {near} meant?)"));
            self.warnings.push(format!("{source}: unknown setting {name:?} is ignored{hint}"));
        }
        flag
    }

    /// Takes the variables `TETRAGON_<FLAG>`. An empty one counts as not set. Others with that
    /// prefix are left alone, for a cluster sets some for its services, unless they look like a
    /// flag's misspelt.
    pub(super) fn read_environment(
        &mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) {
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
                continue;
            };
            let flag_name = name[PREFIX.len()..].to_ascii_lowercase().replace('_', "-");
            let source = Source::Environment(name.to_owned());
            let Some(flag) = table::find(&flag_name) else {
                if let Some(near) = nearest(&flag_name) {
                    let near = variable(near);
                    self.warnings.push(format!("{source} is ignored (is {near} meant?)"));
                }
                continue;
            };
            match value.into_string() {
                Ok(text) if text.is_empty() => {}
                Ok(text) => self.settings.push(Setting { flag, raw: Raw::Text(text), source }),
                Err(_) => self.errors.push(ConfigError::Malformed {
                    origin: source,
                    problem: "is not valid UTF-8".to_owned(),
                }),
            }
        }
    }
}

const PREFIX: &str = "TETRAGON_";

/// The environment variable of a flag.
pub fn variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.to_ascii_uppercase().replace('-', "_"))
}
