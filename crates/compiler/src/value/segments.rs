//! Bytes in segments: arrays of `struct iovec`, and what a `struct iov_iter` goes over.
//!
//! In the record as a buffer is: the length of all (u64), then as much of it as fits, one segment behind
//! the other, which is what filters see. A `bpf_loop` callback (Linux 5.17) copies one segment at a time.
//! What changes from step to step is in scratch memory: of what is on the caller's stack, the verifier of
//! before Linux 6.7 thinks that it stays as it is before the first step, and drops tests of it.

use super::buffer::{self, HEAD};
use super::memory::{self, Memory};
use super::{Capture, Kind};
use crate::Error;
use crate::emit::Emitter;
use crate::emit::load::status;
use crate::emit::scratch::{PLACE_MASK, TEXT_MAX};
use crate::flow::{choose, return_if};
use crate::helper;
use crate::observed::Observed;
use crate::plan::Input;
use ebpf::{Cond, Function, FunctionBuilder, Size, Value};

/// `struct iovec`: address and length (uapi, the same everywhere; `struct kvec` is like it).
mod segment {
    pub(super) const START: i16 = 0;
    pub(super) const LENGTH: i16 = 8;
    pub(super) const SIZE: i32 = 16;
}

/// Segments at most: `UIO_MAXIOV`.
const SEGMENTS_MAX: i32 = 1024;

/// What the callback is given on the stack: addresses that stay.
mod given {
    /// The scratch area.
    pub(super) const AREA: i16 = 0;
    /// Where the bytes go.
    pub(super) const TO: i16 = 8;
    /// Size.
    pub(super) const SIZE: u32 = 16;
}

/// What it works on, eight bytes each, in the scratch area.
mod at {
    use crate::emit::scratch;

    /// Address of the first segment.
    pub(super) const SEGMENTS: i16 = scratch::SEGMENTS as i16;
    /// Bytes to pass over in the first one.
    pub(super) const SKIP: i16 = SEGMENTS + 8;
    /// Bytes that are still wanted.
    pub(super) const WANTED: i16 = SEGMENTS + 16;
    /// Bytes of all segments so far.
    pub(super) const TOTAL: i16 = SEGMENTS + 24;
    /// Bytes copied.
    pub(super) const COPIED: i16 = SEGMENTS + 32;
    /// Set when something could not be read.
    pub(super) const FAILED: i16 = SEGMENTS + 40;

    const _: () = assert!(FAILED as i32 + 8 <= scratch::SEGMENTS + scratch::SEGMENTS_SIZE);
}

/// An array of segments, whose number the call says.
pub(crate) struct Vector;

/// The data of an iterator.
pub(crate) struct Iterator;

/// Segments that are to be copied.
#[derive(Clone, Copy)]
struct Segments {
    /// Address of the array.
    start: Value,
    /// Whose memory the array is.
    array: Memory,
    /// Whose memory it points to.
    data: Memory,
    /// How many there are.
    count: Value,
    /// Bytes to pass over in the first one.
    skip: Value,
    /// Bytes that are wanted; negative: all.
    wanted: Value,
}

impl Kind for Vector {
    fn head(&self) -> i32 {
        HEAD
    }

    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let memory = Memory::of(e, capture.input);
        let (count, wanted) = match &capture.input.length {
            // As many as it takes to hold what was read.
            _ if e.returned_buffer.is_some() => {
                (e.b.iconst(SEGMENTS_MAX.into()), buffer::returned_length(e)?)
            }
            Some(length) => (e.length_of(length)?, e.b.iconst(-1)),
            None => (e.b.iconst(0), e.b.iconst(-1)),
        };
        let skip = e.b.iconst(0);
        let (start, array, data) = (capture.loaded.value, memory, memory);
        e.copy_segments(capture, Segments { start, array, data, count, skip, wanted })
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        buffer::decode(bytes)
    }
}

impl Kind for Iterator {
    fn head(&self) -> i32 {
        HEAD
    }

    fn capture(&self, e: &mut Emitter<'_>, capture: &Capture<'_>) -> Result<Value, Error> {
        let iterator = e.structure(capture.loaded, "iov_iter", capture.fault)?;
        e.readable(iterator, capture.fault);
        // `iov` until Linux 6.3.
        let array = if e.read.has("iov_iter", "__iov") { "__iov" } else { "iov" };
        let member = |e: &mut Emitter<'_>, name| e.read.get(&mut e.b, iterator, "iov_iter", name);
        let kind = member(e, "iter_type")?;
        let start = member(e, array)?;
        let skip = member(e, "iov_offset")?;
        let wanted = member(e, "count")?;
        let done = e.b.create_block();
        let length = e.b.append_param(done);
        let own = |name: &str, e: &Emitter<'_>| e.machine.btf.enumerator("iter_type", name);

        // One piece of the process's memory, since Linux 6.0.
        if let Some(single) = own("ITER_UBUF", e) {
            let (one, other) = (e.b.create_block(), e.b.create_block());
            e.b.brif(Cond::Eq, kind, single as i32, one, other);
            e.b.switch_to(one);
            let from = e.b.add(start, skip);
            let piece = e.copy_bytes(Memory::User, capture.to, wanted, from, capture.fault);
            e.b.jump(done, &[piece]);
            e.b.switch_to(other);
        }
        for (name, data) in [("ITER_IOVEC", Memory::User), ("ITER_KVEC", Memory::Kernel)] {
            let Some(segments) = own(name, e) else { continue };
            let (these, other) = (e.b.create_block(), e.b.create_block());
            e.b.brif(Cond::Eq, kind, segments as i32, these, other);
            e.b.switch_to(these);
            let (array, count) = (Memory::Kernel, e.b.iconst(SEGMENTS_MAX.into()));
            let pieces = Segments { start, array, data, count, skip, wanted };
            let copied = e.copy_segments(capture, pieces)?;
            e.b.jump(done, &[copied]);
            e.b.switch_to(other);
        }
        // Pages that are mapped nowhere: how many bytes they are is known.
        e.b.store(Size::U64, capture.to, 0, wanted);
        let none = e.b.iconst(HEAD.into());
        e.b.jump(done, &[none]);
        e.b.switch_to(done);
        Ok(length)
    }

