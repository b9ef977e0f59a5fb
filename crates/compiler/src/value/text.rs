//! Texts that end with NUL, in memory of the process or of the kernel.

use super::{Capture, Kind};
use crate::Error;
use crate::emit::load::status;
use crate::emit::scratch::TEXT_MAX;
use crate::emit::{Context, Emitter};
use crate::helper;
use crate::observed::Observed;
use crate::plan::{Input, Source};
use ebpf::{Cond, Value};

/// A text wherever it is.
pub(crate) struct String;

impl Kind for String {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let from = capture.loaded.value;
        let room = e.b.iconst(i64::from(TEXT_MAX) + 1);
        let copied = if in_user_memory(e, capture.input) {
            e.b.call(helper::PROBE_READ_USER_STR, &[capture.to, room, from])
        } else {
            // Which of the two a function's `char *` is, its type does not say.
            let kernel = e.b.call(helper::PROBE_READ_KERNEL_STR, &[capture.to, room, from]);
            crate::flow::choose(
                &mut e.b,
                Cond::Slt,
                kernel,
                0,
                |b| {
                    let room = b.iconst(i64::from(TEXT_MAX) + 1);
                    b.call(helper::PROBE_READ_USER_STR, &[capture.to, room, from])
                },
                |_| kernel,
            )
        };
        e.fault_if(Cond::Sle, copied, 0, capture.fault, status::ADDRESS);
        e.fault_if(Cond::Sgt, copied, TEXT_MAX + 1, capture.fault, status::ADDRESS);
        Ok(e.b.sub(copied, 1))
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        Some(Observed::Text(bytes.to_vec()))
    }
}

/// Whether pointers of this input are the process's: arguments of system calls.
pub(crate) fn in_user_memory(e: &Emitter<'_>, input: &Input) -> bool {
    input.hops.is_empty()
        && matches!(input.source, Source::Argument { .. })
        && matches!(e.context, Context::Syscall { .. })
}
