//! Structures of the kernel that a value points to.

use crate::Error;
use crate::emit::load::status;
use crate::emit::{Emitter, Loaded};
use crate::read::Base;
use ebpf::{Block, Cond, Size, Value};

impl Emitter<'_> {
    /// The structure that a value points to. Goes to `fault`, which takes a status, where it is null.
    pub(crate) fn structure(
        &mut self,
        loaded: Loaded,
        structure: &str,
        fault: Block,
    ) -> Result<Base, Error> {
        // The verifier wants it asked of arguments that can be null; what it knows better it drops.
        self.fault_if(Cond::Eq, loaded.value, 0, fault, status::ADDRESS);
        match loaded.base() {
            Base::Address(address) => self.typed(address, structure),
            typed => Ok(typed),
        }
    }

    /// Eight bytes at `offset` of a structure; 0 where they cannot be read.
    pub(crate) fn word(&mut self, base: Base, offset: i32) -> Value {
        match base {
            Base::Typed(pointer) => self.b.load(Size::U64, pointer, offset as i16),
            Base::Address(address) => {
                self.read.probe(&mut self.b, address, offset as u32, Size::U64)
            }
        }
    }
}
