//! What the kernel says of a link.

use std::os::fd::{AsFd, BorrowedFd};

use super::Link;
use crate::error::Error;
use crate::object::{self, ObjectKind};
use crate::open_enum::open_enum;
use crate::sys::info;

open_enum! {
    /// `enum bpf_link_type`.
    LinkType {
        RAW_TRACEPOINT = 1 "raw_tracepoint",
        TRACING = 2 "tracing",
        CGROUP = 3 "cgroup",
        ITER = 4 "iter",
        NETNS = 5 "netns",
        XDP = 6 "xdp",
        PERF_EVENT = 7 "perf_event",
        KPROBE_MULTI = 8 "kprobe_multi",
        STRUCT_OPS = 9 "struct_ops",
        NETFILTER = 10 "netfilter",
        TCX = 11 "tcx",
        UPROBE_MULTI = 12 "uprobe_multi",
        NETKIT = 13 "netkit",
        SOCKMAP = 14 "sockmap",
    }
}

/// What the kernel says of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Number, unique since boot.
    pub id: u32,
    /// Type.
    pub link_type: LinkType,
    /// Number of the program.
    pub program_id: u32,
}

impl Link {
    /// What the kernel says of it.
    pub fn info(&self) -> Result<LinkInfo, Error> {
        query(self.link_fd("asking about")?.as_fd())
    }
}

pub(super) fn query(fd: BorrowedFd<'_>) -> Result<LinkInfo, Error> {
    let mut raw = info::LinkInfo::default();
    // SAFETY: all zero, so no addresses: the kernel then writes no names.
    unsafe { info::object_info(fd, &mut raw) }
        .map_err(|errno| Error::call("ask about a link", errno))?;
    let link_type = LinkType(raw.link_type);
    Ok(LinkInfo { id: raw.id, link_type, program_id: raw.prog_id })
}

/// Whether there is a link of this number (needs CAP_SYS_ADMIN); false also when that cannot be found out.
pub fn exists(id: u32) -> bool {
    object::open(ObjectKind::Link, id).is_ok()
}

/// Numbers of all links in the kernel (needs CAP_SYS_ADMIN).
pub fn link_ids() -> Result<Vec<u32>, Error> {
    object::ids(ObjectKind::Link)
}
