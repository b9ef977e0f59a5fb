//! The programs that follow processes: where they hang, and what they have in common.

use crate::flow::return_if;
use crate::read::{Base, Reader};
use crate::{Error, helper};
use ebpf::{AtomicOp, Cond, Function, FunctionBuilder, MapRef, Module, Size, Value};
use kernel::btf::{Btf, BtfError};

/// Array with one element: records that could not be kept (u64).
pub(super) const LOST: &str = "tg_follow_lost";

/// Where a program hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// A tracepoint with typed arguments.
    Tracepoint(&'static str),
    /// The task iterator: run once, when the others are attached.
    Tasks,
}

/// A program that follows processes.
#[derive(Debug)]
pub(crate) struct Follower {
    /// Where it hangs.
    pub(crate) hook: Hook,
    /// The program.
    pub(crate) module: Module,
}

/// One function under construction.
pub(super) struct Emitter<'k> {
    pub(super) b: FunctionBuilder,
    pub(super) read: Reader<'k>,
    lost: MapRef,
}

impl<'k> Emitter<'k> {
    pub(super) fn new(name: &str, params: usize, btf: &'k Btf, module: &mut Module) -> Self {
        let mut b = FunctionBuilder::new(name, params);
        let read = Reader::new(&mut b, btf);
        Self { b, read, lost: module.map(LOST) }
    }

    pub(super) fn finish(mut self) -> Result<Function, Error> {
        self.b.ret(0);
        Ok(self.b.finish()?)
    }

    /// A member of a task that the verifier knows the type of.
    pub(super) fn task(&mut self, task: Value, path: &str) -> Result<Value, BtfError> {
        self.read.get(&mut self.b, Base::Typed(task), "task_struct", path)
    }

    /// The thread that leads the task's process, as a pointer whose type the verifier knows. Returns
    /// from the function when there is none.
    pub(super) fn leader(&mut self, task: Value) -> Result<Value, BtfError> {
        let offset = self.read.offset("task_struct", "group_leader")?;
        let leader = self.b.load(Size::U64, task, offset as i16);
        return_if(&mut self.b, Cond::Eq, leader, 0, 0);
        Ok(leader)
    }

    /// Returns from the function unless the task leads its process.
    pub(super) fn leaders_only(&mut self, task: Value) -> Result<(), BtfError> {
        let pid = self.task(task, "pid")?;
        let tgid = self.task(task, "tgid")?;
        return_if(&mut self.b, Cond::Ne, pid, tgid, 0);
        Ok(())
    }

    /// Counts a record that could not be kept.
    pub(super) fn count_lost(&mut self) {
        let lost = self.b.map_value(self.lost, 0);
        self.b.atomic(AtomicOp::Add, Size::U64, lost, 0, 1);
    }

