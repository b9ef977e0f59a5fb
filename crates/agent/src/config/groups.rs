//! Which flags are for the same purpose, for the help.

/// Flags by purpose; each visible flag belongs to one group.
pub(super) const GROUPS: &[(&str, &[&str])] = &[
    (
        "Policies",
        &[
            "allow-degraded-enforcement",
            "enable-policy-filter",
            "enable-policy-filter-cgroup-map",
            "enable-policy-filter-debug",
            "enable-policy-requests",
            "keep-sensors-on-exit",
            "node-labels",
            "persist-grpc-policies",
            "persist-grpc-policies-dir",
            "policy-rego-dir",
            "policy-requests-dns-server",
            "release-pinned-bpf",
            "tracing-policy",
            "tracing-policy-dir",
        ],
    ),
    (
        "What events carry",
        &[
            "cluster-name",
            "enable-ancestors",
            "enable-process-cred",
            "enable-process-environment-variables",
            "enable-process-ns",
            "exec-data-max-size",
            "expose-stack-addresses",
            "filter-environment-variables",
            "redaction-filters",
            "username-metadata",
        ],
    ),
    (
        "Export to a file",
        &[
            "enable-export-aggregation",
            "enable-pid-set-filter",
            "export-aggregation-buffer-size",
            "export-aggregation-window-size",
            "export-allowlist",
            "export-denylist",
            "export-file-compress",
            "export-file-max-backups",
            "export-file-max-size-mb",
            "export-file-perm",
            "export-file-rotation-interval",
            "export-filename",
            "export-rate-limit",
            "field-filters",
        ],
    ),
    (
        "API (gRPC and HTTP)",
        &[
            "enable-deprecated-tracingpolicy-grpc",
            "event-queue-size",
            "server-address",
            "server-tls-cert-file",
            "server-tls-client-ca-files",
            "server-tls-key-file",
            "server-tls-require-client-cert",
        ],
    ),
    (
        "Health, metrics and diagnosis",
        &[
            "enable-event-metrics",
            "enable-msg-handling-latency",
            "gops-address",
            "health-server-address",
            "health-server-interval",
            "metrics-label-filter",
            "metrics-server",
            "pprof-address",
        ],
    ),
    ("Log", &["debug", "log-file", "log-format", "log-level", "verbose"]),
    (
        "Containers and Kubernetes",
        &[
            "cri-endpoint",
            "deleted-pod-cache-size",
            "enable-cgidmap",
            "enable-cgidmap-debug",
            "enable-cgtrackerid",
            "enable-cri",
            "enable-k8s-api",
            "enable-pod-annotations",
            "enable-pod-info",
            "enable-tracing-policy-crd",
            "k8s-controlplane-retry",
            "k8s-kubeconfig-path",
            "netns-dir",
        ],
    ),
    (
        "Kernel side",
        &[
            "bpf-dir",
            "bpf-lib",
            "btf",
            "cgroup-rate",
            "disable-kprobe-multi",
            "force-large-progs",
            "force-small-progs",
            "kernel",
            "procfs",
            "rb-queue-size",
            "rb-size",
            "rb-size-total",
            "use-perf-ring-buffer",
        ],
    ),
    (
        "Sizes of tables",
        &[
            "data-cache-size",
            "disable-process-cache",
            "event-cache-retries",
            "event-cache-retry-delay",
            "execve-map-entries",
            "execve-map-size",
            "parents-map-enabled",
            "parents-map-entries",
            "parents-map-size",
            "process-cache-gc-interval",
            "process-cache-size",
            "retprobes-cache-size",
            "sleepable-preload-size",
        ],
    ),
    ("Configuration", &["config-dir", "generate-docs"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table::FLAGS;

    #[test]
    fn each_visible_flag_has_one_purpose() {
        for flag in FLAGS {
            let of = GROUPS.iter().filter(|(_, names)| names.contains(&flag.name)).count();
            assert_eq!(of, usize::from(!flag.hidden), "{}", flag.name);
        }
        for (_, names) in GROUPS {
            assert!(names.is_sorted(), "{names:?}");
        }
    }
}
