//! Structures of the kernel that a value points to, and the members of them that are captured.

use crate::Error;
use crate::emit::load::status;
use crate::emit::{Emitter, Loaded};
use crate::helper;
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

    /// Goes to `fault`, which takes a status, where a structure's first byte cannot be read: a pointer
    /// that the kernel did not make.
    pub(crate) fn readable(&mut self, base: Base, fault: Block) {
        if let Base::Address(address) = base {
            self.probe(address, 0, Size::U8, fault, status::ADDRESS);
        }
    }

    /// Stores numbers of a structure, each extended by zeros to eight bytes, from `at` on.
    pub(crate) fn store_members(
        &mut self,
        base: Base,
        structure: &str,
        members: &[&str],
        to: Value,
        at: i16,
    ) -> Result<(), Error> {
        for (index, member) in members.iter().enumerate() {
            let value = self.read.get(&mut self.b, base, structure, member)?;
            self.b.store(Size::U64, to, at + 8 * index as i16, value);
        }
        Ok(())
    }

    /// Copies `size` bytes of kernel memory; zeros where they cannot be read.
    pub(crate) fn copy_kernel(&mut self, to: Value, at: i16, size: i32, from: Value) {
        let to = self.b.add(to, i32::from(at));
        let size = self.b.iconst(size.into());
        self.b.call(helper::PROBE_READ_KERNEL, &[to, size, from]);
    }
}

/// A name in an array of characters: what stands before its first NUL.
pub(super) fn name(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}
