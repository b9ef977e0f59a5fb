//! Whether a process, or one that it descends from, is of some kind: runs one of some executables, or
//! has one of some ids.
//!
//! A child begins with its parent's answer, so it stands when the ancestor is long gone. The image that
//! an exec replaces counts as an ancestor. For a process from before all this, its living ancestors are
//! asked once. One question is one task storage, which all filters share that ask the same.

use super::image::{IMAGES, LONG, OWN};
use super::maps::{Shape, Wanted};
use super::program::{Emitter, Follower, Handover, Hook};
use crate::base::record::Flags;
use crate::base::state;
use crate::emit::map::STATES;
use crate::filter::{paths, set};
use crate::flow::{choose, return_if, when};
use crate::read::Base;
use crate::{Error, helper};
use ebpf::{Cond, FuncId, Function, MapRef, Module, Size, Value};
use kernel::btf::{Btf, BtfError};
use policy::checked::{BinaryFilter, PathComparison, PidFilter};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What is asked of a process and of its ancestors.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Ancestry {
    /// Whether its executable is one of these.
    Binary(Vec<Vec<u8>>),
    /// Whether its id is one of these.
    Pid(Vec<u32>),
    /// Whether its id in its own pid namespace is one of these, 0 standing for the host's; only of
    /// ancestors in the process's own namespace.
    NamespacePid(Vec<u32>),
}

/// Byte offsets in the record, which is on the thread that leads the process.
pub(crate) mod at {
    /// 1: the process or one of its ancestors is (u64).
    pub(crate) const MATCHED: i16 = 0;
    /// The same of its parent, as it was at the fork or is since the last exec (u64).
    pub(crate) const PARENT: i16 = 8;
    /// 1 between fork and exec (u64).
    pub(super) const FORKED: i16 = 16;
    /// Size.
    pub(super) const SIZE: i16 = 24;
}

/// Where a walk over the ancestors stands.
mod walk {
    /// Leader of the process it is at.
    pub(super) const TASK: i16 = 0;
    /// Whether one matched (u64).
    pub(super) const MATCHED: i16 = 8;
    /// Address of the pid namespace it began in (u64).
    pub(super) const NAMESPACE: i16 = 16;
    pub(super) const SIZE: u32 = 24;
}

/// Nobody has more ancestors than there can be processes (`PID_MAX_LIMIT`).
const STEPS: i64 = 1 << 22;
/// Processes whose leader has ended before its other threads, at most: as the base programs have it.
const LEFT_MAX: u32 = 1024;

impl Ancestry {
    /// What a filter with followChildren asks.
    pub(crate) fn of_binaries(filter: &BinaryFilter) -> Option<Self> {
        let mut values = filter.values.clone();
        values.sort();
        values.dedup();
        filter.follow_children.then_some(Self::Binary(values))
    }

    /// What a filter with followForks asks.
    pub(crate) fn of_pids(filter: &PidFilter) -> Option<Self> {
        let mut values = filter.values.clone();
        values.sort_unstable();
        values.dedup();
        filter.follow_forks.then_some(match filter.in_namespace {
            true => Self::NamespacePid(values),
            false => Self::Pid(values),
        })
    }

    /// Name of its task storage.
    pub(crate) fn name(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        format!("tg_anc_{:016x}", hasher.finish())
    }

    fn left(&self) -> String {
        format!("{}_left", self.name())
    }

    pub(super) fn maps(&self) -> Vec<Wanted> {
        let size = at::SIZE as u32;
        let left = Shape::Hash { key_size: 4, max_entries: LEFT_MAX };
        vec![Wanted::new(self.name(), Shape::Tasks, size), Wanted::new(self.left(), left, size)]
    }

    /// The programs, in the order in which they are to be attached and run.
    pub(crate) fn followers(&self, btf: &Btf) -> Result<Vec<Follower>, Error> {
        let hook = Hook::Tracepoint;
        Ok(vec![
            self.follower(btf, "tg_anc_exit", hook("sched_process_exit"), |refs, e| {
                e.exit(&[refs.handover()], btf)
            })?,
            self.follower(btf, "tg_anc_exec", hook("sched_process_exec"), |r, e| r.exec(e))?,
            self.follower(btf, "tg_anc_fork", hook("sched_process_fork"), |r, e| r.fork(e))?,
            self.follower(btf, "tg_anc_tasks", Hook::Tasks, |r, e| r.scan(e))?,
        ])
    }

    fn follower<'k>(
        &self,
        btf: &'k Btf,
        name: &'static str,
        hook: Hook,
        body: impl FnOnce(Refs<'_>, Emitter<'k>) -> Result<Function, Error>,
    ) -> Result<Follower, Error> {
        let mut module = Module::new(name);
        let refs = Refs {
            ancestry: self,
            records: module.map(self.name()),
            left: module.map(self.left()),
            images: module.map(IMAGES),
            long: module.map(LONG),
            states: module.map(STATES),
            main: module.declare(name, 1),
            matches: module.declare("tg_matches", 2),
            step: module.declare("tg_ancestor", 2),
        };
        let function = Emitter::new(name, 1, btf, &mut module);
        module.define(refs.main, body(refs, function)?);
        let function = Emitter::new("tg_matches", 2, btf, &mut module);
        module.define(refs.matches, refs.matches(function)?);
        let function = Emitter::new("tg_ancestor", 2, btf, &mut module);
        module.define(refs.step, refs.step(function)?);
        Ok(Follower { hook, module })
    }
}

