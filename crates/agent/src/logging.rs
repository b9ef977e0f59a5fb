//! The log: one line per event on standard error, and in a file when one is named.
//!
//! Two formats: text, `time=… level=info msg="…" key=value`, and JSON, one object a line. The
//! level can be changed while the agent runs. Libraries are heard from `warn` on only, so that
//! debugging the agent does not drown in HTTP/2 frames.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber, subscriber::Interest};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// How much is logged. `Fatal` and `Panic` leave only what ends the agent, which is printed in
/// any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Level {
    Panic = 0,
    Fatal,
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl Level {
    const ALL: [Self; 7] =
        [Self::Panic, Self::Fatal, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    fn filter(self) -> LevelFilter {
        match self {
            Self::Panic | Self::Fatal => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

/// A text that names no level.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown log level")]
pub struct UnknownLevel;

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "panic" => Self::Panic,
            "fatal" => Self::Fatal,
            "error" => Self::Error,
            "warn" | "warning" => Self::Warn,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => return Err(UnknownLevel),
        })
    }
}

/// Form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `time=… level=… msg=… key=value`.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// How to log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// Least level.
    pub level: Level,
    /// Form of a line.
    pub format: Format,
    /// File that lines go to as well.
    pub file: Option<PathBuf>,
}

/// The log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file could not be opened.
    #[error("--log-file {}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another log is there already.
    #[error("the log was started twice")]
    Twice,
}

/// The level in force: shared by the log and by who may change it.
static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// The level in force.
pub fn level() -> Level {
    let level = usize::from(LEVEL.load(Ordering::Relaxed));
    Level::ALL.get(level).copied().unwrap_or_default()
}

/// Changes the level.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
    // Call sites remember whether anybody listened.
    tracing::callsite::rebuild_interest_cache();
}

/// Starts logging, once per process.
pub fn start(config: &LogConfig) -> Result<(), LogError> {
    let file = match &config.file {
        None => None,
        Some(path) => {
            let opened = File::options().create(true).append(true).open(path);
            Some(opened.map_err(|error| LogError::File { path: path.clone(), error })?)
        }
    };
    set_level(config.level);
    let sink = Sink { format: config.format, out: Mutex::new(Out { line: String::new(), file }) };
    let log = tracing_subscriber::registry().with(sink);
    tracing::subscriber::set_global_default(log).map_err(|_| LogError::Twice)
}

/// Whether there is a log.
pub fn started() -> bool {
    tracing::dispatcher::has_been_set()
}

struct Sink {
    format: Format,
    out: Mutex<Out>,
}

struct Out {
    line: String,
    file: Option<File>,
}

/// Whether a line from there is wanted.
fn wanted(metadata: &Metadata<'_>) -> bool {
    const OWN: [&str; 5] = ["agent", "api", "compiler", "ebpf", "kernel"];
    let library = metadata.target().split("::").next().is_some_and(|name| !OWN.contains(&name));
    let filter = level().filter();
    let filter = if library { filter.min(LevelFilter::WARN) } else { filter };
    metadata.is_event() && *metadata.level() <= filter
}

