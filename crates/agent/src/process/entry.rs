//! What the table keeps of a process.
//!
//! An [`Entry`] is one image: from its fork to its exec or exit, or from its exec to the next one. What
//! an exec brought is in an [`Image`], which forked children share with their parent, so a fork costs
//! little. Messages of the API are made from entries when an event is sent, never kept.

use std::mem::size_of;
use std::sync::Arc;

use compiler::base::record::{Creds, Flags, Identity, Namespaces};

use crate::clock::WallTime;

/// What an exec (or the scan at start) said of a process, and what its forked children inherit.
#[derive(Debug, Default)]
pub struct Image {
    /// Absolute path of the executed file; empty when nothing is known of the image.
    pub binary: Box<str>,
    /// Text of the arguments.
    pub arguments: Box<str>,
    /// Working directory; empty when it could not be read.
    pub cwd: Box<str>,
    /// Effective user id.
    pub uid: Option<u32>,
    /// Audit user id, `u32::MAX` when unset.
    pub auid: Option<u32>,
    /// Account of the user id.
    pub user: Option<Arc<str>>,
    /// Credentials, when they are asked for.
    pub creds: Option<Box<Creds>>,
    /// Namespaces, when they are asked for.
    pub namespaces: Option<Box<ImageNamespaces>>,
    /// `NAME=value` texts, when they are asked for.
    pub environment: Box<[Box<str>]>,
}

/// Namespaces of an image, with the user namespace, which the kernel keeps with the credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageNamespaces {
    /// All but the user namespace.
    pub others: Namespaces,
    /// Inode number of the user namespace.
    pub user: u32,
}

impl Image {
    /// Whether anything is known of it.
    pub fn is_known(&self) -> bool {
        !self.binary.is_empty()
    }

    /// Bytes of memory it takes.
    pub fn size(&self) -> usize {
        size_of::<Self>()
            + self.binary.len()
            + self.arguments.len()
            + self.cwd.len()
            + self.creds.as_ref().map_or(0, |_| size_of::<Creds>())
            + self.namespaces.as_ref().map_or(0, |_| size_of::<ImageNamespaces>())
            + self
                .environment
                .iter()
                .map(|entry| size_of::<Box<str>>() + entry.len())
                .sum::<usize>()
    }
}

/// One image of a process.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Which.
    pub process: Identity,
    /// The one that it came from: forked from, or, for an exec without a fork, the image before.
    pub parent: Identity,
    /// When it began.
    pub start: WallTime,
    /// What the last exec brought.
    pub image: Arc<Image>,
    /// Identifier of its container.
    pub container: Option<Arc<str>>,
    /// Cgroup id, 0 when it could not be read.
    pub cgroup: u64,
    /// Flags of the record that announced it.
    pub flags: Flags,
    /// Pid in its innermost pid namespace; 0 in the host's.
    pub nspid: u32,
}

impl Entry {
    /// Whether it holds what an event has to show.
    pub fn is_known(&self) -> bool {
        self.image.is_known()
    }
}