    /// The task's storage, created from `initial` (memory of the map's value size) unless there is
    /// some. Null, and counted as lost, when it cannot be allocated.
    pub(super) fn create(&mut self, map: MapRef, task: Value, initial: Value) -> Value {
        let storage = self.b.map(map);
        let flags = self.b.iconst(helper::STORAGE_CREATE.into());
        let created = self.b.call(helper::TASK_STORAGE_GET, &[storage, task, initial, flags]);
        let (failed, none, have) =
            (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let result = self.b.append_param(have);
        self.b.branch(Cond::Ne, created, 0, have, &[created], failed, &[]);
        self.b.switch_to(failed);
        // Somebody else may have been quicker.
        let present = self.lookup(map, task);
        self.b.branch(Cond::Ne, present, 0, have, &[present], none, &[]);
        self.b.switch_to(none);
        self.count_lost();
        let null = self.b.iconst(0);
        self.b.jump(have, &[null]);
        self.b.switch_to(have);
        result
    }

    /// The task's storage, or null.
    pub(super) fn lookup(&mut self, map: MapRef, task: Value) -> Value {
        crate::base::state::lookup(&mut self.b, map, task, false)
    }

    /// The task that the iterator is at. Returns from the function at the iteration's end.
    pub(super) fn iterated(&mut self) -> Result<Value, BtfError> {
        let context = self.b.param(0);
        let offset = self.read.offset("bpf_iter__task", "task")?;
        let task = self.b.load(Size::U64, context, offset as i16);
        return_if(&mut self.b, Cond::Eq, task, 0, 0);
        Ok(task)
    }
}

/// What is to be done with the record of a process whose leader ends: when a thread that does not lead
/// calls exec it becomes the leader (`de_thread()`), and the old leader's storage goes with the old
/// leader.
pub(super) struct Handover {
    /// The task storage.
    pub(super) storage: MapRef,
    /// Hash from tgid to the same value.
    pub(super) left: MapRef,
}

impl Emitter<'_> {
    /// The body of a program on `sched_process_exit`: leaves the records of a leader that ends before
    /// its other threads, and takes them back when the last one ends.
    pub(super) fn exit(mut self, handovers: &[Handover], btf: &Btf) -> Result<Function, Error> {
        let says_last = btf.tracepoint_prototype("sched_process_exit")?.params.len() > 1;
        let context = self.b.param(0);
        let task = self.b.load(Size::U64, context, 0);
        let tgid = self.task(task, "tgid")?;
        let pid = self.task(task, "pid")?;
        let key = self.b.slot(4, 4);
        self.b.slot_store(Size::U32, key, 0, tgid);
        let others = if says_last {
            let last = self.b.load(Size::U64, context, 8);
            let last = self.b.and(last, 1);
            self.b.xor(last, 1)
        } else {
            self.task(task, "signal.live.counter")?
        };
        let b = &mut self.b;
        let (thread, last) = (b.create_block(), b.create_block());
        b.brif(Cond::Ne, others, 0, thread, last);
        b.switch_to(last);
        for handover in handovers {
            let left = b.map(handover.left);
            let key = b.slot_addr(key, 0);
            b.call(helper::MAP_DELETE_ELEM, &[left, key]);
        }
        b.ret(0);
        b.switch_to(thread);
        return_if(b, Cond::Ne, pid, tgid, 0);
        for handover in handovers {
            let record = self.lookup(handover.storage, task);
            let b = &mut self.b;
            let (leave, next) = (b.create_block(), b.create_block());
            b.brif(Cond::Ne, record, 0, leave, next);
            b.switch_to(leave);
            let left = b.map(handover.left);
            let key = b.slot_addr(key, 0);
            let flags = b.iconst(0);
            let failed = b.call(helper::MAP_UPDATE_ELEM, &[left, key, record, flags]);
            let lost = b.create_block();
            b.brif(Cond::Ne, failed, 0, lost, next);
            b.switch_to(lost);
            self.count_lost();
            self.b.jump(next, &[]);
            self.b.switch_to(next);
        }
        self.finish()
    }

    /// The record of a process that has just called exec: its own, or what its old leader left; null
    /// when there is neither.
    pub(super) fn taken_over(
        &mut self,
        task: Value,
        handover: &Handover,
    ) -> Result<Value, BtfError> {
        let own = self.lookup(handover.storage, task);
        let b = &mut self.b;
        let (absent, found, have) = (b.create_block(), b.create_block(), b.create_block());
        let record = b.append_param(have);
        b.branch(Cond::Ne, own, 0, have, &[own], absent, &[]);
        b.switch_to(absent);
        let tgid = self.task(task, "tgid")?;
        let b = &mut self.b;
        let key = b.slot(4, 4);
        b.slot_store(Size::U32, key, 0, tgid);
        let map = b.map(handover.left);
        let key_at = b.slot_addr(key, 0);
        let left = b.call(helper::MAP_LOOKUP_ELEM, &[map, key_at]);
        let none = b.iconst(0);
        b.branch(Cond::Ne, left, 0, found, &[], have, &[none]);
        b.switch_to(found);
        let created = self.create(handover.storage, task, left);
        let b = &mut self.b;
        let map = b.map(handover.left);
        let key_at = b.slot_addr(key, 0);
        b.call(helper::MAP_DELETE_ELEM, &[map, key_at]);
        b.jump(have, &[created]);
        b.switch_to(have);
        Ok(record)
    }
}
