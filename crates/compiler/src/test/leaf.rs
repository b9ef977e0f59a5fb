//! The last component of a path, by which most files are ruled out without building their path.
//!
//! Where the last component does not say what the path ends with, the path is built: at the root of a
//! mount (a file that is mounted somewhere has its mount point's name) and where values look like
//! those of deleted files.

use super::components::{Names, deleted_could_end};
use crate::Error;
use crate::emit::emitter::NAME_SLOT;
use crate::emit::{Emitter, Targets};
use crate::value::file::Object;
use crate::walk::{DELETED, MEMFD};
use ebpf::{Block, Cond};
use policy::checked::Comparison;
use std::collections::{BTreeMap, BTreeSet};

/// Beyond so many values, building the path and looking for it is cheaper.
const VALUES_MAX: usize = 256;

/// What the last component has to be.
pub(crate) struct Leaves {
    /// One of these, by their length.
    exact: BTreeMap<usize, BTreeSet<Vec<u8>>>,
    /// Or end with one of these.
    ends: BTreeMap<usize, BTreeSet<Vec<u8>>>,
}

impl Leaves {
    /// `None`: the last component does not help.
    pub(crate) fn new(comparison: &Comparison) -> Option<Self> {
        let (values, whole) = match comparison {
            Comparison::Equal(values) => (values, true),
            Comparison::Postfix(values) => (values, false),
            _ => return None,
        };
        if values.len() > VALUES_MAX {
            return None;
        }
        let mut leaves = Self { exact: BTreeMap::new(), ends: BTreeMap::new() };
        for value in values {
            let deleted = if whole { value.ends_with(DELETED) } else { deleted_could_end(value) };
            if deleted {
                return None;
            }
            let slash = value.iter().rposition(|byte| *byte == b'/');
            let (leaf, of) = match slash {
                Some(at) => (&value[at + 1..], &mut leaves.exact),
                // No path is without a slash.
                None if whole => continue,
                None => (&value[..], &mut leaves.ends),
            };
            if leaf.is_empty() {
                return None;
            }
            // A long one is known well enough by its end.
            let kept = &leaf[leaf.len().saturating_sub(NAME_SLOT)..];
            of.entry(leaf.len()).or_default().insert(kept.to_vec());
        }
        Some(leaves)
    }

    /// Goes to `build` when the path could match, to `no` or `unknown` when not.
    pub(crate) fn test(
        &self,
        e: &mut Emitter<'_>,
        object: Object,
        build: Block,
        to: Targets,
    ) -> Result<(), Error> {
        if let Some(mount) = object.mount {
            let root = e.pointer(mount, "vfsmount", "mnt_root", "dentry")?;
            e.unless(Cond::Eq, object.dentry.value(), root.value(), build);
        }
        let names = Names::of(object.dentry);
        if object.mount.is_some() && to.no != to.unknown {
            // Only what has a path can be said not to match.
            let parent = e.pointer(object.dentry, "dentry", "d_parent", "dentry")?;
            let (linked, top) = (e.b.create_block(), e.b.create_block());
            e.b.brif(Cond::Eq, object.dentry.value(), parent.value(), top, linked);
            e.b.switch_to(top);
            let length = names.length(e)?;
            e.b.brif(Cond::Ugt, length, MEMFD.len() as i32, build, to.unknown);
            e.b.switch_to(linked);
        }
        let length = names.length(e)?;
        for (bytes, values) in &self.exact {
            let next = e.b.create_block();
            e.require(Cond::Eq, length, *bytes as i32, next);
            names.ends_with(e, length, values, build, next)?;
            e.b.switch_to(next);
        }
        for (bytes, values) in &self.ends {
            let next = e.b.create_block();
            e.require(Cond::Uge, length, *bytes as i32, next);
            names.ends_with(e, length, values, build, next)?;
            e.b.switch_to(next);
        }
        e.b.jump(to.no, &[]);
        Ok(())
    }
}
