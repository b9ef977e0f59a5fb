//! The maps that programs of policies refer to.

use ebpf::{MapRef, Module};

/// Task storage of processes: [`crate::base`] owns it.
pub(crate) const STATES: &str = "tg_process";
/// Ring of what policies observe: [`crate::base`] owns it.
pub(crate) const OBSERVATION: &str = "tg_observe_ring";
/// Per-CPU array of scratch areas: [`super::scratch`].
pub(crate) const SCRATCH: &str = "tg_scratches";
/// Per-CPU array with one element: [`cpu`].
pub(crate) const CPU: &str = "tg_policy_cpu";
/// Hash of calls whose return is awaited: [`call`].
pub(crate) const CALLS: &str = "tg_calls";
/// Task storage of threads: [`mark`].
pub(crate) const MARKS: &str = "tg_marks";
/// Task storage of threads: [`measure`].
pub(crate) const MEASURES: &str = "tg_measures";
/// LRU hash of events with a rate limit: [`limit`].
pub(crate) const LIMITS: &str = "tg_limits";
/// Array with one element: [`control`].
pub(crate) const CONTROL: &str = "tg_control";
/// Per-CPU array of a program's counters, one element per section: [`counter`].
pub(crate) const COUNTERS: &str = "tg_counters";

/// Array of the programs of a place, by the lowest bit of the generation.
pub(crate) const TARGETS: &str = "tg_targets";
/// Array with one element: the program that goes on where this one ends.
pub(crate) const NEXT: &str = "tg_next";

/// Byte offsets in the per-CPU element.
pub(crate) mod cpu {
    /// Bit n is set while scratch area n is in use (u64, changed atomically).
    pub(crate) const BUSY: i16 = 0;
    /// Size.
    pub(crate) const SIZE: i16 = 8;
}

/// Key and value of a call whose return is awaited.
pub(crate) mod call {
    /// Key: what tells the call apart from all others that run: address of its frame, or its task (u64).
    pub(crate) const FRAME: i16 = 0;
    /// Key: number of the entry's section (u32).
    pub(crate) const SECTION: i16 = 8;
    /// Key: the thread, where the address of the frame is one of the process's (u32); else 0.
    pub(crate) const THREAD: i16 = 12;
    /// Size of the key.
    pub(crate) const KEY_SIZE: i16 = 16;
    /// Value: when it began (u64).
    pub(crate) const TIME: i16 = 0;
    /// Value: selectors whose entry part holds, bit n for selector n (u64).
    pub(crate) const HOLDING: i16 = 8;
    /// Selectors of such a hook, at most.
    pub(crate) const SELECTORS: usize = 64;
    /// Value: addresses to read when it returns (u64 each).
    pub(crate) const BUFFERS: i16 = 16;
    /// How many addresses there are.
    pub(crate) const BUFFER_COUNT: usize = 6;
    /// Value: digest of the entry's record, where events have a rate limit (u64).
    pub(crate) const DIGEST: i16 = BUFFERS + 8 * BUFFER_COUNT as i16;
    /// Size of the value.
    pub(crate) const VALUE_SIZE: i16 = DIGEST + 8;
    /// Calls at a time, at most.
    pub(crate) const MAX: u32 = 65536;
}

/// Byte offsets in the control element.
pub(crate) mod control {
    /// Generation (u32); its lowest bit says which programs are in force.
    pub(crate) const GENERATION: u32 = 0;
    /// Modes of policies ([`super::mode`]), by number (u32 each).
    pub(crate) const MODES: u32 = 64;
    /// Policies that have a mode, at most; a power of two.
    pub(crate) const MODES_MAX: u32 = 8192;
    /// Size of the modes.
    pub(crate) const MODES_SIZE: u32 = 4 * MODES_MAX;
    /// Size.
    pub(crate) const SIZE: u32 = MODES + MODES_SIZE;
}

/// Byte offsets in a thread's mark: the system call that it is in is to fail.
pub(crate) mod mark {
    /// Number of the call (u64).
    pub(crate) const NUMBER: i16 = 0;
    /// The error, positive (u32). Where `bpf_override_return` gives it, any number, negated.
    pub(crate) const ERROR: i16 = 8;
    /// Number of the mode of the policy that says so (u32).
    pub(crate) const MODE: i16 = 12;
    /// 0: there is no mark (u32).
    pub(crate) const SET: i16 = 16;
    /// The gates that are to deny, bit n % 64 of word n / 64 for number n (u64 each).
    pub(crate) const GATES: i16 = 24;
    /// Size.
    pub(crate) const SIZE: i16 = GATES + crate::plan::gates::HOOKS_MAX as i16 / 8;
}

/// Byte offsets in what a thread asks the program for that measures files.
pub(crate) mod measure {
    /// Number of the present run of the hook (u32).
    pub(crate) const RUN: i16 = 0;
    /// Set in a record's number of the run where a digest follows.
    pub(crate) const AWAITED: i32 = i32::MIN;
    /// 1: a digest is asked for (u32).
    pub(crate) const ASKED: i16 = 4;
    /// The error with which the call is to fail, positive; 0: it is not (u32).
    pub(crate) const ERROR: i16 = 8;
    /// Size.
    pub(crate) const SIZE: i16 = 16;
}

