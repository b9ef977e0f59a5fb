//! A path from a dentry and its mount up to the root of a process, across mounts, as `prepend_path()`
//! in fs/d_path.c does it.
//!
//! The path is built backwards, component by component, by a `bpf_loop` callback. What the walk knows
//! lives in scratch memory and not in registers or on the stack, so that every iteration looks the
//! same to the verifier. Reads take no lock: a rename or unmount at the same moment can give a path
//! that mixes old and new, never an access outside the buffer.
//!
//! Dentries that are a root but not their mount's (`IS_ROOT()`) belong to files without a path: pipes,
//! sockets, anonymous inodes; d_path() makes up names for those. Only memfds get one here,
//! `/memfd:NAME`, because they can be executed.
//!
//! A path that is too long for the buffer keeps its last components. The walk goes on to the root all
//! the same: the topmost components are in the [`Walk::window`], so how deep a file is hides nothing
//! from a filter by prefix.

use crate::Error;
use crate::flow::{choose, when};
use crate::helper;
use crate::read::{Base, Reader};
use ebpf::{Cond, FuncId, Function, FunctionBuilder, Size, Value};

/// Longest path, without a terminating NUL.
pub(crate) const PATH_MAX: i32 = 4096;
/// Longest component of a path (`NAME_MAX`).
pub(crate) const NAME_MAX: i32 = 255;
/// Room that the buffer needs: a component may start at its last byte.
pub(crate) const BUFFER_SIZE: i32 = PATH_MAX + NAME_MAX + 1;
/// Components and mounts on the way at most. Four times what the longest path has.
const STEPS: i64 = 8192;
/// Appended where the file or directory is no longer linked.
pub(crate) const DELETED: &[u8; 10] = b" (deleted)";
/// How the name of a memfd begins (`memfd_create()` in mm/memfd.c).
pub(crate) const MEMFD: &[u8; 6] = b"memfd:";

/// The topmost components that are kept; a power of two.
pub(crate) const WINDOW: usize = 8;

/// Where the walk stands, from the start of its state.
mod at {
    pub(super) const DENTRY: i32 = 0;
    /// 0: the walk ends at the root of the filesystem.
    pub(super) const MOUNT: i32 = 8;
    pub(super) const ROOT_DENTRY: i32 = 16;
    pub(super) const ROOT_MOUNT: i32 = 24;
    /// First byte of the path in its buffer, counted from the buffer's start.
    pub(super) const START: i32 = 32;
    /// [`super::end`]
    pub(super) const END: i32 = 40;
    /// 1 when a component did not fit.
    pub(super) const FULL: i32 = 48;
    /// Components so far.
    pub(super) const COUNT: i32 = 56;
    /// Dentries of the last components, each at its number modulo their count.
    pub(super) const WINDOW: i32 = 64;
    /// Size of the state.
    pub(super) const SIZE: i32 = WINDOW + 8 * super::WINDOW as i32;
}

/// Size of a walk's state.
pub(crate) const STATE_SIZE: i32 = at::SIZE;

/// How a walk ended.
pub(crate) mod end {
    /// It did not: a pointer could not be read, or there were too many steps.
    pub(crate) const NONE: i32 = 0;
    /// At a root.
    pub(crate) const ROOT: i32 = 1;
    /// The file has no path.
    pub(crate) const NO_PATH: i32 = 2;
}

/// Where the memory of walks is: a buffer of [`BUFFER_SIZE`] and a state of [`STATE_SIZE`] bytes, by
/// their offsets in a scratch area.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// The buffer.
    pub(crate) buffer: i32,
    /// The state.
    pub(crate) state: i32,
}

/// Which path to build.
#[derive(Clone, Copy)]
pub(crate) struct From {
    /// Address of the `struct dentry`.
    pub(crate) dentry: Value,
    /// Address of the `struct vfsmount`; `None`: the path ends at the root of its filesystem.
    pub(crate) mount: Option<Value>,
    /// Address of the `struct path` of the root it is relative to; `None`: none.
    pub(crate) root: Option<Value>,
}

