//! perf_event_open(2): its attributes, and the PMUs that sysfs lists.

use std::ffi::c_ulong;
use std::path::PathBuf;

use super::attr::plain;

/// `PERF_FLAG_FD_CLOEXEC`.
pub(super) const FLAG_FD_CLOEXEC: c_ulong = 8;
/// `PERF_TYPE_SOFTWARE`.
pub(crate) const TYPE_SOFTWARE: u32 = 1;
/// `PERF_TYPE_TRACEPOINT`.
pub(crate) const TYPE_TRACEPOINT: u32 = 2;
/// `PERF_EVENT_IOC_ENABLE`: `_IO('$', 0)`.
pub(crate) const IOC_ENABLE: c_ulong = 0x2400;
/// `PERF_EVENT_IOC_SET_BPF`: `_IOW('$', 8, u32)`.
pub(crate) const IOC_SET_BPF: c_ulong = 0x4004_2408;

/// `freq` among the bit fields of `struct perf_event_attr`: the period is a frequency in Hz.
pub(crate) const BIT_FREQ: u64 = 1 << 10;

/// `PERF_COUNT_SW_DUMMY`: counts nothing, and tells of mappings and the like.
pub(crate) const SOFTWARE_DUMMY: u64 = 9;
/// `PERF_SAMPLE_TID`
pub(crate) const SAMPLE_TID: u64 = 1 << 1;
/// `PERF_SAMPLE_TIME`
pub(crate) const SAMPLE_TIME: u64 = 1 << 2;
/// `mmap` among the bit fields: tell of memory that is mapped to be executed.
pub(crate) const BIT_MMAP: u64 = 1 << 8;
/// `comm`: tell of new names of threads.
pub(crate) const BIT_COMM: u64 = 1 << 9;
/// `watermark`: wake up after `wakeup_events` bytes.
pub(crate) const BIT_WATERMARK: u64 = 1 << 14;
/// `sample_id_all`: all records end with what `sample_type` says.
pub(crate) const BIT_SAMPLE_ID_ALL: u64 = 1 << 18;
/// `mmap2`: tell more of what is mapped.
pub(crate) const BIT_MMAP2: u64 = 1 << 23;
/// `comm_exec`: tell names that come from execve(2) apart.
pub(crate) const BIT_COMM_EXEC: u64 = 1 << 24;
/// `use_clockid`: times are of the clock `clockid`.
pub(crate) const BIT_USE_CLOCKID: u64 = 1 << 25;
/// `build_id`: tell the build id of what is mapped (Linux 5.12).
pub(crate) const BIT_BUILD_ID: u64 = 1 << 34;

plain! {
    /// `struct perf_event_attr` up to PERF_ATTR_SIZE_VER5, which Linux 4.1 and later know.
    struct EventAttr {
        event_type: u32,
        /// Of this struct.
        size: u32,
        config: u64,
        /// Period in events, or frequency in Hz with [`BIT_FREQ`].
        sample_period: u64,
        sample_type: u64,
        read_format: u64,
        bits: u64,
        wakeup_events: u32,
        bp_type: u32,
        /// For probes: address of the NUL-terminated symbol (0: `config2` is its address) or file.
        config1: u64,
        /// For probes: offset in the symbol or file, or the address.
        config2: u64,
        branch_sample_type: u64,
        sample_regs_user: u64,
        sample_stack_user: u32,
        clockid: i32,
        sample_regs_intr: u64,
        aux_watermark: u32,
        sample_max_stack: u16,
        reserved_2: u16,
    }
}

/// A PMU that makes probes: `kprobe` or `uprobe` (Linux 4.17).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbePmu {
    /// Its event type.
    pub(crate) event_type: u32,
    /// Bit of `config` that asks for a return probe.
    pub(crate) return_bit: u32,
}

/// Why a PMU cannot be used.
#[derive(Debug)]
pub(crate) enum PmuError {
    /// It is not there.
    Missing,
    /// Its description in sysfs does not read as one.
    Unreadable(PathBuf, std::io::Error),
}

impl ProbePmu {
    /// Finds a PMU by its name in sysfs.
    pub(crate) fn find(name: &str) -> Result<Self, PmuError> {
        let dir = PathBuf::from("/sys/bus/event_source/devices").join(name);
        if !dir.exists() {
            return Err(PmuError::Missing);
        }
        let number = |file: &str, prefix: &str| {
            let path = dir.join(file);
            let text = std::fs::read_to_string(&path).and_then(|text| {
                let text = text.trim().strip_prefix(prefix).unwrap_or_default();
                text.parse().map_err(std::io::Error::other)
            });
            text.map_err(|error| PmuError::Unreadable(path, error))
        };
        let event_type = number("type", "")?;
        let return_bit: u32 = number("format/retprobe", "config:")?;
        Ok(Self { event_type, return_bit: return_bit.min(63) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_the_size_of_version_5() {
        assert_eq!(size_of::<EventAttr>(), 112);
        assert_eq!(std::mem::offset_of!(EventAttr, config1), 56);
        assert_eq!(std::mem::offset_of!(EventAttr, aux_watermark), 104);
    }
}
