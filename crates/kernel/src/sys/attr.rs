//! What bpf(2) takes: its commands, and for each the part of `union bpf_attr` that it reads.
//!
//! Fields are those of `include/uapi/linux/bpf.h`, in its order and with its names where those say
//! what they are. Addresses are u64 whatever the machine. Padding is written out, so that no byte is
//! left to chance: the kernel refuses what is not zero.

use super::Plain;

/// `enum bpf_cmd`, as far as it is used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub(crate) enum Command {
    MapCreate = 0,
    MapLookup = 1,
    MapUpdate = 2,
    MapDelete = 3,
    MapNextKey = 4,
    ProgramLoad = 5,
    Pin = 6,
    OpenPinned = 7,
    TestRun = 10,
    ProgramNextId = 11,
    MapNextId = 12,
    ProgramById = 13,
    MapById = 14,
    ObjectInfo = 15,
    RawTracepointOpen = 17,
    BtfLoad = 18,
    BtfById = 19,
    MapLookupAndDelete = 21,
    MapFreeze = 22,
    BtfNextId = 23,
    MapLookupBatch = 24,
    MapLookupAndDeleteBatch = 25,
    MapUpdateBatch = 26,
    MapDeleteBatch = 27,
    LinkCreate = 28,
    LinkUpdate = 29,
    LinkById = 30,
    LinkNextId = 31,
    EnableStats = 32,
    IterCreate = 33,
    LinkDetach = 34,
}

/// `BPF_OBJ_NAME_LEN`: the NUL included.
pub(crate) const NAME_LEN: usize = 16;

/// A name as the kernel takes it: letters, digits, `_` and `.` (`bpf_obj_name_cpy`), at most 15 bytes;
/// other bytes become `_`, and what is too long is cut. Only a label: nothing is found by it.
pub(crate) fn object_name(name: &str) -> [u8; NAME_LEN] {
    let mut out = [0; NAME_LEN];
    for (to, from) in out[..NAME_LEN - 1].iter_mut().zip(name.bytes()) {
        let legal = from.is_ascii_alphanumeric() || from == b'_' || from == b'.';
        *to = if legal { from } else { b'_' };
    }
    out
}