/// What the functions of one program refer to.
#[derive(Clone, Copy)]
struct Refs<'a> {
    ancestry: &'a Ancestry,
    records: MapRef,
    left: MapRef,
    images: MapRef,
    long: MapRef,
    states: MapRef,
    main: FuncId,
    /// [`Self::matches`]
    matches: FuncId,
    /// [`Self::step`]
    step: FuncId,
}

impl Refs<'_> {
    fn handover(self) -> Handover {
        Handover { storage: self.records, left: self.left }
    }

    fn follows_namespaces(self) -> bool {
        matches!(self.ancestry, Ancestry::NamespacePid(_))
    }

    /// The function that gives 1 for a process, by its leader, that is itself what is asked; and, where
    /// that matters, is in the pid namespace of this address.
    fn matches(self, mut e: Emitter<'_>) -> Result<Function, Error> {
        let leader = e.b.param(0);
        let (yes, no) = (e.b.create_block(), e.b.create_block());
        match self.ancestry {
            Ancestry::Binary(values) => {
                let misses = paths::Misses { unknown: no, too_long: no };
                let path = paths::find(&mut e.b, self.images, self.long, leader, OWN, misses);
                paths::compare(&mut e.b, path, PathComparison::Exact, values, yes);
            }
            Ancestry::Pid(values) => {
                let pid = e.task(leader, "tgid")?;
                set::find(&mut e.b, pid, values.iter().copied(), yes);
            }
            Ancestry::NamespacePid(values) => {
                let wanted = e.b.param(1);
                let (pid, own) = state::pid_namespace(&mut e.b, &e.read, Base::Typed(leader))?;
                return_if(&mut e.b, Cond::Ne, own, wanted, 0);
                set::find(&mut e.b, pid, values.iter().copied(), yes);
            }
        }
        e.b.jump(no, &[]);
        e.b.switch_to(yes);
        e.b.ret(1);
        e.b.switch_to(no);
        e.finish()
    }

    /// One step to the parent; a callback whose second parameter points to where the walk stands. Gives
    /// 1 to stop.
    fn step(self, mut e: Emitter<'_>) -> Result<Function, Error> {
        let context = e.b.param(1);
        let task = e.b.load(Size::U64, context, walk::TASK);
        let offset = e.read.offset("task_struct", "real_parent")?;
        let parent = e.b.load(Size::U64, task, offset as i16);
        return_if(&mut e.b, Cond::Eq, parent, 0, 1);
        let offset = e.read.offset("task_struct", "group_leader")?;
        let leader = e.b.load(Size::U64, parent, offset as i16);
        return_if(&mut e.b, Cond::Eq, leader, 0, 1);
        let pid = e.task(leader, "tgid")?;
        return_if(&mut e.b, Cond::Eq, pid, 0, 1);
        e.b.store(Size::U64, context, walk::TASK, leader);
        let namespace = e.b.load(Size::U64, context, walk::NAMESPACE);
        let found = e.b.call_func(self.matches, &[leader, namespace]);
        let (yes, ask, no) = (e.b.create_block(), e.b.create_block(), e.b.create_block());
        e.b.brif(Cond::Ne, found, 0, yes, ask);
        e.b.switch_to(ask);
        if self.follows_namespaces() {
            e.b.jump(no, &[]);
        } else {
            // It may have outlived its own ancestors.
            let record = e.lookup(self.records, leader);
            let known = e.b.create_block();
            e.b.brif(Cond::Ne, record, 0, known, no);
            e.b.switch_to(known);
            let matched = e.b.load(Size::U64, record, at::MATCHED);
            e.b.brif(Cond::Ne, matched, 0, yes, no);
        }
        e.b.switch_to(yes);
        e.b.store(Size::U64, context, walk::MATCHED, 1);
        e.b.ret(1);
        e.b.switch_to(no);
        e.finish()
    }

    /// Address of the pid namespace of a process, where it matters.
    fn namespace(self, e: &mut Emitter<'_>, leader: Value) -> Result<Value, BtfError> {
        match self.follows_namespaces() {
            true => Ok(state::pid_namespace(&mut e.b, &e.read, Base::Typed(leader))?.1),
            false => Ok(e.b.iconst(0)),
        }
    }

    /// Makes the record of a process that has none, by asking its ancestors.
    fn fresh(self, e: &mut Emitter<'_>, leader: Value) -> Result<Value, Error> {
        let namespace = self.namespace(e, leader)?;
        let walk = e.b.slot(walk::SIZE, 8);
        e.b.slot_store(Size::U64, walk, walk::TASK, leader);
        e.b.slot_store(Size::U64, walk, walk::MATCHED, 0);
        e.b.slot_store(Size::U64, walk, walk::NAMESPACE, namespace);
        let steps = e.b.iconst(STEPS);
        let step = e.b.func_addr(self.step);
        let context = e.b.slot_addr(walk, 0);
        let flags = e.b.iconst(0);
        e.b.call(helper::LOOP, &[steps, step, context, flags]);
        let ancestors = e.b.slot_load(Size::U64, walk, walk::MATCHED);
        let own = e.b.call_func(self.matches, &[leader, namespace]);
        let matched = e.b.or(own, ancestors);
        let known = e.lookup(self.states, leader);
        let forked = choose(
            &mut e.b,
            Cond::Ne,
            known,
            0,
            |b| {
                let flags = b.load(Size::U32, known, state::at::FLAGS);
                let clone = Flags::CLONE.bits() as i32;
                choose(b, Cond::Test, flags, clone, |b| b.iconst(1), |b| b.iconst(0))
            },
            |b| b.iconst(0),
        );
        Ok(self.create(e, leader, matched, ancestors, forked))
    }

    fn create(
        self,
        e: &mut Emitter<'_>,
        leader: Value,
        matched: Value,
        parent: Value,
        forked: Value,
    ) -> Value {
        let slot = e.b.slot(at::SIZE as u32, 8);
        e.b.slot_store(Size::U64, slot, at::MATCHED, matched);
        e.b.slot_store(Size::U64, slot, at::PARENT, parent);
        e.b.slot_store(Size::U64, slot, at::FORKED, forked);
        let initial = e.b.slot_addr(slot, 0);
        e.create(self.records, leader, initial)
    }

    /// `sched_process_fork`: the child's ancestors are its parent and its parent's.
    fn fork(self, mut e: Emitter<'_>) -> Result<Function, Error> {
        let context = e.b.param(0);
        let parent = e.b.load(Size::U64, context, 0);
        let child = e.b.load(Size::U64, context, 8);
        e.leaders_only(child)?;
        let leader = e.leader(parent)?;
        let known = e.lookup(self.records, leader);
        let (absent, have) = (e.b.create_block(), e.b.create_block());
        let record = e.b.append_param(have);
        e.b.branch(Cond::Ne, known, 0, have, &[known], absent, &[]);
        e.b.switch_to(absent);
        let fresh = self.fresh(&mut e, leader)?;
        return_if(&mut e.b, Cond::Eq, fresh, 0, 0);
        e.b.jump(have, &[fresh]);
        e.b.switch_to(have);
        let inherited = e.b.load(Size::U64, record, at::MATCHED);
        let matched = match self.ancestry {
            // It still runs what its parent runs.
            Ancestry::Binary(_) => inherited,
            Ancestry::Pid(_) | Ancestry::NamespacePid(_) => {
                let namespace = self.namespace(&mut e, child)?;
                let own = e.b.call_func(self.matches, &[child, namespace]);
                let before = self.namespace(&mut e, leader)?;
                let followed =
                    choose(&mut e.b, Cond::Eq, namespace, before, |_| inherited, |b| b.iconst(0));
                e.b.or(own, followed)
            }
        };
        let forked = e.b.iconst(1);
        self.create(&mut e, child, matched, inherited, forked);
        e.finish()
    }

    /// `sched_process_exec`: the image that was replaced is an ancestor, and the parent unless the
    /// process was just forked.
    fn exec(self, mut e: Emitter<'_>) -> Result<Function, Error> {
        let context = e.b.param(0);
        let task = e.b.load(Size::U64, context, 0);
        let record = e.taken_over(task, &self.handover())?;
        let (known, unknown) = (e.b.create_block(), e.b.create_block());
        e.b.brif(Cond::Ne, record, 0, known, unknown);
        e.b.switch_to(unknown);
        self.fresh(&mut e, task)?;
        e.b.ret(0);
        e.b.switch_to(known);
        let matched = e.b.load(Size::U64, record, at::MATCHED);
        let forked = e.b.load(Size::U64, record, at::FORKED);
        when(&mut e.b, Cond::Eq, forked, 0, |b| {
            b.store(Size::U64, record, at::PARENT, matched);
        });
        e.b.store(Size::U64, record, at::FORKED, 0);
        if let Ancestry::Binary(_) = self.ancestry {
            let none = e.b.iconst(0);
            let own = e.b.call_func(self.matches, &[task, none]);
            let matched = e.b.or(own, matched);
            e.b.store(Size::U64, record, at::MATCHED, matched);
        }
        e.finish()
    }

    /// The task iterator: whoever has no record gets one.
    fn scan(self, mut e: Emitter<'_>) -> Result<Function, Error> {
        let task = e.iterated()?;
        let leader = e.leader(task)?;
        let known = e.lookup(self.records, leader);
        return_if(&mut e.b, Cond::Ne, known, 0, 0);
        self.fresh(&mut e, leader)?;
        e.finish()
    }
}