/// What a walk gave.
#[derive(Clone, Copy)]
pub(crate) struct Path {
    /// Address of its first byte.
    pub(crate) start: Value,
    /// Length in bytes, 0 to [`PATH_MAX`], known to the verifier.
    pub(crate) length: Value,
    /// [`extent`]
    pub(crate) extent: Value,
    /// [`end`]
    pub(crate) end: Value,
}

/// How much of a path there is.
pub(crate) mod extent {
    /// It could not be read; perhaps some of it.
    pub(crate) const UNREAD: i32 = 0;
    /// All.
    pub(crate) const WHOLE: i32 = 1;
    /// It is too long: its last components.
    pub(crate) const END: i32 = 2;
}

/// A walk in one function.
pub(crate) struct Walk<'a, 'k> {
    /// The function.
    pub(crate) b: &'a mut FunctionBuilder,
    /// Reads of kernel structures.
    pub(crate) read: &'a Reader<'k>,
    /// Address of the scratch area.
    pub(crate) area: Value,
    /// Where in it.
    pub(crate) memory: Memory,
}

impl Walk<'_, '_> {
    fn load(&mut self, at: i32) -> Value {
        self.b.load(Size::U64, self.area, (self.memory.state + at) as i16)
    }

    fn store(&mut self, at: i32, value: impl Into<ebpf::Operand>) {
        self.b.store(Size::U64, self.area, (self.memory.state + at) as i16, value);
    }

    /// Walks up; `step` is the function that [`Self::step`] made.
    pub(crate) fn up(&mut self, from: From, step: FuncId) -> Result<Path, Error> {
        let none = self.b.iconst(0);
        let (root, root_mount) = match from.root {
            Some(root) => (
                self.read.get(self.b, Base::Address(root), "path", "dentry")?,
                self.read.get(self.b, Base::Address(root), "path", "mnt")?,
            ),
            None => (none, none),
        };
        self.store(at::DENTRY, from.dentry);
        self.store(at::MOUNT, from.mount.unwrap_or(none));
        self.store(at::ROOT_DENTRY, root);
        self.store(at::ROOT_MOUNT, root_mount);
        self.store(at::START, PATH_MAX);
        for zero in [at::END, at::FULL, at::COUNT] {
            self.store(zero, 0);
        }
        self.deleted(from.dentry)?;

        let b = &mut *self.b;
        let steps = b.iconst(STEPS);
        let step = b.func_addr(step);
        let slot = b.temporary(8, 8);
        b.slot_store(Size::U64, slot, 0, self.area);
        let context = b.slot_addr(slot, 0);
        let flags = b.iconst(0);
        b.call(helper::LOOP, &[steps, step, context, flags]);

        let end = self.load(at::END);
        let full = self.load(at::FULL);
        let start = self.load(at::START);
        let b = &mut *self.b;
        let read = |b: &mut FunctionBuilder| b.add(full, extent::WHOLE);
        let unread = |b: &mut FunctionBuilder| b.iconst(extent::UNREAD.into());
        let extent = choose(b, Cond::Eq, end, end::NONE, unread, read);
        let last = self.memory.buffer + PATH_MAX - 1;
        // The root itself has no component: its path is "/".
        let slash = choose(b, Cond::Ugt, start, PATH_MAX - 1, |b| b.iconst(1), |b| b.iconst(0));
        let area = self.area;
        let start = choose(
            b,
            Cond::Eq,
            slash,
            1,
            |b| {
                b.store(Size::U8, area, last as i16, i32::from(b'/'));
                b.iconst(i64::from(PATH_MAX) - 1)
            },
            |_| start,
        );
        let start = b.and(start, PATH_MAX - 1);
        let whole = b.iconst(PATH_MAX.into());
        let length =
            choose(b, Cond::Eq, end, end::NO_PATH, |b| b.iconst(0), |b| b.sub(whole, start));
        let from = b.add(area, start);
        Ok(Path { start: b.add(from, self.memory.buffer), length, extent, end })
    }

