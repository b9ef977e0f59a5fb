//! Override of system calls by LSM or `bpf_override_return`: the thread's mark.
//!
//! The program at the entry writes the error and the number of the call into the thread's own storage.
//! A program at a gate returns the error when the thread's present system call has that number and the
//! policy still enforces. The mark is taken away when the call returns; where that program could not run
//! the mark is harmless to other calls, since they have other numbers.
//!
//! A program that calls `bpf_override_return` can have no part in tail calls (`bpf_prog_map_compatible()`
//! in kernel/bpf/core.c). So it is one of its own, which comes after the one at the entry and does what the
//! mark says; it is the same for all policies.

use crate::Error;
use crate::emit::context::register;
use crate::emit::map::{self, counter, mark};
use crate::emit::section::Section;
use crate::emit::{Emitter, map::control};
use crate::helper;
use crate::plan::gates::HOOKS_MAX;
use crate::plan::{Denial, Gate};
use crate::read::Base;
use ebpf::{Cond, MapRef, Operand, Size, Value};

/// The most that an error can be (`MAX_ERRNO`).
const ERROR_MAX: i32 = 4095;

impl Emitter<'_> {
    /// Marks the thread, or counts that it would be.
    pub(super) fn mark(
        &mut self,
        section: &Section,
        selector: Value,
        error: i32,
    ) -> Result<(), Error> {
        let [enforce, monitor, done] = [(); 3].map(|()| self.b.create_block());
        self.enforced(section, enforce, monitor);
        self.b.switch_to(enforce);
        self.set_mark(section, selector, error.wrapping_neg(), Some(counter::OVERRIDE))?;
        self.b.jump(done, &[]);
        self.b.switch_to(monitor);
        self.count_of(selector, counter::MONITOR_OVERRIDE);
        self.b.jump(done, &[]);
        self.b.switch_to(done);
        Ok(())
    }

    /// Marks the thread with this error (positive), which adds one to `counted`.
    pub(super) fn set_mark(
        &mut self,
        section: &Section,
        selector: Value,
        error: impl Into<Operand>,
        counted: Option<i16>,
    ) -> Result<(), Error> {
        let [failed, done] = [(); 2].map(|()| self.b.create_block());
        let number = self.present_syscall()?;
        let marks = self.maps.marks;
        let storage = self.thread_storage(marks, true);
        self.unless(Cond::Eq, storage, 0, failed);
        self.b.store(Size::U64, storage, mark::NUMBER, number);
        self.b.store(Size::U32, storage, mark::MODE, section.mode as i32);
        self.b.store(Size::U32, storage, mark::ERROR, error);
        for (offset, gates) in (mark::GATES..).step_by(8).zip(gates(section)) {
            let gates = self.b.iconst(gates as i64);
            self.b.store(Size::U64, storage, offset, gates);
        }
        self.b.store(Size::U32, storage, mark::SET, 1);
        if let Some(counter) = counted {
            self.count_of(selector, counter);
        }
        self.b.jump(done, &[]);
        self.b.switch_to(failed);
        self.count_of(selector, counter::FAILED);
        self.b.jump(done, &[]);
        self.b.switch_to(done);
        Ok(())
    }

    /// The section at the gate of a number. Calls pass gates of others too, whose errors may become
    /// others on the way: only those of the call deny it.
    pub(crate) fn gate(&mut self, number: u8) -> Result<(), Error> {
        let leave = self.leave;
        let storage = self.marked()?;
        let gates = self.b.load(Size::U64, storage, mark::GATES + i16::from(number / 64) * 8);
        let bit = self.b.iconst(1 << (number % 64));
        let mine = self.b.and(gates, bit);
        self.unless(Cond::Eq, mine, 0, leave);
        let error = self.b.load(Size::U32, storage, mark::ERROR);
        let denied = self.denied(error);
        if let Some(verdict) = self.verdict {
            self.b.def(verdict, denied);
        }
        self.b.jump(leave, &[]);
        Ok(())
    }

    /// The section that gives a call's result in place of the call.
    pub(crate) fn replace(&mut self) -> Result<(), Error> {
        let leave = self.leave;
        let storage = self.marked()?;
        self.b.store(Size::U32, storage, mark::SET, 0);
        let b = &mut self.b;
        let error = b.load(Size::U32, storage, mark::ERROR);
        let high = b.shl(error, 32);
        let error = b.ashr(high, 32);
        let zero = b.iconst(0);
        let value = b.sub(zero, error);
        b.call(helper::OVERRIDE_RETURN, &[self.raw_context, value]);
        b.jump(leave, &[]);
        Ok(())
    }

    /// The mark of the thread, when it is for this call and takes effect; leaves if not.
    fn marked(&mut self) -> Result<Value, Error> {
        let leave = self.leave;
        let marks = self.maps.marks;
        let storage = self.thread_storage(marks, false);
        self.unless(Cond::Eq, storage, 0, leave);
        let set = self.b.load(Size::U32, storage, mark::SET);
        self.unless(Cond::Eq, set, 0, leave);
        let marked = self.b.load(Size::U64, storage, mark::NUMBER);
        let number = self.present_syscall()?;
        self.unless(Cond::Ne, number, marked, leave);
        let b = &mut self.b;
        let modes = b.map_value(self.maps.control, control::MODES);
        let mode = b.load(Size::U32, storage, mark::MODE);
        let offset = b.shl(mode, 2);
        let offset = b.and(offset, control::MODES_SIZE as i32 - 4);
        let word = b.add(modes, offset);
        let mode = b.load(Size::U32, word, 0);
        self.unless(Cond::Ne, mode, map::mode::ENFORCE, leave);
        Ok(storage)
    }

    /// The section that takes the mark away.
    pub(crate) fn unmark(&mut self) {
        let leave = self.leave;
        let marks = self.maps.marks;
        let storage = self.thread_storage(marks, false);
        self.unless(Cond::Eq, storage, 0, leave);
        self.b.store(Size::U32, storage, mark::SET, 0);
        self.b.jump(leave, &[]);
    }

    /// What a program returns for an error (positive): provably in [-4095, 0], as the verifier wants it.
    pub(super) fn denied(&mut self, error: Value) -> Value {
        let b = &mut self.b;
        let error = b.and(error, ERROR_MAX);
        let zero = b.iconst(0);
        b.sub(zero, error)
    }

    /// What a task storage has of the thread, or 0.
    pub(super) fn thread_storage(&mut self, map: MapRef, create: bool) -> Value {
        let task = self.current();
        let b = &mut self.b;
        let marks = b.map(map);
        let none = b.iconst(0);
        let flags = b.iconst(if create { helper::STORAGE_CREATE.into() } else { 0 });
        b.call(helper::TASK_STORAGE_GET, &[marks, task, none, flags])
    }

    /// The number of the system call that the thread is in, as its registers at the kernel's entry say.
    pub(super) fn present_syscall(&mut self) -> Result<Value, Error> {
        let task = self.current();
        let registers = self.b.call(helper::TASK_PT_REGS, &[task]);
        Ok(self.read.get(&mut self.b, Base::Typed(registers), "pt_regs", register::NUMBER)?)
    }
}

/// The gates at which a section's calls are denied, by bits.
fn gates(section: &Section) -> [u64; HOOKS_MAX / 64] {
    let mut bits = [0; HOOKS_MAX / 64];
    if let Some(Denial::Gates(gated)) = &section.hook.denial {
        for Gate { number, .. } in &gated.gates {
            bits[usize::from(number / 64)] |= 1 << (number % 64);
        }
    }
    bits
}

/// What an error of a policy becomes in a mark: -4095 to 0; what is no error becomes -1.
pub(super) fn errno(error: i32) -> i32 {
    if (-ERROR_MAX..=0).contains(&error) { error } else { -1 }
}
