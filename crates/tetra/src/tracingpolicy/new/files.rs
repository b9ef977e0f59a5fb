//! Rules on files: below a directory watched, against changes, against symbolic links.

use std::path::Path;

use policy::document::{Operator, TypeName};

use super::draft::{Action, Arg, Filter, Hook, Rule};
use super::place::Place;
use super::ways::{Security, Ways};
use crate::error::Error;

/// EACCES, EPERM.
const DENIED: i32 = -13;
const NOT_PERMITTED: i32 = -1;

/// `FMODE_WRITE` (include/linux/fs.h), in `struct file`.
const OPENED_FOR_WRITING: u32 = 2;
/// `MAY_WRITE`.
const MAY_WRITE: u32 = 2;
/// `MS_BIND`.
const BIND: u32 = 4096;

/// A security hook that is asked before names or attributes change, what it is about, and which of its
/// arguments say which file: by name, or by position among those that are a `dentry`.
type Change = (&'static str, &'static str, &'static [(&'static str, usize)]);

const CHANGES: &[Change] = &[
    ("inode_create", "made", &[("dentry", 0)]),
    ("inode_mkdir", "made as a directory", &[("dentry", 0)]),
    ("inode_mknod", "made as a device or pipe", &[("dentry", 0)]),
    ("inode_symlink", "made as a symbolic link", &[("dentry", 0)]),
    ("inode_unlink", "removed", &[("dentry", 0)]),
    ("inode_rmdir", "removed as a directory", &[("dentry", 0)]),
    ("inode_rename", "renamed or replaced", &[("old_dentry", 0), ("new_dentry", 1)]),
    ("inode_link", "linked to", &[("old_dentry", 0), ("new_dentry", 1)]),
    ("inode_setattr", "truncated, or given another owner or mode", &[("dentry", 0)]),
    ("inode_setxattr", "given an extended attribute", &[("dentry", 0)]),
    ("inode_removexattr", "stripped of an extended attribute", &[("dentry", 0)]),
    ("inode_set_acl", "given another access list", &[("dentry", 0)]),
    ("inode_remove_acl", "stripped of its access list", &[("dentry", 0)]),
];

fn operator(place: &Place) -> Operator {
    if place.directory { Operator::Prefix } else { Operator::Equal }
}

/// Hooks on what changes a place; one selector for each argument that names a file.
fn changes(
    place: &Place,
    at: impl Fn(&str) -> Option<Security>,
    message: impl Fn(&str) -> String,
    actions: &[Action],
) -> Vec<Hook> {
    let labels = ["file", "new"];
    let hook = |(name, what, files): &Change| {
        let security = at(name)?;
        let indexes: Option<Vec<u32>> =
            files.iter().map(|(name, nth)| security.index(name, "dentry", *nth)).collect();
        let args = indexes?.into_iter().zip(labels);
        let args: Vec<Arg> =
            args.map(|(index, label)| Arg::new(index, TypeName::Dentry, label)).collect();
        let which = |arg| vec![Filter::new(arg, operator(place), [place.inner_value()])];
        // A directory is itself a name that can go: only renaming takes all below it along.
        let mut selectors: Vec<Vec<Filter>> = (0..args.len()).map(which).collect();
        if place.directory {
            let itself = |arg| vec![Filter::new(arg, Operator::Equal, [place.inner.as_str()])];
            selectors.extend((0..args.len()).map(itself));
        }
        Some(Hook {
            why: format!("Before it is {what}: `dentry` is its name in its own file system."),
            at: security.at,
            message: message(what),
            args,
            selectors,
            actions: actions.to_vec(),
        })
    };
    CHANGES.iter().filter_map(hook).collect()
}

/// Reports what happens below a directory.
pub(super) fn watch_dir(path: &Path, ways: &Ways<'_>) -> Result<Rule, Error> {
    let place = Place::of(path, true)?;
    let mut hooks = Vec::new();
    if let Some(open) = ways.watch_at("file_open")
        && let Some(index) = open.index("file", "file", 0)
    {
        hooks.push(Hook {
            why: "Files that are opened; `flags` says what for (O_WRONLY is 1, O_RDWR is 2)."
                .into(),
            at: open.at,
            message: format!("opened below {}", place.path),
            args: vec![
                Arg::new(index, TypeName::File, "file"),
                Arg::new(index, TypeName::Uint32, "flags").field("f_flags"),
            ],
            selectors: vec![vec![Filter::new(0, Operator::Prefix, [place.value()])]],
            actions: Vec::new(),
        });
    }
    hooks.extend(changes(
        &place,
        |hook| ways.watch_at(hook),
        |what| format!("{what} below {}", place.path),
        &[],
    ));
    Ok(Rule {
        about: format!("Reports what happens to files below {}.", place.path),
        limits: vec![
            "Reading and writing through descriptors that are open already is not reported: for that, hook \
             security_file_permission."
                .to_owned(),
        ],
        hooks,
        doubt: ways.cannot_watch(),
    })
}