impl<S: Subscriber> Layer<S> for Sink {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if wanted(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        wanted(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(level().filter())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // A thread that died while it logged leaves at worst half a line in the buffer.
        let mut out = self.out.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let Out { line, file } = &mut *out;
        line.clear();
        write_line(line, self.format, SystemTime::now(), event);
        // Nowhere is left to complain to when the log itself cannot be written.
        let _ = io::stderr().write_all(line.as_bytes());
        if let Some(file) = file {
            let _ = file.write_all(line.as_bytes());
        }
    }
}

fn write_line(line: &mut String, format: Format, time: SystemTime, event: &Event<'_>) {
    let level = event.metadata().level().as_str().to_ascii_lowercase();
    let level = if level == "warn" { "warning" } else { &level };
    let time = api::google::Timestamp::from(time).to_string();
    let mut fields = Fields { message: String::new(), rest: String::new(), format };
    event.record(&mut fields);
    let Fields { message, rest, .. } = fields;
    match format {
        Format::Text => {
            let _ = write!(line, "time={time} level={level} msg=");
            push_text(line, &message);
        }
        Format::Json => {
            let _ = write!(line, "{{\"time\":\"{time}\",\"level\":\"{level}\",\"msg\":");
            push_json(line, &message);
        }
    }
    line.push_str(&rest);
    line.push_str(if format == Format::Json { "}\n" } else { "\n" });
}

struct Fields {
    message: String,
    rest: String,
    format: Format,
}

impl Fields {
    fn push(&mut self, field: &Field, value: &str, bare: bool) {
        if field.name() == "message" {
            self.message.push_str(value);
            return;
        }
        match self.format {
            Format::Text => {
                let _ = write!(self.rest, " {}=", field.name());
                push_text(&mut self.rest, value);
            }
            Format::Json => {
                self.rest.push(',');
                push_json(&mut self.rest, field.name());
                self.rest.push(':');
                if bare {
                    self.rest.push_str(value);
                } else {
                    push_json(&mut self.rest, value);
                }
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, &format!("{value:?}"), false);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value, false);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, &value.to_string(), true);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, &value.to_string(), true);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, &value.to_string(), true);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.push(field, &value.to_string(), false);
    }
}

/// A logfmt value: quoted when it has anything that ends a bare one.
fn push_text(line: &mut String, value: &str) {
    let bare = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
    if !value.is_empty() && value.chars().all(bare) {
        line.push_str(value);
    } else {
        let _ = write!(line, "{value:?}");
    }
}

fn push_json(line: &mut String, value: &str) {
    line.push_str(&serde_json::Value::from(value).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `log` leaves in a log file of that format.
    fn logged(format: Format, log: impl FnOnce()) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let out = Out { line: String::new(), file: Some(File::create(&path).unwrap()) };
        let sink = Sink { format, out: Mutex::new(out) };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(sink), log);
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn text_quotes_what_would_not_stand_alone() {
        let text = logged(Format::Text, || {
            tracing::warn!(count = 3, path = "/a b", plain = %"x/y", quote = "\"\n", "Two words");
        });
        let (time, rest) = text.split_once(' ').unwrap();
        assert!(time.starts_with("time=20") && time.ends_with('Z'), "{time}");
        let wanted = "level=warning msg=\"Two words\" count=3 path=\"/a b\" plain=x/y \
                      quote=\"\\\"\\n\"\n";
        assert_eq!(rest, wanted);
    }

    #[test]
    fn json_lines_are_objects() {
        let text = logged(Format::Json, || {
            tracing::info!(count = 3_u64, ok = true, error = %"a\"b", "Said \u{1}\n");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "info");
        assert_eq!(line["msg"], "Said \u{1}\n");
        assert_eq!((&line["count"], &line["ok"]), (&3.into(), &true.into()));
        assert_eq!(line["error"], "a\"b");
        assert!(text.ends_with("}\n") && text.lines().count() == 1);
    }

    #[test]
    fn the_level_can_change_and_libraries_are_quiet() {
        let text = logged(Format::Text, || {
            let both = |text: &str| {
                tracing::debug!("own {text}");
                tracing::debug!(target: "h2::codec", "frame {text}");
                tracing::warn!(target: "h2::codec", "trouble {text}");
            };
            assert_eq!(level(), Level::Info);
            both("before");
            set_level(Level::Debug);
            both("between");
            set_level(Level::Fatal);
            both("after");
            set_level(Level::Info);
        });
        let messages: Vec<_> =
            text.lines().map(|line| line.split("msg=").nth(1).unwrap()).collect();
        let wanted = ["\"trouble before\"", "\"own between\"", "\"trouble between\""];
        assert_eq!(messages, wanted);
    }

    #[test]
    fn levels_have_names() {
        for (name, level) in [("WARNING", Level::Warn), ("panic", Level::Panic)] {
            assert_eq!(name.parse(), Ok(level));
        }
        assert_eq!("loud".parse::<Level>(), Err(UnknownLevel));
    }
}
