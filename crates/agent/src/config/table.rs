//! Every flag, in the order of the help. To make a flag act, replace its `NotYet` by `Sets` of a
//! field of [`Config`]; everything else follows.

use super::Complaint::{Replaced, Wrong};
use super::Effect::{NotYet, Reads, Sets};
use super::Kind::{self, Bool, Duration, Int, Str, Strings, Uint};
use super::duration::SECOND;
use super::{
    AncestorsOfHits, Checked, Complaint, Config, Flag, Listen, TcpAddress, UsernameMetadata, size,
};
use crate::logging::{Format, Level};
use crate::metrics::LabelFilter;
use crate::redaction::Redaction;
use filters::{FieldFilters, Selection};
use std::path::PathBuf;
use std::time::Duration as StdDuration;

const OK: Checked = Ok(());

const fn flag(name: &'static str, help: &'static str, kind: Kind) -> Flag {
    Flag { name, short: None, hidden: false, help, kind }
}

const fn hidden(name: &'static str, help: &'static str, kind: Kind) -> Flag {
    Flag { name, short: None, hidden: true, help, kind }
}

/// The effect that puts the value as it is into a field.
macro_rules! sets {
    ($($field:ident).+) => {
        Sets(|config, value| {
            config.$($field).+ = value;
            OK
        })
    };
}

fn path(text: String) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn bytes(text: &str) -> Result<u64, Complaint> {
    let wanted = "a number with an optional suffix k, M or G is wanted";
    size::parse(text).ok_or_else(|| Wrong(format!("has {text:?}; {wanted}")))
}

fn tcp_only(text: &str) -> Result<Option<TcpAddress>, Complaint> {
    match Listen::parse(text).map_err(Wrong)? {
        Listen::None => Ok(None),
        Listen::Tcp(address) => Ok(Some(address)),
        Listen::Unix(_) => Err(Wrong(format!("has {text:?}; host:port is wanted"))),
    }
}

fn filters_are_good(text: &str) -> Checked {
    let compiled = filters::json::filters(text).and_then(|list| Selection::new(&list, &[]));
    compiled.map(drop).map_err(|error| Wrong(format!("cannot be used: {error}")))
}

fn field_filters_are_good(text: &str) -> Checked {
    let compiled = filters::json::field_filters(text).and_then(|list| FieldFilters::new(&list));
    compiled.map(drop).map_err(|error| Wrong(format!("cannot be used: {error}")))
}

fn at_least(value: i64, least: i64) -> Result<u64, Complaint> {
    match u64::try_from(value) {
        Ok(unsigned) if value >= least => Ok(unsigned),
        _ => Err(Wrong(format!("has {value}; at least {least} is wanted"))),
    }
}

