//! Names of system calls, and of their parameters as this machine's kernel has them.
//!
//! The parameters come from `events/syscalls` of the tracing file system, which only root can
//! read: without it, calls are shown by name alone.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use kernel::syscalls::Abi;
use kernel::tracefs::Tracefs;

/// A parameter of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameter {
    /// Its type as in C.
    pub(super) kind: String,
    pub(super) name: String,
}

/// The ABI that needs no mention: that of this machine.
pub(super) fn native_abi() -> &'static str {
    match Abi::native() {
        Some(Abi::Arm64) => "arm64",
        _ => "x64",
    }
}

/// Name of a call.
pub(super) fn name(abi: &str, id: i64) -> Option<String> {
    let abi: Abi = abi.parse().ok()?;
    // Numbers of 32-bit calls may carry bit 31, by which policies tell them from 64-bit ones.
    let mask = if abi.is_32bit() { 0x7fff_ffff } else { i64::MAX };
    abi.name(u32::try_from(id & mask).ok()?).map(str::to_owned)
}

/// Parameters of a call of the native ABI.
pub(super) fn parameters(name: &str) -> Option<Arc<[Parameter]>> {
    type Known = HashMap<String, Option<Arc<[Parameter]>>>;
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(name.to_owned()).or_insert_with(|| read_parameters(name)).clone()
}

fn read_parameters(name: &str) -> Option<Arc<[Parameter]>> {
    let tracefs = Tracefs::find().ok()?;
    // The kernel names the event after its function, which for a few calls is another name.
    let native = Abi::native()?;
    let functions = native.functions(name);
    let short = functions.iter().filter_map(|function| function.split_once("sys_"));
    let names = std::iter::once(name).chain(short.map(|(_, short)| short));
    let format =
        names.filter_map(|n| tracefs.event("syscalls", &format!("sys_enter_{n}")).ok()).next()?;
    // The record's first own field is the call's number.
    let parameters = format.own_fields().skip(1);
    Some(parameters.map(|f| Parameter { kind: f.ty.clone(), name: f.name.clone() }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_abi() {
        assert_eq!(name("x64", 1).as_deref(), Some("write"));
        assert_eq!(name("i386", 4).as_deref(), Some("write"));
        assert_eq!(name("i386", 0x8000_0004).as_deref(), Some("write"));
        assert_eq!(name("arm64", 64).as_deref(), Some("write"));
        assert_eq!(name("x64", 99_999), None);
        assert_eq!(name("x64", -1), None);
        assert_eq!(name("mips", 1), None);
    }
}
