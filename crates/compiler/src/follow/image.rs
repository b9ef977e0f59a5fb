//! The executables of a process and of its parent, by their paths from the process's root.
//!
//! The parent is the process that forked it, as it was then; after an exec without a fork before it,
//! the image that was replaced; for a process from before all this, what its parent runs now. A path
//! is taken once, at exec, so that renaming or removing the file changes nothing. It stands without
//! ` (deleted)`. Threads of the kernel have no record.
//!
//! Most paths are short: the record has room for [`SHORT`] bytes of each, longer ones are in storage
//! of their own. Who reads follows the length: 0 is a path that is not known, more than
//! [`walk::PATH_MAX`] one that is too long for a path.

use super::maps::{Shape, Wanted};
use super::program::{Emitter, Follower, Handover, Hook};
use crate::base::record::Flags;
use crate::base::state;
use crate::flow::{choose, return_if, when};
use crate::read::Base;
use crate::walk::{self, BUFFER_SIZE, PATH_MAX, STATE_SIZE, Walk};
use crate::{Error, helper};
use ebpf::{Cond, FuncId, Function, MapRef, Module, Size, Value};
use kernel::btf::Btf;

/// Task storage of [`at`], on the threads that lead processes.
pub(crate) const IMAGES: &str = "tg_image";
/// Task storage of [`long`].
pub(crate) const LONG: &str = "tg_image_long";
/// Records whose leader has ended, by tgid.
const LEFT: &str = "tg_image_left";
/// Long paths whose leader has ended, by tgid.
const LONG_LEFT: &str = "tg_image_lleft";
/// Per-CPU memory of the programs on tracepoints, which do not interrupt each other.
const MEMORY: &str = "tg_image_memory";
/// The same for the iterator, which they do interrupt.
const SCAN_MEMORY: &str = "tg_image_scan";

/// Longest path in the record itself.
pub(crate) const SHORT: i32 = 240;
/// Length of paths that are too long.
const TOO_LONG: i32 = PATH_MAX + 1;
/// Set in [`at::FLAGS`] between fork and exec.
const FORKED: i32 = 1;
/// Processes whose leader has ended before its other threads, at most: as the base programs have it.
const LEFT_MAX: u32 = 1024;

/// Byte offsets in the record.
pub(crate) mod at {
    /// Length of the process's own path (u32).
    pub(crate) const LENGTH: i16 = 0;
    /// Length of its parent's (u32).
    pub(crate) const PARENT_LENGTH: i16 = 4;
    /// [`super::FORKED`] (u32).
    pub(crate) const FLAGS: i16 = 8;
    /// Zero (u32).
    pub(crate) const PAD: i16 = 12;
    /// Its own path.
    pub(crate) const PATH: i16 = 16;
    /// Its parent's.
    pub(crate) const PARENT_PATH: i16 = PATH + super::SHORT as i16;
    /// Size.
    pub(crate) const SIZE: i16 = PARENT_PATH + super::SHORT as i16;
}

/// Byte offsets in the storage of long paths.
pub(crate) mod long {
    use crate::walk::PATH_MAX;
    /// Its own path.
    pub(crate) const PATH: i32 = 0;
    /// Its parent's.
    pub(crate) const PARENT_PATH: i32 = PATH_MAX;
    /// Size.
    pub(crate) const SIZE: i32 = 2 * PATH_MAX;
}

/// Byte offsets in the per-CPU memory: a record, a walk, and where the path starts in its buffer (u64).
mod memory {
    use super::{BUFFER_SIZE, STATE_SIZE, at};
    pub(super) const RECORD: i32 = 0;
    pub(super) const BUFFER: i32 = at::SIZE as i32;
    pub(super) const STATE: i32 = BUFFER + BUFFER_SIZE;
    pub(super) const START: i32 = STATE + STATE_SIZE;
    pub(super) const SIZE: i32 = START + 8;
}

const WALK: walk::Memory = walk::Memory { buffer: memory::BUFFER, state: memory::STATE };

/// Whose path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    /// Where its length is in the record.
    pub(crate) length: i16,
    /// Where it is there.
    pub(crate) path: i16,
    /// Where it is in the storage of long paths.
    pub(crate) long: i32,
}

/// The process's own.
pub(crate) const OWN: Side = Side { length: at::LENGTH, path: at::PATH, long: long::PATH };
/// Its parent's.
pub(crate) const PARENT: Side =
    Side { length: at::PARENT_LENGTH, path: at::PARENT_PATH, long: long::PARENT_PATH };

