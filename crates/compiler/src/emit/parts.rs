//! Long buffers: what does not fit into the record of a match goes ahead of it in records of its own,
//! the parts, which user space puts together again.
//!
//! A part names the record that it belongs to by section, thread and time; the records of one thread are
//! in the ring in the order in which it wrote them. Parts are put together where paths are built, which
//! nobody does while a match is reported. A part that is lost is missing in the event, whose buffer then
//! ends there and says how long it was.

use super::load::status;
use super::record::{Position, at};
use super::scratch::{PATH, TEXT_MAX};
use super::{Emitter, map};
use crate::emit::map::Maps;
use crate::flow::choose;
use crate::plan::Input;
use crate::value::memory::{self, Memory};
use crate::{Error, helper, walk};
use ebpf::{Cond, Function, FunctionBuilder, Size, Value};

/// Kind of record, the first word: a part of a long buffer. Its header is that of a match, with the
/// buffer's position in place of the selector and the part's place in the buffer in that of the call.
pub(crate) const KIND: u32 = 65;
/// The position (u32).
pub(crate) const POSITION: i16 = at::SELECTOR;
/// Where in the buffer the part begins (u64).
pub(crate) const PLACE: i16 = at::CALL;

/// Bytes of a part.
const PART_MAX: i32 = 4096;
/// Longest buffer that is captured whole.
pub(crate) const BUFFER_MAX: i32 = 327_360;

const _: () = assert!(at::SIZE as i32 + PART_MAX <= walk::BUFFER_SIZE);
const _: () = assert!(TEXT_MAX % PART_MAX == 0);

/// What the callback works on, eight bytes each.
mod work {
    /// The scratch area.
    pub(super) const AREA: i16 = 0;
    /// Address of what is not in the match's record.
    pub(super) const FROM: i16 = 8;
    /// How many bytes that are.
    pub(super) const LENGTH: i16 = 16;
    /// Set when the ring did not take a part.
    pub(super) const LOST: i16 = 24;
    /// Size.
    pub(super) const SIZE: u32 = 32;
}

impl Emitter<'_> {
    /// Sends the parts of a buffer that is longer than what the record holds of it. `time`: the record's.
    pub(super) fn send_parts(
        &mut self,
        position: Position,
        input: &Input,
        section: u32,
        time: Value,
    ) -> Result<(), Error> {
        let Some(length) = input.length.as_ref().filter(|_| input.max_data) else { return Ok(()) };
        let done = self.b.create_block();
        let length = self.length_of(length)?;
        self.require(Cond::Ugt, length, TEXT_MAX, done);
        let most = |b: &mut FunctionBuilder| b.iconst(BUFFER_MAX.into());
        let length = choose(&mut self.b, Cond::Ugt, length, BUFFER_MAX, most, |_| length);
        let fault = self.fault_to(done);
        let from = self.load(input, fault)?.value;
        // What cannot be read is told by the record itself.
        self.fault_if(Cond::Eq, from, 0, fault, status::ADDRESS);
        let from = self.b.add(from, TEXT_MAX);
        let length = self.b.sub(length, TEXT_MAX);
        let area = self.scratch();
        let header = |field: i16| (PATH as i16) + field;
        let cpu = self.b.call(helper::GET_SMP_PROCESSOR_ID, &[]);
        let ids = self.b.call(helper::GET_CURRENT_PID_TGID, &[]);
        let b = &mut self.b;
        for word in 0..at::SIZE / 8 {
            b.store(Size::U64, area, header(8 * word), 0);
        }
        b.store(Size::U32, area, header(at::KIND), KIND as i32);
        b.store(Size::U32, area, header(at::CPU), cpu);
        b.store(Size::U64, area, header(at::TIME), time);
        b.store(Size::U32, area, header(at::SECTION), section as i32);
        b.store(Size::U32, area, header(at::TID), ids);
        b.store(Size::U32, area, header(POSITION), i32::from(position.code()));
        let memory = Memory::of(self, input);
        let step = step(memory, &self.maps)?;
        let step = self.function("tg_part", step);
        let b = &mut self.b;
        let state = b.temporary(work::SIZE, 8);
        b.slot_store(Size::U64, state, work::AREA, area);
        b.slot_store(Size::U64, state, work::FROM, from);
        b.slot_store(Size::U64, state, work::LENGTH, length);
        b.slot_store(Size::U64, state, work::LOST, 0);
        let parts = b.add(length, PART_MAX - 1);
        let parts = b.lshr(parts, PART_MAX.trailing_zeros() as i32);
        let step = b.func_addr(step);
        let state_at = b.slot_addr(state, 0);
        let flags = b.iconst(0);
        b.call(helper::LOOP, &[parts, step, state_at, flags]);
        let lost = b.slot_load(Size::U64, state, work::LOST);
        self.require(Cond::Ne, lost, 0, done);
        self.count(map::counter::LOST);
        self.b.jump(done, &[]);
        self.b.switch_to(done);
        Ok(())
    }
}

/// The callback: sends one part. Gives 1, to stop, where that cannot be.
fn step(memory: Memory, maps: &Maps) -> Result<Function, Error> {
    let mut b = FunctionBuilder::new("tg_part", 2);
    let (index, state) = (b.param(0), b.param(1));
    let area = b.load(Size::U64, state, work::AREA);
    let from = b.load(Size::U64, state, work::FROM);
    let length = b.load(Size::U64, state, work::LENGTH);
    let place = b.shl(index, PART_MAX.trailing_zeros() as i32);
    let rest = b.sub(length, place);
    let most = |b: &mut FunctionBuilder| b.iconst(PART_MAX.into());
    let size = choose(&mut b, Cond::Ugt, rest, PART_MAX, most, |_| rest);
    let from = b.add(from, place);
    let to = b.add(area, PATH + i32::from(at::SIZE));
    let failed = memory::read(&mut b, memory, to, size, from);
    let (bad, good) = (b.create_block(), b.create_block());
    b.brif(Cond::Ne, failed, 0, bad, good);
    b.switch_to(bad);
    b.ret(1);

    b.switch_to(good);
    let place = b.add(place, TEXT_MAX);
    b.store(Size::U64, area, PATH as i16 + PLACE, place);
    let ring = b.map(maps.observation);
    let record = b.add(area, PATH);
    let size = b.add(size, i32::from(at::SIZE));
    let flags = b.iconst(0);
    let failed = b.call(helper::RINGBUF_OUTPUT, &[ring, record, size, flags]);
    let (lost, sent) = (b.create_block(), b.create_block());
    b.brif(Cond::Ne, failed, 0, lost, sent);
    b.switch_to(lost);
    b.store(Size::U64, state, work::LOST, 1);
    b.ret(1);
    b.switch_to(sent);
    b.ret(0);
    Ok(b.finish()?)
}
