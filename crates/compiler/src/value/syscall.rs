//! System calls by number, with the ABI of the caller.

use super::{Capture, Kind, bytes};
use crate::Error;
use crate::emit::Emitter;
use crate::observed::Observed;
use crate::plan::Input;
use ebpf::{Size, Value};

/// Set in numbers of 32-bit callers, as in lists of system calls.
pub(crate) const COMPAT: u32 = 1 << 31;

/// A system call.
pub(crate) struct Syscall;

impl Kind for Syscall {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let number = e.syscall_number(capture.loaded.value)?;
        e.b.store(Size::U64, capture.to, 0, number);
        Ok(e.b.iconst(8))
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        let number = u32::try_from(bytes::u64(bytes, 0)?).ok()?;
        Some(Observed::Syscall { number: number & !COMPAT, compat: number & COMPAT != 0 })
    }
}

impl Emitter<'_> {
    /// A system call's number, with [`COMPAT`] where the caller is a 32-bit one.
    pub(crate) fn syscall_number(&mut self, number: Value) -> Result<Value, Error> {
        let compat = crate::emit::program::compat(&mut self.b, &self.read)?;
        let compat = self.b.shl(compat, 31);
        let number = self.b.and(number, i32::MAX);
        Ok(self.b.or(number, compat))
    }
}
