//! Events as JSON lines in a file or on standard output: those, and of them the fields, that the
//! filters of the export take.
//!
//! A thread of its own reads the hub, so that a slow disk costs nobody else anything. Lines are
//! gathered while more events wait and written at the latest when none does. What could not be
//! written is counted, and told as an `events_lost` line once writing works again. Errors are
//! logged when they begin and when they end.

mod backups;
mod output;
mod rate_limit;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use api::tetragon::get_events_response::Event;
use api::tetragon::{GetEventsResponse, RateLimitInfo};
use filters::{FieldFilters, FilterError, Selection};

use crate::config::{ExportConfig, RotationConfig};
use crate::hub::{Ended, Hub, Subscription};
use output::{Failed, Output};
use rate_limit::RateLimit;

/// Gathered lines are written when they are this long (bytes), even if more events wait.
const ENOUGH: usize = 64 << 10;

/// The buffer for lines is made smaller again when one event made it larger than this (bytes).
const TOO_MUCH: usize = 1 << 20;

/// Time after which a write that failed is tried again when no event comes.
const RETRY: Duration = Duration::from_secs(1);

/// Time to wait when there is nothing to wait for but events.
const LONG: Duration = Duration::from_secs(3600);

/// What `EventsLost.ring` says of lines that could not be written.
const QUEUE: &str = "export";

/// The export could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file cannot be written, or there is no thread for it.
    #[error("cannot export to {}: {error}", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The filters cannot be used.
    #[error("cannot export: {0}")]
    Filters(#[from] FilterError),
}

/// What the export counted since its start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events written (`tetragon_events_exported_total`).
    pub events: AtomicU64,
    /// Bytes written (`tetragon_events_exported_bytes_total`).
    pub bytes: AtomicU64,
    /// When the last event was written, unix seconds (`tetragon_events_last_exported_timestamp`).
    pub last: AtomicU64,
    /// Events over the rate limit (`tetragon_export_ratelimit_events_dropped_total`).
    pub rate_limited: AtomicU64,
    /// Events that could not be encoded or written.
    pub lost: AtomicU64,
}

/// The running export, for everybody who has to do with it.
#[derive(Clone)]
pub struct Exporter {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    rotation: Mutex<RotationConfig>,
    counters: Counters,
    ended: Mutex<bool>,
    end: Condvar,
}

/// Says at its drop that the thread has ended, however that came.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        *self.0.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.end.notify_all();
    }
}

