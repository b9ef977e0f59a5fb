//! `sched_process_exit`: a thread ends. The last one of a process ends the process.
//!
//! The tracepoint runs in `do_exit()` after `signal->live` was decremented, so two last threads on
//! two CPUs can both see it at 0: the state's `exited` word decides who reports. From 6.16 on the
//! kernel says itself which thread was the last (`group_dead`).

use super::emit::{Emitter, count, cpu};
use super::record::{at, kind};
use super::state::{self, Who};
use crate::Error;
use crate::flow::{choose, return_if, when};
use crate::helper;
use crate::read::Base;
use ebpf::{Cond, Function, Size};

/// `SIGNAL_GROUP_EXIT` (include/linux/sched/signal.h)
const SIGNAL_GROUP_EXIT: i32 = 4;

impl Emitter<'_> {
    /// `says_last`: the tracepoint has the `group_dead` argument.
    pub(super) fn exit(mut self, says_last: bool) -> Result<Function, Error> {
        let context = self.b.param(0);
        let task = self.b.load(Size::U64, context, 0);
        let cpu = self.per_cpu(self.maps.cpu);
        let (b, read) = (&mut self.b, &self.read);
        let tgid = read.get(b, Base::Typed(task), "task_struct", "tgid")?;
        let pid = read.get(b, Base::Typed(task), "task_struct", "pid")?;
        let key = b.slot(4, 4);
        b.slot_store(Size::U32, key, 0, tgid);
        let others = if says_last {
            let last = b.load(Size::U64, context, 8);
            let last = b.and(last, 1);
            b.xor(last, 1)
        } else {
            read.get(b, Base::Typed(task), "task_struct", "signal.live.counter")?
        };

        // Threads are left. When it is the leader that goes, one of them may still exec.
        let (thread, leaving, last) = (b.create_block(), b.create_block(), b.create_block());
        b.brif(Cond::Ne, others, 0, thread, last);
        b.switch_to(thread);
        return_if(b, Cond::Ne, pid, tgid, 0);
        let state = state::lookup(b, self.maps.states, task, false);
        return_if(b, Cond::Eq, state, 0, 0);
        let map = b.map(self.maps.leaderless);
        let key_at = b.slot_addr(key, 0);
        let any = b.iconst(0);
        let failed = b.call(helper::MAP_UPDATE_ELEM, &[map, key_at, state, any]);
        when(b, Cond::Ne, failed, 0, |b| count(b, cpu, cpu::NO_HANDOVER));
        b.jump(leaving, &[]);
        b.switch_to(leaving);
        b.ret(0);

        b.switch_to(last);
        let map = b.map(self.maps.leaderless);
        let key_at = b.slot_addr(key, 0);
        b.call(helper::MAP_DELETE_ELEM, &[map, key_at]);
        let leader_offset = read.offset("task_struct", "group_leader")?;
        let leader = b.load(Size::U64, task, leader_offset as i16);
        let scratch = self.per_cpu(self.maps.scratch);
        let state = self.own_state(leader, scratch, cpu)?;
        let (b, read) = (&mut self.b, &self.read);
        let one = b.iconst(1);
        let reported = b.xchg(Size::U64, state, state::at::EXITED, one);
        return_if(b, Cond::Ne, reported, 0, 0);

        let slot = b.slot(at::exit::SIZE as u32, 8);
        let record = b.slot_addr(slot, 0);
        Who::load(b, state, state::at::KTIME).store(b, record, at::PROCESS);
        Who::load(b, state, state::at::PARENT_KTIME).store(b, record, at::exit::PARENT);
        let flags = b.load(Size::U32, state, state::at::FLAGS);
        b.store(Size::U32, record, at::exit::FLAGS, flags);
        // As wait_task_zombie() reports it.
        let how = read.get(b, Base::Typed(task), "task_struct", "signal.flags")?;
        let group = read.get(b, Base::Typed(task), "task_struct", "signal.group_exit_code")?;
        let single = read.get(b, Base::Typed(leader), "task_struct", "exit_code")?;
        let code = choose(b, Cond::Test, how, SIGNAL_GROUP_EXIT, |_| group, |_| single);
        b.store(Size::U32, record, at::exit::CODE, code);
        b.store(Size::U32, record, at::exit::TID, pid);
        b.store(Size::U32, record, at::exit::TID + 4, 0);
        let comm = b.add(record, i32::from(at::exit::COMM));
        read.copy(b, comm, 16, Base::Typed(leader), "task_struct", "comm")?;
        let now = self.now();
        self.finish_record(record, at::exit::SIZE, kind::EXIT, cpu, now)
    }
}