    /// Puts " (deleted)" behind what is no longer linked: d_unlinked(), unhashed and not a root.
    fn deleted(&mut self, dentry: Value) -> Result<(), Error> {
        let hashed = self.read.get(self.b, Base::Address(dentry), "dentry", "d_hash.pprev")?;
        let parent = self.read.get(self.b, Base::Address(dentry), "dentry", "d_parent")?;
        let (area, memory) = (self.area, self.memory);
        when(self.b, Cond::Eq, hashed, 0, |b| {
            when(b, Cond::Ne, parent, dentry, |b| {
                let start = PATH_MAX - DELETED.len() as i32;
                for (i, &byte) in DELETED.iter().enumerate() {
                    let at = memory.buffer + start + i as i32;
                    b.store(Size::U8, area, at as i16, i32::from(byte));
                }
                b.store(Size::U64, area, (memory.state + at::START) as i16, start);
            });
        });
        Ok(())
    }

    /// The dentries of the topmost `count` components of the last walk, the topmost first; 0 where
    /// there are fewer.
    pub(crate) fn window(&mut self, count: usize) -> Vec<Value> {
        let walked = self.load(at::COUNT);
        let (area, state) = (self.area, self.memory.state);
        let dentry = |nth: usize| {
            let number = nth as i32 + 1;
            choose(
                self.b,
                Cond::Uge,
                walked,
                number,
                |b| {
                    let index = b.sub(walked, number);
                    let index = b.and(index, WINDOW as i32 - 1);
                    let offset = b.shl(index, 3);
                    let at = b.add(area, offset);
                    b.load(Size::U64, at, (state + at::WINDOW) as i16)
                },
                |b| b.iconst(0),
            )
        };
        (0..count).map(dentry).collect()
    }

    /// One step, of which the function consists; a callback that returns 1 to stop.
    fn step(&mut self) -> Result<(), Error> {
        let (done, failed) = (self.b.create_block(), self.b.create_block());
        let dentry = self.load(at::DENTRY);
        let mount = self.load(at::MOUNT);

        // At the process's root.
        let root = self.load(at::ROOT_DENTRY);
        let root_mount = self.load(at::ROOT_MOUNT);
        let b = &mut *self.b;
        let (same_dentry, below) = (b.create_block(), b.create_block());
        b.brif(Cond::Eq, dentry, root, same_dentry, below);
        b.switch_to(same_dentry);
        b.brif(Cond::Eq, mount, root_mount, done, below);
        b.switch_to(below);

        let parent = self.read.get(b, Base::Address(dentry), "dentry", "d_parent")?;
        let mount_root = self.read.get(b, Base::Address(mount), "vfsmount", "mnt_root")?;
        let (crossing, within) = (b.create_block(), b.create_block());
        b.brif(Cond::Eq, dentry, mount_root, crossing, within);

        // At a mount's root: go on where it is mounted.
        b.switch_to(crossing);
        let embedded = self.read.offset("mount", "mnt")?;
        let real = b.sub(mount, embedded);
        let upper = self.read.get(b, Base::Address(real), "mount", "mnt_parent")?;
        let (lower, mounted) = (b.create_block(), b.create_block());
        b.brif(Cond::Eq, upper, real, done, lower);
        b.switch_to(lower);
        b.brif(Cond::Eq, upper, 0, failed, mounted);
        b.switch_to(mounted);
        let point = self.read.get(b, Base::Address(real), "mount", "mnt_mountpoint")?;
        let upper = b.add(upper, embedded);
        self.store(at::DENTRY, point);
        self.store(at::MOUNT, upper);
        self.b.ret(0);

        self.b.switch_to(within);
        let (top, linked) = (self.b.create_block(), self.b.create_block());
        self.b.brif(Cond::Eq, dentry, parent, top, linked);
        self.b.switch_to(linked);
        let up = self.b.create_block();
        self.b.brif(Cond::Eq, parent, 0, failed, up);
        self.b.switch_to(up);
        self.prepend(dentry)?;
        self.store(at::DENTRY, parent);
        self.b.ret(0);

        self.b.switch_to(top);
        self.top(dentry, mount, done)?;

        self.b.switch_to(done);
        self.store(at::END, end::ROOT);
        self.b.ret(1);
        self.b.switch_to(failed);
        self.b.ret(1);
        Ok(())
    }

