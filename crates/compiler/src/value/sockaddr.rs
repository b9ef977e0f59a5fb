//! Socket addresses: `struct sockaddr`, in memory of the process or of the kernel.
//!
//! The family says how much there is to read; nothing behind that is touched.

use super::memory::Memory;
use super::network::{self, Object, Side};
use super::{Capture, Kind, bytes};
use crate::Error;
use crate::emit::load::status;
use crate::emit::{Emitter, Loaded};
use crate::observed::{Observed, SocketAddress};
use crate::plan::Input;
use ebpf::{Block, Cond, Size, Value};

/// Offsets in `struct sockaddr_in` and `struct sockaddr_in6` (uapi, the same everywhere).
mod field {
    pub(super) const FAMILY: i32 = 0;
    pub(super) const PORT: i32 = 2;
    pub(super) const IPV4: i32 = 4;
    pub(super) const IPV6: i32 = 8;
}

/// A socket address in the record.
mod at {
    /// u64
    pub(super) const FAMILY: i16 = 0;
    /// [`super::network::at`]
    pub(super) const END: i16 = 8;
    pub(super) const SIZE: i16 = END + super::network::at::SIZE;
}

/// A socket address in memory.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    pub(super) family: Value,
    pub(super) start: Value,
    pub(super) memory: Memory,
}

/// An internet socket address.
pub(crate) struct Internet;

impl Kind for Internet {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let Capture { input, loaded, to, fault } = *capture;
        let address = e.socket_address(input, loaded, fault);
        e.b.store(Size::U64, to, at::FAMILY, address.family);
        let end = e.b.add(to, i32::from(at::END));
        e.store_ends(Object::Address(address), &[Side::Source], end, fault)?;
        Ok(e.b.iconst(at::SIZE.into()))
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        let family = u16::try_from(bytes::u64(bytes, at::FAMILY as usize)?).ok()?;
        let end = network::end(bytes, at::END, Side::Source, family)?;
        Some(Observed::Address(SocketAddress { family, end }))
    }
}

impl Emitter<'_> {
    /// Reads the family. Goes to `fault`, which takes a status, where that cannot be read.
    pub(super) fn socket_address(
        &mut self,
        input: &Input,
        loaded: Loaded,
        fault: Block,
    ) -> Address {
        let memory = Memory::of(self, input);
        let start = loaded.value;
        let family = self.number(memory, start, field::FAMILY, Size::U16, fault);
        Address { family, start, memory }
    }

    /// As in memory.
    pub(super) fn sockaddr_ipv4(&mut self, address: Address, fault: Block) -> Value {
        self.number(address.memory, address.start, field::IPV4, Size::U32, fault)
    }

    /// As in memory.
    pub(super) fn sockaddr_ipv6(&mut self, address: Address, fault: Block) -> [Value; 2] {
        [field::IPV6, field::IPV6 + 8]
            .map(|at| self.number(address.memory, address.start, at, Size::U64, fault))
    }

    /// In host order.
    pub(super) fn sockaddr_port(&mut self, address: Address, fault: Block) -> Value {
        let port = self.number(address.memory, address.start, field::PORT, Size::U16, fault);
        self.b.to_be(port, Size::U16)
    }

    /// A number in memory. Goes to `fault`, which takes a status, where it cannot be read.
    fn number(
        &mut self,
        memory: Memory,
        start: Value,
        offset: i32,
        size: Size,
        fault: Block,
    ) -> Value {
        let slot = self.b.temporary(8, 8);
        let to = self.b.slot_addr(slot, 0);
        let from = self.b.add(start, offset);
        let bytes = self.b.iconst(size.bytes() as i64);
        let failed = self.read_memory(memory, to, bytes, from);
        self.fault_if(Cond::Ne, failed, 0, fault, status::ADDRESS);
        self.b.slot_load(size, slot, 0)
    }
}