/// Byte offsets in what a thread has told a policy's enforcer.
pub(crate) mod notice {
    /// 1: the enforcer has not acted yet (u32).
    pub(crate) const PENDING: i16 = 0;
    /// The error, positive; 0: the call is not to fail (u32).
    pub(crate) const ERROR: i16 = 4;
    /// The signal; 0: none (u32).
    pub(crate) const SIGNAL: i16 = 8;
    /// The system call in which it was told, as in [`missed`](super::missed) (u32).
    pub(crate) const CALL: i16 = 12;
    /// Size.
    pub(crate) const SIZE: i16 = 16;
}

/// Counts of notifications that took no effect: u64 each, by reason and system call.
pub(crate) mod missed {
    /// Another one came before the enforcer's call.
    pub(crate) const OVERWRITTEN: i32 = 0;
    /// It was taken back.
    pub(crate) const NO_ACTION: i32 = 1;
    /// Number of the system call that stands for all that are none.
    pub(crate) const UNKNOWN: i32 = (1 << COMPAT_SHIFT) - 1;
    /// The bit of system calls by 32-bit callers.
    pub(crate) const COMPAT_SHIFT: i32 = 10;
    /// Counts of one reason.
    pub(crate) const CALLS: i32 = 2 << COMPAT_SHIFT;
    /// Size of all.
    pub(crate) const SIZE: u32 = 2 * 8 * CALLS as u32;
}

/// Modes of policies.
pub(crate) mod mode {
    /// Actions that interfere are counted only.
    pub(crate) const MONITOR: u32 = 0;
    /// They take effect.
    pub(crate) const ENFORCE: i32 = 1;
}

/// Key and value of when events with a rate limit were last sent.
pub(crate) mod limit {
    /// Key: number of the section, and the selector as in records (u32 each, the section the high one).
    pub(crate) const SELECTOR: i16 = 0;
    /// Key: thread, process or 0 (u64).
    pub(crate) const WHO: i16 = 8;
    /// Key: a hash of the values (u64).
    pub(crate) const VALUES: i16 = 16;
    /// Size of the key.
    pub(crate) const KEY_SIZE: i16 = 24;
    /// Size of the value: nanoseconds of CLOCK_MONOTONIC (u64).
    pub(crate) const VALUE_SIZE: i16 = 8;
    /// Events that are remembered, at most.
    pub(crate) const MAX: u32 = 32768;
}

/// Key and value of a socket that a policy tracks: whom it belongs to.
pub(crate) mod owner {
    /// Size of the key: address of the `struct sock` (u64).
    pub(crate) const KEY_SIZE: i16 = 8;
    /// Identity of the process: start time (u64).
    pub(crate) const KTIME: i16 = 0;
    /// Identity of the process: pid (u32).
    pub(crate) const PID: i16 = 8;
    /// The thread (u32).
    pub(crate) const TID: i16 = 12;
    /// Size of the value.
    pub(crate) const SIZE: i16 = 16;
    /// Sockets of a policy, at most.
    pub(crate) const MAX: u32 = 32000;
}

/// Byte offsets in the counters of a section: one element for what no selector did, then one for each
/// selector.
pub(crate) mod counter {
    /// Records sent (u64).
    pub(crate) const POSTED: i16 = 0;
    /// Records that the full ring did not take (u64).
    pub(crate) const LOST: i16 = 8;
    /// Matches for which no scratch area was free (u64).
    pub(crate) const NO_SCRATCH: i16 = 16;
    /// Calls whose return could not be awaited: too many at a time (u64).
    pub(crate) const NO_CALL: i16 = 24;
    /// Matches without an event: NoPost (u64).
    pub(crate) const SILENT: i16 = 32;
    /// Matches without an event: rate limit (u64).
    pub(crate) const LIMITED: i16 = 40;
    /// Signals sent (u64).
    pub(crate) const SIGNAL: i16 = 48;
    /// Signals not sent: the policy monitors (u64).
    pub(crate) const MONITOR_SIGNAL: i16 = 56;
    /// Results replaced (u64).
    pub(crate) const OVERRIDE: i16 = 64;
    /// Results not replaced: the policy monitors (u64).
    pub(crate) const MONITOR_OVERRIDE: i16 = 72;
    /// Actions that the kernel refused (u64).
    pub(crate) const FAILED: i16 = 80;
    /// Notifications of the enforcer (u64).
    pub(crate) const NOTIFY: i16 = 88;
    /// Notifications not made: the policy monitors (u64).
    pub(crate) const MONITOR_NOTIFY: i16 = 96;
    /// Numbers written (u64).
    pub(crate) const SET: i16 = 104;
    /// Numbers not written: the policy monitors (u64).
    pub(crate) const MONITOR_SET: i16 = 112;
    /// Size.
    pub(crate) const SIZE: i16 = 120;
}

/// References to the maps in one module.
#[derive(Clone, Copy)]
pub(crate) struct Maps {
    pub(crate) states: MapRef,
    pub(crate) observation: MapRef,
    pub(crate) scratch: MapRef,
    pub(crate) cpu: MapRef,
    pub(crate) calls: MapRef,
    pub(crate) counters: MapRef,
    pub(crate) control: MapRef,
    pub(crate) limits: MapRef,
    pub(crate) marks: MapRef,
    pub(crate) measures: MapRef,
}

impl Maps {
    pub(crate) fn declare(module: &mut Module) -> Self {
        Self {
            states: module.map(STATES),
            observation: module.map(OBSERVATION),
            scratch: module.map(SCRATCH),
            cpu: module.map(CPU),
            calls: module.map(CALLS),
            counters: module.map(COUNTERS),
            control: module.map(CONTROL),
            limits: module.map(LIMITS),
            marks: module.map(MARKS),
            measures: module.map(MEASURES),
        }
    }
}
