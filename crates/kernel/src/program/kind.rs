//! Types and flags of programs.

use bitflags::bitflags;

use crate::open_enum::open_enum;

open_enum! {
    /// `enum bpf_prog_type`.
    ProgramType {
        SOCKET_FILTER = 1 "socket_filter",
        KPROBE = 2 "kprobe",
        SCHED_CLS = 3 "sched_cls",
        SCHED_ACT = 4 "sched_act",
        TRACEPOINT = 5 "tracepoint",
        XDP = 6 "xdp",
        PERF_EVENT = 7 "perf_event",
        CGROUP_SKB = 8 "cgroup_skb",
        CGROUP_SOCK = 9 "cgroup_sock",
        LWT_IN = 10 "lwt_in",
        LWT_OUT = 11 "lwt_out",
        LWT_XMIT = 12 "lwt_xmit",
        SOCK_OPS = 13 "sock_ops",
        SK_SKB = 14 "sk_skb",
        CGROUP_DEVICE = 15 "cgroup_device",
        SK_MSG = 16 "sk_msg",
        RAW_TRACEPOINT = 17 "raw_tracepoint",
        CGROUP_SOCK_ADDR = 18 "cgroup_sock_addr",
        LWT_SEG6LOCAL = 19 "lwt_seg6local",
        LIRC_MODE2 = 20 "lirc_mode2",
        SK_REUSEPORT = 21 "sk_reuseport",
        FLOW_DISSECTOR = 22 "flow_dissector",
        CGROUP_SYSCTL = 23 "cgroup_sysctl",
        RAW_TRACEPOINT_WRITABLE = 24 "raw_tracepoint_writable",
        CGROUP_SOCKOPT = 25 "cgroup_sockopt",
        /// tp_btf, fentry, fexit, fmod_ret and iterators (Linux 5.5):
        TRACING = 26 "tracing",
        STRUCT_OPS = 27 "struct_ops",
        EXT = 28 "ext",
        /// Linux 5.7:
        LSM = 29 "lsm",
        SK_LOOKUP = 30 "sk_lookup",
        /// Linux 5.14:
        SYSCALL = 31 "syscall",
        NETFILTER = 32 "netfilter",
    }
}

open_enum! {
    /// `enum bpf_attach_type`.
    AttachType {
        CGROUP_INET_INGRESS = 0 "cgroup_inet_ingress",
        CGROUP_INET_EGRESS = 1 "cgroup_inet_egress",
        CGROUP_INET_SOCK_CREATE = 2 "cgroup_inet_sock_create",
        CGROUP_SOCK_OPS = 3 "cgroup_sock_ops",
        CGROUP_DEVICE = 6 "cgroup_device",
        CGROUP_INET4_BIND = 8 "cgroup_inet4_bind",
        CGROUP_INET6_BIND = 9 "cgroup_inet6_bind",
        CGROUP_INET4_CONNECT = 10 "cgroup_inet4_connect",
        CGROUP_INET6_CONNECT = 11 "cgroup_inet6_connect",
        CGROUP_INET4_POST_BIND = 12 "cgroup_inet4_post_bind",
        CGROUP_INET6_POST_BIND = 13 "cgroup_inet6_post_bind",
        CGROUP_UDP4_SENDMSG = 14 "cgroup_udp4_sendmsg",
        CGROUP_UDP6_SENDMSG = 15 "cgroup_udp6_sendmsg",
        CGROUP_SYSCTL = 18 "cgroup_sysctl",
        /// tp_btf:
        TRACE_RAW_TP = 23 "trace_raw_tp",
        TRACE_FENTRY = 24 "trace_fentry",
        TRACE_FEXIT = 25 "trace_fexit",
        /// fmod_ret:
        MODIFY_RETURN = 26 "modify_return",
        LSM_MAC = 27 "lsm_mac",
        TRACE_ITER = 28 "trace_iter",
        CGROUP_INET_SOCK_RELEASE = 34 "cgroup_inet_sock_release",
        /// Perf events: kprobes, uprobes, tracepoints, software events (Linux 5.15).
        PERF_EVENT = 41 "perf_event",
        /// Linux 5.18:
        TRACE_KPROBE_MULTI = 42 "trace_kprobe_multi",
        /// Linux 6.0:
        LSM_CGROUP = 43 "lsm_cgroup",
        /// Linux 6.6:
        TRACE_UPROBE_MULTI = 48 "trace_uprobe_multi",
        /// Linux 6.10:
        TRACE_KPROBE_SESSION = 56 "trace_kprobe_session",
        /// Linux 6.13:
        TRACE_UPROBE_SESSION = 57 "trace_uprobe_session",
    }
}

bitflags! {
    /// Flags for loading a program.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ProgramFlags: u32 {
        /// It may sleep: helpers that wait for user memory are allowed (Linux 5.10).
        const SLEEPABLE = 1 << 4;
        /// The verifier checks its own state more often; for tests.
        const TEST_STATE_FREQ = 1 << 3;
    }
}

bitflags! {
    /// What the verifier writes to its log.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct LogLevel: u32 {
        /// Each instruction it looks at on its way.
        const INSTRUCTIONS = 1;
        /// And the whole state at each.
        const STATE = 2;
        /// Its effort: instructions processed, states, memory.
        const STATISTICS = 4;
    }
}
