//! What BPF_OBJ_GET_INFO_BY_FD writes about programs, maps, BTF and links.
//!
//! The kernel writes as much as both sides know; the rest stays zero, which each field's reader has
//! to take for "not told". Arrays are written where the struct's addresses point, if they do.

use std::os::fd::BorrowedFd;

use super::attr::{Command, NAME_LEN, ObjectInfo, plain};
use super::{Plain, bpf, fd_number};
use crate::errno::Errno;

plain! {
    /// `struct bpf_prog_info`.
    struct ProgramInfo {
        prog_type: u32,
        id: u32,
        tag: [u8; 8],
        jited_prog_len: u32,
        xlated_prog_len: u32,
        jited_prog_insns: u64,
        xlated_prog_insns: u64,
        /// Nanoseconds since boot.
        load_time: u64,
        created_by_uid: u32,
        /// In: room at `map_ids`. Out: maps that the program uses.
        nr_map_ids: u32,
        map_ids: u64,
        name: [u8; NAME_LEN],
        ifindex: u32,
        gpl_compatible: u32,
        netns_dev: u64,
        netns_ino: u64,
        nr_jited_ksyms: u32,
        nr_jited_func_lens: u32,
        jited_ksyms: u64,
        jited_func_lens: u64,
        btf_id: u32,
        func_info_rec_size: u32,
        func_info: u64,
        nr_func_info: u32,
        nr_line_info: u32,
        line_info: u64,
        jited_line_info: u64,
        nr_jited_line_info: u32,
        line_info_rec_size: u32,
        jited_line_info_rec_size: u32,
        nr_prog_tags: u32,
        prog_tags: u64,
        /// Counted while BPF_ENABLE_STATS is on.
        run_time_ns: u64,
        run_cnt: u64,
        /// Linux 5.12.
        recursion_misses: u64,
        /// Linux 5.16.
        verified_insns: u32,
        attach_btf_obj_id: u32,
        attach_btf_id: u32,
        padding: u32,
    }

    /// `struct bpf_map_info`.
    struct MapInfo {
        map_type: u32,
        id: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        map_flags: u32,
        name: [u8; NAME_LEN],
        ifindex: u32,
        btf_vmlinux_value_type_id: u32,
        netns_dev: u64,
        netns_ino: u64,
        btf_id: u32,
        btf_key_type_id: u32,
        btf_value_type_id: u32,
        padding: u32,
        map_extra: u64,
    }

    /// `struct bpf_btf_info`.
    struct BtfInfo {
        btf: u64,
        btf_size: u32,
        id: u32,
        name: u64,
        /// In: room at `name`. Out: length of the name.
        name_len: u32,
        /// 1 for the kernel's own and its modules'.
        kernel_btf: u32,
    }

    /// `struct bpf_link_info`: the head, then eight words of which each link type makes its own.
    struct LinkInfo {
        link_type: u32,
        id: u32,
        prog_id: u32,
        padding: u32,
        rest: [u64; 8],
    }
}

/// Asks the kernel about an object.
///
/// # Safety
///
/// Addresses in `info` are 0 or valid for the lengths that stand beside them.
pub(crate) unsafe fn object_info<I: Plain>(fd: BorrowedFd<'_>, info: &mut I) -> Result<(), Errno> {
    let mut attr = ObjectInfo {
        bpf_fd: fd_number(fd),
        info_len: size_of::<I>() as u32,
        info: std::ptr::from_mut(info).expose_provenance() as u64,
    };
    // SAFETY: `info` is valid for `info_len`, which the kernel does not exceed; addresses in it by
    // this function's contract.
    unsafe { bpf(Command::ObjectInfo, &mut attr) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_those_of_the_header() {
        assert_eq!(std::mem::offset_of!(ProgramInfo, name), 64);
        assert_eq!(std::mem::offset_of!(ProgramInfo, run_time_ns), 192);
        assert_eq!(size_of::<ProgramInfo>(), 232);
        assert_eq!(std::mem::offset_of!(MapInfo, netns_dev), 48);
        assert_eq!(size_of::<MapInfo>(), 88);
        assert_eq!(size_of::<BtfInfo>(), 32);
    }
}
