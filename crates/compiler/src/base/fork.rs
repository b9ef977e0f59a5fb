//! `sched_process_fork`: a new process. Runs in the parent, before the child does
//! (`kernel_clone()`, between `copy_process()` and `wake_up_new_task()`).

use super::emit::{Emitter, count, cpu};
use super::record::{Flags, at, kind};
use super::state::{self, Who};
use crate::Error;
use crate::flow::{choose, return_if, when};
use crate::read::Base;
use ebpf::{Cond, Function, Size, Value};

impl Emitter<'_> {
    /// `cgroup`: how this kernel is asked for a task's cgroup.
    pub(super) fn fork(mut self, cgroup: super::CgroupOf) -> Result<Function, Error> {
        let context = self.b.param(0);
        let parent = self.b.load(Size::U64, context, 0);
        let child = self.b.load(Size::U64, context, 8);
        let read = &self.read;
        let b = &mut self.b;
        let pid = read.get(b, Base::Typed(child), "task_struct", "pid")?;
        let tgid = read.get(b, Base::Typed(child), "task_struct", "tgid")?;
        return_if(b, Cond::Ne, pid, tgid, 0); // a thread

        let cpu = self.per_cpu(self.maps.cpu);
        let now = self.now();
        let (b, read) = (&mut self.b, &self.read);
        let leader_offset = read.offset("task_struct", "group_leader")?;
        let leader = b.load(Size::U64, parent, leader_offset as i16);
        let known = state::lookup(b, self.maps.states, leader, false);
        let identity = state::identity(b, read, Base::Typed(leader))?;
        let ktime = choose(
            b,
            Cond::Ne,
            known,
            0,
            |b| b.load(Size::U64, known, state::at::KTIME),
            |_| identity.ktime,
        );
        let inherited = choose(
            b,
            Cond::Ne,
            known,
            0,
            |b| {
                let flags = b.load(Size::U32, known, state::at::FLAGS);
                b.and(flags, Flags::IN_INIT_TREE.bits() as i32)
            },
            |b| b.iconst(0),
        );
        let parent = Who { ktime, pid: identity.pid };

        let (nspid, _) = state::pid_namespace(b, read, Base::Typed(child))?;
        let kthread = state::kthread_flag(b, read, Base::Typed(child))?;
        let flags = b.or(inherited, kthread);
        let flags = b.or(flags, Flags::CLONE.bits() as i32);
        let flags = state::mark_init(b, flags, nspid);
        let process = Who { ktime: now, pid: tgid };

        let stored = state::lookup(b, self.maps.states, child, true);
        when(b, Cond::Eq, stored, 0, |b| count(b, cpu, cpu::NO_STATE));
        when(b, Cond::Ne, stored, 0, |b| {
            b.store(Size::U64, stored, state::at::KTIME, process.ktime);
            b.store(Size::U32, stored, state::at::PID, process.pid);
            b.store(Size::U32, stored, state::at::FLAGS, flags);
            b.store(Size::U64, stored, state::at::PARENT_KTIME, parent.ktime);
            b.store(Size::U32, stored, state::at::PARENT_PID, parent.pid);
            b.store(Size::U32, stored, state::at::NSPID, nspid);
        });

        let slot = b.slot(at::fork::SIZE as u32, 8);
        let record = b.slot_addr(slot, 0);
        process.store(b, record, at::PROCESS);
        parent.store(b, record, at::fork::PARENT);
        b.store(Size::U32, record, at::fork::FLAGS, flags);
        b.store(Size::U32, record, at::fork::NSPID, nspid);
        let id = cgroup.id(b, read, Base::Typed(child))?;
        b.store(Size::U64, record, at::fork::CGROUP, id);
        self.finish_record(record, at::fork::SIZE, kind::FORK, cpu, now)
    }

    /// Sends a record of fixed size and ends the program.
    pub(super) fn finish_record(
        mut self,
        record: Value,
        size: i16,
        kind: u32,
        cpu: Value,
        now: Value,
    ) -> Result<Function, Error> {
        self.header(record, kind, cpu, now);
        let size = self.b.iconst(size.into());
        self.send(record, size, kind, cpu);
        self.b.ret(0);
        Ok(self.b.finish()?)
    }
}
