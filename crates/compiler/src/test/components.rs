//! Whether a path begins with one of some values, without building it.
//!
//! Going up from the file to the root, only the last few dentries are kept: at the root they are the
//! topmost components. They are compared with the values as a tree of components, so that values that
//! begin alike are compared once. A short loop does that with plain loads where the verifier knows the
//! type of what it follows; what is deeper is walked by the callback that builds paths.

use super::text::words;
use crate::Error;
use crate::emit::emitter::NAME_SLOT;
use crate::emit::{Emitter, Targets, scratch};
use crate::read::Base;
use crate::value::file::Object;
use crate::walk::{DELETED, MEMFD, WINDOW, Walk, end};
use ebpf::{Block, Cond, Size, Value, Var};
use kernel::features::Feature;
use std::collections::{BTreeMap, BTreeSet};

/// Dentries and mounts that the loop passes at most. The verifier goes through every one of them, so
/// more would cost time to load.
const STEPS: i32 = 16;
/// Beyond so many values, the program would be longer than a path is worth.
const VALUES_MAX: usize = 64;

/// Values by their components.
#[derive(Default)]
struct Node {
    /// There is such a component, whatever its name.
    any: bool,
    /// Its name begins with one of these.
    begins: BTreeMap<usize, BTreeSet<Vec<u8>>>,
    /// Its name is this, and so on with the next component.
    is: BTreeMap<usize, BTreeMap<Vec<u8>, Node>>,
}

/// Values that paths can be compared with as they are walked.
pub(crate) struct Prefixes {
    /// The first component.
    first: Node,
    /// Components that the values have at most.
    levels: usize,
    /// One of the values is "/".
    everything: bool,
    /// A memfd could begin with one of the values.
    memfd: bool,
}

/// Whether the path of a deleted file could end with a value though the file's name does not.
pub(crate) fn deleted_could_end(value: &[u8]) -> bool {
    value.ends_with(DELETED) || DELETED.ends_with(value)
}

/// Whether a deleted file's last component could begin with a value though its name does not.
fn deleted_could_begin(value: &[u8]) -> bool {
    (1..=DELETED.len()).any(|length| value.ends_with(&DELETED[..length]))
}

impl Prefixes {
    /// `None`: one of them has too many or too long components, or looks like that of a deleted file.
    pub(crate) fn new(values: &[Vec<u8>]) -> Option<Self> {
        if values.len() > VALUES_MAX {
            return None;
        }
        let mut prefixes =
            Self { first: Node::default(), levels: 0, everything: false, memfd: false };
        for value in values {
            // Every path begins with a slash.
            let Some(rest) = value.strip_prefix(b"/") else { continue };
            if rest.is_empty() {
                prefixes.everything = true;
                continue;
            }
            let mut components: Vec<&[u8]> = rest.split(|byte| *byte == b'/').collect();
            let last = components.pop().unwrap_or_default();
            // No component is empty.
            if components.contains(&&b""[..]) {
                continue;
            }
            if components.len() >= WINDOW
                || components.iter().chain([&last]).any(|name| name.len() > NAME_SLOT)
                || deleted_could_begin(last)
            {
                return None;
            }
            let begin = components.first().copied().unwrap_or(last);
            prefixes.memfd |=
                begin.starts_with(MEMFD) || components.is_empty() && MEMFD.starts_with(last);
            prefixes.levels = prefixes.levels.max(components.len() + 1);
            let mut node = &mut prefixes.first;
            for name in components {
                let of_length = node.is.entry(name.len()).or_default();
                node = of_length.entry(name.to_vec()).or_default();
            }
            if last.is_empty() {
                node.any = true;
            } else {
                node.begins.entry(last.len()).or_default().insert(last.to_vec());
            }
        }
        Some(prefixes)
    }

    /// Components that have to be known.
    pub(crate) fn levels(&self) -> usize {
        self.levels
    }

