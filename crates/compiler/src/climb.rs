//! The way up from a dentry to the root, in a function of its own, for programs that ask about several
//! paths.
//!
//! The verifier looks at the function once, however many filters call it, and what it gives is a plain
//! number: where a walk in the section itself leaves as many states behind as it has ends, and the next
//! filter is looked at in each of them, this one leaves one. That needs a global function
//! (Linux 5.6), whose callers pass numbers and memory.
//!
//! It goes the way that [`walk`](crate::walk) goes and keeps the topmost components, but builds no path.

use crate::emit::scratch::Functions;
use crate::flow::return_if;
use crate::helper;
use crate::read::Reader;
use crate::walk::{MEMFD, WINDOW, end};
use crate::{Error, Machine};
use ebpf::{
    Block, Cond, FuncId, Function, FunctionBuilder, Kfunc, Module, Param, Size, Value, Var,
};
use kernel::features::Feature;

/// What the functions work on, from the start of the memory that they get.
pub(crate) mod at {
    /// Where to start, then where it stands: the `struct dentry` (u64).
    pub(crate) const DENTRY: i16 = 0;
    /// Its `struct vfsmount`; 0: up to the root of its filesystem (u64).
    pub(crate) const MOUNT: i16 = 8;
    /// Components passed; 0 to start with (u64).
    pub(crate) const COUNT: i16 = 16;
    /// Dentries of the last ones, each at its number modulo [`WINDOW`](crate::walk::WINDOW).
    pub(crate) const WINDOW: i16 = 24;
    /// Size.
    pub(crate) const SIZE: i16 = WINDOW + 8 * crate::walk::WINDOW as i16;
}

/// What is kept of a way up from one filter to the next, of the same policy or of others at the same hook.
pub(crate) mod kept {
    /// What the functions work on ([`at`](super::at)).
    pub(crate) const MEMORY: i16 = 0;
    /// Of which value it is: 1 + its index among the program's ([`Paths`](crate::emit::Paths)); 0: of none
    /// yet (u64).
    pub(crate) const OF: i16 = super::at::SIZE;
    /// How it ended ([`end`](crate::walk::end)) (u64).
    pub(crate) const ENDED: i16 = OF + 8;
    /// Size.
    pub(crate) const SIZE: i16 = ENDED + 8;
}

/// The function did not get to an end; besides what [`end`] has. It can be called again to go on.
const MORE: i32 = 3;
/// Dentries and mounts that one call passes at most. The verifier goes through every one of them.
const STEPS: i32 = 32;
/// Calls at most: together four times what the longest path has.
const CALLS: i64 = 256;

/// Declares both functions: the one that goes up, and the one that does so until it is at an end.
pub(crate) fn declare(module: &mut Module) -> (FuncId, FuncId) {
    let memory = [Param::Memory(at::SIZE as u32)];
    (module.declare_once("tg_climb", &memory), module.declare_once("tg_climb_on", &memory))
}

/// Defines them.
pub(crate) fn define(
    module: &mut Module,
    functions: &Functions,
    machine: &Machine,
) -> Result<(), Error> {
    let mut b = FunctionBuilder::new("tg_climb", 1);
    let memory = b.param(0);
    let [dentry, mount, mount_root, steps, count] = [(); 5].map(|()| b.var());
    let (failed, done) = (b.create_block(), b.create_block());
    let read = Reader::new(&mut b, &machine.btf);
    let climb =
        Climb { b, read, machine, memory, dentry, mount, mount_root, steps, count, failed, done };
    module.define(functions.climb, climb.function()?);

    // Calls the other one until it is at an end.
    let step = module.declare("tg_climb_step", 2);
    let mut b = FunctionBuilder::new("tg_climb_on", 1);
    let memory = b.param(0);
    return_if(&mut b, Cond::Eq, memory, 0, end::NONE);
    let state = b.slot(16, 8);
    b.slot_store(Size::U64, state, 0, memory);
    b.slot_store(Size::U64, state, 8, MORE);
    let calls = b.iconst(CALLS);
    let callback = b.func_addr(step);
    let context = b.slot_addr(state, 0);
    let flags = b.iconst(0);
    b.call(helper::LOOP, &[calls, callback, context, flags]);
    let ended = b.slot_load(Size::U64, state, 8);
    b.ret(ended);
    module.define(functions.climb_on, b.finish()?);

    let mut b = FunctionBuilder::new("tg_climb_step", 2);
    let state = b.param(1);
    let memory = b.load(Size::U64, state, 0);
    let ended = b.call_func(functions.climb, &[memory]);
    b.store(Size::U64, state, 8, ended);
    return_if(&mut b, Cond::Eq, ended, MORE, 0);
    b.ret(1);
    module.define(step, b.finish()?);
    Ok(())
}

