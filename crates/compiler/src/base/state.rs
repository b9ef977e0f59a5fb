//! What the kernel side keeps of a process: one small structure in task-local storage of its
//! thread-group leader.
//!
//! It is created at fork, before the child runs, so nothing races with its creation; for a process
//! that ran before the agent, user space creates it once (`BPF_NOEXIST`) from what the task iterator
//! reported, or its first exec does. Where there is none, the identity of such a process follows from
//! its start time alone, so every program and the scan of /proc arrive at the same one.

use super::record::Flags;
use crate::flow::choose;
use crate::helper;
use crate::read::{Base, Reader};
use ebpf::{Cond, FunctionBuilder, MapRef, Size, Value};
use kernel::btf::BtfError;

/// Byte offsets in the state.
pub(crate) mod at {
    /// Identity: start time (u64).
    pub(crate) const KTIME: i16 = 0;
    /// Identity: pid (u32).
    pub(crate) const PID: i16 = 8;
    /// [`super::Flags`] (u32); 0 in fresh storage.
    pub(crate) const FLAGS: i16 = 12;
    /// Parent's identity: start time (u64).
    pub(crate) const PARENT_KTIME: i16 = 16;
    /// Parent's identity: pid (u32).
    pub(crate) const PARENT_PID: i16 = 24;
    /// Pid in the innermost pid namespace, 0 in the host's (u32).
    pub(crate) const NSPID: i16 = 28;
    /// 1 once the exit was reported (u64, exchanged atomically).
    pub(crate) const EXITED: i16 = 32;
    /// Size of the state.
    pub(crate) const SIZE: i16 = 40;
}

/// Identity of the kernel itself, the parent of pids 1 and 2.
const KERNEL_KTIME: i64 = 1;
/// `/proc/PID/stat` counts in ticks of 10 ms (USER_HZ is 100 on every architecture but alpha).
const TICK_NS: i32 = 10_000_000;
/// `PF_KTHREAD` (include/linux/sched.h)
const PF_KTHREAD: i32 = 0x0020_0000;

/// An identity as two values.
#[derive(Clone, Copy)]
pub(crate) struct Who {
    pub(crate) ktime: Value,
    pub(crate) pid: Value,
}

impl Who {
    /// Reads an identity that stands at `base + offset`.
    pub(crate) fn load(b: &mut FunctionBuilder, base: Value, offset: i16) -> Self {
        Self {
            ktime: b.load(Size::U64, base, offset),
            pid: b.load(Size::U32, base, offset + (at::PID - at::KTIME)),
        }
    }

    /// Writes it as records have it: 16 bytes, the last four zero.
    pub(crate) fn store(self, b: &mut FunctionBuilder, base: Value, offset: i16) {
        b.store(Size::U64, base, offset, self.ktime);
        b.store(Size::U32, base, offset + 8, self.pid);
        b.store(Size::U32, base, offset + 12, 0);
    }
}

/// The storage of `task`, or null.
pub(crate) fn lookup(b: &mut FunctionBuilder, states: MapRef, task: Value, create: bool) -> Value {
    let map = b.map(states);
    let none = b.iconst(0);
    let flags = b.iconst(if create { helper::STORAGE_CREATE.into() } else { 0 });
    b.call(helper::TASK_STORAGE_GET, &[map, task, none, flags])
}

/// The identity of a process nobody announced, from its leader's start time.
pub(crate) fn identity(
    b: &mut FunctionBuilder,
    read: &Reader<'_>,
    leader: Base,
) -> Result<Who, BtfError> {
    let pid = read.get(b, leader, "task_struct", "tgid")?;
    let boot = read.get(b, leader, "task_struct", "start_boottime")?;
    let ticks = b.div(boot, TICK_NS);
    let ktime = b.mul(ticks, TICK_NS);
    let ktime = choose(b, Cond::Eq, pid, 0, |b| b.iconst(KERNEL_KTIME), |_| ktime);
    Ok(Who { ktime, pid })
}

/// [`Flags::KTHREAD`] or nothing, by the task's flags.
pub(super) fn kthread_flag(
    b: &mut FunctionBuilder,
    read: &Reader<'_>,
    task: Base,
) -> Result<Value, BtfError> {
    let flags = read.get(b, task, "task_struct", "flags")?;
    Ok(choose(
        b,
        Cond::Test,
        flags,
        PF_KTHREAD,
        |b| b.iconst(Flags::KTHREAD.bits().into()),
        |b| b.iconst(0),
    ))
}

