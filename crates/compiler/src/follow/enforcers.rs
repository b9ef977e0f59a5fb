//! What enforcers are told, for each policy that has one: notifications kept with threads, and counts of
//! those that took no effect.
//!
//! A policy that takes the place of another of its key finds what was told before.

use super::maps::{Shape, Wanted};
use crate::Error;
use crate::emit::map::{missed, notice};
use kernel::map::Map;
use kernel::syscalls::Abi;

/// Name of the task storage of a policy's notifications ([`notice`]); `own`: its [`digest`](super::digest).
pub(crate) fn notices(own: &str) -> String {
    format!("tg_told_{own}")
}

/// Name of the map of a policy's counts ([`missed`]).
pub(crate) fn missed(own: &str) -> String {
    format!("tg_miss_{own}")
}

/// The maps of these names.
pub(super) fn maps((notices, missed): &(String, String)) -> [Wanted; 2] {
    [
        Wanted::new(notices, Shape::Tasks, notice::SIZE as u32),
        Wanted::new(missed, Shape::One, missed::SIZE),
    ]
}

/// Notifications that took no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The system call in which they were made: `sys_dup`, of 32-bit callers `i386/sys_dup`; `unknown`.
    pub call: String,
    /// Why they took none: `overwritten` or `no_action`.
    pub reason: &'static str,
    /// How many.
    pub count: u64,
}

/// Reads a policy's counts.
pub(super) fn read(map: &Map) -> Result<Vec<Missed>, Error> {
    let value = map.lookup(&0_u32.to_ne_bytes())?.unwrap_or_default();
    let counts =
        value.chunks_exact(8).filter_map(|bytes| Some(u64::from_ne_bytes(*bytes.first_chunk()?)));
    let mut all = Vec::new();
    for (index, count) in (0_u32..).zip(counts).filter(|(_, count)| *count > 0) {
        let (reason, call) = (index / missed::CALLS as u32, index % missed::CALLS as u32);
        let reason = if reason == missed::OVERWRITTEN as u32 { "overwritten" } else { "no_action" };
        all.push(Missed { call: name(call), reason, count });
    }
    Ok(all)
}

/// The name of a system call as [`missed`] numbers it.
fn name(call: u32) -> String {
    let number = call % (1 << missed::COMPAT_SHIFT);
    let Some(native) = Abi::native() else { return "unknown".to_owned() };
    let (abi, prefix) = match call >> missed::COMPAT_SHIFT {
        0 => (native, String::new()),
        _ => (native.compat(), format!("{}/", native.compat())),
    };
    abi.name(number).map_or("unknown".to_owned(), |name| format!("{prefix}sys_{name}"))
}
