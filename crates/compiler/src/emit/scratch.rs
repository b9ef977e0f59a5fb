//! Memory for records and texts: a few areas per CPU that all programs of policies share.
//!
//! A program that runs from a trampoline can be preempted, and an interrupt can run another one on top
//! of it, so an area belongs to whoever holds its bit in the CPU's `BUSY` word. Programs do not
//! migrate while they run (`migrate_disable()` in `__bpf_prog_enter`, `bpf_trace_run`,
//! `trace_call_bpf`), so the word stays the same one. The kernel bounds how deep this nests: a program
//! is not run again on a CPU while it runs there, and the areas serve task, softirq, hardirq and one
//! more. When none is free the match is counted as lost.

use super::{Emitter, map};
use crate::Error;
use crate::flow::return_if;
use crate::{helper, walk};
use ebpf::{AtomicOp, Cond, FuncId, Function, FunctionBuilder, Module, Size, Value};

/// Areas per CPU.
pub(crate) const AREAS: u32 = 4;
/// Longest text or path, without NUL.
pub(crate) const TEXT_MAX: i32 = 4096;
/// Bounds where in a text something starts.
pub(crate) const PLACE_MASK: i32 = TEXT_MAX - 1;
/// Bounds where in the record an item starts: multiples of 8.
pub(crate) const ITEM_MASK: i32 = 0x3ff8;
/// Where the record is.
pub(crate) const RECORD: i32 = 0;
/// Its size: any start of an item, its header, the longest text with its NUL, rounded up to 8.
pub(crate) const RECORD_SIZE: i32 = ITEM_MASK + 8 + 8 + TEXT_MAX + 8;
/// Where paths are built; see [`walk`](crate::walk).
pub(crate) const PATH: i32 = RECORD + RECORD_SIZE;
/// State of walks.
pub(crate) const WALK: i32 = PATH + walk::BUFFER_SIZE;
/// Both.
pub(crate) const PATHS: walk::Memory = walk::Memory { buffer: PATH, state: WALK };
/// State of the copying of [`segments`](crate::value).
pub(crate) const SEGMENTS: i32 = WALK + walk::STATE_SIZE;
/// Its size.
pub(crate) const SEGMENTS_SIZE: i32 = 64;
/// The state of an [`automaton`](crate::test) (u64).
pub(crate) const STATE: i32 = SEGMENTS + SEGMENTS_SIZE;
/// Size of an area.
pub(crate) const SIZE: i32 = STATE + 8;

// A value of a per-CPU map can have 32 KiB at most (PCPU_MIN_UNIT_SIZE).
const _: () = assert!(SIZE <= 32768 && PATH % 8 == 0 && WALK % 8 == 0);
/// Places behind one that is masked that are looked at with it.
pub(crate) const PLACES: i32 = 8;

// Behind any place in any text there is room for the longest value.
const _: () = assert!(RECORD + ITEM_MASK + 16 + PLACE_MASK + PLACES + TEXT_MAX + 8 <= SIZE);

/// The function that takes an area: gives its number, or [`AREAS`] when all are taken.
pub(crate) fn acquire(maps: &map::Maps) -> Result<Function, Error> {
    let mut b = FunctionBuilder::new("tg_acquire", 0);
    let cpu = element(&mut b, maps.cpu, 0, AREAS as i32);
    for area in 0..AREAS {
        let bit = 1 << area;
        let before = b.atomic_fetch(AtomicOp::Or, Size::U64, cpu, map::cpu::BUSY, bit);
        let free = b.and(before, bit);
        return_if(&mut b, Cond::Eq, free, 0, area as i32);
    }
    b.ret(AREAS as i32);
    Ok(b.finish()?)
}

/// The element of a map at a known index; returns `otherwise` from the function when there is none,
/// which cannot be but which the verifier wants asked.
pub(crate) fn element(
    b: &mut FunctionBuilder,
    map: ebpf::MapRef,
    index: u32,
    otherwise: i32,
) -> Value {
    let key = b.temporary(4, 4);
    b.slot_store(Size::U32, key, 0, index as i32);
    let map = b.map(map);
    let key = b.slot_addr(key, 0);
    let value = b.call(helper::MAP_LOOKUP_ELEM, &[map, key]);
    return_if(b, Cond::Eq, value, 0, otherwise);
    value
}