/// Fills `state` (in storage, scratch or a stack slot) for a process nobody announced.
pub(super) fn synthesize(
    b: &mut FunctionBuilder,
    read: &Reader<'_>,
    leader: Base,
    state: Value,
    flags: Flags,
) -> Result<(), BtfError> {
    let who = identity(b, read, leader)?;
    b.store(Size::U64, state, at::KTIME, who.ktime);
    b.store(Size::U32, state, at::PID, who.pid);
    let parent = read.get(b, leader, "task_struct", "real_parent")?;
    let parent = read.get(b, Base::Address(parent), "task_struct", "group_leader")?;
    let parent = identity(b, read, Base::Address(parent))?;
    b.store(Size::U64, state, at::PARENT_KTIME, parent.ktime);
    b.store(Size::U32, state, at::PARENT_PID, parent.pid);
    let (nspid, _) = pid_namespace(b, read, leader)?;
    b.store(Size::U32, state, at::NSPID, nspid);
    let kthread = kthread_flag(b, read, leader)?;
    let flags = b.or(kthread, (Flags::PROCFS | flags).bits() as i32);
    let flags = mark_init(b, flags, nspid);
    b.store(Size::U32, state, at::FLAGS, flags);
    Ok(())
}

/// Adds [`Flags::IN_INIT_TREE`] for pid 1 of a pid namespace.
pub(super) fn mark_init(b: &mut FunctionBuilder, flags: Value, nspid: Value) -> Value {
    choose(b, Cond::Eq, nspid, 1, |b| b.or(flags, Flags::IN_INIT_TREE.bits() as i32), |_| flags)
}

/// The task's pid in its innermost pid namespace (0 in the host's), and the address of that
/// `struct pid_namespace`: `task_pid_nr_ns()` and `task_active_pid_ns()`.
pub(crate) fn pid_namespace(
    b: &mut FunctionBuilder,
    read: &Reader<'_>,
    task: Base,
) -> Result<(Value, Value), BtfError> {
    let pid = read.get(b, task, "task_struct", "thread_pid")?;
    let level = read.get(b, Base::Address(pid), "pid", "level")?;
    let numbers = read.offset("pid", "numbers")?;
    let index = b.mul(level, read.size("upid")?);
    let upid = b.add(pid, index);
    let upid = b.add(upid, numbers);
    let number = read.get(b, Base::Address(upid), "upid", "nr")?;
    let namespace = read.get(b, Base::Address(upid), "upid", "ns")?;
    let number = choose(b, Cond::Eq, level, 0, |b| b.iconst(0), |_| number);
    Ok((number, namespace))
}

/// The storage of `leader`, created and, when it is new, filled; null when it cannot be allocated.
/// Only for tasks that nobody else can be filling: the current process's.
///
/// A thread other than the leader that calls exec becomes the leader (`de_thread()`), and the old
/// leader's storage goes with the old leader: its content was left in `leaderless` when it ended.
pub(super) fn own(
    b: &mut FunctionBuilder,
    read: &Reader<'_>,
    maps: &super::emit::Maps,
    leader: Value,
) -> Result<Value, BtfError> {
    let state = lookup(b, maps.states, leader, true);
    let (present, fresh, inherit, unknown, join) =
        (b.create_block(), b.create_block(), b.create_block(), b.create_block(), b.create_block());
    b.brif(Cond::Ne, state, 0, present, join);
    b.switch_to(present);
    let ktime = b.load(Size::U64, state, at::KTIME);
    b.brif(Cond::Eq, ktime, 0, fresh, join);

    b.switch_to(fresh);
    let tgid = read.get(b, Base::Typed(leader), "task_struct", "tgid")?;
    let key = b.slot(4, 4);
    b.slot_store(Size::U32, key, 0, tgid);
    let map = b.map(maps.leaderless);
    let key_at = b.slot_addr(key, 0);
    let left = b.call(helper::MAP_LOOKUP_ELEM, &[map, key_at]);
    b.brif(Cond::Ne, left, 0, inherit, unknown);

    b.switch_to(inherit);
    for offset in (0..at::EXITED).step_by(8) {
        let word = b.load(Size::U64, left, offset);
        b.store(Size::U64, state, offset, word);
    }
    let map = b.map(maps.leaderless);
    let key_at = b.slot_addr(key, 0);
    b.call(helper::MAP_DELETE_ELEM, &[map, key_at]);
    b.jump(join, &[]);

    b.switch_to(unknown);
    synthesize(b, read, Base::Typed(leader), state, Flags::empty())?;
    b.jump(join, &[]);
    b.switch_to(join);
    Ok(state)
}