/// The text in a field of names.
pub(crate) fn name_text(field: &[u8]) -> String {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// Declares structs that are [`Plain`]: the assertion finds padding, the macro's field types exclude
/// all but integers and arrays of them.
macro_rules! plain {
    ($($(#[$meta:meta])* struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $ty:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        #[repr(C)]
        pub(crate) struct $name { $($(#[$field_meta])* pub(crate) $field: $ty,)* }

        const _: () = assert!(size_of::<$name>() == 0 $(+ size_of::<$ty>())*, "padding");

        // SAFETY: repr(C), fields are integers and arrays of integers, and no padding (above).
        unsafe impl $crate::sys::Plain for $name {}

        impl Default for $name {
            fn default() -> Self {
                $crate::sys::Plain::zeroed()
            }
        }
    )*};
}
pub(crate) use plain;

plain! {
    /// MAP_CREATE.
    struct MapCreate {
        map_type: u32,
        /// Bytes.
        key_size: u32,
        /// Bytes.
        value_size: u32,
        max_entries: u32,
        map_flags: u32,
        /// Descriptor of a map like those that a map of maps will hold; else 0.
        inner_map_fd: u32,
        /// Used with BPF_F_NUMA_NODE only.
        numa_node: u32,
        map_name: [u8; NAME_LEN],
        map_ifindex: u32,
        btf_fd: u32,
        btf_key_type_id: u32,
        btf_value_type_id: u32,
        btf_vmlinux_value_type_id: u32,
        /// Per map type; for a bloom filter the number of hash functions (5.16).
        map_extra: u64,
    }

    /// MAP_*_ELEM, MAP_GET_NEXT_KEY, MAP_FREEZE.
    struct MapElement {
        map_fd: u32,
        padding: u32,
        key: u64,
        /// The value; where the next key is written, for MAP_GET_NEXT_KEY.
        value: u64,
        flags: u64,
    }

    /// MAP_*_BATCH (5.6).
    struct MapBatch {
        /// Where to go on: what the call before wrote to `out_batch`; 0 to start.
        in_batch: u64,
        out_batch: u64,
        keys: u64,
        values: u64,
        /// In: room, in elements. Out: elements done, also when the call fails.
        count: u32,
        map_fd: u32,
        elem_flags: u64,
        flags: u64,
    }

    /// PROG_LOAD.
    struct ProgramLoad {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        /// NUL-terminated.
        license: u64,
        /// 1 instructions, 2 more of the verifier's state, 4 statistics; 0 no log.
        log_level: u32,
        log_size: u32,
        log_buf: u64,
        kern_version: u32,
        prog_flags: u32,
        prog_name: [u8; NAME_LEN],
        prog_ifindex: u32,
        expected_attach_type: u32,
        prog_btf_fd: u32,
        func_info_rec_size: u32,
        func_info: u64,
        func_info_cnt: u32,
        line_info_rec_size: u32,
        line_info: u64,
        line_info_cnt: u32,
        attach_btf_id: u32,
        /// A program's descriptor, or a module's BTF's; 0 for the kernel's BTF.
        attach_fd: u32,
        core_relo_cnt: u32,
        /// Array of descriptors (i32) that instructions refer to by index (5.14).
        fd_array: u64,
        core_relos: u64,
        core_relo_rec_size: u32,
        /// Out: bytes that the whole log takes (6.4).
        log_true_size: u32,
    }

    /// OBJ_PIN, OBJ_GET.
    struct PinPath {
        pathname: u64,
        bpf_fd: u32,
        file_flags: u32,
    }

    /// PROG_TEST_RUN.
    struct TestRun {
        prog_fd: u32,
        retval: u32,
        data_size_in: u32,
        data_size_out: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        /// Out: nanoseconds, of one run in the average.
        duration: u32,
        ctx_size_in: u32,
        ctx_size_out: u32,
        ctx_in: u64,
        ctx_out: u64,
        flags: u32,
        cpu: u32,
        batch_size: u32,
        padding: u32,
    }

    /// *_GET_NEXT_ID, *_GET_FD_BY_ID.
    struct ObjectId {
        /// The id to open, or the one to start behind.
        id: u32,
        next_id: u32,
        open_flags: u32,
    }

    /// OBJ_GET_INFO_BY_FD.
    struct ObjectInfo {
        bpf_fd: u32,
        /// In: bytes at `info`. Out: bytes the kernel wrote.
        info_len: u32,
        info: u64,
    }

    /// RAW_TRACEPOINT_OPEN.
    struct RawTracepointOpen {
        /// NUL-terminated; 0 for programs whose target was fixed when they were loaded.
        name: u64,
        prog_fd: u32,
        padding: u32,
        /// Linux 6.10.
        cookie: u64,
    }

    /// BTF_LOAD.
    struct BtfLoad {
        btf: u64,
        btf_log_buf: u64,
        btf_size: u32,
        btf_log_size: u32,
        btf_log_level: u32,
        /// Out: bytes that the whole log takes (6.4).
        btf_log_true_size: u32,
    }

    /// LINK_UPDATE.
    struct LinkUpdate {
        link_fd: u32,
        new_prog_fd: u32,
        flags: u32,
        old_prog_fd: u32,
    }

    /// LINK_DETACH.
    struct LinkDetach {
        link_fd: u32,
    }

    /// ENABLE_STATS.
    struct EnableStats {
        /// 0: BPF_STATS_RUN_TIME.
        stats_type: u32,
    }

    /// ITER_CREATE.
    struct IterCreate {
        link_fd: u32,
        flags: u32,
    }
}

/// LINK_CREATE: what all kinds share, and what one kind adds.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct LinkCreate<Extra> {
    pub(crate) prog_fd: u32,
    /// Cgroup, perf event, or 0.
    pub(crate) target_fd: u32,
    pub(crate) attach_type: u32,
    pub(crate) flags: u32,
    pub(crate) extra: Extra,
}

// SAFETY: repr(C); the head's 16 bytes keep any `Extra` aligned, whose alignment is at most 8, and a
// multiple of it, so there is no padding besides what `Extra` does not have.
unsafe impl<Extra: Plain> Plain for LinkCreate<Extra> {}

plain! {
    /// LINK_CREATE for fentry, fexit, fmod_ret, LSM, tp_btf.
    struct TracingExtra {
        target_btf_id: u32,
        padding: u32,
        cookie: u64,
    }

    /// LINK_CREATE on a perf event (5.15).
    struct PerfEventExtra {
        cookie: u64,
    }

    /// LINK_CREATE for kprobe.multi (5.18).
    struct KprobeMultiExtra {
        flags: u32,
        cnt: u32,
        /// Array of addresses of NUL-terminated names; 0 when `addrs` is used.
        syms: u64,
        addrs: u64,
        cookies: u64,
    }

    /// LINK_CREATE for uprobe.multi (6.6).
    struct UprobeMultiExtra {
        /// NUL-terminated.
        path: u64,
        offsets: u64,
        ref_ctr_offsets: u64,
        cookies: u64,
        cnt: u32,
        flags: u32,
        pid: u32,
        padding: u32,
    }

    /// LINK_CREATE for iterators.
    struct IterExtra {
        iter_info: u64,
        iter_info_len: u32,
        padding: u32,
    }

    /// `union bpf_iter_link_info` for iterators over a map's elements.
    struct IterOverMap {
        map_fd: u32,
    }

    /// `union bpf_iter_link_info` for iterators over tasks, their files or memory (6.1). 0 is unset;
    /// at most one is set.
    struct IterOverTask {
        /// One thread.
        tid: u32,
        /// All threads of a process.
        pid: u32,
        pid_fd: u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_header() {
        // offsetofend() of each command's last field in union bpf_attr.
        assert_eq!(size_of::<MapCreate>(), 72);
        assert_eq!(std::mem::offset_of!(MapCreate, map_extra), 64);
        assert_eq!(size_of::<MapElement>(), 32);
        assert_eq!(size_of::<MapBatch>(), 56);
        assert_eq!(size_of::<ProgramLoad>(), 144);
        assert_eq!(std::mem::offset_of!(ProgramLoad, attach_btf_id), 108);
        assert_eq!(std::mem::offset_of!(ProgramLoad, fd_array), 120);
        assert_eq!(std::mem::offset_of!(TestRun, batch_size), 72);
        assert_eq!(std::mem::offset_of!(LinkCreate<TracingExtra>, extra), 16);
        assert_eq!(std::mem::offset_of!(UprobeMultiExtra, pid), 40);
    }

    #[test]
    fn names_are_made_legal() {
        assert_eq!(&object_name("a-b.c_d"), b"a_b.c_d\0\0\0\0\0\0\0\0\0");
        assert_eq!(&object_name("0123456789abcdefgh"), b"0123456789abcde\0");
        assert_eq!(name_text(&object_name("0123456789abcdefgh")), "0123456789abcde");
    }
}
