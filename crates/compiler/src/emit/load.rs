//! From an input of the plan to the value that it names.
//!
//! Along `resolve`, a pointer whose type the verifier knows is followed by a plain load (which reads 0
//! at a bad address), everything else by `bpf_probe_read_kernel`. A null or bad pointer on the way is
//! a fault with the number of the hop.

use super::{Context, Emitter};
use crate::Error;
use crate::helper;
use crate::observed::Fault;
use crate::plan::{Input, Length, Source};
use crate::read::Base;
use ebpf::{Block, Cond, Size, Slot, Value};
use kernel::btf::Hop;
use kernel::tracefs::Location;

/// A value read: a number, or a pointer to what the type says.
#[derive(Clone, Copy)]
pub(crate) struct Loaded {
    /// The number or address.
    pub(crate) value: Value,
    /// Whether it is a pointer to a structure whose type the verifier knows and which is not null.
    pub(crate) typed: bool,
}

impl Loaded {
    /// As the start of reads.
    pub(crate) fn base(self) -> Base {
        if self.typed { Base::Typed(self.value) } else { Base::Address(self.value) }
    }
}

/// Faults as records have them (u16).
pub(crate) mod status {
    /// No fault.
    pub(crate) const OK: u16 = 0;
    /// [`super::Fault::Address`]
    pub(crate) const ADDRESS: u16 = 1;
    /// [`super::Fault::Resolve`], plus the number of the hop.
    pub(crate) const RESOLVE: u16 = 0x100;
}

/// The fault that a status stands for; `None` for [`status::OK`].
pub(crate) fn fault(code: u16) -> Option<Fault> {
    match code {
        status::OK => None,
        code if code >= status::RESOLVE => Some(Fault::Resolve((code - status::RESOLVE).into())),
        _ => Some(Fault::Address),
    }
}

/// The access that reads a number of so many bytes.
pub(super) fn access(bytes: u32) -> Size {
    match bytes {
        1 => Size::U8,
        2 => Size::U16,
        4 => Size::U32,
        _ => Size::U64,
    }
}

/// What reads a number in memory of which nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Memory of the kernel.
    Kernel,
    /// Memory of the process.
    User,
}