/// Denies changes.
pub(super) fn deny_write(path: &Path, ways: &Ways<'_>) -> Result<Rule, Error> {
    let place = Place::of(path, false)?;
    let deny = vec![Action::Deny(DENIED)];
    let which = |arg| Filter::new(arg, operator(&place), [place.value()]);
    let mut hooks = Vec::new();
    if let Some(open) = ways.deny_at("file_open")
        && let Some(index) = open.index("file", "file", 0)
    {
        hooks.push(Hook {
            why: "Opening it for writing, which truncating opens and writable mappings need too."
                .into(),
            at: open.at,
            message: format!("open of {} for writing", place.path),
            args: vec![
                Arg::new(index, TypeName::File, "file"),
                Arg::new(index, TypeName::Uint32, "mode").field("f_mode"),
            ],
            selectors: vec![vec![Filter::new(1, Operator::Mask, [OPENED_FOR_WRITING]), which(0)]],
            actions: deny.clone(),
        });
    }
    if let Some(write) = ways.deny_at("file_permission")
        && let (Some(file), Some(mask)) =
            (write.index("file", "file", 0), write.index("mask", "", 1))
    {
        hooks.push(Hook {
            why: "Writing through descriptors that were open before the policy was there.".into(),
            at: write.at,
            message: format!("write to {}", place.path),
            args: vec![
                Arg::new(file, TypeName::File, "file"),
                Arg::new(mask, TypeName::Int, "mask"),
            ],
            selectors: vec![vec![Filter::new(1, Operator::Mask, [MAY_WRITE]), which(0)]],
            actions: deny.clone(),
        });
    }
    hooks.extend(changes(
        &place,
        |hook| ways.deny_at(hook),
        |what| format!("{} would be {what}", place.path),
        &deny,
    ));
    hooks.extend(mounts(&place, ways));
    Ok(Rule {
        about: format!("Denies all changes of {}.", whole(&place)),
        limits: vec![
            "Memory that was mapped for writing before the policy was there stays writable."
                .to_owned(),
            "Directories above it can still be renamed: protect the whole way if that matters."
                .to_owned(),
            "Who may write to the device below the file system can change anything.".to_owned(),
        ],
        hooks,
        doubt: ways.cannot_deny(),
    })
}

fn whole(place: &Place) -> String {
    match place.directory {
        true => format!("{} and what is below it", place.path),
        false => place.path.clone(),
    }
}

/// Mounts that would give it another path, or hide it.
fn mounts(place: &Place, ways: &Ways<'_>) -> Vec<Hook> {
    let mut hooks = Vec::new();
    let exactly = |arg| vec![Filter::new(arg, Operator::Equal, [place.path.as_str()])];
    let below = |arg| vec![Filter::new(arg, Operator::Prefix, [format!("{}/", place.path)])];
    let deny = vec![Action::Deny(NOT_PERMITTED)];
    if let Some(mount) = ways.deny_at("sb_mount")
        && let (Some(source), Some(onto), Some(flags)) = (
            mount.index("dev_name", "", 0),
            mount.index("path", "path", 0),
            mount.index("flags", "", 0),
        )
    {
        let bound = |mut filters: Vec<Filter>| {
            filters.insert(0, Filter::new(1, Operator::Mask, [BIND]));
            filters
        };
        hooks.push(Hook {
            why: "Mounts over it, which would hide it, and bind mounts of it, which would give it another \
                  path."
                .into(),
            at: mount.at,
            message: format!("mount over or of {}", place.path),
            args: vec![
                Arg::new(source, TypeName::String, "source"),
                Arg::new(flags, TypeName::Uint64, "flags"),
                Arg::new(onto, TypeName::Path, "onto"),
            ],
            selectors: vec![bound(exactly(0)), bound(below(0)), exactly(2), below(2)],
            actions: deny.clone(),
        });
    }
    if let Some(moved) = ways.deny_at("move_mount")
        && let (Some(from), Some(to)) =
            (moved.index("from_path", "path", 0), moved.index("to_path", "path", 1))
    {
        hooks.push(Hook {
            why: "The same with the newer calls for mounts.".into(),
            at: moved.at,
            message: format!("mount over or of {}", place.path),
            args: vec![
                Arg::new(from, TypeName::Path, "source"),
                Arg::new(to, TypeName::Path, "onto"),
            ],
            selectors: vec![exactly(0), below(0), exactly(1), below(1)],
            actions: deny,
        });
    }
    hooks
}

/// Denies symbolic links.
pub(super) fn deny_symlink_to(path: &Path, ways: &Ways<'_>) -> Result<Rule, Error> {
    let place = Place::of(path, false)?;
    let symlink = ways.deny_at("inode_symlink");
    let found = symlink.and_then(|at| Some((at.index("old_name", "", 0)?, at)));
    let Some((index, security)) = found else {
        return Err(Error::Policy("this kernel has no security hook inode_symlink".to_owned()));
    };
    // What leads up to the root first ends in the same way.
    let mut selectors = vec![vec![Filter::new(0, Operator::Postfix, [place.path.as_str()])]];
    if place.directory {
        selectors.push(vec![Filter::new(0, Operator::SubString, [format!("{}/", place.path)])]);
    }
    let hook = Hook {
        why: "Before the link is made; `target` is the kernel's own copy of what it will say."
            .into(),
        at: security.at,
        message: format!("symbolic link to {}", place.path),
        args: vec![Arg::new(index, TypeName::String, "target")],
        selectors,
        actions: vec![Action::Deny(DENIED)],
    };
    Ok(Rule {
        about: format!("Denies symbolic links to {}.", whole(&place)),
        limits: vec![
            "Links by a relative name that does not lead through the root directory are not seen as such, \
             nor those that lead over other links."
                .to_owned(),
        ],
        hooks: vec![hook],
        doubt: ways.cannot_deny(),
    })
}