    fn decode(&self, bytes: &[u8], _: &Input) -> Option<Observed> {
        buffer::decode(bytes)
    }
}

impl Emitter<'_> {
    /// Writes the length of all segments and as much of them as fits; gives how many bytes that are.
    fn copy_segments(&mut self, capture: &Capture<'_>, from: Segments) -> Result<Value, Error> {
        let step = step(from.array, from.data)?;
        let step = self.function("tg_segment", step);
        let area = self.scratch();
        let b = &mut self.b;
        let most = |b: &mut FunctionBuilder| b.iconst(SEGMENTS_MAX.into());
        let count = choose(b, Cond::Ugt, from.count, SEGMENTS_MAX, most, |_| from.count);
        b.store(Size::U64, area, at::SEGMENTS, from.start);
        b.store(Size::U64, area, at::SKIP, from.skip);
        b.store(Size::U64, area, at::WANTED, from.wanted);
        for zero in [at::TOTAL, at::COPIED, at::FAILED] {
            b.store(Size::U64, area, zero, 0);
        }
        let given = b.temporary(given::SIZE, 8);
        let to = b.add(capture.to, HEAD);
        b.slot_store(Size::U64, given, given::AREA, area);
        b.slot_store(Size::U64, given, given::TO, to);
        let step = b.func_addr(step);
        let given = b.slot_addr(given, 0);
        let flags = b.iconst(0);
        b.call(helper::LOOP, &[count, step, given, flags]);
        let failed = b.load(Size::U64, area, at::FAILED);
        let total = b.load(Size::U64, area, at::TOTAL);
        let copied = b.load(Size::U64, area, at::COPIED);
        self.fault_if(Cond::Ne, failed, 0, capture.fault, status::ADDRESS);
        self.b.store(Size::U64, capture.to, 0, total);
        // It is not more; the verifier wants it asked.
        let most = |b: &mut FunctionBuilder| b.iconst(TEXT_MAX.into());
        let copied = choose(&mut self.b, Cond::Ugt, copied, TEXT_MAX, most, |_| copied);
        Ok(self.b.add(copied, HEAD))
    }
}

/// The callback: copies one segment. Gives 1, to stop, when nothing more is wanted.
fn step(array: Memory, data: Memory) -> Result<Function, Error> {
    let mut b = FunctionBuilder::new("tg_segment", 2);
    let (index, given) = (b.param(0), b.param(1));
    let state = b.load(Size::U64, given, given::AREA);
    let wanted = b.load(Size::U64, state, at::WANTED);
    return_if(&mut b, Cond::Eq, wanted, 0, 1);
    let segments = b.load(Size::U64, state, at::SEGMENTS);
    let offset = b.shl(index, 4);
    let from = b.add(segments, offset);
    let slot = b.slot(segment::SIZE as u32, 8);
    let to = b.slot_addr(slot, 0);
    let size = b.iconst(segment::SIZE.into());
    let failed = memory::read(&mut b, array, to, size, from);
    let (bad, good) = (b.create_block(), b.create_block());
    b.brif(Cond::Ne, failed, 0, bad, good);
    b.switch_to(bad);
    b.store(Size::U64, state, at::FAILED, 1);
    b.ret(1);

    b.switch_to(good);
    let start = b.slot_load(Size::U64, slot, segment::START);
    let length = b.slot_load(Size::U64, slot, segment::LENGTH);
    let skip = b.load(Size::U64, state, at::SKIP);
    // What an iterator has behind it: of the first segment only, and never more than it has.
    let skip = choose(&mut b, Cond::Ugt, skip, length, |_| length, |_| skip);
    b.store(Size::U64, state, at::SKIP, 0);
    let start = b.add(start, skip);
    let length = b.sub(length, skip);
    let length = choose(&mut b, Cond::Ugt, length, wanted, |_| wanted, |_| length);
    let left = b.sub(wanted, length);
    b.store(Size::U64, state, at::WANTED, left);
    let total = b.load(Size::U64, state, at::TOTAL);
    let total = b.add(total, length);
    b.store(Size::U64, state, at::TOTAL, total);

    let copied = b.load(Size::U64, state, at::COPIED);
    // The rest is counted only.
    return_if(&mut b, Cond::Ugt, copied, TEXT_MAX - 1, 0);
    let place = b.and(copied, PLACE_MASK);
    let to = b.load(Size::U64, given, given::TO);
    let to = b.add(to, place);
    let most = |b: &mut FunctionBuilder| b.iconst(TEXT_MAX.into());
    let room = b.iconst(TEXT_MAX.into());
    let room = b.sub(room, place);
    let size = choose(&mut b, Cond::Ugt, length, TEXT_MAX, most, |_| length);
    let size = choose(&mut b, Cond::Ugt, size, room, |_| room, |_| size);
    let failed = memory::read(&mut b, data, to, size, start);
    let (bad, good) = (b.create_block(), b.create_block());
    b.brif(Cond::Ne, failed, 0, bad, good);
    b.switch_to(bad);
    b.store(Size::U64, state, at::FAILED, 1);
    b.ret(1);
    b.switch_to(good);
    let copied = b.add(place, size);
    b.store(Size::U64, state, at::COPIED, copied);
    b.ret(0);
    Ok(b.finish()?)
}