/// The maps.
pub(super) fn maps() -> Vec<Wanted> {
    let left = Shape::Hash { key_size: 4, max_entries: LEFT_MAX };
    vec![
        Wanted::new(IMAGES, Shape::Tasks, at::SIZE as u32),
        Wanted::new(LONG, Shape::Tasks, long::SIZE as u32),
        Wanted::new(LEFT, left, at::SIZE as u32),
        Wanted::new(LONG_LEFT, left, long::SIZE as u32),
        Wanted::new(MEMORY, Shape::PerCpu, memory::SIZE as u32),
        Wanted::new(SCAN_MEMORY, Shape::PerCpu, memory::SIZE as u32),
    ]
}

/// References to them in one module.
#[derive(Clone, Copy)]
struct Maps {
    images: MapRef,
    long: MapRef,
    left: MapRef,
    long_left: MapRef,
    memory: MapRef,
    states: MapRef,
}

impl Maps {
    fn handover(self) -> Handover {
        Handover { storage: self.images, left: self.left }
    }

    fn long_handover(self) -> Handover {
        Handover { storage: self.long, left: self.long_left }
    }
}

/// The programs, in the order in which they are to be attached and run: a process that ends while they
/// are attached leaves nothing behind.
pub(crate) fn followers(btf: &Btf) -> Result<Vec<Follower>, Error> {
    let exit = Hook::Tracepoint("sched_process_exit");
    Ok(vec![
        follower(btf, "tg_image_exit", exit, MEMORY, |e, refs| {
            let maps = refs.maps;
            e.exit(&[maps.handover(), maps.long_handover()], btf)
        })?,
        follower(btf, "tg_image_exec", Hook::Tracepoint("sched_process_exec"), MEMORY, exec)?,
        follower(btf, "tg_image_fork", Hook::Tracepoint("sched_process_fork"), MEMORY, fork)?,
        follower(btf, "tg_image_tasks", Hook::Tasks, SCAN_MEMORY, scan)?,
    ])
}

/// What the functions of one program refer to.
#[derive(Clone, Copy)]
struct Refs {
    maps: Maps,
    /// [`executable`]
    executable: FuncId,
}

fn follower<'k>(
    btf: &'k Btf,
    name: &'static str,
    hook: Hook,
    memory: &str,
    body: impl FnOnce(Emitter<'k>, Refs) -> Result<Function, Error>,
) -> Result<Follower, Error> {
    let mut module = Module::new(name);
    let maps = Maps {
        images: module.map(IMAGES),
        long: module.map(LONG),
        left: module.map(LEFT),
        long_left: module.map(LONG_LEFT),
        memory: module.map(memory),
        states: module.map(crate::emit::map::STATES),
    };
    let main = module.declare(name, 1);
    let refs = Refs { maps, executable: module.declare("tg_executable", 1) };
    let step = module.declare("tg_path_step", 2);
    let function = Emitter::new(name, 1, btf, &mut module);
    module.define(main, body(function, refs)?);
    let function = Emitter::new("tg_executable", 1, btf, &mut module);
    module.define(refs.executable, executable(function, maps, step)?);
    let function = Emitter::new("tg_path_step", 2, btf, &mut module);
    module.define(step, walk::step(function.b, &function.read, WALK)?);
    Ok(Follower { hook, module })
}

