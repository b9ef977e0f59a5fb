//! A path from a dentry and its mount up to the root of the current process, across mounts, as
//! `prepend_path()` in fs/d_path.c does it.
//!
//! The path is built backwards, component by component, by a `bpf_loop` callback. What the walk knows
//! lives in scratch memory and not in registers or on the stack, so that every iteration looks the
//! same to the verifier. Reads take no lock: a rename or unmount at the same moment can give a path
//! that mixes old and new, never an access outside the buffer.

use super::emit::Emitter;
use super::scratch::{NAME_MAX, PATH, PATH_MAX, WALK};
use crate::Error;
use crate::flow::{choose, when};
use crate::helper;
use crate::read::Base;
use ebpf::{Cond, FuncId, Function, Size, Value};

/// Components walked at most: as many as fit in a path.
const STEPS: i64 = PATH_MAX as i64 / 2;
/// Appended where the file or directory is no longer linked.
const DELETED: &[u8; 10] = b" (deleted)";

// Where the walk stands, in scratch memory.
const DENTRY: i16 = WALK as i16;
const MOUNT: i16 = WALK as i16 + 8;
const ROOT_DENTRY: i16 = WALK as i16 + 16;
const ROOT_MOUNT: i16 = WALK as i16 + 24;
/// First byte of the path in its buffer, counted from the buffer's start (u64).
const START: i16 = WALK as i16 + 32;
/// Set when the walk came to an end (u64).
const DONE: i16 = WALK as i16 + 40;

/// Which path to build.
#[derive(Clone, Copy)]
pub(super) struct PathOf {
    /// Address of the `struct path`.
    pub(super) path: Value,
    /// Address of the `struct path` of the root it is relative to.
    pub(super) root: Value,
}

/// What a walk gave.
pub(super) struct Path {
    /// Address of its first byte.
    pub(super) start: Value,
    /// Length in bytes, 0 to [`PATH_MAX`], known to the verifier.
    pub(super) length: Value,
    /// 1 when the walk reached a root, 0 when the path is too long or could not be read.
    pub(super) complete: Value,
}