/// All flags.
pub static FLAGS: &[Flag] = &[
    flag(
        "allow-degraded-enforcement",
        "Load policies also where this kernel cannot do all that they are to enforce",
        Bool(false, sets!(policies.allow_degraded)),
    ),
    flag(
        "bpf-dir",
        "Name of the directory under bpffs for pins",
        Str(
            "tetragon",
            Sets(|c, v| match v.is_empty() || v.contains(['/', '.']) {
                true => Err(Wrong(format!("has {v:?}; a name without `/` and `.` is wanted"))),
                false => {
                    c.pins.dir = v;
                    OK
                }
            }),
        ),
    ),
    flag(
        "bpf-lib",
        "Directory of BTF files for kernels without their own: metadata/vmlinux-RELEASE, btf",
        Str(
            "/var/lib/tetragon/",
            Sets(|c, v| {
                c.bpf_lib = PathBuf::from(v);
                OK
            }),
        ),
    ),
    flag(
        "btf",
        "BTF file of the kernel, instead of the kernel's own",
        Str(
            "",
            Sets(|c, v| {
                c.btf = path(v);
                OK
            }),
        ),
    ),
    flag(
        "cgroup-rate",
        "Throttle base events per cgroup and CPU: N,duration (100,1s)",
        Str("", NotYet),
    ),
    flag("cluster-name", "Name of the cluster, set in every event", Str("", sets!(cluster_name))),
    flag(
        "config-dir",
        "Directory with more settings, one file each, named like the flag",
        Str("", Reads),
    ),
    flag("cri-endpoint", "Socket of the container runtime (unix:///path)", Str("", NotYet)),
    flag("data-cache-size", "Entries of the cache of data events", Int(1024, NotYet)),
    Flag {
        name: "debug",
        short: Some('d'),
        hidden: false,
        help: "Log at level debug",
        kind: Bool(
            false,
            Sets(|c, v| {
                if v {
                    c.log.level = Level::Debug;
                }
                OK
            }),
        ),
    },
    flag(
        "deleted-pod-cache-size",
        "Containers of deleted pods that are remembered: their last events come late",
        Int(
            1024,
            Sets(|c, v| {
                let size = at_least(v, 0)?;
                c.kubernetes.deleted_pods = usize::try_from(size).unwrap_or(usize::MAX);
                OK
            }),
        ),
    ),
    flag(
        "disable-kprobe-multi",
        "Never use kprobe.multi links",
        Bool(false, sets!(policies.disable_kprobe_multi)),
    ),
    flag(
        "disable-process-cache",
        "Keep no processes: events have no parents and little process information",
        Bool(false, sets!(process.disable_cache)),
    ),
    flag(
        "enable-ancestors",
        "Kinds of events that carry ancestors: base, kprobe, tracepoint, uprobe, lsm, usdt",
        Strings(Sets(ancestors)),
    ),
    flag("enable-cgidmap", "Find pods by cgroup id", Bool(false, NotYet)),
    flag("enable-cgidmap-debug", "Log more about cgroup ids", Bool(false, NotYet)),
    flag("enable-cgtrackerid", "Track nested cgroups of containers", Bool(true, NotYet)),
    flag("enable-cri", "Talk to the container runtime", Bool(false, NotYet)),
    flag(
        "enable-deprecated-tracingpolicy-grpc",
        "Allow the deprecated calls EnableTracingPolicy and DisableTracingPolicy",
        Bool(false, sets!(server.deprecated_calls)),
    ),
    flag(
        "enable-event-metrics",
        "Count events by process and pod",
        Bool(true, sets!(metrics.events)),
    ),
    flag("enable-export-aggregation", "Aggregate exported events", Bool(false, NotYet)),
    flag(
        "enable-k8s-api",
        "Use the Kubernetes API: events tell the pods of their processes",
        Bool(false, sets!(kubernetes.enabled)),
    ),
    flag(
        "enable-msg-handling-latency",
        "Measure how long each kernel record takes",
        Bool(false, NotYet),
    ),
    flag(
        "enable-pid-set-filter",
        "Allow pid_set in export filters",
        Bool(false, sets!(export.pid_set)),
    ),
    flag(
        "enable-pod-annotations",
        "Add pod annotations to events",
        Bool(false, sets!(kubernetes.annotations)),
    ),
    flag("enable-pod-info", "Read PodInfo resources", Bool(false, NotYet)),
    flag(
        "enable-policy-filter",
        "Allow namespaced policies and pod selectors",
        Bool(false, NotYet),
    ),
    flag(
        "enable-policy-filter-cgroup-map",
        "Keep the map from cgroups to policies",
        Bool(false, NotYet),
    ),
    flag("enable-policy-filter-debug", "Log more about policy filters", Bool(false, NotYet)),
    flag(
        "enable-policy-requests",
        "Send what GetUrl and DnsLookup of policies ask for, to wherever they say; otherwise it is counted only",
        Bool(false, sets!(requests.enabled)),
    ),
    flag(
        "enable-process-cred",
        "Add credentials and capabilities to events",
        Bool(false, sets!(process.enable_cred)),
    ),
    flag(
        "enable-process-environment-variables",
        "Add environment variables to process_exec events",
        Bool(false, sets!(process.enable_environment)),
    ),
    flag("enable-process-ns", "Add namespaces to events", Bool(false, sets!(process.enable_ns))),
    flag(
        "enable-tracing-policy-crd",
        "With --enable-k8s-api: put the cluster's policies in force",
        Bool(true, sets!(kubernetes.policies)),
    ),
    flag(
        "event-cache-retries",
        "How often an event waits for what is not known yet of its process",
        Int(15, Sets(|c, v| at_least(v, 0).map(|v| c.process.retries = v))),
    ),
    flag(
        "event-cache-retry-delay",
        "Seconds between two such attempts",
        Int(
            2,
            Sets(|c, v| at_least(v, 1).map(|v| c.process.retry_delay = StdDuration::from_secs(v))),
        ),
    ),
    flag(
        "event-queue-size",
        "Events that wait for one listener before it loses some",
        Uint(
            10_000,
            Sets(|c, v| {
                c.event_queue_size = usize::try_from(v)
                    .ok()
                    .filter(|size| *size > 0)
                    .ok_or_else(|| Wrong(format!("has {v}; at least 1 is wanted")))?;
                OK
            }),
        ),
    ),
    flag(
        "exec-data-max-size",
        "Bytes of arguments, and as many of environment, that are captured of one exec",
        Str("256k", Sets(|c, v| bytes(&v).map(|v| c.process.exec_data_max_size = v))),
    ),
    flag("execve-map-entries", "Entries of the kernel's process map", Int(0, NotYet)),
    flag("execve-map-size", "Size of the kernel's process map", Str("", NotYet)),
    flag(
        "export-aggregation-buffer-size",
        "Length of the queue before aggregation",
        Uint(10_000, NotYet),
    ),
    flag(
        "export-aggregation-window-size",
        "Time over which events are aggregated",
        Duration(15 * SECOND, NotYet),
    ),
    flag(
        "export-allowlist",
        "JSON filters, one a line: only events that match one are exported",
        Str("", Sets(|c, v| filters_are_good(&v).map(|()| c.export.allow_list = v))),
    ),
    flag(
        "export-denylist",
        "JSON filters, one a line: events that match one are not exported",
        Str("", Sets(|c, v| filters_are_good(&v).map(|()| c.export.deny_list = v))),
    ),
    flag(
        "export-file-compress",
        "Compress rotated export files",
        Bool(false, sets!(export.rotation.compress)),
    ),
    flag(
        "export-file-max-backups",
        "Rotated export files that are kept; 0 keeps all",
        Int(5, Sets(|c, v| at_least(v, 0).map(|v| c.export.rotation.max_backups = v))),
    ),
    flag(
        "export-file-max-size-mb",
        "Size in MB at which the export file is rotated; 0 stands for 100",
        Int(10, Sets(|c, v| at_least(v, 0).map(|v| c.export.rotation.max_size_mb = v))),
    ),
    flag("export-file-perm", "Mode of new export files, in octal", Str("600", Sets(export_perm))),
    flag(
        "export-file-rotation-interval",
        "Rotate the export file this often; 0 never",
        Duration(
            0,
            Sets(|c, v| {
                let interval = at_least(v, 0).map_err(|_| {
                    Wrong("is negative; a duration is wanted, or 0 for never".to_owned())
                })?;
                c.export.rotation.interval = StdDuration::from_nanos(interval);
                OK
            }),
        ),
    ),
    flag(
        "export-filename",
        "File for events as JSON lines; - or /dev/stdout for standard output; empty for none",
        Str(
            "",
            Sets(|c, v| {
                c.export.file = path(v);
                OK
            }),
        ),
    ),
    flag(
        "export-rate-limit",
        "Events exported per minute; -1 for all, 0 for no export",
        Int(
            -1,
            Sets(|c, v| {
                c.export.rate_limit = u64::try_from(v).ok();
                OK
            }),
        ),
    ),
    flag(
        "expose-stack-addresses",
        "Put addresses into stack traces, not only symbols",
        Bool(false, sets!(expose_stack_addresses)),
    ),
    flag(
        "field-filters",
        "JSON field filters, one a line, applied to exported events",
        Str("", Sets(|c, v| field_filters_are_good(&v).map(|()| c.export.field_filters = v))),
    ),
    flag(
        "filter-environment-variables",
        "Names of the environment variables to keep; empty keeps all",
        Strings(sets!(process.filter_environment)),
    ),
    flag("force-large-progs", "Use large programs whatever the kernel", Bool(false, NotYet)),
    flag("force-small-progs", "Use small programs whatever the kernel", Bool(false, NotYet)),
    flag(
        "generate-docs",
        "Print the documentation of all flags as YAML, and exit",
        Bool(false, Reads),
    ),
    flag("gops-address", "Address of the gops agent", Str("", NotYet)),
    flag(
        "health-server-address",
        "Address of the gRPC health server; empty for none",
        Str(":6789", Sets(|c, v| tcp_only(&v).map(|address| c.health.address = address))),
    ),
    flag(
        "health-server-interval",
        "Seconds between two checks of the agent's health",
        Int(10, Sets(|c, v| at_least(v, 1).map(|v| c.health.interval = StdDuration::from_secs(v)))),
    ),
    flag("k8s-controlplane-retry", "Attempts to reach the Kubernetes API", Int(1, NotYet)),
    flag(
        "k8s-kubeconfig-path",
        "Kubeconfig file; empty when in a cluster",
        Str(
            "",
            Sets(|c, v| {
                c.kubernetes.kubeconfig = path(v);
                OK
            }),
        ),
    ),
    flag(
        "keep-sensors-on-exit",
        "Policies stay in force without the agent, until the next one has its own in force",
        Bool(false, sets!(pins.keep)),
    ),
    flag("kernel", "Kernel version to assume", Str("", NotYet)),
    flag(
        "log-file",
        "File that the log goes to as well",
        Str(
            "",
            Sets(|c, v| {
                c.log.file = path(v);
                OK
            }),
        ),
    ),
    flag(
        "log-format",
        "Format of the log: text or json",
        Str(
            "text",
            Sets(|c, v| {
                c.log.format = match v.as_str() {
                    "" | "text" => Format::Text,
                    "json" => Format::Json,
                    _ => return Err(Wrong(format!("has {v:?}; text or json is wanted"))),
                };
                OK
            }),
        ),
    ),
    flag(
        "log-level",
        "Least level that is logged: trace, debug, info, warn, error, fatal, panic",
        Str(
            "info",
            Sets(|c, v| {
                let wanted = "trace, debug, info, warn, error, fatal or panic is wanted";
                let name = if v.is_empty() { "info" } else { &v };
                let level: Level =
                    name.parse().map_err(|_| Wrong(format!("has {v:?}; {wanted}")))?;
                // --debug stands before this flag and wins.
                if c.log.level != Level::Debug {
                    c.log.level = level;
                }
                OK
            }),
        ),
    ),
    flag(
        "metrics-label-filter",
        "Labels that event metrics have: namespace, workload, pod, binary, node_name",
        Str(
            "namespace,workload,pod,binary",
            Sets(|c, v| {
                c.metrics.labels = LabelFilter::parse(&v).map_err(Wrong)?;
                OK
            }),
        ),
    ),
    flag(
        "metrics-server",
        "Address of the metrics server; empty for none",
        Str("", Sets(|c, v| tcp_only(&v).map(|address| c.metrics.address = address))),
    ),
    flag("netns-dir", "Directory of network namespaces", Str("/var/run/docker/netns/", NotYet)),
    flag(
        "node-labels",
        "Labels of this node, KEY=VALUE each, for nodeSelector and for rules in Rego",
        Strings(Sets(node_labels)),
    ),
    flag("parents-map-enabled", "Keep the map of parent binaries", Bool(false, NotYet)),
    flag("parents-map-entries", "Entries of the map of parent binaries", Int(0, NotYet)),
    flag("parents-map-size", "Size of the map of parent binaries", Str("", NotYet)),
    flag(
        "persist-grpc-policies",
        "Store policies that came by gRPC, and load them at the next start",
        Bool(false, sets!(policies.persist)),
    ),
    flag(
        "persist-grpc-policies-dir",
        "Directory for policies that came by gRPC",
        Str(
            "/var/run/tetragon/grpc-policies",
            Sets(|c, v| {
                c.policies.persist_dir = PathBuf::from(v);
                OK
            }),
        ),
    ),
    flag(
        "policy-rego-dir",
        "Directory of rules in Rego that admit policies and make them; an absolute path",
        Str(
            "",
            Sets(|c, v| {
                if !v.is_empty() && !v.starts_with('/') {
                    return Err(Wrong(format!("has {v:?}; an absolute path is wanted")));
                }
                c.policies.rego_dir = path(v);
                OK
            }),
        ),
    ),
    flag(
        "policy-requests-dns-server",
        "Address and port of the server that DnsLookup of policies asks",
        Str(
            "1.1.1.1:53",
            Sets(|c, v| match v.parse() {
                Ok(server) => {
                    c.requests.dns_server = server;
                    OK
                }
                Err(_) => Err(Wrong(format!("has {v:?}; an address and port is wanted"))),
            }),
        ),
    ),
    flag("pprof-address", "Address of the pprof server", Str("", NotYet)),
    flag(
        "process-cache-gc-interval",
        "Time between two sweeps of processes that are no longer referred to",
        Duration(
            30 * SECOND,
            Sets(|c, v| {
                let wanted = "a positive duration is wanted";
                let interval =
                    at_least(v, 1).map_err(|_| Wrong(format!("is not positive; {wanted}")))?;
                c.process.gc_interval = StdDuration::from_nanos(interval);
                OK
            }),
        ),
    ),
    flag(
        "process-cache-size",
        "Processes that are kept at most",
        Int(
            65536,
            Sets(|c, v| {
                let size = at_least(v, 1)?;
                c.process.cache_size = usize::try_from(size).unwrap_or(usize::MAX);
                OK
            }),
        ),
    ),
    flag(
        "procfs",
        "Where the host's procfs is mounted",
        Str(
            "/proc/",
            Sets(|c, v| {
                c.procfs =
                    path(v).ok_or_else(|| Wrong("is empty; a directory is wanted".to_owned()))?;
                OK
            }),
        ),
    ),
    flag(
        "rb-queue-size",
        "Records between the reader of the ring and their handler",
        Str("65535", Sets(|c, v| bytes(&v).map(|v| c.ring.queue_size = v))),
    ),
    flag(
        "rb-size",
        "Bytes of ring buffer per CPU (65k, 10M); 0 for the default",
        Str("0", Sets(|c, v| bytes(&v).map(|v| c.ring.size_per_cpu = v))),
    ),
    flag(
        "rb-size-total",
        "Bytes of ring buffer in all (65k, 10M); 0 for the default",
        Str("0", Sets(|c, v| bytes(&v).map(|v| c.ring.size_total = v))),
    ),
    flag(
        "redaction-filters",
        "JSON filters, one a line, for what to hide in arguments and environment",
        Str(
            "",
            Sets(|c, v| {
                if let Err(error) = Redaction::parse(&v) {
                    return Err(Wrong(format!("cannot be used: {error}")));
                }
                c.process.redaction_filters = v;
                OK
            }),
        ),
    ),
    flag(
        "release-pinned-bpf",
        "Without effect: what an earlier agent left in force is always replaced without a gap",
        Bool(true, Sets(|_, _| OK)),
    ),
    flag("retprobes-cache-size", "Entries of the cache of pending calls", Int(4096, NotYet)),
    flag(
        "server-address",
        "Address of the gRPC server: host:port (and the unix socket), unix:///path, or empty",
        Str(
            "localhost:54321",
            Sets(|c, v| {
                c.server.listen = Listen::parse(&v).map_err(Wrong)?;
                OK
            }),
        ),
    ),
    flag(
        "server-tls-cert-file",
        "Certificate (PEM) that turns on TLS on the TCP address",
        Str(
            "",
            Sets(|c, v| {
                c.server.tls_cert_file = path(v);
                OK
            }),
        ),
    ),
    flag(
        "server-tls-client-ca-files",
        "Authorities (PEM) that client certificates must come from",
        Strings(Sets(|c, v| {
            c.server.tls_client_ca_files = v.into_iter().map(PathBuf::from).collect();
            OK
        })),
    ),
    flag(
        "server-tls-key-file",
        "Key (PEM) of the certificate",
        Str(
            "",
            Sets(|c, v| {
                c.server.tls_key_file = path(v);
                OK
            }),
        ),
    ),
    flag(
        "server-tls-require-client-cert",
        "Refuse clients without a certificate",
        Bool(false, sets!(server.tls_require_client_cert)),
    ),
    flag("sleepable-preload-size", "Entries of the preload map", Int(32768, NotYet)),
    flag(
        "tracing-policy",
        "Policy file to load, and to load again when it changes",
        Str(
            "",
            Sets(|c, v| {
                c.policies.file = path(v);
                OK
            }),
        ),
    ),
    flag(
        "tracing-policy-dir",
        "Directory of policy files to load, and to follow as they change; an absolute path",
        Str(
            crate::policies::DEFAULT_DIR,
            Sets(|c, v| {
                if !v.is_empty() && !v.starts_with('/') {
                    return Err(Wrong(format!("has {v:?}; an absolute path is wanted")));
                }
                c.policies.dir = path(v);
                OK
            }),
        ),
    ),
    flag("use-perf-ring-buffer", "Use perf buffers, not the ring buffer", Bool(false, NotYet)),
    flag(
        "username-metadata",
        "Where user names come from: disabled, or unix for the host's passwd file",
        Str(
            "disabled",
            Sets(|c, v| {
                c.process.username_metadata = match v.as_str() {
                    "" | "disabled" => UsernameMetadata::Disabled,
                    "unix" => UsernameMetadata::Unix,
                    _ => return Err(Wrong(format!("has {v:?}; disabled or unix is wanted"))),
                };
                OK
            }),
        ),
    ),
    flag("verbose", "Detail of the verifier's log, 0 to 2", Int(0, NotYet)),
    hidden("cpuprofile", "File for a CPU profile", Str("", NotYet)),
    hidden("memprofile", "File for a heap profile at exit", Str("", NotYet)),
];

