//! Texts that end with NUL: of the process or the kernel, and names that structures of the kernel have.

use super::memory::Memory;
use super::{Capture, Kind};
use crate::Error;
use crate::emit::Emitter;
use crate::emit::load::status;
use crate::emit::scratch::TEXT_MAX;
use crate::observed::Observed;
use crate::plan::Input;
use ebpf::{Block, Cond, Value};

/// A text wherever it is.
pub(crate) struct String;

/// The name in a `struct filename`.
pub(crate) struct Filename;

/// The name of a `struct net_device`.
pub(crate) struct NetDevice;

/// `IFNAMSIZ`, without NUL
const DEVICE_NAME_MAX: i32 = 15;

impl Kind for String {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let memory = Memory::of(e, capture.input);
        Ok(e.copy_text(memory, capture.to, capture.loaded.value, TEXT_MAX, capture.fault))
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        Some(Observed::Text(bytes.to_vec()))
    }
}

impl Kind for Filename {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let filename = e.structure(capture.loaded, "filename", capture.fault)?;
        let name = e.read.offset("filename", "name")?;
        let name = e.word(filename, name);
        Ok(e.copy_text(Memory::Kernel, capture.to, name, TEXT_MAX, capture.fault))
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        Some(Observed::Text(bytes.to_vec()))
    }
}

impl Kind for NetDevice {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let device = e.structure(capture.loaded, "net_device", capture.fault)?;
        let name = e.read.address(&mut e.b, device, "net_device", "name")?;
        Ok(e.copy_text(Memory::Kernel, capture.to, name, DEVICE_NAME_MAX, capture.fault))
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        Some(Observed::Text(bytes.to_vec()))
    }
}

impl Emitter<'_> {
    /// Copies a text of at most `most` bytes and its NUL; gives its length without NUL, known to the
    /// verifier. Goes to `fault`, which takes a status, where it cannot be read.
    pub(super) fn copy_text(
        &mut self,
        memory: Memory,
        to: Value,
        from: Value,
        most: i32,
        fault: Block,
    ) -> Value {
        let room = self.b.iconst(i64::from(most) + 1);
        let copied = self.read_text(memory, to, room, from);
        self.fault_if(Cond::Sle, copied, 0, fault, status::ADDRESS);
        self.fault_if(Cond::Sgt, copied, most + 1, fault, status::ADDRESS);
        self.b.sub(copied, 1)
    }
}