impl Emitter<'_> {
    /// Walks up from a `struct path`; `step` is the function that [`Self::path_step`] made.
    pub(super) fn path(&mut self, scratch: Value, of: PathOf, step: FuncId) -> Result<Path, Error> {
        let (b, read) = (&mut self.b, &self.read);
        let dentry = read.get(b, Base::Address(of.path), "path", "dentry")?;
        let mount = read.get(b, Base::Address(of.path), "path", "mnt")?;
        let root = read.get(b, Base::Address(of.root), "path", "dentry")?;
        let root_mount = read.get(b, Base::Address(of.root), "path", "mnt")?;
        b.store(Size::U64, scratch, DENTRY, dentry);
        b.store(Size::U64, scratch, MOUNT, mount);
        b.store(Size::U64, scratch, ROOT_DENTRY, root);
        b.store(Size::U64, scratch, ROOT_MOUNT, root_mount);
        b.store(Size::U64, scratch, DONE, 0);
        b.store(Size::U64, scratch, START, PATH_MAX);

        // d_unlinked(): unhashed and not a root.
        let hashed = read.get(b, Base::Address(dentry), "dentry", "d_hash.pprev")?;
        let parent = read.get(b, Base::Address(dentry), "dentry", "d_parent")?;
        when(b, Cond::Eq, hashed, 0, |b| {
            when(b, Cond::Ne, parent, dentry, |b| {
                let at = PATH + PATH_MAX - DELETED.len() as i32;
                for (i, &byte) in DELETED.iter().enumerate() {
                    b.store(Size::U8, scratch, (at + i as i32) as i16, i32::from(byte));
                }
                b.store(Size::U64, scratch, START, PATH_MAX - DELETED.len() as i32);
            });
        });

        let steps = b.iconst(STEPS);
        let step = b.func_addr(step);
        let slot = b.slot(8, 8);
        b.slot_store(Size::U64, slot, 0, scratch);
        let context = b.slot_addr(slot, 0);
        let flags = b.iconst(0);
        b.call(helper::LOOP, &[steps, step, context, flags]);

        let complete = b.load(Size::U64, scratch, DONE);
        let start = b.load(Size::U64, scratch, START);
        // The root itself has no component: its path is "/".
        let start = choose(
            b,
            Cond::Ugt,
            start,
            PATH_MAX - 1,
            |b| {
                b.store(Size::U8, scratch, (PATH + PATH_MAX - 1) as i16, i32::from(b'/'));
                b.iconst(i64::from(PATH_MAX) - 1)
            },
            |_| start,
        );
        let start = b.and(start, PATH_MAX - 1);
        let end = b.iconst(PATH_MAX.into());
        let length = b.sub(end, start);
        let from = b.add(scratch, start);
        Ok(Path { start: b.add(from, PATH), length, complete })
    }

    /// The function that takes one step; the callback of [`Self::path`]. Its second parameter points
    /// to the address of the scratch memory. Gives 1 to stop.
    pub(super) fn path_step(mut self) -> Result<Function, Error> {
        let context = self.b.param(1);
        let scratch = self.b.load(Size::U64, context, 0);
        let (b, read) = (&mut self.b, &self.read);
        let (done, failed) = (b.create_block(), b.create_block());
        let dentry = b.load(Size::U64, scratch, DENTRY);
        let mount = b.load(Size::U64, scratch, MOUNT);

        // At the process's root.
        let root = b.load(Size::U64, scratch, ROOT_DENTRY);
        let root_mount = b.load(Size::U64, scratch, ROOT_MOUNT);
        let (same_dentry, below) = (b.create_block(), b.create_block());
        b.brif(Cond::Eq, dentry, root, same_dentry, below);
        b.switch_to(same_dentry);
        b.brif(Cond::Eq, mount, root_mount, done, below);
        b.switch_to(below);

        let parent = read.get(b, Base::Address(dentry), "dentry", "d_parent")?;
        let mount_root = read.get(b, Base::Address(mount), "vfsmount", "mnt_root")?;
        let (crossing, within) = (b.create_block(), b.create_block());
        b.brif(Cond::Eq, dentry, mount_root, crossing, within);

        // At a mount's root: go on where it is mounted.
        b.switch_to(crossing);
        let embedded = read.offset("mount", "mnt")?;
        let mount = b.sub(mount, embedded);
        let upper = read.get(b, Base::Address(mount), "mount", "mnt_parent")?;
        let (lower, mounted) = (b.create_block(), b.create_block());
        b.brif(Cond::Eq, upper, mount, done, lower);
        b.switch_to(lower);
        b.brif(Cond::Eq, upper, 0, failed, mounted);
        b.switch_to(mounted);
        let point = read.get(b, Base::Address(mount), "mount", "mnt_mountpoint")?;
        let upper = b.add(upper, embedded);
        b.store(Size::U64, scratch, DENTRY, point);
        b.store(Size::U64, scratch, MOUNT, upper);
        b.ret(0);

        // Prepend "/name".
        b.switch_to(within);
        let name = read.get(b, Base::Address(dentry), "dentry", "d_name.name")?;
        let length = read.get(b, Base::Address(dentry), "dentry", "d_name.len")?;
        let length = b.and(length, NAME_MAX);
        let start = b.load(Size::U64, scratch, START);
        let start = b.sub(start, length);
        let start = b.sub(start, 1);
        let fits = b.create_block();
        b.brif(Cond::Slt, start, 0, failed, fits);
        b.switch_to(fits);
        b.store(Size::U64, scratch, START, start);
        let start = b.and(start, PATH_MAX - 1);
        let to = b.add(scratch, start);
        b.store(Size::U8, to, PATH as i16, i32::from(b'/'));
        let to = b.add(to, PATH + 1);
        b.call(helper::PROBE_READ_KERNEL, &[to, length, name]);
        // A root without a mount: a pseudo file such as a memfd, or a tree unmounted lazily.
        let (linked, up) = (b.create_block(), b.create_block());
        b.brif(Cond::Eq, dentry, parent, done, linked);
        b.switch_to(linked);
        b.brif(Cond::Eq, parent, 0, failed, up);
        b.switch_to(up);
        b.store(Size::U64, scratch, DENTRY, parent);
        b.ret(0);

        b.switch_to(done);
        b.store(Size::U64, scratch, DONE, 1);
        b.ret(1);
        b.switch_to(failed);
        b.ret(1);
        Ok(self.b.finish()?)
    }
}
