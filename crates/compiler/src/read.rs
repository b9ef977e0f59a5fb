//! Kernel memory as programs read it: by the path of members that the running kernel's BTF has.
//!
//! A read of a member of a pointer whose type the verifier knows is one load. Everything behind a
//! pointer that was itself read goes through `bpf_probe_read_kernel`, which zero-fills on a fault:
//! a null pointer anywhere on the way gives 0 and needs no branch, and the pointer flags that differ
//! between kernels (`__rcu` fields are maybe-null from 6.2 on) do not matter.

use crate::helper;
use ebpf::{FunctionBuilder, Size, Slot, Value};
use kernel::btf::{Btf, BtfError, Hop};

/// A pointer to a kernel structure.
#[derive(Clone, Copy)]
pub(crate) enum Base {
    /// The verifier knows its type and that it is not null.
    Typed(Value),
    /// A number that is an address.
    Address(Value),
}

impl Base {
    /// The pointer.
    pub(crate) fn value(self) -> Value {
        match self {
            Self::Typed(value) | Self::Address(value) => value,
        }
    }
}

/// Emits reads into one function.
pub(crate) struct Reader<'k> {
    btf: &'k Btf,
    slot: Slot,
}

impl<'k> Reader<'k> {
    /// Takes eight bytes of the function's stack.
    pub(crate) fn new(b: &mut FunctionBuilder, btf: &'k Btf) -> Self {
        Self { btf, slot: b.slot(8, 8) }
    }

    /// Whether this kernel's `structure` has the path.
    pub(crate) fn has(&self, structure: &str, path: &str) -> bool {
        self.hops(structure, path).is_ok()
    }

    /// Size of a structure in bytes.
    pub(crate) fn size(&self, structure: &str) -> Result<i32, BtfError> {
        Ok(self.btf.size_of(self.btf.find_struct(structure)?)? as i32)
    }

    /// Byte offset of a member within `structure` itself.
    pub(crate) fn offset(&self, structure: &str, path: &str) -> Result<i32, BtfError> {
        let id = self.btf.find_struct(structure)?;
        Ok(self.btf.field(id, path)?.offset as i32)
    }

    fn hops(&self, structure: &str, path: &str) -> Result<Vec<Hop>, BtfError> {
        self.btf.path(self.btf.find_struct(structure)?, path)
    }

    /// The scalar or pointer at the end of `path`, zero-extended; 0 where a pointer on the way is null.
    pub(crate) fn get(
        &self,
        b: &mut FunctionBuilder,
        base: Base,
        structure: &str,
        path: &str,
    ) -> Result<Value, BtfError> {
        let hops = self.hops(structure, path)?;
        let (base, last) = self.follow(b, base, &hops);
        let size = size_of_scalar(last.size);
        let raw = match base {
            Base::Typed(value) if last.pointee.is_none() && i16::try_from(last.offset).is_ok() => {
                b.load(size, value, last.offset as i16)
            }
            _ => self.probe(b, base.value(), last.offset, size),
        };
        Ok(match last.bits {
            None => raw,
            Some(bits) => {
                let shifted = b.lshr(raw, bits.offset as i32);
                b.and(shifted, ((1u64 << bits.size) - 1) as i32)
            }
        })
    }

    /// The address of what stands at the end of `path` (an array, an embedded structure).
    pub(crate) fn address(
        &self,
        b: &mut FunctionBuilder,
        base: Base,
        structure: &str,
        path: &str,
    ) -> Result<Value, BtfError> {
        let hops = self.hops(structure, path)?;
        let (base, last) = self.follow(b, base, &hops);
        Ok(b.add(base.value(), last.offset as i32))
    }

    /// Copies `size` bytes from the end of `path` to `to`; zeros where they cannot be read.
    pub(crate) fn copy(
        &self,
        b: &mut FunctionBuilder,
        to: Value,
        size: i64,
        base: Base,
        structure: &str,
        path: &str,
    ) -> Result<(), BtfError> {
        let from = self.address(b, base, structure, path)?;
        let size = b.iconst(size);
        b.call(helper::PROBE_READ_KERNEL, &[to, size, from]);
        Ok(())
    }

    /// The number at `address + offset`, or 0.
    pub(crate) fn probe(
        &self,
        b: &mut FunctionBuilder,
        address: Value,
        offset: u32,
        size: Size,
    ) -> Value {
        let from = if offset == 0 { address } else { b.add(address, offset as i32) };
        let to = b.slot_addr(self.slot, 0);
        let bytes = b.iconst(size.bytes() as i64);
        b.call(helper::PROBE_READ_KERNEL, &[to, bytes, from]);
        b.slot_load(size, self.slot, 0)
    }

    /// Follows every pointer of the path; what is left is the last hop.
    fn follow<'h>(
        &self,
        b: &mut FunctionBuilder,
        mut base: Base,
        hops: &'h [Hop],
    ) -> (Base, &'h Hop) {
        let (last, pointers) = match hops.split_last() {
            Some(split) => split,
            None => unreachable!("a path has at least one hop"),
        };
        for hop in pointers {
            base = Base::Address(self.probe(b, base.value(), hop.offset, Size::U64));
        }
        (base, last)
    }
}

fn size_of_scalar(bytes: u32) -> Size {
    match bytes {
        1 => Size::U8,
        2 => Size::U16,
        3 | 4 => Size::U32,
        _ => Size::U64,
    }
}