    /// Tests where an object is.
    pub(crate) fn test(
        &self,
        e: &mut Emitter<'_>,
        object: Object,
        to: Targets,
    ) -> Result<(), Error> {
        let deep = e.b.create_block();
        let cold = e.b.create_block();
        let found: Vec<Value> = (0..self.levels).map(|_| e.b.append_param(cold)).collect();
        Ascent::new(e, self, deep, cold, to)?.start(object)?;

        // Deeper than the loop goes, or a memfd.
        e.b.switch_to(deep);
        let walked = e.walk(object)?;
        e.require(Cond::Eq, walked.end, end::ROOT, to.unknown);
        let area = e.scratch();
        let mut walk = Walk { b: &mut e.b, read: &e.read, area, memory: scratch::PATHS };
        let window = walk.window(self.levels);
        e.b.jump(cold, &window);

        e.b.switch_to(cold);
        let found: Vec<Base> = found.into_iter().map(Base::Address).collect();
        self.compare(e, &found, to)
    }

    /// Compares the topmost components, the first one first.
    pub(crate) fn compare(
        &self,
        e: &mut Emitter<'_>,
        found: &[Base],
        to: Targets,
    ) -> Result<(), Error> {
        if self.everything {
            e.b.jump(to.yes, &[]);
            return Ok(());
        }
        self.first.compare(e, found, to.yes, to.no)
    }
}

impl Node {
    fn compare(
        &self,
        e: &mut Emitter<'_>,
        found: &[Base],
        yes: Block,
        no: Block,
    ) -> Result<(), Error> {
        let Some((dentry, below)) = found.split_first() else {
            e.b.jump(no, &[]);
            return Ok(());
        };
        e.require(Cond::Ne, dentry.value(), 0, no);
        if self.any {
            e.b.jump(yes, &[]);
            return Ok(());
        }
        let typed = match *dentry {
            Base::Address(address) => e.typed(address, "dentry")?,
            typed => typed,
        };
        let names = Names::of(typed);
        let length = names.length(e)?;
        for (bytes, values) in &self.begins {
            let next = e.b.create_block();
            e.require(Cond::Uge, length, *bytes as i32, next);
            names.begins_with(e, values, yes, next)?;
            e.b.switch_to(next);
        }
        for (bytes, nodes) in &self.is {
            let next = e.b.create_block();
            e.require(Cond::Eq, length, *bytes as i32, next);
            // All of one length: what is not one of them is none of the other lengths either.
            let names_of: Vec<&Vec<u8>> = nodes.keys().collect();
            names.read(e, *bytes)?;
            for name in names_of {
                let (same, other) = (e.b.create_block(), e.b.create_block());
                let slot = e.name_slot();
                words(e, slot, &[name], 0, same, other);
                e.b.switch_to(same);
                nodes[name].compare(e, below, yes, no)?;
                e.b.switch_to(other);
            }
            e.b.jump(no, &[]);
            e.b.switch_to(next);
        }
        e.b.jump(no, &[]);
        Ok(())
    }
}

/// The name of a dentry.
pub(crate) struct Names {
    dentry: Base,
}

impl Names {
    pub(crate) fn of(dentry: Base) -> Self {
        Self { dentry }
    }

    /// Its length.
    pub(crate) fn length(&self, e: &mut Emitter<'_>) -> Result<Value, Error> {
        Ok(e.read.get(&mut e.b, self.dentry, "dentry", "d_name.len")?)
    }

    fn address(&self, e: &mut Emitter<'_>) -> Result<Value, Error> {
        e.member(self.dentry, "dentry", "d_name.name")
    }

    /// Reads the first bytes of the name.
    fn read(&self, e: &mut Emitter<'_>, bytes: usize) -> Result<(), Error> {
        let name = self.address(e)?;
        self.fetch(e, name, bytes);
        Ok(())
    }

    fn fetch(&self, e: &mut Emitter<'_>, from: Value, bytes: usize) {
        let slot = e.name_slot();
        let to = e.b.slot_addr(slot, 0);
        let bytes = e.b.iconst(bytes as i64);
        e.copy(to, bytes, from);
    }

    /// Whether it begins with one of the values, which are all of one length.
    fn begins_with(
        &self,
        e: &mut Emitter<'_>,
        values: &BTreeSet<Vec<u8>>,
        yes: Block,
        no: Block,
    ) -> Result<(), Error> {
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        self.read(e, values.first().map_or(0, |value| value.len()))?;
        let slot = e.name_slot();
        words(e, slot, &values, 0, yes, no);
        Ok(())
    }

