//! Types and flags of maps.

use bitflags::bitflags;

use crate::open_enum::open_enum;

open_enum! {
    /// `enum bpf_map_type`.
    MapType {
        HASH = 1 "hash",
        ARRAY = 2 "array",
        PROG_ARRAY = 3 "prog_array",
        PERF_EVENT_ARRAY = 4 "perf_event_array",
        PERCPU_HASH = 5 "percpu_hash",
        PERCPU_ARRAY = 6 "percpu_array",
        STACK_TRACE = 7 "stack_trace",
        CGROUP_ARRAY = 8 "cgroup_array",
        LRU_HASH = 9 "lru_hash",
        LRU_PERCPU_HASH = 10 "lru_percpu_hash",
        LPM_TRIE = 11 "lpm_trie",
        ARRAY_OF_MAPS = 12 "array_of_maps",
        HASH_OF_MAPS = 13 "hash_of_maps",
        DEVMAP = 14 "devmap",
        SOCKMAP = 15 "sockmap",
        CPUMAP = 16 "cpumap",
        XSKMAP = 17 "xskmap",
        SOCKHASH = 18 "sockhash",
        CGROUP_STORAGE = 19 "cgroup_storage",
        REUSEPORT_SOCKARRAY = 20 "reuseport_sockarray",
        PERCPU_CGROUP_STORAGE = 21 "percpu_cgroup_storage",
        QUEUE = 22 "queue",
        STACK = 23 "stack",
        /// Linux 5.2:
        SK_STORAGE = 24 "sk_storage",
        DEVMAP_HASH = 25 "devmap_hash",
        STRUCT_OPS = 26 "struct_ops",
        /// Linux 5.8:
        RINGBUF = 27 "ringbuf",
        /// Linux 5.10:
        INODE_STORAGE = 28 "inode_storage",
        /// Linux 5.11:
        TASK_STORAGE = 29 "task_storage",
        /// Linux 5.16:
        BLOOM_FILTER = 30 "bloom_filter",
        /// Linux 6.1:
        USER_RINGBUF = 31 "user_ringbuf",
        /// Linux 6.2:
        CGRP_STORAGE = 32 "cgrp_storage",
        /// Linux 6.9:
        ARENA = 33 "arena",
    }
}

impl MapType {
    /// Whether an element has a value for each possible CPU.
    pub fn is_per_cpu(self) -> bool {
        [Self::PERCPU_HASH, Self::PERCPU_ARRAY, Self::LRU_PERCPU_HASH, Self::PERCPU_CGROUP_STORAGE]
            .contains(&self)
    }

    /// Whether values are maps.
    pub fn is_map_of_maps(self) -> bool {
        [Self::ARRAY_OF_MAPS, Self::HASH_OF_MAPS].contains(&self)
    }
}

bitflags! {
    /// Flags of a map.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct MapFlags: u32 {
        /// Elements are allocated as they come. Needed by LPM tries and all kinds of storage.
        const NO_PREALLOC = 1 << 0;
        /// An LRU list for each CPU.
        const NO_COMMON_LRU = 1 << 1;
        /// User space may only read.
        const RDONLY = 1 << 3;
        /// User space may only write.
        const WRONLY = 1 << 4;
        /// Hashes start from zero; for tests only.
        const ZERO_SEED = 1 << 6;
        /// Programs may only read.
        const RDONLY_PROG = 1 << 7;
        /// Programs may only write.
        const WRONLY_PROG = 1 << 8;
        /// Copied to sockets that are accepted.
        const CLONE = 1 << 9;
        /// An array that user space can map into its memory (Linux 5.5).
        const MMAPABLE = 1 << 10;
        /// A perf event array keeps its events when the descriptor is closed.
        const PRESERVE_ELEMS = 1 << 11;
        /// Inner maps may differ in `max_entries` (Linux 5.10).
        const INNER_MAP = 1 << 12;
    }
}

/// Which element an update may find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u64)]
pub enum Update {
    /// Creates it or replaces its value.
    #[default]
    Any = 0,
    /// Creates it; fails with EEXIST if it is there.
    Create = 1,
    /// Replaces its value; fails with ENOENT if it is not there.
    Replace = 2,
}
