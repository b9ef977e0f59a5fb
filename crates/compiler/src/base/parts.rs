//! Arguments or environment that are too long for the exec record: sent before it, in parts.

use super::emit::Emitter;
use super::record::{at, kind};
use super::scratch::{PART_DATA, PARTS};
use super::state::Who;
use crate::Error;
use crate::flow::{choose, return_if, when};
use crate::helper;
use ebpf::{Cond, FuncId, Function, Size, Value};

// Where the sending stands, in scratch memory (u64 each).
/// Address of the next byte in the process.
const FROM: i16 = PARTS as i16;
/// Bytes sent so far.
const SENT: i16 = PARTS as i16 + 8;
/// Bytes to send in all.
const TOTAL: i16 = PARTS as i16 + 16;
/// 0 arguments, 1 environment.
const WHAT: i16 = PARTS as i16 + 24;
/// Not 0 once a part could not be read or sent.
const FAILED: i16 = PARTS as i16 + 32;
/// Identity of the process: 16 bytes.
const WHO: i16 = PARTS as i16 + 40;

/// A block of user memory to send.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) from: Value,
    /// At most the configured bound.
    pub(super) length: Value,
    pub(super) what: i32,
}

impl Emitter<'_> {
    /// Sends a block in parts; `step` is the function that [`Self::part_step`] made. Gives a value
    /// that is not 0 when a part is missing. `bound` is the longest block there can be.
    pub(super) fn parts(
        &mut self,
        scratch: Value,
        block: Block,
        who: Who,
        bound: u32,
        step: FuncId,
    ) -> Value {
        let b = &mut self.b;
        b.store(Size::U64, scratch, FROM, block.from);
        b.store(Size::U64, scratch, SENT, 0);
        b.store(Size::U64, scratch, TOTAL, block.length);
        b.store(Size::U64, scratch, WHAT, block.what);
        b.store(Size::U64, scratch, FAILED, 0);
        who.store(b, scratch, WHO);
        let steps = b.iconst(i64::from(bound.div_ceil(PART_DATA as u32)));
        let step = b.func_addr(step);
        let slot = b.slot(8, 8);
        b.slot_store(Size::U64, slot, 0, scratch);
        let context = b.slot_addr(slot, 0);
        let flags = b.iconst(0);
        b.call(helper::LOOP, &[steps, step, context, flags]);
        b.load(Size::U64, scratch, FAILED)
    }

    /// The function that sends one part; the callback of [`Self::parts`]. Gives 1 to stop.
    pub(super) fn part_step(mut self) -> Result<Function, Error> {
        let context = self.b.param(1);
        let scratch = self.b.load(Size::U64, context, 0);
        let cpu = self.per_cpu(self.maps.cpu);
        let b = &mut self.b;
        let sent = b.load(Size::U64, scratch, SENT);
        let total = b.load(Size::U64, scratch, TOTAL);
        return_if(b, Cond::Uge, sent, total, 1);
        let left = b.sub(total, sent);
        let whole = b.iconst(PART_DATA.into());
        let length = choose(b, Cond::Ugt, left, PART_DATA, |_| whole, |_| left);
        let from = b.load(Size::U64, scratch, FROM);
        let to = b.add(scratch, i32::from(at::part::SIZE));
        let fault = b.call(helper::PROBE_READ_USER, &[to, length, from]);

        let next = b.add(from, length);
        b.store(Size::U64, scratch, FROM, next);
        let after = b.add(sent, length);
        b.store(Size::U64, scratch, SENT, after);
        let (unread, readable) = (b.create_block(), b.create_block());
        b.brif(Cond::Ne, fault, 0, unread, readable);
        // What can be read behind a fault is still worth having.
        b.switch_to(unread);
        b.store(Size::U64, scratch, FAILED, 1);
        b.ret(0);

        b.switch_to(readable);
        let what = b.load(Size::U64, scratch, WHAT);
        b.store(Size::U32, scratch, at::part::WHAT, what);
        b.store(Size::U32, scratch, at::part::OFFSET, sent);
        b.store(Size::U32, scratch, at::part::LENGTH, length);
        let who = Who::load(b, scratch, WHO);
        who.store(b, scratch, at::PROCESS);
        let size = b.add(length, i32::from(at::part::SIZE));
        let now = self.now();
        self.header(scratch, kind::PART, cpu, now);
        let result = self.send(scratch, size, kind::PART, cpu);
        when(&mut self.b, Cond::Ne, result, 0, |b| b.store(Size::U64, scratch, FAILED, 1));
        self.b.ret(0);
        Ok(self.b.finish()?)
    }
}
