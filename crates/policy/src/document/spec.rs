//! Policy documents of both kinds, and their body.

use super::{
    HostSelector, Kprobe, LabelSelector, LsmHook, Metadata, Selector, Tracepoint, Uprobe, Usdt,
};
use crate::record::{choices, record};
use std::collections::BTreeMap;

record! {
    /// A policy that applies to the whole cluster.
    pub struct Document {
        /// Must be cilium.io/v1alpha1.
        api_version "apiVersion": optional String;
        /// TracingPolicy.
        kind "kind": optional String;
        /// Kubernetes' object metadata.
        metadata "metadata": required Metadata, Opaque;
        /// Body of the policy.
        spec "spec": required Spec;
    }
}

record! {
    /// A policy that applies to the pods of one namespace.
    rule(
        "!has(self.spec.hostSelector)",
        "TracingPolicyNamespaced should have a null spec.hostSelector.",
        |policy| policy.spec.host_selector.is_none()
    )
    pub struct NamespacedDocument {
        /// Must be cilium.io/v1alpha1.
        api_version "apiVersion": optional String;
        /// TracingPolicyNamespaced.
        kind "kind": optional String;
        /// Kubernetes' object metadata.
        metadata "metadata": required Metadata, Opaque;
        /// Body of the policy.
        spec "spec": required Spec;
    }
}

record! {
    /// Body of a policy.
    pub struct Spec {
        /// Entry, and optionally return, of kernel functions.
        kprobes "kprobes": empty Vec<Kprobe>;
        /// Entry, and optionally return, of kernel functions, by trampolines.
        fentries "fentries": empty Vec<Kprobe>;
        /// Tracepoints of the kernel, formatted or raw.
        tracepoints "tracepoints": empty Vec<Tracepoint>;
        /// Functions of programs and libraries.
        uprobes "uprobes": empty Vec<Uprobe>;
        /// Static probes of programs and libraries.
        usdts "usdts": empty Vec<Usdt>;
        /// Hooks of BPF LSM.
        lsm_hooks "lsmhooks": empty Vec<LsmHook>;
        /// Events for shared objects and executables that are mapped into processes. Not together
        /// with a restriction to workloads.
        loader "loader": default bool = false;
        /// What the NotifyEnforcer action can act upon.
        enforcers "enforcers": empty Vec<Enforcer>;
        /// Named lists of functions, for `call: list:NAME` and the values of InMap.
        lists "lists": empty Vec<List>;
        /// Named parts of selectors, merged into the selectors that name them.
        selectors_macros "selectorsMacros": empty BTreeMap<String, Selector>;
        /// Settings of this policy.
        options "options": empty Vec<Setting>;
        /// Pods that the policy applies to, by their labels and the label
        /// k8s:io.kubernetes.pod.namespace. Null: no restriction unless another selector is set.
        pod_selector "podSelector": optional LabelSelector, Atomic;
        /// Containers that the policy applies to, by `name` and `repo`.
        container_selector "containerSelector": optional LabelSelector, Atomic;
        /// Null or {}: whether the policy applies to processes of the host.
        host_selector "hostSelector": optional HostSelector, Atomic;
        /// Nodes that the policy applies to, by their labels.
        node_selector "nodeSelector": optional LabelSelector, Atomic;
    }
}

record! {
    /// Functions whose result NotifyEnforcer may replace.
    pub struct Enforcer {
        /// System calls (`sys_x`), `security_*` functions or `list:NAME`.
        calls "calls": required Vec<String>;
    }
}

record! {
    /// A named list of functions.
    pub struct List {
        /// Name, referred to as `list:NAME`.
        name "name": required String;
        /// What the members are; absent: names of kernel functions.
        kind "type": optional ListType;
        /// Members.
        values "values": empty Vec<String>;
        /// Regular expression over the names of functions, for generated_ftrace.
        pattern "pattern": optional String;
        /// Takes the list as it is, without checking that its members exist.
        validated "validated": default bool = false;
    }
}

choices! {
    /// What the members of a list are.
    pub enum ListType {
        /// Names of system calls, optionally with an ABI (`i386/sys_x`).
        Syscalls "syscalls",
        /// Every system call of the running kernel.
        GeneratedSyscalls "generated_syscalls",
        /// Every function that can be traced and matches the pattern.
        GeneratedFtrace "generated_ftrace",
    }
}

record! {
    /// One setting.
    pub struct Setting {
        /// disable-kprobe-multi, disable-uprobe-multi, override-method, policy-mode or
        /// sleepable-preload-size.
        name "name": required String;
        /// Value, as text.
        value "value": optional String;
    }
}