    /// Whether it ends with one of the values, which are all of one length; `length`: its own, at least
    /// theirs.
    pub(crate) fn ends_with(
        &self,
        e: &mut Emitter<'_>,
        length: Value,
        values: &BTreeSet<Vec<u8>>,
        yes: Block,
        no: Block,
    ) -> Result<(), Error> {
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let bytes = values.first().map_or(0, |value| value.len());
        let name = self.address(e)?;
        let end = e.b.add(name, length);
        let from = e.b.sub(end, bytes as i32);
        self.fetch(e, from, bytes);
        let slot = e.name_slot();
        words(e, slot, &values, 0, yes, no);
        Ok(())
    }
}

/// The loop that goes up.
struct Ascent<'a, 'k> {
    e: &'a mut Emitter<'k>,
    prefixes: &'a Prefixes,
    to: Targets,
    deep: Block,
    cold: Block,
    /// Where it is.
    dentry: Var,
    /// The mount there: `struct mount` once it was crossed or given a type, else `struct vfsmount`.
    mount: Var,
    /// The root of that mount.
    mount_root: Var,
    /// Steps so far.
    steps: Var,
    /// The dentries passed last, the last one first.
    passed: Vec<Var>,
    /// Where the mount stands in `struct mount`.
    embedded: i32,
    /// The root of the process: dentry and mount.
    root: Option<(Value, Value)>,
}

/// How the loop reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Plain loads.
    Typed {
        /// Also of mounts, which have to be given their type.
        mounts: bool,
    },
    /// `bpf_probe_read_kernel()`
    Probed,
}

impl<'a, 'k> Ascent<'a, 'k> {
    fn new(
        e: &'a mut Emitter<'k>,
        prefixes: &'a Prefixes,
        deep: Block,
        cold: Block,
        to: Targets,
    ) -> Result<Self, Error> {
        let b = &mut e.b;
        let [dentry, mount, mount_root, steps] = [(); 4].map(|()| b.var());
        let zero = b.iconst(0);
        let passed: Vec<Var> = (0..prefixes.levels).map(|_| b.var()).collect();
        for var in passed.iter().chain([&steps]) {
            b.def(*var, zero);
        }
        let embedded = e.read.offset("mount", "mnt")?;
        Ok(Self {
            e,
            prefixes,
            to,
            deep,
            cold,
            dentry,
            mount,
            mount_root,
            steps,
            passed,
            embedded,
            root: None,
        })
    }

    /// Goes up from an object. Ends the block.
    fn start(&mut self, object: Object) -> Result<(), Error> {
        let e = &mut *self.e;
        let casts = e.machine.features.probe(Feature::RdonlyCast).is_yes();
        // What is followed later has lost the marks that a hook's argument has (trusted, and so on). To
        // the verifier these are types: with one type for all, the steps look alike.
        let dentry = if casts && matches!(object.dentry, Base::Typed(_)) {
            e.typed(object.dentry.value(), "dentry")?
        } else {
            object.dentry
        };
        e.b.def(self.dentry, dentry.value());
        if let Some(mount) = object.mount {
            let root = e.root()?;
            let root_mount = e.read.offset("path", "mnt")?;
            let root_dentry = e.read.offset("path", "dentry")?;
            let dentry = e.b.load(Size::U64, root, root_dentry as i16);
            let root = e.b.load(Size::U64, root, root_mount as i16);
            let real = e.b.sub(mount.value(), self.embedded);
            let real = if casts { e.typed(real, "mount")?.value() } else { real };
            e.b.def(self.mount, real);
            let mount_root = if casts {
                e.member(Base::Typed(real), "mount", "mnt.mnt_root")?
            } else {
                e.member(mount, "vfsmount", "mnt_root")?
            };
            e.b.def(self.mount_root, mount_root);
            let root = e.b.sub(root, self.embedded);
            self.root = Some((dentry, root));
        }
        let access = match object.dentry {
            Base::Typed(_) => Access::Typed { mounts: casts },
            Base::Address(_) => Access::Probed,
        };
        let first = self.e.b.create_block();
        self.e.b.jump(first, &[]);
        self.go(first, access)
    }

    fn base(access: Access, value: Value) -> Base {
        match access {
            Access::Typed { .. } => Base::Typed(value),
            Access::Probed => Base::Address(value),
        }
    }

