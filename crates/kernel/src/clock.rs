//! The kernel's clocks.

use std::time::Duration;

/// Time since boot without suspension: what `bpf_ktime_get_ns` gives.
pub fn monotonic() -> Duration {
    read(libc::CLOCK_MONOTONIC)
}

/// Time since boot with suspension: what `bpf_ktime_get_boot_ns` gives, and what the start times in
/// `/proc/PID/stat` count.
pub fn since_boot() -> Duration {
    read(libc::CLOCK_BOOTTIME)
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: written to a local. It cannot fail: Linux has had both clocks since 2.6.39.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    // Neither clock is ever negative.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_go_forward_and_suspension_only_adds() {
        let (first, boot) = (monotonic(), since_boot());
        assert!(first > Duration::ZERO && boot >= first && monotonic() >= first);
    }
}