/// The flag of that name.
pub fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

fn ancestors(config: &mut Config, classes: Vec<String>) -> Checked {
    const KNOWN: [&str; 6] = ["base", "kprobe", "tracepoint", "uprobe", "lsm", "usdt"];
    if let Some(class) = classes.iter().find(|class| !KNOWN.contains(&class.as_str())) {
        let wanted = "base, kprobe, tracepoint, uprobe, lsm or usdt is wanted";
        return Err(Wrong(format!("has {class:?}; {wanted}")));
    }
    let has = |name: &str| classes.iter().any(|class| class == name);
    config.process.enable_ancestors = has("base");
    config.process.ancestors_of_hits = AncestorsOfHits {
        kprobe: has("kprobe"),
        tracepoint: has("tracepoint"),
        lsm: has("lsm"),
        uprobe: has("uprobe"),
        usdt: has("usdt"),
    };
    if !config.process.enable_ancestors && !classes.is_empty() {
        let reason = "does nothing without base: no event carries ancestors";
        return Err(Replaced(reason.to_owned()));
    }
    OK
}

fn node_labels(config: &mut Config, labels: Vec<String>) -> Checked {
    let pair = |label: &String| {
        let (key, value) = label.split_once('=')?;
        (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
    };
    let mut pairs = std::collections::BTreeMap::new();
    for label in &labels {
        let wrong = || Wrong(format!("has {label:?}; KEY=VALUE is wanted"));
        let (key, value) = pair(label).ok_or_else(wrong)?;
        pairs.insert(key, value);
    }
    config.policies.node_labels = (!pairs.is_empty()).then_some(pairs);
    OK
}

fn export_perm(config: &mut Config, text: String) -> Checked {
    match u32::from_str_radix(&text, 8) {
        Ok(mode) if mode <= 0o7777 => config.export.rotation.mode = mode,
        _ => {
            config.export.rotation.mode = 0o600;
            return Err(Replaced(format!("has {text:?}, which is no octal mode; 600 is used")));
        }
    }
    OK
}