/// The function that builds the path of a task's executable in the per-CPU memory, and gives its
/// length.
fn executable(mut e: Emitter<'_>, maps: Maps, step: FuncId) -> Result<Function, Error> {
    let task = Base::Address(e.b.param(0));
    let area = crate::emit::scratch::element(&mut e.b, maps.memory, 0, 0);
    let (b, read) = (&mut e.b, &e.read);
    let file = read.get(b, task, "task_struct", "mm.exe_file")?;
    return_if(b, Cond::Eq, file, 0, 0);
    let dentry = read.get(b, Base::Address(file), "file", "f_path.dentry")?;
    let mount = read.get(b, Base::Address(file), "file", "f_path.mnt")?;
    let root = read.address(b, task, "task_struct", "fs.root")?;
    let from = walk::From { dentry, mount: Some(mount), root: Some(root) };
    let path = Walk { b, read, area, memory: WALK }.up(from, step)?;
    let b = &mut e.b;
    let whole = b.iconst(PATH_MAX.into());
    let start = b.sub(whole, path.length);
    b.store(Size::U64, area, memory::START as i16, start);
    let (cut, complete) = (b.create_block(), b.create_block());
    b.brif(Cond::Eq, path.extent, walk::extent::WHOLE, complete, cut);
    b.switch_to(cut);
    return_if(b, Cond::Ne, path.extent, walk::extent::END, 0);
    b.ret(TOO_LONG);
    b.switch_to(complete);
    // What Walk::up() took for a file that is no longer linked.
    let hashed = e.read.get(b, Base::Address(dentry), "dentry", "d_hash.pprev")?;
    let parent = e.read.get(b, Base::Address(dentry), "dentry", "d_parent")?;
    let (unhashed, root, deleted, linked) =
        (b.create_block(), b.create_block(), b.create_block(), b.create_block());
    b.brif(Cond::Eq, hashed, 0, unhashed, linked);
    b.switch_to(unhashed);
    b.brif(Cond::Eq, parent, dentry, root, deleted);
    b.switch_to(root);
    b.jump(linked, &[]);
    b.switch_to(deleted);
    let length = b.sub(path.length, walk::DELETED.len() as i32);
    return_if(b, Cond::Slt, length, 0, 0); // cannot be; the verifier asks
    b.ret(length);
    b.switch_to(linked);
    b.ret(path.length);
    Ok(e.b.finish()?)
}

impl Refs {
    /// The per-CPU memory.
    fn area(self, e: &mut Emitter<'_>) -> Value {
        crate::emit::scratch::element(&mut e.b, self.maps.memory, 0, 0)
    }

    /// Takes the path of `task`'s executable into one side of `record`; a long one into storage of
    /// `leader`. Gives its length.
    fn take(
        self,
        e: &mut Emitter<'_>,
        record: Value,
        side: Side,
        task: Value,
        leader: Value,
    ) -> Value {
        let length = e.b.call_func(self.executable, &[task]);
        let area = self.area(e);
        let b = &mut e.b;
        let kept = b.var();
        b.def(kept, length);
        let start = b.load(Size::U64, area, memory::START as i16);
        let start = b.and(start, PATH_MAX - 1);
        let from = b.add(area, start);
        let from = b.add(from, memory::BUFFER);
        let (short, long, fits, room, lost, done) = (
            b.create_block(),
            b.create_block(),
            b.create_block(),
            b.create_block(),
            b.create_block(),
            b.create_block(),
        );
        b.brif(Cond::Ugt, length, SHORT, long, short);
        b.switch_to(short);
        let to = b.add(record, i32::from(side.path));
        b.call(helper::PROBE_READ_KERNEL, &[to, length, from]);
        b.jump(done, &[]);
        b.switch_to(long);
        b.brif(Cond::Ugt, length, PATH_MAX, done, fits);
        b.switch_to(fits);
        let storage = state::lookup(b, self.maps.long, leader, true);
        b.brif(Cond::Ne, storage, 0, room, lost);
        b.switch_to(room);
        let to = b.add(storage, side.long);
        b.call(helper::PROBE_READ_KERNEL, &[to, length, from]);
        b.jump(done, &[]);
        b.switch_to(lost);
        e.count_lost();
        let b = &mut e.b;
        let unknown = b.iconst(0);
        b.def(kept, unknown);
        b.jump(done, &[]);
        b.switch_to(done);
        let length = b.get(kept);
        b.store(Size::U32, record, side.length, length);
        length
    }

    /// Makes the record of a process that has none, from `task`, one of its threads. Gives null for
    /// those that have no executable.
    fn fresh(self, e: &mut Emitter<'_>, task: Value, leader: Value) -> Result<Value, Error> {
        let area = self.area(e);
        let record = e.b.add(area, memory::RECORD);
        let known = e.lookup(self.maps.states, leader);
        let forked = choose(
            &mut e.b,
            Cond::Ne,
            known,
            0,
            |b| {
                let flags = b.load(Size::U32, known, state::at::FLAGS);
                let clone = Flags::CLONE.bits() as i32;
                choose(b, Cond::Test, flags, clone, |b| b.iconst(FORKED.into()), |b| b.iconst(0))
            },
            |b| b.iconst(0),
        );
        e.b.store(Size::U32, record, at::FLAGS, forked);
        e.b.store(Size::U32, record, at::PAD, 0);
        let own = self.take(e, record, OWN, task, leader);
        let (some, have) = (e.b.create_block(), e.b.create_block());
        let result = e.b.append_param(have);
        let none = e.b.iconst(0);
        e.b.branch(Cond::Ne, own, 0, some, &[], have, &[none]);
        e.b.switch_to(some);
        let parent = e.task(task, "real_parent")?;
        self.take(e, record, PARENT, parent, leader);
        let created = e.create(self.maps.images, leader, record);
        e.b.jump(have, &[created]);
        e.b.switch_to(have);
        Ok(result)
    }
}

