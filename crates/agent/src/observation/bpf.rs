//! BPF programs and maps, and events of perf. Types without a name are shown as numbers.

use api::tetragon as wire;
use compiler::observed::{BpfMap, BpfProgram, PerfEvent};

use super::text::text;

/// Names of `enum bpf_prog_type` (include/uapi/linux/bpf.h), behind `BPF_PROG_TYPE_`.
const PROGRAMS: [&str; 33] = [
    "UNSPEC",
    "SOCKET_FILTER",
    "KPROBE",
    "SCHED_CLS",
    "SCHED_ACT",
    "TRACEPOINT",
    "XDP",
    "PERF_EVENT",
    "CGROUP_SKB",
    "CGROUP_SOCK",
    "LWT_IN",
    "LWT_OUT",
    "LWT_XMIT",
    "SOCK_OPS",
    "SK_SKB",
    "CGROUP_DEVICE",
    "SK_MSG",
    "RAW_TRACEPOINT",
    "CGROUP_SOCK_ADDR",
    "LWT_SEG6LOCAL",
    "LIRC_MODE2",
    "SK_REUSEPORT",
    "FLOW_DISSECTOR",
    "CGROUP_SYSCTL",
    "RAW_TRACEPOINT_WRITABLE",
    "CGROUP_SOCKOPT",
    "TRACING",
    "STRUCT_OPS",
    "EXT",
    "LSM",
    "SK_LOOKUP",
    "SYSCALL",
    "NETFILTER",
];

/// Names of `enum bpf_map_type` (include/uapi/linux/bpf.h), behind `BPF_MAP_TYPE_`.
const MAPS: [&str; 34] = [
    "UNSPEC",
    "HASH",
    "ARRAY",
    "PROG_ARRAY",
    "PERF_EVENT_ARRAY",
    "PERCPU_HASH",
    "PERCPU_ARRAY",
    "STACK_TRACE",
    "CGROUP_ARRAY",
    "LRU_HASH",
    "LRU_PERCPU_HASH",
    "LPM_TRIE",
    "ARRAY_OF_MAPS",
    "HASH_OF_MAPS",
    "DEVMAP",
    "SOCKMAP",
    "CPUMAP",
    "XSKMAP",
    "SOCKHASH",
    "CGROUP_STORAGE",
    "REUSEPORT_SOCKARRAY",
    "PERCPU_CGROUP_STORAGE",
    "QUEUE",
    "STACK",
    "SK_STORAGE",
    "DEVMAP_HASH",
    "STRUCT_OPS",
    "RINGBUF",
    "INODE_STORAGE",
    "TASK_STORAGE",
    "BLOOM_FILTER",
    "USER_RINGBUF",
    "CGRP_STORAGE",
    "ARENA",
];

/// Names of `enum perf_type_id` (include/uapi/linux/perf_event.h), behind `PERF_TYPE_`.
const EVENTS: [&str; 6] = ["HARDWARE", "SOFTWARE", "TRACEPOINT", "HW_CACHE", "RAW", "BREAKPOINT"];

fn named(prefix: &str, names: &[&str], number: u32) -> String {
    match names.get(number as usize) {
        Some(name) => format!("{prefix}{name}"),
        None => number.to_string(),
    }
}

pub(super) fn attributes(program: &BpfProgram) -> wire::KprobeBpfAttr {
    wire::KprobeBpfAttr {
        prog_type: named("BPF_PROG_TYPE_", &PROGRAMS, program.kind),
        insn_cnt: program.instructions,
        prog_name: text(&program.name),
    }
}

pub(super) fn program(program: &BpfProgram) -> wire::KprobeBpfProg {
    wire::KprobeBpfProg {
        prog_type: named("BPF_PROG_TYPE_", &PROGRAMS, program.kind),
        insn_cnt: program.instructions,
        prog_name: text(&program.name),
    }
}

pub(super) fn map(map: &BpfMap) -> wire::KprobeBpfMap {
    wire::KprobeBpfMap {
        map_type: named("BPF_MAP_TYPE_", &MAPS, map.kind),
        key_size: map.key_size,
        value_size: map.value_size,
        max_entries: map.entries,
        map_name: text(&map.name),
    }
}

pub(super) fn perf_event(event: &PerfEvent) -> wire::KprobePerfEvent {
    wire::KprobePerfEvent {
        kprobe_func: text(&event.function),
        r#type: named("PERF_TYPE_", &EVENTS, event.kind),
        config: event.config,
        probe_offset: event.offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_kernels_names() {
        for (number, name) in [
            (0, "BPF_PROG_TYPE_UNSPEC"),
            (2, "BPF_PROG_TYPE_KPROBE"),
            (26, "BPF_PROG_TYPE_TRACING"),
            (32, "BPF_PROG_TYPE_NETFILTER"),
            (33, "33"),
        ] {
            let given = BpfProgram { kind: number, instructions: 7, name: b"made".to_vec() };
            assert_eq!(attributes(&given).prog_type, name);
            let shown = program(&given);
            assert_eq!((shown.prog_type.as_str(), shown.insn_cnt), (name, 7));
            assert_eq!(shown.prog_name, "made");
        }
        for (number, name) in [
            (1, "BPF_MAP_TYPE_HASH"),
            (9, "BPF_MAP_TYPE_LRU_HASH"),
            (27, "BPF_MAP_TYPE_RINGBUF"),
            (29, "BPF_MAP_TYPE_TASK_STORAGE"),
            (33, "BPF_MAP_TYPE_ARENA"),
            (99, "99"),
        ] {
            let name = name.to_owned();
            let given =
                BpfMap { kind: number, key_size: 4, value_size: 8, entries: 9, name: vec![b'm'] };
            let expected = wire::KprobeBpfMap {
                map_type: name,
                key_size: 4,
                value_size: 8,
                max_entries: 9,
                map_name: "m".to_owned(),
            };
            assert_eq!(map(&given), expected);
        }
        for (number, name) in [(2, "PERF_TYPE_TRACEPOINT"), (5, "PERF_TYPE_BREAKPOINT"), (8, "8")] {
            let given = PerfEvent { kind: number, config: 1, offset: 2, function: b"f".to_vec() };
            let expected = wire::KprobePerfEvent {
                kprobe_func: "f".to_owned(),
                r#type: name.to_owned(),
                config: 1,
                probe_offset: 2,
            };
            assert_eq!(perf_event(&given), expected);
        }
    }
}
