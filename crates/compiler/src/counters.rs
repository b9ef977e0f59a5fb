//! What programs count, by section and selector.

use crate::Error;
use crate::emit::map::{self, counter};
use kernel::map::{Map, MapSpec, MapType};
use std::ops::AddAssign;

/// What a hook's programs counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records that the full ring did not take.
    pub lost: u64,
    /// Matches for which there was no memory to put a record together.
    pub no_scratch: u64,
    /// Matches whose return could not be awaited.
    pub no_call: u64,
    /// What was done: first without a selector, then for each.
    pub done: Vec<Done>,
}

/// What was done about matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Events sent.
    pub posted: u64,
    /// Matches without an event: NoPost.
    pub silent: u64,
    /// Matches without an event: rate limit.
    pub limited: u64,
    /// Signals sent.
    pub signal: u64,
    /// Signals that would have been sent, had the policy not been in mode monitor.
    pub monitor_signal: u64,
    /// Results replaced.
    pub overridden: u64,
    /// Results that would have been replaced.
    pub monitor_overridden: u64,
    /// Actions that the kernel refused: signals to its own threads and to pid 1.
    pub failed: u64,
    /// Notifications of the policy's enforcer.
    pub notified: u64,
    /// Notifications that would have been made.
    pub monitor_notified: u64,
    /// Numbers written to arguments.
    pub set: u64,
    /// Numbers that would have been written.
    pub monitor_set: u64,
}

impl Counters {
    /// The map of the counters of a program with so many elements.
    pub(crate) fn map(elements: u32) -> Result<Map, Error> {
        Ok(Map::create(&MapSpec {
            name: map::COUNTERS,
            map_type: MapType::PERCPU_ARRAY,
            key_size: 4,
            value_size: counter::SIZE as u32,
            max_entries: elements,
            ..MapSpec::default()
        })?)
    }

    /// What the section whose elements begin at `first` counted, on all CPUs.
    pub(crate) fn read(map: &Map, first: u32, elements: u32) -> Result<Self, Error> {
        let mut counters = Self::default();
        for index in first..first + elements {
            let values = map.lookup_per_cpu(&index.to_ne_bytes())?;
            let sum = |offset: i16| {
                values.as_ref().and_then(|values| values.sum_u64(offset as usize)).unwrap_or(0)
            };
            counters.lost += sum(counter::LOST);
            counters.no_scratch += sum(counter::NO_SCRATCH);
            counters.no_call += sum(counter::NO_CALL);
            counters.done.push(Done {
                posted: sum(counter::POSTED),
                silent: sum(counter::SILENT),
                limited: sum(counter::LIMITED),
                signal: sum(counter::SIGNAL),
                monitor_signal: sum(counter::MONITOR_SIGNAL),
                overridden: sum(counter::OVERRIDE),
                monitor_overridden: sum(counter::MONITOR_OVERRIDE),
                failed: sum(counter::FAILED),
                notified: sum(counter::NOTIFY),
                monitor_notified: sum(counter::MONITOR_NOTIFY),
                set: sum(counter::SET),
                monitor_set: sum(counter::MONITOR_SET),
            });
        }
        Ok(counters)
    }

    /// Matches that could not be reported.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.lost + self.no_scratch + self.no_call
    }

    /// What was done, whichever selector matched.
    #[must_use]
    pub fn total(&self) -> Done {
        let mut total = Done::default();
        self.done.iter().for_each(|done| total += *done);
        total
    }
}

impl AddAssign<&Self> for Counters {
    fn add_assign(&mut self, other: &Self) {
        self.lost += other.lost;
        self.no_scratch += other.no_scratch;
        self.no_call += other.no_call;
        if self.done.len() < other.done.len() {
            self.done.resize(other.done.len(), Done::default());
        }
        for (mine, theirs) in self.done.iter_mut().zip(&other.done) {
            *mine += *theirs;
        }
    }
}

impl AddAssign for Done {
    fn add_assign(&mut self, other: Self) {
        let Self {
            posted,
            silent,
            limited,
            signal,
            monitor_signal,
            overridden,
            monitor_overridden,
            failed,
            notified,
            monitor_notified,
            set,
            monitor_set,
        } = other;
        self.posted += posted;
        self.silent += silent;
        self.limited += limited;
        self.signal += signal;
        self.monitor_signal += monitor_signal;
        self.overridden += overridden;
        self.monitor_overridden += monitor_overridden;
        self.failed += failed;
        self.notified += notified;
        self.monitor_notified += monitor_notified;
        self.set += set;
        self.monitor_set += monitor_set;
    }
}
