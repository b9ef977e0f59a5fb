//! Capabilities: sets of them (`kernel_cap_t`), and single ones by number.

use super::{Capture, Kind, bytes};
use crate::Error;
use crate::emit::load::status;
use crate::emit::{Emitter, Loaded};
use crate::observed::Observed;
use crate::plan::Input;
use ebpf::{Block, Size, Value};

/// A set; capability n is bit n.
pub(crate) struct Set;

impl Kind for Set {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let set = e.capability_set(capture.loaded, capture.fault);
        e.b.store(Size::U64, capture.to, 0, set);
        Ok(e.b.iconst(8))
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        bytes::u64(bytes, 0).map(Observed::Size)
    }
}

impl Emitter<'_> {
    /// The set that a value points to. Goes to `fault`, which takes a status, where there is none.
    pub(crate) fn capability_set(&mut self, loaded: Loaded, fault: Block) -> Value {
        // Two u32 before 6.3 and one u64 since: eight bytes in the same order.
        self.probe(loaded.value, 0, Size::U64, fault, status::ADDRESS)
    }
}