/// Goes up from a dentry; `memory` is the address of [`at::SIZE`] bytes of initialized memory, where the
/// topmost components are then. Gives one of [`end`], or something else when there are too many components.
pub(crate) fn call(b: &mut FunctionBuilder, functions: &Functions, memory: Value) -> Value {
    let on = b.create_block();
    let ended = b.append_param(on);
    let more = b.create_block();
    let first = b.call_func(functions.climb, &[memory]);
    b.branch(Cond::Eq, first, MORE, more, &[], on, &[first]);
    b.switch_to(more);
    let then = b.call_func(functions.climb_on, &[memory]);
    b.jump(on, &[then]);
    b.switch_to(on);
    ended
}

/// The root of the process: dentry and `struct mount`; zeros where there is no mount to know.
#[derive(Clone, Copy)]
struct Root {
    dentry: Value,
    mount: Value,
}

/// The function that goes up.
struct Climb<'k> {
    b: FunctionBuilder,
    read: Reader<'k>,
    machine: &'k Machine,
    memory: Value,
    /// Where it is.
    dentry: Var,
    /// The `struct mount` there, or 0.
    mount: Var,
    /// The root of that mount, or 0.
    mount_root: Var,
    /// Steps so far.
    steps: Var,
    /// Components so far.
    count: Var,
    failed: Block,
    /// At a root.
    done: Block,
}

