//! The record of a match under construction: a header, then items in any order, each with the position
//! of the value that it holds.
//!
//! Items start at multiples of 8. A text that a filter reads becomes an item at once, so that what is
//! reported is what was filtered, whatever user space writes meanwhile.

use super::load::status;
use super::scratch::{ITEM_MASK, RECORD_SIZE};
use super::{Emitter, Loaded, map};
use crate::act::stack::Stack;
use crate::base::record::at as base_at;
use crate::base::state::{self, Who};
use crate::plan::{HookPlan, Input};
use crate::read::Base;
use crate::{Error, helper, value};
use ebpf::{Block, Cond, Size, Value, Var};
use policy::document::TypeName;

/// Byte offsets in the header; the first ones are those of all records.
pub(crate) mod at {
    pub(crate) use crate::base::record::at::{CPU, KIND, SEQ, TIME};
    /// Number of the section that wrote it (u32).
    pub(crate) const SECTION: i16 = 40;
    /// Thread (u32).
    pub(crate) const TID: i16 = 44;
    /// 1 + the selector that matched, 0 for none (u32).
    pub(crate) const SELECTOR: i16 = 48;
    /// Run of an LSM hook whose file is being measured, with [`AWAITED`](super::map::measure::AWAITED); else
    /// 0 (u32).
    pub(crate) const RUN: i16 = 52;
    /// On a return's record: when its call began (u64).
    pub(crate) const CALL: i16 = 56;
    /// Size.
    pub(crate) const SIZE: i16 = 64;
}

/// Kind of record, the first word: written by a policy.
pub(crate) const KIND: u32 = 64;

/// Byte offsets in an item's header.
pub(crate) mod item {
    /// [`super::Position`] (u16).
    pub(crate) const POSITION: i16 = 0;
    /// [`super::status`] (u16).
    pub(crate) const STATUS: i16 = 2;
    /// Bytes that follow (u32); the next item starts at the next multiple of 8.
    pub(crate) const LENGTH: i16 = 4;
    /// Size.
    pub(crate) const SIZE: i16 = 8;
}

/// Which of a hook's values an item holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Position {
    /// In `args`.
    Argument(usize),
    /// In `data`.
    Data(usize),
    /// The return value.
    Returned,
    /// A stack.
    Stack(Stack),
    /// Whom the event is about, where that is not who runs ([`super::map::owner`]).
    Owner,
}

/// Where positions in `data` start.
const DATA: u16 = 0x4000;
/// The return value's.
const RETURNED: u16 = 0x8000;
/// The kernel's stack's.
const KERNEL_STACK: u16 = 0xc000;
/// The program's stack's.
const USER_STACK: u16 = 0xc001;
/// The same by files.
const USER_FILES: u16 = 0xc002;
/// The owner's.
const OWNER: u16 = 0xc003;

impl Position {
    /// As records have it.
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Argument(index) => index as u16,
            Self::Data(index) => DATA + index as u16,
            Self::Returned => RETURNED,
            Self::Stack(Stack::Kernel) => KERNEL_STACK,
            Self::Stack(Stack::User) => USER_STACK,
            Self::Stack(Stack::UserFiles) => USER_FILES,
            Self::Owner => OWNER,
        }
    }

    /// Back from a record.
    pub(crate) fn from_code(code: u16) -> Self {
        match code {
            OWNER.. => Self::Owner,
            USER_FILES => Self::Stack(Stack::UserFiles),
            USER_STACK => Self::Stack(Stack::User),
            KERNEL_STACK => Self::Stack(Stack::Kernel),
            RETURNED.. => Self::Returned,
            DATA.. => Self::Data((code - DATA).into()),
            _ => Self::Argument(code.into()),
        }
    }

    /// The value's input in a hook.
    pub(crate) fn input(self, hook: &HookPlan) -> Option<&Input> {
        match self {
            Self::Argument(index) => hook.args.get(index),
            Self::Data(index) => hook.data.get(index),
            Self::Returned => hook.returned.as_ref(),
            Self::Stack(_) | Self::Owner => None,
        }
    }
}

/// A text that filters ask about, once it is in the record.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    /// 0: not read; 1: read; 2: could not be read.
    state: Var,
    /// Where its item starts in the record.
    start: Var,
    /// Its length in bytes.
    length: Var,
}

/// A text in memory.
#[derive(Clone, Copy)]
pub(crate) struct Bytes {
    /// Address of the first byte, in the scratch area; at least [`super::scratch::TEXT_MAX`] + 8
    /// bytes from there on can be read.
    pub(crate) start: Value,
    /// How many there are, at most [`super::scratch::TEXT_MAX`].
    pub(crate) length: Value,
}