    /// A root that is not where its mount is: of a filesystem, when there is no mount to know; of a
    /// memfd; or of something without a path.
    fn top(&mut self, dentry: Value, mount: Value, done: ebpf::Block) -> Result<(), Error> {
        let name = self.read.get(self.b, Base::Address(dentry), "dentry", "d_name.name")?;
        let b = &mut *self.b;
        let [memfd, other, nowhere] = [(); 3].map(|()| b.create_block());
        let head = self.read.probe(b, name, 0, Size::U32);
        let tail = self.read.probe(b, name, 4, Size::U16);
        let expected = u32::from_ne_bytes([MEMFD[0], MEMFD[1], MEMFD[2], MEMFD[3]]);
        let second = b.create_block();
        b.brif(Cond::Eq, head, expected as i32, second, other);
        b.switch_to(second);
        let expected = u16::from_ne_bytes([MEMFD[4], MEMFD[5]]);
        b.brif(Cond::Eq, tail, i32::from(expected), memfd, other);
        b.switch_to(memfd);
        self.prepend(dentry)?;
        self.b.jump(done, &[]);
        self.b.switch_to(other);
        self.b.brif(Cond::Eq, mount, 0, done, nowhere);
        self.b.switch_to(nowhere);
        self.store(at::END, end::NO_PATH);
        self.b.ret(1);
        Ok(())
    }

    /// Prepends "/name", if it fits.
    fn prepend(&mut self, dentry: Value) -> Result<(), Error> {
        let count = self.load(at::COUNT);
        let b = &mut *self.b;
        let index = b.and(count, WINDOW as i32 - 1);
        let offset = b.shl(index, 3);
        let to = b.add(self.area, offset);
        b.store(Size::U64, to, (self.memory.state + at::WINDOW) as i16, dentry);
        let count = b.add(count, 1);
        self.store(at::COUNT, count);
        let full = self.load(at::FULL);
        let [fits, full_now, done, room] = [(); 4].map(|()| self.b.create_block());
        self.b.brif(Cond::Ne, full, 0, done, room);
        self.b.switch_to(room);
        let name = self.read.get(self.b, Base::Address(dentry), "dentry", "d_name.name")?;
        let length = self.read.get(self.b, Base::Address(dentry), "dentry", "d_name.len")?;
        let length = self.b.and(length, NAME_MAX);
        let start = self.load(at::START);
        let start = self.b.sub(start, length);
        let start = self.b.sub(start, 1);
        self.b.brif(Cond::Slt, start, 0, full_now, fits);
        self.b.switch_to(full_now);
        self.store(at::FULL, 1);
        self.b.jump(done, &[]);
        self.b.switch_to(fits);
        self.store(at::START, start);
        let b = &mut *self.b;
        let start = b.and(start, PATH_MAX - 1);
        let to = b.add(self.area, start);
        b.store(Size::U8, to, self.memory.buffer as i16, i32::from(b'/'));
        let to = b.add(to, self.memory.buffer + 1);
        b.call(helper::PROBE_READ_KERNEL, &[to, length, name]);
        b.jump(done, &[]);
        b.switch_to(done);
        Ok(())
    }
}

/// The function that takes one step; the callback of [`Walk::up`]. Its second parameter points to the
/// address of the scratch area. Gives 1 to stop.
pub(crate) fn step(
    mut b: FunctionBuilder,
    read: &Reader<'_>,
    memory: Memory,
) -> Result<Function, Error> {
    let context = b.param(1);
    let area = b.load(Size::U64, context, 0);
    Walk { b: &mut b, read, area, memory }.step()?;
    Ok(b.finish()?)
}
