//! NotifyEnforcer, CleanupEnforcerNotification, and the enforcer's part at its calls.
//!
//! What an enforcer is told is kept with the thread, for each policy apart, until the thread makes one of
//! the enforcer's calls. Nothing has to be found room for then and nothing can push it out. Of two
//! notifications before a call the second one counts; that, and what is taken back, is counted by the
//! system call in which the first one was made. Whether it takes effect is asked both when the enforcer is
//! told and when it acts, so that after a change to mode monitor nothing is enforced any more.

use super::gate;
use crate::Error;
use crate::emit::Emitter;
use crate::emit::map::{counter, missed, notice};
use crate::emit::program;
use crate::emit::section::Section;
use crate::follow::enforcers;
use crate::helper;
use crate::plan::Denial;
use ebpf::{AtomicOp, Cond, Size, Value};

impl Emitter<'_> {
    /// Tells the enforcer, or counts that it would be told.
    pub(super) fn notify(
        &mut self,
        section: &Section,
        selector: Value,
        (error, signal): (i32, u8),
    ) -> Result<(), Error> {
        let [enforce, monitor, failed, again, tell, done] = [(); 6].map(|()| self.b.create_block());
        self.enforced(section, enforce, monitor);
        self.b.switch_to(enforce);
        let storage = self.notice(section, true);
        self.unless(Cond::Eq, storage, 0, failed);
        let pending = self.b.load(Size::U32, storage, notice::PENDING);
        self.b.brif(Cond::Eq, pending, 0, tell, again);
        self.b.switch_to(again);
        self.missed(section, storage, missed::OVERWRITTEN);
        self.b.jump(tell, &[]);
        self.b.switch_to(tell);
        let call = self.numbered_call()?;
        self.b.store(Size::U32, storage, notice::CALL, call);
        self.b.store(Size::U32, storage, notice::ERROR, gate::errno(error).saturating_neg());
        self.b.store(Size::U32, storage, notice::SIGNAL, i32::from(signal));
        self.b.store(Size::U32, storage, notice::PENDING, 1);
        self.count_of(selector, counter::NOTIFY);
        self.b.jump(done, &[]);
        for (block, counter) in [(monitor, counter::MONITOR_NOTIFY), (failed, counter::FAILED)] {
            self.b.switch_to(block);
            self.count_of(selector, counter);
            self.b.jump(done, &[]);
        }
        self.b.switch_to(done);
        Ok(())
    }

    /// Takes back what the enforcer was told.
    pub(super) fn take_back(&mut self, section: &Section) {
        let done = self.b.create_block();
        let storage = self.notice(section, false);
        self.unless(Cond::Eq, storage, 0, done);
        let pending = self.b.load(Size::U32, storage, notice::PENDING);
        self.unless(Cond::Eq, pending, 0, done);
        self.b.store(Size::U32, storage, notice::PENDING, 0);
        self.missed(section, storage, missed::NO_ACTION);
        self.b.jump(done, &[]);
        self.b.switch_to(done);
    }

    /// The enforcer's part at one of its calls.
    pub(crate) fn enforce(&mut self, section: &Section) -> Result<(), Error> {
        let leave = self.leave;
        let none = self.b.iconst(0);
        let storage = self.notice(section, false);
        self.unless(Cond::Eq, storage, 0, leave);
        let pending = self.b.load(Size::U32, storage, notice::PENDING);
        self.unless(Cond::Eq, pending, 0, leave);
        self.b.store(Size::U32, storage, notice::PENDING, 0);
        let on = self.b.create_block();
        self.enforced(section, on, leave);
        self.b.switch_to(on);
        let error = self.b.load(Size::U32, storage, notice::ERROR);
        let signal = self.b.load(Size::U32, storage, notice::SIGNAL);
        let [send, failed, sent] = [(); 3].map(|()| self.b.create_block());
        self.b.brif(Cond::Ne, signal, 0, send, sent);
        self.b.switch_to(send);
        let result = self.b.call(helper::SEND_SIGNAL, &[signal]);
        self.b.brif(Cond::Ne, result, 0, failed, sent);
        self.b.switch_to(failed);
        self.count_of(none, counter::FAILED);
        self.b.jump(sent, &[]);
        self.b.switch_to(sent);
        self.unless(Cond::Eq, error, 0, leave);
        match &section.hook.denial {
            Some(Denial::Result | Denial::Modify) => {
                let denied = self.denied(error);
                if let Some(verdict) = self.verdict {
                    self.b.def(verdict, denied);
                }
            }
            Some(Denial::OverrideReturn | Denial::Gates(_)) => {
                self.set_mark(section, none, error, None)?;
            }
            Some(Denial::Impossible(_)) | None => {}
        }
        self.b.jump(leave, &[]);
        Ok(())
    }

    /// What this policy's enforcer was told by the thread, or 0.
    fn notice(&mut self, section: &Section, create: bool) -> Value {
        let notices = self.kept(&enforcers::notices(&section.own));
        self.thread_storage(notices, create)
    }

    /// Counts a notification that takes no effect.
    fn missed(&mut self, section: &Section, storage: Value, reason: i32) {
        let counts = self.kept(&enforcers::missed(&section.own));
        let b = &mut self.b;
        let call = b.load(Size::U32, storage, notice::CALL);
        let word = b.and(call, missed::CALLS - 1);
        let word = b.or(word, reason * missed::CALLS);
        let offset = b.shl(word, 3);
        let first = b.map_value(counts, 0);
        let count = b.add(first, offset);
        b.atomic(AtomicOp::Add, Size::U64, count, 0, 1);
    }

    /// The system call that the thread is in, as [`missed`] has it.
    fn numbered_call(&mut self) -> Result<Value, Error> {
        let number = self.present_syscall()?;
        let b = &mut self.b;
        let [known, unknown, found] = [(); 3].map(|()| b.create_block());
        let which = b.append_param(found);
        b.brif(Cond::Ult, number, missed::UNKNOWN, known, unknown);
        b.switch_to(known);
        b.jump(found, &[number]);
        b.switch_to(unknown);
        let other = b.iconst(missed::UNKNOWN.into());
        b.jump(found, &[other]);
        b.switch_to(found);
        let compat = program::compat(b, &self.read)?;
        let compat = b.shl(compat, missed::COMPAT_SHIFT);
        Ok(b.or(which, compat))
    }
}