impl Emitter<'_> {
    /// Declares the values that filters of this section read as texts. Before the first filter.
    pub(crate) fn declare_texts(&mut self, positions: impl IntoIterator<Item = Position>) {
        for position in positions {
            let zero = self.b.iconst(0);
            let text = Text { state: self.b.var(), start: self.b.var(), length: self.b.var() };
            for var in [text.state, text.start, text.length] {
                self.b.def(var, zero);
            }
            self.texts.insert(position, text);
        }
    }

    /// The text at a position, which is read when it was not before. Goes to `unknown` when it cannot
    /// be read.
    pub(crate) fn text(
        &mut self,
        position: Position,
        input: &Input,
        unknown: Block,
    ) -> Result<Bytes, Error> {
        if !self.texts.contains_key(&position) {
            self.declare_texts([position]);
        }
        let text = self.texts[&position];
        let state = self.b.get(text.state);
        let (read, have) = (self.b.create_block(), self.b.create_block());
        self.b.brif(Cond::Eq, state, 0, read, have);
        self.b.switch_to(read);
        self.append(position, input)?;
        self.b.jump(have, &[]);
        self.b.switch_to(have);
        let state = self.b.get(text.state);
        self.require(Cond::Eq, state, 1, unknown);
        let area = self.held_scratch();
        let start = self.b.get(text.start);
        let start = self.b.and(start, ITEM_MASK);
        let start = self.b.add(area, start);
        let head = value::of(input.kind).map_or(0, value::Kind::head);
        let start = self.b.add(start, i32::from(item::SIZE) + head);
        let length = self.b.get(text.length);
        match input.kind {
            // An address without a path, not one with an empty path.
            TypeName::SockaddrUn => self.require(Cond::Ne, length, 0, unknown),
            // An iterator over pages that are mapped nowhere: of its bytes only the number is known.
            TypeName::IovIter => {
                let (none, known) = (self.b.create_block(), self.b.create_block());
                self.b.brif(Cond::Eq, length, 0, none, known);
                self.b.switch_to(none);
                let all = self.b.load(Size::U64, start, -(head as i16));
                self.require(Cond::Eq, all, 0, unknown);
                self.b.jump(known, &[]);
                self.b.switch_to(known);
            }
            _ => {}
        }
        Ok(Bytes { start, length })
    }

    /// Appends the value at a position, unless a filter has read it into the record already.
    pub(crate) fn capture(&mut self, position: Position, input: &Input) -> Result<(), Error> {
        let Some(text) = self.texts.get(&position).copied() else {
            return self.append(position, input);
        };
        let state = self.b.get(text.state);
        let (read, have) = (self.b.create_block(), self.b.create_block());
        self.b.brif(Cond::Eq, state, 0, read, have);
        self.b.switch_to(read);
        self.append(position, input)?;
        self.b.jump(have, &[]);
        self.b.switch_to(have);
        Ok(())
    }

    /// Appends a value, or the reason why it could not be read. What does not fit any more is left
    /// out; its absence says so.
    fn append(&mut self, position: Position, input: &Input) -> Result<(), Error> {
        self.with_scratch(|e| e.append_item(position, input))
    }

    fn append_item(&mut self, position: Position, input: &Input) -> Result<(), Error> {
        let Some(kind) = value::of(input.kind) else { return Ok(()) };
        let area = self.scratch();
        let offset = self.b.get(self.length);
        let done = self.b.create_block();
        self.unless(Cond::Ugt, offset, ITEM_MASK, done);
        let offset = self.b.and(offset, ITEM_MASK);
        let at = self.b.add(area, offset);
        let fault = self.b.create_block();
        let code = self.b.append_param(fault);
        let loaded = match self.returned_buffer {
            Some(value) => Loaded { value, typed: false },
            None => self.load(input, fault)?,
        };
        let to = self.b.add(at, i32::from(item::SIZE));
        let length = kind.capture(self, &value::Capture { input, loaded, to, fault })?;
        self.b.store(Size::U16, at, item::POSITION, i32::from(position.code()));
        self.b.store(Size::U16, at, item::STATUS, i32::from(status::OK));
        self.b.store(Size::U32, at, item::LENGTH, length);
        if self.digests {
            let value = self.b.add(offset, i32::from(item::SIZE));
            self.zero_behind(area, value, length);
        }
        let padded = self.b.add(length, 7 + i32::from(item::SIZE));
        let padded = self.b.and(padded, !7);
        let end = self.b.add(offset, padded);
        self.b.def(self.length, end);
        if let Some(text) = self.texts.get(&position).copied() {
            let read = self.b.iconst(1);
            self.b.def(text.state, read);
            self.b.def(text.start, offset);
            let length = self.b.sub(length, kind.head());
            self.b.def(text.length, length);
        }
        self.b.jump(done, &[]);

        self.b.switch_to(fault);
        self.b.store(Size::U16, at, item::POSITION, i32::from(position.code()));
        self.b.store(Size::U16, at, item::STATUS, code);
        self.b.store(Size::U32, at, item::LENGTH, 0);
        let end = self.b.add(offset, i32::from(item::SIZE));
        self.b.def(self.length, end);
        if let Some(text) = self.texts.get(&position).copied() {
            let failed = self.b.iconst(2);
            self.b.def(text.state, failed);
        }
        self.b.jump(done, &[]);
        self.b.switch_to(done);
        Ok(())
    }

    /// Writes the header and sends the record. `call`: on a return, when its call began.
    pub(crate) fn send(
        &mut self,
        section: u32,
        selector: impl Into<ebpf::Operand>,
        time: Value,
        call: Option<Value>,
    ) -> Result<(), Error> {
        let area = self.scratch();
        let b = &mut self.b;
        b.store(Size::U32, area, at::KIND, KIND as i32);
        let cpu = b.call(helper::GET_SMP_PROCESSOR_ID, &[]);
        b.store(Size::U32, area, at::CPU, cpu);
        b.store(Size::U64, area, at::SEQ, 0);
        b.store(Size::U64, area, at::TIME, time);
        b.store(Size::U32, area, at::SECTION, section as i32);
        b.store(Size::U32, area, at::SELECTOR, selector);
        match self.measured_in.map(|run| b.get(run)) {
            Some(run) => b.store(Size::U32, area, at::RUN, run),
            None => b.store(Size::U32, area, at::RUN, 0),
        }
        match call {
            Some(call) => b.store(Size::U64, area, at::CALL, call),
            None => b.store(Size::U64, area, at::CALL, 0),
        }
        let ids = b.call(helper::GET_CURRENT_PID_TGID, &[]);
        b.store(Size::U32, area, at::TID, ids);
        self.process(area, base_at::PROCESS)?;
        let size = self.b.get(self.length);
        let leave = self.leave;
        self.unless(Cond::Ugt, size, RECORD_SIZE, leave); // cannot be; the verifier asks
        let b = &mut self.b;
        let ring = b.map(self.maps.observation);
        let flags = b.iconst(0);
        let failed = b.call(helper::RINGBUF_OUTPUT, &[ring, area, size, flags]);
        let (lost, sent) = (self.b.create_block(), self.b.create_block());
        self.b.brif(Cond::Ne, failed, 0, lost, sent);
        self.b.switch_to(lost);
        self.count(map::counter::LOST);
        self.b.jump(leave, &[]);
        self.b.switch_to(sent);
        Ok(())
    }

    /// Stores the identity of the current process as records have it, at `to + offset`.
    pub(crate) fn process(&mut self, to: Value, offset: i16) -> Result<(), Error> {
        let task = self.current();
        let (b, read) = (&mut self.b, &self.read);
        let leader = read.offset("task_struct", "group_leader")?;
        let leader = b.load(Size::U64, task, leader as i16);
        let (known, unknown, done) = (b.create_block(), b.create_block(), b.create_block());
        let known_leader = b.create_block();
        b.brif(Cond::Ne, leader, 0, known_leader, unknown);
        b.switch_to(known_leader);
        let stored = state::lookup(b, self.maps.states, leader, false);
        b.brif(Cond::Ne, stored, 0, known, unknown);
        b.switch_to(known);
        Who::load(b, stored, state::at::KTIME).store(b, to, offset);
        b.jump(done, &[]);
        b.switch_to(unknown);
        let leader = read.get(b, Base::Typed(task), "task_struct", "group_leader")?;
        let who = state::identity(b, read, Base::Address(leader))?;
        who.store(b, to, offset);
        b.jump(done, &[]);
        b.switch_to(done);
        Ok(())
    }

    /// Nanoseconds of CLOCK_MONOTONIC.
    pub(crate) fn now(&mut self) -> Value {
        self.b.call(helper::KTIME_GET_NS, &[])
    }
}