    /// The loop, which begins in a block.
    fn go(&mut self, head: Block, access: Access) -> Result<(), Error> {
        let e = &mut *self.e;
        let [top, ended, again] = [(); 3].map(|()| e.b.create_block());
        e.b.switch_to(head);
        let dentry = e.b.get(self.dentry);
        let mut crossing = None;
        if let Some((root, root_mount)) = self.root {
            let mount = e.b.get(self.mount);
            let mount_root = e.b.get(self.mount_root);
            let [same, below, within] = [(); 3].map(|()| e.b.create_block());
            e.b.brif(Cond::Eq, dentry, root, same, below);
            e.b.switch_to(same);
            e.b.brif(Cond::Eq, mount, root_mount, ended, below);
            e.b.switch_to(below);
            let cross = e.b.create_block();
            e.b.brif(Cond::Eq, dentry, mount_root, cross, within);
            crossing = Some((cross, mount));
            e.b.switch_to(within);
        }
        let parent = e.pointer(Self::base(access, dentry), "dentry", "d_parent", "dentry")?;
        let linked = e.b.create_block();
        // Without a mount, the filesystem's root is where it ends.
        let root = if crossing.is_some() { top } else { ended };
        e.b.brif(Cond::Eq, dentry, parent.value(), root, linked);
        e.b.switch_to(linked);
        let mut last = dentry;
        for var in &self.passed {
            let before = e.b.get(*var);
            e.b.def(*var, last);
            last = before;
        }
        e.b.def(self.dentry, parent.value());
        e.b.jump(again, &[]);

        if let Some((cross, mount)) = crossing {
            self.cross(cross, mount, again, ended, access)?;
        }
        let e = &mut *self.e;
        e.b.switch_to(again);
        let steps = e.b.get(self.steps);
        let steps = e.b.add(steps, 1);
        e.b.def(self.steps, steps);
        e.b.brif(Cond::Ult, steps, STEPS, head, self.deep);

        if crossing.is_some() {
            e.b.switch_to(top);
            self.no_path(Self::base(access, dentry))?;
        }
        let e = &mut *self.e;
        e.b.switch_to(ended);
        let passed: Vec<Value> = self.passed.iter().map(|var| e.b.get(*var)).collect();
        match access {
            Access::Probed => {
                e.b.jump(self.cold, &passed);
                Ok(())
            }
            Access::Typed { .. } => {
                let passed: Vec<Base> = passed.into_iter().map(Base::Typed).collect();
                self.prefixes.compare(e, &passed, self.to)
            }
        }
    }

    /// At the root of a mount: goes on where it is mounted.
    fn cross(
        &mut self,
        cross: Block,
        mount: Value,
        again: Block,
        ended: Block,
        access: Access,
    ) -> Result<(), Error> {
        let e = &mut *self.e;
        e.b.switch_to(cross);
        let typed = matches!(access, Access::Typed { mounts: true });
        let base = |value| if typed { Base::Typed(value) } else { Base::Address(value) };
        let upper = e.member(base(mount), "mount", "mnt_parent")?;
        e.unless(Cond::Eq, upper, mount, ended);
        let point = e.member(base(mount), "mount", "mnt_mountpoint")?;
        let root = e.member(base(upper), "mount", "mnt.mnt_root")?;
        e.b.def(self.dentry, point);
        e.b.def(self.mount, upper);
        e.b.def(self.mount_root, root);
        if access == (Access::Typed { mounts: false }) {
            // What was read of the mount has no type: on with another loop.
            let head = e.b.create_block();
            e.b.jump(head, &[]);
            return self.go(head, Access::Probed);
        }
        e.b.jump(again, &[]);
        Ok(())
    }

    /// At what has no path, unless it is a memfd.
    fn no_path(&mut self, dentry: Base) -> Result<(), Error> {
        let e = &mut *self.e;
        let matters =
            self.to.no != self.to.unknown || self.prefixes.memfd || self.prefixes.everything;
        if !matters {
            e.b.jump(self.to.unknown, &[]);
            return Ok(());
        }
        let length = Names::of(dentry).length(e)?;
        e.b.brif(Cond::Ugt, length, MEMFD.len() as i32, self.deep, self.to.unknown);
        Ok(())
    }
}