impl Emitter<'_> {
    /// A block for faults whose code is not wanted: goes on at `to`.
    pub(crate) fn fault_to(&mut self, to: Block) -> Block {
        let block = self.b.create_block();
        self.b.append_param(block);
        let here = self.b.current();
        self.b.switch_to(block);
        self.b.jump(to, &[]);
        self.b.switch_to(here);
        block
    }

    /// Goes to `fault`, which takes a [`status`], when the comparison holds.
    pub(crate) fn fault_if(
        &mut self,
        cond: Cond,
        left: Value,
        right: i32,
        fault: Block,
        code: u16,
    ) {
        let on = self.b.create_block();
        let code = self.b.iconst(code.into());
        self.b.branch(cond, left, right, fault, &[code], on, &[]);
        self.b.switch_to(on);
    }

    /// Reads an input. Goes to `fault`, which takes a [`status`], where a pointer on the way is bad.
    pub(crate) fn load(&mut self, input: &Input, fault: Block) -> Result<Loaded, Error> {
        let start = self.source(&input.source, Some(fault))?;
        let reading = match (self.context, &input.source) {
            (Context::Program { .. }, Source::CurrentTask) => Reading::Kernel,
            (Context::Program { .. }, _) => Reading::User,
            _ => Reading::Kernel,
        };
        self.follow(start, &input.hops, reading, fault)
    }

    /// The value of a source. Goes to `fault`, which takes a [`status`], where it is in memory that
    /// cannot be read; without `fault` it is 0 then.
    pub(crate) fn source(
        &mut self,
        source: &Source,
        fault: Option<Block>,
    ) -> Result<Loaded, Error> {
        Ok(match source {
            Source::Argument { index, pointee, hidden } => {
                let value = match (self.context, hidden) {
                    (Context::Words { context, .. }, true) => {
                        self.read.probe(&mut self.b, context, 8 * index, Size::U64)
                    }
                    _ => self.argument(*index)?,
                };
                Loaded { value, typed: pointee.is_some() && self.has_types() }
            }
            Source::Returned { .. } => Loaded { value: self.returned()?, typed: false },
            Source::CurrentTask => Loaded { value: self.current(), typed: true },
            Source::Register { offset, size } => {
                let size = access(*size);
                let value = match self.context {
                    Context::Function { context } | Context::Program { context } => {
                        self.b.load(size, context, *offset as i16)
                    }
                    Context::Syscall { registers, .. } => {
                        let (Base::Typed(at) | Base::Address(at)) = registers;
                        self.read.probe(&mut self.b, at, *offset, size)
                    }
                    Context::Words { .. } | Context::Record { .. } => self.b.iconst(0),
                };
                Loaded { value, typed: false }
            }
            Source::Operand(operand) => {
                Loaded { value: self.operand(operand, fault), typed: false }
            }
            Source::Field { offset, size, signed, location, array, .. } => Loaded {
                value: self.field(*offset, *size, *signed, *location, *array),
                typed: false,
            },
        })
    }

    /// The length that a source names, zero-extended.
    pub(crate) fn length_of(&mut self, length: &Length) -> Result<Value, Error> {
        let value = self.source(&length.source, None)?.value;
        Ok(self.b.zext(value, access(length.size)))
    }

    /// Whether the verifier knows the types of this hook's arguments.
    fn has_types(&self) -> bool {
        matches!(self.context, Context::Words { .. })
    }

    /// A field of a tracepoint's record: a number, or the address of an array.
    fn field(
        &mut self,
        offset: u32,
        size: u32,
        signed: bool,
        location: Location,
        array: bool,
    ) -> Value {
        let Context::Record { context } = self.context else { return self.b.iconst(0) };
        let offset = offset as i16;
        match location {
            Location::Direct if array => self.b.add(context, i32::from(offset)),
            Location::Direct => {
                let size = access(size);
                let value = self.b.load(size, context, offset);
                if signed && size != Size::U64 { self.b.sext(value, size) } else { value }
            }
            // Length in the upper half, offset in the lower.
            Location::Data | Location::Relative => {
                let word = self.b.load(Size::U32, context, offset);
                let start = self.b.and(word, 0xffff);
                let start = match location {
                    Location::Relative => self.b.add(start, i32::from(offset) + 4),
                    _ => start,
                };
                self.b.add(context, start)
            }
        }
    }

    /// How many bytes a field of a tracepoint's record has; 0 for what is no such field.
    pub(crate) fn field_size(&mut self, source: &Source) -> Value {
        match (self.context, source) {
            (
                Context::Record { context },
                Source::Field { offset, location: Location::Data | Location::Relative, .. },
            ) => {
                // Length in the upper half, offset in the lower.
                let word = self.b.load(Size::U32, context, *offset as i16);
                self.b.lshr(word, 16)
            }
            (_, Source::Field { size, .. }) => self.b.iconst((*size).into()),
            _ => self.b.iconst(0),
        }
    }

    /// Follows hops from a value.
    pub(crate) fn follow(
        &mut self,
        start: Loaded,
        hops: &[Hop],
        reading: Reading,
        fault: Block,
    ) -> Result<Loaded, Error> {
        let mut at = start;
        for (depth, hop) in hops.iter().enumerate() {
            let last = depth + 1 == hops.len();
            let code = status::RESOLVE + depth as u16;
            self.fault_if(Cond::Eq, at.value, 0, fault, code);
            let composite = last && hop.pointee.is_none() && hop.in_place;
            if composite {
                // A typed pointer into the middle of an object has no type of its own.
                at = Loaded { value: self.b.add(at.value, hop.offset as i32), typed: false };
                continue;
            }
            let size = access(hop.size);
            let plain = at.typed && i16::try_from(hop.offset).is_ok();
            let value = if plain {
                self.b.load(size, at.value, hop.offset as i16)
            } else {
                self.peek(reading, at.value, hop.offset, size, fault, code)
            };
            let value = match hop.bits {
                None => value,
                Some(bits) => {
                    let shifted = self.b.lshr(value, bits.offset as i32);
                    let mask = self.b.iconst(((1_u64 << bits.size) - 1) as i64);
                    self.b.and(shifted, mask)
                }
            };
            let marked = hop.tags.user || hop.tags.percpu || hop.tags.rcu;
            let structure = hop.pointee.is_some_and(|to| self.machine.btf.is_composite(to));
            // The verifier takes `d_inode` of dentries and `sk` of sockets never to be null, which they can
            // be (see `value::file`): what they point to is read by the helper.
            let doubtful =
                hop.pointee.is_some_and(|to| matches!(self.machine.btf.name(to), "inode" | "sock"));
            at = Loaded { value, typed: plain && structure && !marked && !doubtful && !last };
        }
        Ok(at)
    }

    /// The number at `address + offset` in the kernel; a fault where that cannot be read.
    pub(crate) fn probe(
        &mut self,
        address: Value,
        offset: u32,
        size: Size,
        fault: Block,
        code: u16,
    ) -> Value {
        self.peek(Reading::Kernel, address, offset, size, fault, code)
    }

    /// The number at `address + offset`; a fault where that cannot be read.
    pub(super) fn peek(
        &mut self,
        reading: Reading,
        address: Value,
        offset: u32,
        size: Size,
        fault: Block,
        code: u16,
    ) -> Value {
        let (slot, failed) = self.read_slot(reading, address, offset, size);
        self.fault_if(Cond::Ne, failed, 0, fault, code);
        self.b.slot_load(size, slot, 0)
    }

    /// The number at `address + offset`; 0 where that cannot be read.
    pub(super) fn peek_or_zero(
        &mut self,
        reading: Reading,
        address: Value,
        offset: u32,
        size: Size,
    ) -> Value {
        // Where they fail, the helpers fill with zeros.
        let (slot, _) = self.read_slot(reading, address, offset, size);
        self.b.slot_load(size, slot, 0)
    }

    fn read_slot(
        &mut self,
        reading: Reading,
        address: Value,
        offset: u32,
        size: Size,
    ) -> (Slot, Value) {
        let slot = self.b.temporary(8, 8);
        let from = if offset == 0 { address } else { self.b.add(address, offset as i32) };
        let to = self.b.slot_addr(slot, 0);
        let bytes = self.b.iconst(size.bytes() as i64);
        let helper = match reading {
            Reading::Kernel => helper::PROBE_READ_KERNEL,
            Reading::User if self.waits => helper::COPY_FROM_USER,
            Reading::User => helper::PROBE_READ_USER,
        };
        let failed = self.b.call(helper, &[to, bytes, from]);
        (slot, failed)
    }
}
