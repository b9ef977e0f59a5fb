//! Kernel time to wall-clock time.
//!
//! Records carry CLOCK_MONOTONIC, processes found at start carry CLOCK_BOOTTIME. Both are turned into
//! wall-clock time by their present distance from CLOCK_REALTIME, which is read now and then: the
//! distance changes when the wall clock is set or the machine sleeps. A time that has to stay the
//! same, such as a process's start, is converted once and kept.

use std::time::{SystemTime, UNIX_EPOCH};

use api::google::Timestamp;
use compiler::base::record::Identity;
use rustix::time::{ClockId, clock_gettime};

use crate::process::identity;

/// Nanoseconds since 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(pub i64);

impl WallTime {
    /// The wall clock now.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl From<WallTime> for Timestamp {
    fn from(time: WallTime) -> Self {
        const SECOND: i64 = 1_000_000_000;
        let nanos = time.0.rem_euclid(SECOND);
        Self { seconds: time.0.div_euclid(SECOND), nanos: i32::try_from(nanos).unwrap_or(0) }
    }
}

/// Distances between the kernel's clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    monotonic_to_wall: i64,
    boottime_to_wall: i64,
}

impl Clock {
    /// Reads the clocks.
    pub fn read() -> Self {
        let read = |id| {
            let time = clock_gettime(id);
            time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
        };
        let monotonic = read(ClockId::Monotonic);
        let wall = read(ClockId::Realtime);
        let boottime = read(ClockId::Boottime);
        Self { monotonic_to_wall: wall - monotonic, boottime_to_wall: wall - boottime }
    }

    /// Wall-clock time of a CLOCK_MONOTONIC time in nanoseconds.
    pub fn monotonic(&self, ktime: u64) -> WallTime {
        shift(ktime, self.monotonic_to_wall)
    }

    /// Wall-clock time of a CLOCK_BOOTTIME time in nanoseconds.
    pub fn boottime(&self, ktime: u64) -> WallTime {
        shift(ktime, self.boottime_to_wall)
    }

    /// Wall-clock time when an image began.
    pub fn start(&self, process: Identity) -> WallTime {
        if identity::is_start_time(process) {
            self.boottime(process.ktime)
        } else {
            self.monotonic(process.ktime)
        }
    }

    /// A boot-time clock reading as CLOCK_MONOTONIC would have had it, if the machine has not slept
    /// since then; otherwise earlier.
    pub fn boottime_to_monotonic(&self, ktime: u64) -> u64 {
        let slept = self.monotonic_to_wall.saturating_sub(self.boottime_to_wall);
        ktime.saturating_add_signed(slept.saturating_neg())
    }
}

fn shift(ktime: u64, distance: i64) -> WallTime {
    WallTime(i64::try_from(ktime).unwrap_or(i64::MAX).saturating_add(distance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_converts_to_now() {
        let clock = Clock::read();
        let monotonic = clock_gettime(ClockId::Monotonic);
        let ktime = (monotonic.tv_sec * 1_000_000_000 + monotonic.tv_nsec) as u64;
        let off = (clock.monotonic(ktime).0 - WallTime::now().0).abs();
        assert!(off < 1_000_000_000, "off by {off} ns");
    }

    #[test]
    fn identities_of_scanned_processes_count_from_boot() {
        let clock = Clock { monotonic_to_wall: 1000, boottime_to_wall: 7 };
        assert_eq!(clock.start(Identity { ktime: 20_000_000, pid: 4 }), WallTime(20_000_007));
        assert_eq!(clock.start(Identity { ktime: 20_000_001, pid: 4 }), WallTime(20_001_001));
        assert_eq!(clock.boottime_to_monotonic(5000), 4007);
    }

    #[test]
    fn timestamps_before_the_epoch_have_positive_nanoseconds() {
        let stamp = Timestamp::from(WallTime(-1));
        assert_eq!((stamp.seconds, stamp.nanos), (-1, 999_999_999));
        let stamp = Timestamp::from(WallTime(1_500_000_000));
        assert_eq!((stamp.seconds, stamp.nanos), (1, 500_000_000));
    }
}
