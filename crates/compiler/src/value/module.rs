//! Modules of the kernel: `struct module`, and `struct load_info` of one that is being loaded.
//!
//! In the record: what taints the kernel, and whether the signature is good (0, 1, or 2 where that is
//! not asked), eight bytes each, then the name.

use super::structure::name;
use super::{Capture, Kind, bytes};
use crate::Error;
use crate::emit::Emitter;
use crate::emit::load::status;
use crate::helper;
use crate::observed::{Module as Seen, Observed};
use crate::plan::Input;
use crate::read::Base;
use ebpf::{Cond, Size, Value};

const TAINTS: i16 = 0;
const SIGNATURE: i16 = 8;
const NAME: i16 = 16;
/// `MODULE_NAME_LEN`: 64 less an address, without NUL
const NAME_MAX: i32 = 55;
/// The signature was not asked for.
const UNASKED: i32 = 2;

/// A module.
pub(crate) struct Module;

/// A module that is being loaded.
pub(crate) struct Loading;

impl Kind for Module {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let module = e.structure(capture.loaded, "module", capture.fault)?;
        e.readable(module, capture.fault);
        let taints = e.read.get(&mut e.b, module, "module", "taints")?;
        e.b.store(Size::U64, capture.to, TAINTS, taints);
        e.b.store(Size::U64, capture.to, SIGNATURE, UNASKED);
        let name = e.read.address(&mut e.b, module, "module", "name")?;
        e.module_name(capture, name)
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        decode(bytes)
    }
}

impl Kind for Loading {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let info = e.structure(capture.loaded, "load_info", capture.fault)?;
        e.readable(info, capture.fault);
        // The module is there once its sections are laid out; before that it taints nothing.
        let module = e.read.get(&mut e.b, info, "load_info", "mod")?;
        let taints = e.read.get(&mut e.b, Base::Address(module), "module", "taints")?;
        e.b.store(Size::U64, capture.to, TAINTS, taints);
        // `bool sig_ok`, of which one byte is read.
        if e.read.has("load_info", "sig_ok") {
            let good = e.read.get(&mut e.b, info, "load_info", "sig_ok")?;
            e.b.store(Size::U64, capture.to, SIGNATURE, good);
        } else {
            e.b.store(Size::U64, capture.to, SIGNATURE, UNASKED);
        }
        let name = e.read.get(&mut e.b, info, "load_info", "name")?;
        e.module_name(capture, name)
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        decode(bytes)
    }
}

impl Emitter<'_> {
    /// Copies the name; gives the length of the whole.
    fn module_name(&mut self, capture: &Capture<'_>, from: Value) -> Result<Value, Error> {
        let to = self.b.add(capture.to, i32::from(NAME));
        let room = self.b.iconst(i64::from(NAME_MAX) + 1);
        let copied = self.b.call(helper::PROBE_READ_KERNEL_STR, &[to, room, from]);
        self.fault_if(Cond::Sle, copied, 0, capture.fault, status::ADDRESS);
        self.fault_if(Cond::Sgt, copied, NAME_MAX + 1, capture.fault, status::ADDRESS);
        Ok(self.b.add(copied, i32::from(NAME) - 1))
    }
}

fn decode(bytes: &[u8]) -> Option<Observed> {
    Some(Observed::Module(Seen {
        taints: bytes::u64(bytes, TAINTS as usize)?,
        signature_ok: match bytes::u64(bytes, SIGNATURE as usize)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        name: name(bytes.get(NAME as usize..)?),
    }))
}