impl Shared {
    fn rotation(&self) -> MutexGuard<'_, RotationConfig> {
        self.rotation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exporter {
    /// Starts the export; `None` when the configuration asks for none.
    pub fn start(config: &ExportConfig, hub: &Arc<Hub>) -> Result<Option<Self>, ExportError> {
        let Some(path) = config.file.clone().filter(|_| config.rate_limit != Some(0)) else {
            return Ok(None);
        };
        let failed = |error| ExportError::Output { path: path.clone(), error };
        let allow = filters::json::filters(&config.allow_list)?;
        let deny = filters::json::filters(&config.deny_list)?;
        let selection = Arc::new(Selection::new(&allow, &deny)?);
        let fields = FieldFilters::new(&filters::json::field_filters(&config.field_filters)?)?;
        let wants = {
            let selection = Arc::clone(&selection);
            Box::new(move |kind| selection.may_take(kind))
        };
        let shared =
            Arc::new(Shared { rotation: Mutex::new(config.rotation.clone()), ..Shared::default() });
        let output = Output::new(&path, &config.rotation).map_err(failed)?;
        let worker = Worker {
            subscription: hub.subscribe("export".to_owned(), wants),
            selection,
            fields,
            hub: Arc::clone(hub),
            shared: Arc::clone(&shared),
            output,
            limit: config.rate_limit.map(|limit| RateLimit::new(limit, Instant::now())),
            lines: Vec::new(),
            weights: Vec::new(),
            lost: Lost::default(),
            encoding_fails: false,
            writing_fails: false,
        };
        let ending = Ending(Arc::clone(&shared));
        std::thread::Builder::new()
            .name("export".to_owned())
            .spawn(move || {
                worker.run();
                drop(ending);
            })
            .map_err(failed)?;
        Ok(Some(Self { shared }))
    }

    /// How the file is rotated.
    pub fn rotation(&self) -> RotationConfig {
        self.shared.rotation().clone()
    }

    /// Changes how the file is rotated, from the next write on.
    pub fn set_rotation(&self, change: impl FnOnce(&mut RotationConfig)) {
        change(&mut self.shared.rotation());
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Waits, after the hub was closed, until everything is written; says whether it was in time.
    pub fn finish(&self, within: Duration) -> bool {
        let ended = self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.end.wait_timeout_while(ended, within, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

struct Worker {
    subscription: Subscription,
    selection: Arc<Selection>,
    fields: FieldFilters,
    hub: Arc<Hub>,
    shared: Arc<Shared>,
    output: Output,
    limit: Option<RateLimit>,
    lines: Vec<u8>,
    /// For every gathered line, how many events it stands for: 1, or what it says is lost.
    weights: Vec<u64>,
    lost: Lost,
    encoding_fails: bool,
    writing_fails: bool,
}

/// Events that were lost here and not told yet.
#[derive(Default)]
struct Lost {
    count: u64,
    cause: String,
}

impl Worker {
    fn run(mut self) {
        loop {
            match self.subscription.try_next() {
                Ok(Some(event)) => self.take(&event),
                Ok(None) => {
                    self.write();
                    match self.subscription.wait(self.patience()) {
                        Ok(Some(event)) => self.take(&event),
                        Ok(None) => {}
                        Err(Ended) => break,
                    }
                }
                Err(Ended) => break,
            }
            self.tick();
        }
        let dropped = self.limit.as_mut().and_then(RateLimit::take);
        self.tell_dropped(dropped);
        self.write();
        if self.lost.count > 0 {
            let Lost { count, cause } = &self.lost;
            tracing::error!(
                lost = count,
                cause,
                "The export ends with events that were never written"
            );
        }
    }

    /// How long to wait for an event at most.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        let report = self.limit.as_ref().and_then(RateLimit::report_at);
        let rotate = self.output.tick_at(&self.shared.rotation());
        let retry = (self.lost.count > 0).then(|| now + RETRY);
        let next = [report, rotate, retry].into_iter().flatten().min();
        next.map_or(LONG, |at| at.saturating_duration_since(now))
    }

    /// What has to be done at its time.
    fn tick(&mut self) {
        let now = Instant::now();
        let dropped = self.limit.as_mut().and_then(|limit| limit.due(now));
        self.tell_dropped(dropped);
        let rotation = self.shared.rotation().clone();
        if let Err(error) = self.output.tick(now, &rotation) {
            self.failing(&error.to_string());
        }
    }

    fn tell_dropped(&mut self, dropped: Option<u64>) {
        if let Some(number_of_dropped_process_events) = dropped {
            let info = RateLimitInfo { number_of_dropped_process_events };
            let event = self.hub.envelope().wrap(Event::RateLimitInfo(info));
            self.encode(&event, number_of_dropped_process_events);
        }
    }

    fn take(&mut self, event: &GetEventsResponse) {
        if !self.selection.takes(event) {
            return;
        }
        let weight = match &event.event {
            Some(Event::EventsLost(lost)) => Some(lost.count),
            _ => None,
        };
        if let Some(limit) = &mut self.limit
            && weight.is_none()
            && !limit.allow(Instant::now())
        {
            self.shared.counters.rate_limited.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let event = self.fields.apply(event);
        self.encode(&event, weight.unwrap_or(1));
        if self.lines.len() >= ENOUGH {
            self.write();
        }
    }

    fn encode(&mut self, event: &GetEventsResponse, weight: u64) {
        let start = self.lines.len();
        match serde_json::to_writer(&mut self.lines, event) {
            Ok(()) => {
                self.lines.push(b'\n');
                self.weights.push(weight);
                self.encoding_fails = false;
            }
            Err(error) => {
                self.lines.truncate(start);
                if !self.encoding_fails {
                    tracing::error!(%error, "An event cannot be encoded and is not exported");
                }
                self.encoding_fails = true;
                self.lose(weight, format!("cannot be encoded: {error}"));
            }
        }
    }

    fn lose(&mut self, count: u64, cause: String) {
        self.shared.counters.lost.fetch_add(count, Ordering::Relaxed);
        self.lost.count += count;
        self.lost.cause = cause;
    }

    /// Writes what was gathered, after the line that tells of earlier losses.
    fn write(&mut self) {
        if self.lines.is_empty() && self.lost.count == 0 {
            return;
        }
        let rotation = self.shared.rotation().clone();
        let mut result = self.write_loss(&rotation);
        if result.is_ok() && !self.lines.is_empty() {
            result = self.output.write(&self.lines, &rotation);
        }
        let written = match &result {
            Ok(()) => self.weights.len(),
            Err(failed) => failed.written,
        };
        let counters = &self.shared.counters;
        if written > 0 {
            let ends = self.lines.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            let bytes = match result {
                Ok(()) => self.lines.len(),
                Err(_) => ends.map(|(at, _)| at + 1).nth(written - 1).unwrap_or(0),
            };
            counters.events.fetch_add(written as u64, Ordering::Relaxed);
            counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            counters.last.store(now.map_or(0, |now| now.as_secs()), Ordering::Relaxed);
        }
        match result {
            Ok(()) => {
                if std::mem::take(&mut self.writing_fails) {
                    tracing::info!("Events can be exported again");
                }
            }
            Err(Failed { error, .. }) => {
                let lost = self.weights[written..].iter().sum();
                self.failing(&error.to_string());
                if lost > 0 {
                    self.lose(lost, error.to_string());
                }
            }
        }
        self.lines.clear();
        self.weights.clear();
        if self.lines.capacity() > TOO_MUCH {
            self.lines.shrink_to(ENOUGH);
        }
    }

    fn write_loss(&mut self, rotation: &RotationConfig) -> Result<(), Failed> {
        if self.lost.count == 0 {
            return Ok(());
        }
        let envelope = self.hub.envelope();
        let event = envelope.events_lost(QUEUE, &self.lost.cause, self.lost.count);
        let line = serde_json::to_vec(&event).map(|mut line| {
            line.push(b'\n');
            line
        });
        let line = line.map_err(|error| Failed { written: 0, error: error.into() })?;
        self.output.write(&line, rotation).map_err(|failed| Failed { written: 0, ..failed })?;
        let Lost { count, cause } = std::mem::take(&mut self.lost);
        tracing::warn!(lost = count, cause, "Events are missing from the export");
        Ok(())
    }

    /// Logs the beginning of a failure.
    fn failing(&mut self, error: &str) {
        if !std::mem::replace(&mut self.writing_fails, true) {
            tracing::error!(error, "Events cannot be exported; they are counted and told later");
        }
    }
}
