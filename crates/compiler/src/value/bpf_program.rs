//! BPF programs: `struct bpf_prog`, and `union bpf_attr` as bpf(2) takes it to load one.
//!
//! In the record: type and number of instructions, eight bytes each, then the name.

use super::memory::Memory;
use super::structure::name;
use super::{Capture, Kind, bytes};
use crate::Error;
use crate::emit::Emitter;
use crate::emit::load::status;
use crate::observed::{BpfProgram, Observed};
use crate::plan::Input;
use ebpf::{Cond, Size, Value};

/// A program in the record.
mod at {
    pub(super) const KIND: i16 = 0;
    pub(super) const INSTRUCTIONS: i16 = 8;
    pub(super) const NAME: i16 = 16;
    pub(super) const SIZE: i16 = NAME + super::NAME_SIZE as i16;
}

/// Members of `union bpf_attr` for `BPF_PROG_LOAD` (uapi, the same everywhere).
mod attributes {
    /// `prog_type` and `insn_cnt`, u32 each
    pub(super) const KIND: i32 = 0;
    /// `prog_name`
    pub(super) const NAME: i32 = 48;
}

/// `BPF_OBJ_NAME_LEN`
const NAME_SIZE: i32 = 16;

/// Attributes of bpf(2), in memory of the process or of the kernel. What is captured of them is what
/// they mean to the command that loads programs.
pub(crate) struct Attributes;

/// A program.
pub(crate) struct Program;

impl Kind for Attributes {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let Capture { input, loaded, to, fault } = *capture;
        let memory = Memory::of(e, input);
        let size = e.b.iconst(8);
        let from = e.b.add(loaded.value, attributes::KIND);
        let failed = e.read_memory(memory, to, size, from);
        e.fault_if(Cond::Ne, failed, 0, fault, status::ADDRESS);
        let both = e.b.load(Size::U64, to, 0);
        let kind = e.b.zext(both, Size::U32);
        let instructions = e.b.lshr(both, 32);
        e.b.store(Size::U64, to, at::KIND, kind);
        e.b.store(Size::U64, to, at::INSTRUCTIONS, instructions);
        for word in 0..NAME_SIZE / 8 {
            e.b.store(Size::U64, to, at::NAME + 8 * word as i16, 0);
        }
        let (named, done) = (e.b.create_block(), e.b.create_block());
        match &input.length {
            // Programs of old give fewer attributes: what is behind them is something else's.
            Some(length) => {
                let length = e.length_of(length)?;
                e.b.brif(Cond::Uge, length, attributes::NAME + NAME_SIZE, named, done);
            }
            None => e.b.jump(named, &[]),
        }
        e.b.switch_to(named);
        let name = e.b.add(to, i32::from(at::NAME));
        let from = e.b.add(loaded.value, attributes::NAME);
        let size = e.b.iconst(NAME_SIZE.into());
        e.read_memory(memory, name, size, from);
        e.b.jump(done, &[]);
        e.b.switch_to(done);
        Ok(e.b.iconst(at::SIZE.into()))
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        decode(bytes).map(Observed::BpfAttributes)
    }
}

impl Kind for Program {
    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let program = e.structure(capture.loaded, "bpf_prog", capture.fault)?;
        e.readable(program, capture.fault);
        e.store_members(program, "bpf_prog", &["type", "len"], capture.to, at::KIND)?;
        let name = e.read.address(&mut e.b, program, "bpf_prog", "aux.name")?;
        e.copy_kernel(capture.to, at::NAME, NAME_SIZE, name);
        Ok(e.b.iconst(at::SIZE.into()))
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        decode(bytes).map(Observed::BpfProgram)
    }
}

fn decode(bytes: &[u8]) -> Option<BpfProgram> {
    Some(BpfProgram {
        kind: bytes::u64(bytes, at::KIND as usize)? as u32,
        instructions: bytes::u64(bytes, at::INSTRUCTIONS as usize)? as u32,
        name: name(bytes.get(at::NAME as usize..at::SIZE as usize)?),
    })
}