impl Emitter<'_> {
    /// The scratch area, taken on first use and kept until the section is left. When there is none,
    /// that is counted and the section left.
    pub(crate) fn scratch(&mut self) -> Value {
        if let Some(area) = self.held {
            return area;
        }
        let held = self.b.get(self.scratch);
        let (take, have) = (self.b.create_block(), self.b.create_block());
        let area = self.b.append_param(have);
        self.b.branch(Cond::Ne, held, 0, have, &[held], take, &[]);
        self.b.switch_to(take);
        let number = self.b.call_func(self.functions.acquire, &[]);
        let (none, some) = (self.b.create_block(), self.b.create_block());
        self.b.brif(Cond::Uge, number, AREAS as i32, none, some);
        self.b.switch_to(none);
        self.count(map::counter::NO_SCRATCH);
        let leave = self.leave;
        self.b.jump(leave, &[]);
        self.b.switch_to(some);
        let key = self.b.temporary(4, 4);
        self.b.slot_store(Size::U32, key, 0, number);
        let map = self.b.map(self.maps.scratch);
        let key = self.b.slot_addr(key, 0);
        let value = self.b.call(helper::MAP_LOOKUP_ELEM, &[map, key]);
        let there = self.b.create_block();
        self.b.brif(Cond::Ne, value, 0, there, leave);
        self.b.switch_to(there);
        let bit = self.b.iconst(1);
        let bit = self.b.shl(bit, number);
        self.b.def(self.scratch, value);
        self.b.def(self.scratch_bit, bit);
        self.b.jump(have, &[value]);
        self.b.switch_to(have);
        area
    }

    /// Takes the scratch area for all of what `body` emits, so that it is not asked for each time.
    pub(crate) fn with_scratch(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let area = self.scratch();
        let before = self.held.replace(area);
        let result = body(self);
        self.held = before;
        result
    }

    /// The scratch area where something that is in it was read before: on every such way it is held.
    pub(crate) fn held_scratch(&mut self) -> Value {
        match self.held {
            Some(area) => area,
            None => self.b.get(self.scratch),
        }
    }

    /// Gives the area back, if one was taken.
    pub(super) fn release(&mut self) {
        let b = &mut self.b;
        let held = b.get(self.scratch);
        let bit = b.get(self.scratch_bit);
        let (give, done) = (b.create_block(), b.create_block());
        b.brif(Cond::Ne, held, 0, give, done);
        b.switch_to(give);
        let key = b.temporary(4, 4);
        b.slot_store(Size::U32, key, 0, 0);
        let map = b.map(self.maps.cpu);
        let key = b.slot_addr(key, 0);
        let cpu = b.call(helper::MAP_LOOKUP_ELEM, &[map, key]);
        let there = b.create_block();
        b.brif(Cond::Ne, cpu, 0, there, done);
        b.switch_to(there);
        let keep = b.xor(bit, -1);
        b.atomic(AtomicOp::And, Size::U64, cpu, map::cpu::BUSY, keep);
        b.jump(done, &[]);
        b.switch_to(done);
    }
}

/// Functions that sections call; the module declares each once.
#[derive(Clone, Copy)]
pub(crate) struct Functions {
    /// [`acquire`].
    pub(crate) acquire: FuncId,
    /// [`walk::step`].
    pub(crate) path_step: FuncId,
    /// [`climb`](crate::climb): goes up.
    pub(crate) climb: FuncId,
    /// The same, until it is at an end.
    pub(crate) climb_on: FuncId,
    /// [`rate_limit::digest`](crate::act::rate_limit::digest).
    pub(crate) digest: FuncId,
    /// Its step.
    pub(crate) digest_step: FuncId,
}

impl Functions {
    /// Declares them.
    pub(super) fn declare(module: &mut Module) -> Self {
        let acquire = module.declare("tg_acquire", 0);
        let path_step = module.declare("tg_path_step", 2);
        let (climb, climb_on) = crate::climb::declare(module);
        let digest = module.declare("tg_digest", 2);
        let digest_step = module.declare("tg_digest_step", 2);
        Self { acquire, path_step, climb, climb_on, digest, digest_step }
    }
}