impl Climb<'_> {
    fn function(mut self) -> Result<Function, Error> {
        return_if(&mut self.b, Cond::Eq, self.memory, 0, end::NONE);
        let embedded = self.read.offset("mount", "mnt")?;
        let dentry = self.b.load(Size::U64, self.memory, at::DENTRY);
        let dentry = self.typed(dentry, "dentry")?;
        self.b.def(self.dentry, dentry);
        let count = self.b.load(Size::U64, self.memory, at::COUNT);
        self.b.def(self.count, count);
        let zero = self.b.iconst(0);
        self.b.def(self.steps, zero);
        let mount = self.b.load(Size::U64, self.memory, at::MOUNT);
        let [mounted, unmounted, start] = [(); 3].map(|()| self.b.create_block());
        let root = Root { dentry: self.b.append_param(start), mount: self.b.append_param(start) };
        self.b.brif(Cond::Ne, mount, 0, mounted, unmounted);
        self.b.switch_to(unmounted);
        self.b.def(self.mount, zero);
        self.b.def(self.mount_root, zero);
        self.b.jump(start, &[zero, zero]);
        self.b.switch_to(mounted);
        let real = self.b.sub(mount, embedded);
        let real = self.typed(real, "mount")?;
        let mount_root = self.member(real, "mount", "mnt.mnt_root")?;
        self.b.def(self.mount, real);
        self.b.def(self.mount_root, mount_root);
        let task = self.b.call(helper::GET_CURRENT_TASK_BTF, &[]);
        let fs = self.read.offset("task_struct", "fs")?;
        let fs = self.b.load(Size::U64, task, fs as i16);
        let dentry = self.read.offset("fs_struct", "root.dentry")?;
        let dentry = self.b.load(Size::U64, fs, dentry as i16);
        let mount = self.read.offset("fs_struct", "root.mnt")?;
        let mount = self.b.load(Size::U64, fs, mount as i16);
        let mount = self.b.sub(mount, embedded);
        self.b.jump(start, &[dentry, mount]);

        self.b.switch_to(start);
        self.go(root, embedded)?;

        self.b.switch_to(self.done);
        let count = self.b.get(self.count);
        self.b.store(Size::U64, self.memory, at::COUNT, count);
        self.b.ret(end::ROOT);
        self.b.switch_to(self.failed);
        self.b.ret(end::NONE);
        Ok(self.b.finish()?)
    }

    /// An address as a pointer whose type the verifier knows, where the kernel has such a thing.
    fn typed(&mut self, address: Value, structure: &str) -> Result<Value, Error> {
        if !self.casts() {
            return Ok(address);
        }
        let btf = &self.machine.btf;
        let cast = Kfunc { btf_id: btf.find_func("bpf_rdonly_cast")?.0, btf_fd_index: 0 };
        let ty = self.b.iconst(btf.find_struct(structure)?.0.into());
        Ok(self.b.call_kfunc(cast, &[address, ty]))
    }

    fn casts(&self) -> bool {
        self.machine.features.probe(Feature::RdonlyCast).is_yes()
    }

    /// The pointer in a member.
    fn member(&mut self, base: Value, structure: &str, member: &str) -> Result<Value, Error> {
        let offset = self.read.offset(structure, member)?;
        Ok(if self.casts() {
            self.b.load(Size::U64, base, offset as i16)
        } else {
            self.read.probe(&mut self.b, base, offset as u32, Size::U64)
        })
    }

    /// The loop; begins in the current block.
    fn go(&mut self, root: Root, embedded: i32) -> Result<(), Error> {
        let [head, same, below, cross, within] = [(); 5].map(|()| self.b.create_block());
        let [top, linked, again, more] = [(); 4].map(|()| self.b.create_block());
        self.b.jump(head, &[]);
        self.b.switch_to(head);
        let dentry = self.b.get(self.dentry);
        let mount = self.b.get(self.mount);
        let mount_root = self.b.get(self.mount_root);
        self.b.brif(Cond::Eq, dentry, root.dentry, same, below);
        self.b.switch_to(same);
        self.b.brif(Cond::Eq, mount, root.mount, self.done, below);
        self.b.switch_to(below);
        self.b.brif(Cond::Eq, dentry, mount_root, cross, within);

        // At the root of a mount: goes on where it is mounted.
        self.b.switch_to(cross);
        let known = self.b.create_block();
        self.b.brif(Cond::Ne, mount, 0, known, self.failed);
        self.b.switch_to(known);
        let upper = self.member(mount, "mount", "mnt_parent")?;
        let mounted = self.b.create_block();
        self.b.brif(Cond::Eq, upper, mount, self.done, mounted);
        self.b.switch_to(mounted);
        let point = self.member(mount, "mount", "mnt_mountpoint")?;
        let upper_root = self.member(upper, "mount", "mnt.mnt_root")?;
        self.b.def(self.dentry, point);
        self.b.def(self.mount, upper);
        self.b.def(self.mount_root, upper_root);
        self.b.jump(again, &[]);

        self.b.switch_to(within);
        let parent = self.member(dentry, "dentry", "d_parent")?;
        self.b.brif(Cond::Eq, dentry, parent, top, linked);
        self.b.switch_to(linked);
        self.pass(dentry);
        self.b.def(self.dentry, parent);
        self.b.jump(again, &[]);

        self.b.switch_to(again);
        let steps = self.b.get(self.steps);
        let steps = self.b.add(steps, 1);
        self.b.def(self.steps, steps);
        self.b.brif(Cond::Ult, steps, STEPS, head, more);
        self.b.switch_to(more);
        self.keep(embedded);
        self.b.ret(MORE);

        self.b.switch_to(top);
        self.top(dentry, mount)
    }

    /// Notes a component.
    fn pass(&mut self, dentry: Value) {
        let count = self.b.get(self.count);
        let index = self.b.and(count, WINDOW as i32 - 1);
        let offset = self.b.shl(index, 3);
        let to = self.b.add(self.memory, offset);
        self.b.store(Size::U64, to, at::WINDOW, dentry);
        let count = self.b.add(count, 1);
        self.b.def(self.count, count);
    }

    /// Writes down where it stands.
    fn keep(&mut self, embedded: i32) {
        let dentry = self.b.get(self.dentry);
        self.b.store(Size::U64, self.memory, at::DENTRY, dentry);
        let count = self.b.get(self.count);
        self.b.store(Size::U64, self.memory, at::COUNT, count);
        let mount = self.b.get(self.mount);
        let (there, done) = (self.b.create_block(), self.b.create_block());
        self.b.brif(Cond::Ne, mount, 0, there, done);
        self.b.switch_to(there);
        let mount = self.b.add(mount, embedded);
        self.b.store(Size::U64, self.memory, at::MOUNT, mount);
        self.b.jump(done, &[]);
        self.b.switch_to(done);
    }

    /// At the root of a filesystem that is not where its mount is: of a memfd, which has a name, or of
    /// what has no path; or where it ends when there is no mount to know.
    fn top(&mut self, dentry: Value, mount: Value) -> Result<(), Error> {
        let [there, second, named, other, nowhere] = [(); 5].map(|()| self.b.create_block());
        self.b.brif(Cond::Ne, dentry, 0, there, self.failed);
        self.b.switch_to(there);
        let name = self.member(dentry, "dentry", "d_name.name")?;
        let first = self.read.probe(&mut self.b, name, 0, Size::U32);
        let expected = u32::from_ne_bytes([MEMFD[0], MEMFD[1], MEMFD[2], MEMFD[3]]);
        self.b.brif(Cond::Eq, first, expected.cast_signed(), second, other);
        self.b.switch_to(second);
        let rest = self.read.probe(&mut self.b, name, 4, Size::U16);
        let expected = u16::from_ne_bytes([MEMFD[4], MEMFD[5]]);
        self.b.brif(Cond::Eq, rest, i32::from(expected), named, other);
        self.b.switch_to(named);
        self.pass(dentry);
        self.b.jump(self.done, &[]);
        self.b.switch_to(other);
        self.b.brif(Cond::Eq, mount, 0, self.done, nowhere);
        self.b.switch_to(nowhere);
        self.b.ret(end::NO_PATH);
        Ok(())
    }
}
