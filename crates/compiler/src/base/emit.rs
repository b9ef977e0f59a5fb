//! What every base program shares: the maps, the record header with its sequence number, and the way
//! to the ring, on which nothing is lost without being counted.

use super::record::{Flags, at, kind};
use super::{scratch, state};
use crate::flow::{return_if, when};
use crate::helper;
use crate::read::{Base, Reader};
use ebpf::{Cond, FunctionBuilder, MapRef, Module, Size, Value};
use kernel::btf::{Btf, BtfError};

/// Names of the maps, as the programs refer to them and as `bpftool map` shows them.
pub(super) mod map {
    /// Task storage: [`super::state`].
    pub(crate) const STATES: &str = "tg_process";
    /// Per-CPU array: [`super::scratch`].
    pub(crate) const SCRATCH: &str = "tg_scratch";
    /// Per-CPU array: [`super::cpu`].
    pub(crate) const CPU: &str = "tg_base_cpu";
    /// Ring of base records.
    pub(crate) const RING: &str = "tg_base_ring";
    /// Ring of what policies observe.
    pub(crate) const OBSERVATION: &str = "tg_observe_ring";
    /// Hash, tgid to state, of processes whose leader ended before its other threads.
    pub(crate) const LEADERLESS: &str = "tg_leaderless";
}

/// Byte offsets in the per-CPU counters.
pub(super) mod cpu {
    use super::kind;
    /// Sequence number of the last record, sent or lost (u64).
    pub(crate) const SEQ: i16 = 0;
    /// Records that the full ring did not take, by kind (u64 each).
    pub(crate) const LOST: i16 = 8;
    /// Processes for which no state could be allocated (u64).
    pub(crate) const NO_STATE: i16 = LOST + 8 * kind::COUNT as i16;
    /// States that could not be handed over from an ended leader (u64).
    pub(crate) const NO_HANDOVER: i16 = NO_STATE + 8;
    /// Size of the counters.
    pub(crate) const SIZE: i16 = NO_HANDOVER + 8;
}

/// References to the maps in one module.
#[derive(Clone, Copy)]
pub(super) struct Maps {
    pub(super) states: MapRef,
    pub(super) scratch: MapRef,
    pub(super) cpu: MapRef,
    pub(super) ring: MapRef,
    pub(super) leaderless: MapRef,
}

impl Maps {
    pub(super) fn declare(module: &mut Module) -> Self {
        Self {
            states: module.map(map::STATES),
            scratch: module.map(map::SCRATCH),
            cpu: module.map(map::CPU),
            ring: module.map(map::RING),
            leaderless: module.map(map::LEADERLESS),
        }
    }
}

/// One function under construction with what its parts need.
pub(super) struct Emitter<'k> {
    pub(super) b: FunctionBuilder,
    pub(super) read: Reader<'k>,
    pub(super) maps: Maps,
}

impl<'k> Emitter<'k> {
    pub(super) fn new(name: &str, params: usize, btf: &'k Btf, maps: Maps) -> Self {
        let mut b = FunctionBuilder::new(name, params);
        let read = Reader::new(&mut b, btf);
        Self { b, read, maps }
    }

    /// The only value of a per-CPU array. The lookup cannot fail, but the verifier wants it asked.
    pub(super) fn per_cpu(&mut self, map: MapRef) -> Value {
        let b = &mut self.b;
        let key = b.slot(4, 4);
        b.slot_store(Size::U32, key, 0, 0);
        let map = b.map(map);
        let key = b.slot_addr(key, 0);
        let value = b.call(helper::MAP_LOOKUP_ELEM, &[map, key]);
        return_if(b, Cond::Eq, value, 0, 0);
        value
    }

    /// Nanoseconds of CLOCK_MONOTONIC.
    pub(super) fn now(&mut self) -> Value {
        self.b.call(helper::KTIME_GET_NS, &[])
    }

    /// Starts a record at `to` and takes its sequence number.
    pub(super) fn header(&mut self, to: Value, kind: u32, cpu: Value, time: Value) {
        let b = &mut self.b;
        b.store(Size::U32, to, at::KIND, kind as i32);
        let id = b.call(helper::GET_SMP_PROCESSOR_ID, &[]);
        b.store(Size::U32, to, at::CPU, id);
        let seq = b.load(Size::U64, cpu, cpu::SEQ);
        let seq = b.add(seq, 1);
        b.store(Size::U64, cpu, cpu::SEQ, seq);
        b.store(Size::U64, to, at::SEQ, seq);
        b.store(Size::U64, to, at::TIME, time);
    }

    /// Sends `size` bytes to the ring; counts them as lost when it is full. Gives the helper's result.
    pub(super) fn send(&mut self, record: Value, size: Value, kind: u32, cpu: Value) -> Value {
        let b = &mut self.b;
        let ring = b.map(self.maps.ring);
        let flags = b.iconst(0);
        let result = b.call(helper::RINGBUF_OUTPUT, &[ring, record, size, flags]);
        when(b, Cond::Ne, result, 0, |b| count(b, cpu, cpu::LOST + 8 * kind as i16));
        result
    }

    /// State of the current process's leader, or one in scratch memory when none can be had, filled.
    pub(super) fn own_state(
        &mut self,
        leader: Value,
        scratch: Value,
        cpu: Value,
    ) -> Result<Value, BtfError> {
        let stored = state::own(&mut self.b, &self.read, &self.maps, leader)?;
        let b = &mut self.b;
        let missing = b.create_block();
        let join = b.create_block();
        let state = b.append_param(join);
        b.branch(Cond::Ne, stored, 0, join, &[stored], missing, &[]);
        b.switch_to(missing);
        count(b, cpu, cpu::NO_STATE);
        let spare = b.add(scratch, scratch::STATE);
        b.store(Size::U64, spare, state::at::EXITED, 0);
        state::synthesize(b, &self.read, Base::Typed(leader), spare, Flags::NO_STATE)?;
        b.jump(join, &[spare]);
        b.switch_to(join);
        Ok(state)
    }
}

/// Adds one to a per-CPU counter.
pub(super) fn count(b: &mut FunctionBuilder, cpu: Value, counter: i16) {
    let value = b.load(Size::U64, cpu, counter);
    let value = b.add(value, 1);
    b.store(Size::U64, cpu, counter, value);
}