/// `sched_process_fork`: the child has its parent's image, and that is its parent.
fn fork(mut e: Emitter<'_>, refs: Refs) -> Result<Function, Error> {
    let context = e.b.param(0);
    let parent = e.b.load(Size::U64, context, 0);
    let child = e.b.load(Size::U64, context, 8);
    e.leaders_only(child)?;
    let leader = e.leader(parent)?;
    let known = e.lookup(refs.maps.images, leader);
    let (absent, have) = (e.b.create_block(), e.b.create_block());
    let own = e.b.append_param(have);
    e.b.branch(Cond::Ne, known, 0, have, &[known], absent, &[]);
    e.b.switch_to(absent);
    let fresh = refs.fresh(&mut e, parent, leader)?;
    return_if(&mut e.b, Cond::Eq, fresh, 0, 0);
    e.b.jump(have, &[fresh]);
    e.b.switch_to(have);
    let record = e.create(refs.maps.images, child, own);
    return_if(&mut e.b, Cond::Eq, record, 0, 0);
    let b = &mut e.b;
    let length = b.load(Size::U32, own, at::LENGTH);
    b.store(Size::U32, record, at::PARENT_LENGTH, length);
    b.store(Size::U32, record, at::FLAGS, FORKED);
    copy(b, record, PARENT.path.into(), own, OWN.path.into(), SHORT);
    return_if(b, Cond::Ule, length, SHORT, 0);
    let own = e.lookup(refs.maps.long, leader);
    return_if(&mut e.b, Cond::Eq, own, 0, 0);
    let storage = e.create(refs.maps.long, child, own);
    return_if(&mut e.b, Cond::Eq, storage, 0, 0);
    copy(&mut e.b, storage, PARENT.long, own, OWN.long, PATH_MAX);
    e.finish()
}

/// `sched_process_exec`: a new image; the old one is its parent, unless the process was just forked.
fn exec(mut e: Emitter<'_>, refs: Refs) -> Result<Function, Error> {
    let context = e.b.param(0);
    let task = e.b.load(Size::U64, context, 0);
    let record = e.taken_over(task, &refs.maps.handover())?;
    let storage = e.taken_over(task, &refs.maps.long_handover())?;
    let (known, unknown) = (e.b.create_block(), e.b.create_block());
    e.b.brif(Cond::Ne, record, 0, known, unknown);
    e.b.switch_to(unknown);
    refs.fresh(&mut e, task, task)?;
    e.b.ret(0);
    e.b.switch_to(known);
    let flags = e.b.load(Size::U32, record, at::FLAGS);
    when(&mut e.b, Cond::Eq, flags, 0, |b| {
        let length = b.load(Size::U32, record, at::LENGTH);
        b.store(Size::U32, record, at::PARENT_LENGTH, length);
        copy(b, record, PARENT.path.into(), record, OWN.path.into(), SHORT);
        when(b, Cond::Ne, storage, 0, |b| {
            copy(b, storage, PARENT.long, storage, OWN.long, PATH_MAX);
        });
    });
    e.b.store(Size::U32, record, at::FLAGS, 0);
    refs.take(&mut e, record, OWN, task, task);
    e.finish()
}

/// The task iterator: whoever has no record gets one.
fn scan(mut e: Emitter<'_>, refs: Refs) -> Result<Function, Error> {
    let task = e.iterated()?;
    let leader = e.leader(task)?;
    let known = e.lookup(refs.maps.images, leader);
    return_if(&mut e.b, Cond::Ne, known, 0, 0);
    refs.fresh(&mut e, task, leader)?;
    e.finish()
}

/// Copies from one place to another in memory that can be read.
fn copy(
    b: &mut ebpf::FunctionBuilder,
    to: Value,
    to_at: i32,
    from: Value,
    from_at: i32,
    size: i32,
) {
    let to = b.add(to, to_at);
    let from = b.add(from, from_at);
    let size = b.iconst(size.into());
    b.call(helper::PROBE_READ_KERNEL, &[to, size, from]);
}
