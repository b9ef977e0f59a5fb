//! The task iterator: every process there is, with the identity that the programs know it by.
//!
//! It only reads. A process whose state exists was announced by a record, or will be; one without
//! gets the identity that every program would give it.

use super::cgroup::CgroupOf;
use super::emit::Emitter;
use super::record::{Flags, at};
use super::state;
use crate::Error;
use crate::flow::return_if;
use crate::helper;
use crate::read::Base;
use ebpf::{Cond, Function, Size};

impl Emitter<'_> {
    pub(super) fn scan(mut self, cgroup: CgroupOf) -> Result<Function, Error> {
        let (b, read) = (&mut self.b, &self.read);
        let context = b.param(0);
        let meta = b.load(Size::U64, context, read.offset("bpf_iter__task", "meta")? as i16);
        let task = b.load(Size::U64, context, read.offset("bpf_iter__task", "task")? as i16);
        return_if(b, Cond::Eq, task, 0, 0); // the end of the iteration
        let pid = read.get(b, Base::Typed(task), "task_struct", "pid")?;
        let tgid = read.get(b, Base::Typed(task), "task_struct", "tgid")?;
        return_if(b, Cond::Ne, pid, tgid, 0);
        let live = read.get(b, Base::Typed(task), "task_struct", "signal.live.counter")?;
        return_if(b, Cond::Eq, live, 0, 0); // a zombie: its exit is past

        let slot = b.slot(at::task::SIZE as u32, 8);
        let entry = b.slot_addr(slot, 0);
        let copy = b.slot(state::at::SIZE as u32, 8);
        let spare = b.slot_addr(copy, 0);
        state::synthesize(b, read, Base::Typed(task), spare, Flags::empty())?;
        let known = state::lookup(b, self.maps.states, task, false);
        let (announced, join) = (b.create_block(), b.create_block());
        b.brif(Cond::Ne, known, 0, announced, join);
        b.switch_to(announced);
        for offset in (0..state::at::EXITED).step_by(8) {
            let word = b.load(Size::U64, known, offset);
            b.store(Size::U64, spare, offset, word);
        }
        b.jump(join, &[]);
        b.switch_to(join);

        state::Who::load(b, spare, state::at::KTIME).store(b, entry, at::task::PROCESS);
        state::Who::load(b, spare, state::at::PARENT_KTIME).store(b, entry, at::task::PARENT);
        let flags = b.load(Size::U32, spare, state::at::FLAGS);
        b.store(Size::U32, entry, at::task::FLAGS, flags);
        let nspid = b.load(Size::U32, spare, state::at::NSPID);
        b.store(Size::U32, entry, at::task::NSPID, nspid);
        let id = cgroup.id(b, read, Base::Typed(task))?;
        b.store(Size::U64, entry, at::task::CGROUP, id);
        let comm = b.add(entry, i32::from(at::task::COMM));
        read.copy(b, comm, 16, Base::Typed(task), "task_struct", "comm")?;

        let seq = b.load(Size::U64, meta, read.offset("bpf_iter_meta", "seq")? as i16);
        let size = b.iconst(at::task::SIZE.into());
        b.call(helper::SEQ_WRITE, &[seq, entry, size]);
        b.ret(0);
        Ok(self.b.finish()?)
    }
}
