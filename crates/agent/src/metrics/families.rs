//! The page that a scrape gets: one function for each part of the agent that counts.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::Relaxed;

use api::tetragon::{TracingPolicyState, TracingPolicyStatus};
use compiler::base::record::kind;
use compiler::policies::Missed;
use policy::PolicyKey;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::events::{EventCounters, Family, OF_PROCESSES};
use crate::cluster::Directory;
use crate::export;
use crate::hub::Hub;
use crate::pipeline::Stats;

/// Numbers of ring messages in metrics, by kind of record: what dashboards know.
const OPCODES: [(u32, &str); 4] =
    [(kind::EXEC, "5"), (kind::EXIT, "7"), (kind::FORK, "23"), (kind::CGROUP, "25")];

/// States of policies by their names in metrics.
const STATES: [(TracingPolicyState, &str); 6] = [
    (TracingPolicyState::TpStateEnabled, "enabled"),
    (TracingPolicyState::TpStatePartiallyEnabled, "partially_enabled"),
    (TracingPolicyState::TpStateDisabled, "disabled"),
    (TracingPolicyState::TpStateLoadError, "load_error"),
    (TracingPolicyState::TpStateError, "error"),
    (TracingPolicyState::TpStateSkipped, "skipped"),
];

/// Metrics on their way out.
#[derive(Default)]
pub(super) struct Page {
    families: Vec<MetricFamily>,
}

impl Page {
    /// A counter.
    fn counter(&mut self, name: &str, help: &str) -> Samples<'_> {
        self.family(name, help, MetricType::COUNTER)
    }

    /// A gauge.
    fn gauge(&mut self, name: &str, help: &str) -> Samples<'_> {
        self.family(name, help, MetricType::GAUGE)
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType) -> Samples<'_> {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        self.families.push(family);
        let last = self.families.len() - 1;
        Samples { family: &mut self.families[last] }
    }

    /// The text, as Prometheus reads it.
    pub(super) fn text(mut self) -> Result<String, prometheus::Error> {
        // A family without series is no error here.
        self.families.retain(|family| !family.get_metric().is_empty());
        let mut text = String::new();
        prometheus::TextEncoder::new().encode_utf8(&self.families, &mut text)?;
        Ok(text)
    }

    pub(super) fn process(&mut self, collected: Vec<MetricFamily>) {
        self.families.extend(collected);
    }
}

/// The series of one family.
struct Samples<'a> {
    family: &'a mut MetricFamily,
}

impl Samples<'_> {
    /// A series without labels.
    fn is(&mut self, value: u64) {
        self.of(&[], value);
    }

    /// A series.
    fn of(&mut self, labels: &[(&str, &str)], value: u64) -> &mut Self {
        // Exact up to 2^53.
        let value = value as f64;
        let mut metric = Metric::default();
        let pairs = labels.iter().map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        metric.set_label(pairs.collect());
        if self.family.get_field_type() == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.family.mut_metric().push(metric);
        self
    }
}

/// What this agent is.
pub(super) fn build(page: &mut Page) {
    let labels = [("version", crate::VERSION), ("commit", ""), ("time", ""), ("modified", "")];
    page.gauge("tetragon_build_info", "The version, as labels").of(&labels, 1);
}

/// What is known of pods.
pub(super) fn cluster(page: &mut Page, directory: &Directory) {
    let (pods, remembered) = directory.len();
    page.gauge("tetragon_pods", "Pods of this node that are known").is(pods as u64);
    page.gauge("tetragon_deleted_pod_containers", "Containers of deleted pods that are remembered")
        .is(remembered as u64);
    page.counter(
        "tetragon_watcher_errors_total",
        "Events whose process is in a container of which no pod is known",
    )
    .of(&[("watcher", "k8s"), ("error", "failed_to_get_pod")], directory.missed());
}

/// Events by kind, process and policy.
pub(super) fn events(page: &mut Page, counters: &EventCounters) {
    let families = counters.families();
    let mut family = |name, help, own: &[&'static str], family: &Family| {
        let mut samples = page.counter(name, help);
        for (values, count) in family.series() {
            let of_processes = OF_PROCESSES.into_iter().zip(values.into_iter().skip(2));
            let labels = own.iter().copied().zip(values).chain(of_processes).collect::<Vec<_>>();
            samples.of(&labels, count);
        }
    };
    family("tetragon_events_total", "Events made", &["type"], &families.events);
    family(
        "tetragon_policy_events_total",
        "Events of policies",
        &["policy", "hook"],
        &families.policies,
    );
    family(
        "tetragon_syscalls_total",
        "System calls that policies on raw_syscalls/sys_enter told of",
        &["syscall"],
        &families.syscalls,
    );
    let mut flags = page.counter("tetragon_flags_total", "Flags of processes that executed");
    for (flag, count) in families.flags.iter().filter(|(flag, _)| !flag.is_empty()) {
        flags.of(&[("type", flag)], *count);
    }
    page.counter("tetragon_events_missing_process_info_total", "Events without their process")
        .is(families.without_process);
    let mut unlabelled = page.counter(
        "tetragon_metrics_unlabelled_events_total",
        "Events counted without labels of processes, because there were too many series",
    );
    for (name, family) in [
        ("tetragon_events_total", &families.events),
        ("tetragon_policy_events_total", &families.policies),
        ("tetragon_syscalls_total", &families.syscalls),
    ] {
        unlabelled.of(&[("metric", name)], family.unlabelled);
    }
}

/// Events between the pipeline and who listens.
pub(super) fn hub(page: &mut Page, hub: &Hub) {
    page.counter(
        "tetragon_notify_overflowed_events_total",
        "Events that listeners lost because their queues were full",
    )
    .is(hub.lost());
    page.gauge("tetragon_listeners", "Listeners to events").is(hub.listeners() as u64);
}

/// The export.
pub(super) fn export(page: &mut Page, counters: &export::Counters) {
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
    page.counter("tetragon_events_exported_total", "Events exported").is(load(&counters.events));
    page.counter("tetragon_events_exported_bytes_total", "Bytes exported")
        .is(load(&counters.bytes));
    page.gauge("tetragon_events_last_exported_timestamp", "When the last event was exported")
        .is(load(&counters.last));
    page.counter(
        "tetragon_export_ratelimit_events_dropped_total",
        "Events over the export's rate limit",
    )
    .is(load(&counters.rate_limited));
    page.counter("tetragon_export_lost_events_total", "Events that could not be exported")
        .is(load(&counters.lost));
}

/// Programs, rings and the process table.
pub(super) fn pipeline(page: &mut Page, stats: &Stats) {
    let records = &stats.pipeline.records;
    let mut received = page.counter("tetragon_msg_op_total", "Records received, by kind");
    for (kind, opcode) in OPCODES {
        received.of(&[("msg_op", opcode)], records[kind as usize]);
    }
    received.of(&[("msg_op", "13")], stats.pipeline.policy_events);
    received.of(&[("msg_op", "26")], stats.pipeline.mappings);
    let all = records.iter().sum::<u64>() + stats.pipeline.policy_events;
    page.counter("tetragon_observer_ringbuf_events_received_total", "Records read from the rings")
        .is(all);
    page.counter(
        "tetragon_observer_ringbuf_events_lost_total",
        "Records that were lost between the kernel and the agent",
    )
    .is(stats.losses.lost + stats.policy_events_lost + stats.pipeline.mappings_lost);
    let mut missed =
        page.counter("tetragon_bpf_missed_events_total", "Records that the full ring did not take");
    for (kind, opcode) in OPCODES {
        // What bpf_ringbuf_reserve fails for.
        let labels = [("error", "EAGAIN"), ("msg_op", opcode)];
        missed.of(&labels, stats.losses.ring_full[kind as usize]);
    }
    missed.of(&[("error", "EAGAIN"), ("msg_op", "13")], stats.policy_events_lost);
    missed.of(&[("error", "EAGAIN"), ("msg_op", "26")], stats.pipeline.mappings_lost);
    page.counter("tetragon_observer_ringbuf_errors_total", "Records that could not be read")
        .is(stats.losses.undecodable);
    page.counter("tetragon_missed_base_prog_probes_total", "Runs that base programs missed")
        .is(stats.losses.missed_runs);

    page.gauge("tetragon_process_cache_size", "Processes kept").is(stats.table_size as u64);
    page.gauge("tetragon_process_cache_capacity", "Most processes kept")
        .is(stats.table_capacity as u64);
    page.counter("tetragon_process_cache_evictions_total", "Processes that are kept no longer")
        .is(stats.table.removed);
    page.counter(
        "tetragon_process_cache_capacity_evictions_total",
        "Processes that had to make room for others",
    )
    .is(stats.table.evicted_ended + stats.table.evicted_live);
    page.gauge("tetragon_processes", "Processes that run").is(stats.table_running as u64);

    page.gauge("tetragon_event_cache_entries", "Events that wait for their process")
        .is(stats.waiting_size as u64);
    page.counter("tetragon_event_cache_inserts_total", "Events that had to wait for their process")
        .is(stats.waiting.inserted);
    page.counter("tetragon_event_cache_fetch_retries_total", "Attempts to complete them in vain")
        .of(&[("entry_type", "process_info")], stats.waiting.retries);
    page.counter("tetragon_event_cache_fetch_failures_total", "Events sent incomplete")
        .of(&[("entry_type", "process_info")], stats.waiting.failures + stats.waiting.overflows);

    let mut loader = page.counter("tetragon_process_loader_stats", "Executable mappings");
    loader.of(&[("count", "LoaderReceived")], stats.pipeline.mappings);
    loader.of(&[("count", "LoaderResolvedImm")], {
        stats.pipeline.mappings.saturating_sub(stats.pipeline.mappings_repeated)
    });
    let mut errors = page.counter("tetragon_errors_total", "Failures within the agent");
    errors.of(&[("error", "event_finalize_process_info_failed")], stats.pipeline.incomplete_events);
    errors.of(&[("error", "process_exit_missed")], stats.pipeline.exits_missed);
    errors.of(&[("error", "process_recovered")], stats.pipeline.recovered);
    errors.of(&[("error", "exec_text_incomplete")], stats.pipeline.incomplete_texts);
    errors.of(&[("error", "cgroup_unresolved")], stats.cgroups.unresolved);
    errors.of(&[("error", "stack_names_given_up")], stats.stacks.given_up);
    errors.of(&[("error", "process_state_no_memory")], stats.losses.no_state);
}

/// Policies.
pub(super) fn policies(page: &mut Page, policies: &[TracingPolicyStatus]) {
    let mut states: HashMap<TracingPolicyState, u64> = HashMap::new();
    for policy in policies {
        *states.entry(policy.state()).or_default() += 1;
    }
    let mut loaded = page.gauge("tetragon_tracingpolicy_loaded", "Policies by state");
    for (state, name) in STATES {
        loaded.of(&[("state", name)], states.get(&state).copied().unwrap_or_default());
    }
    let mut memory =
        page.gauge("tetragon_tracingpolicy_kernel_memory_bytes", "Kernel memory of policies");
    for policy in policies {
        let labels = [("policy", policy.name.as_str()), ("policy_namespace", &policy.namespace)];
        memory.of(&labels, policy.kernel_memory_bytes);
    }
    let mut actions = page.counter(
        "tetragon_tracingpolicy_selector_actions_total",
        "What selectors of policies did, by action",
    );
    for policy in policies {
        let stats = policy.stats.iter().flat_map(|stats| &stats.selector_action_counters);
        for selector in stats {
            let number = |number: Option<u32>| number.map(|n| n.to_string()).unwrap_or_default();
            let (hook_index, selector_index) =
                (number(selector.hook_index), number(selector.selector_index));
            let Some(counters) = &selector.action_counters else { continue };
            for (action, count) in [
                ("post", counters.post),
                ("nopost", counters.nopost),
                ("signal", counters.signal),
                ("override", counters.r#override),
                ("notify_enforcer", counters.notify_enforcer),
                ("set", counters.set),
                ("monitor_signal", counters.monitor_signal),
                ("monitor_override", counters.monitor_override),
                ("monitor_notify_enforcer", counters.monitor_notify_enforcer),
                ("monitor_set", counters.monitor_set),
                ("rate_limited", counters.rate_limited),
                ("refused", counters.refused),
            ] {
                if count > 0 {
                    let labels = [
                        ("action", action),
                        ("hook", &selector.hook),
                        ("hook_index", &hook_index),
                        ("policy", &policy.name),
                        ("policy_namespace", &policy.namespace),
                        ("selector_index", &selector_index),
                        ("selector_label", &selector.selector_label),
                    ];
                    actions.of(&labels, count);
                }
            }
        }
    }
}

/// What enforcers of policies were told for nothing. Those of policies of one name, in different domains or
/// namespaces, count together.
pub(super) fn enforcers(page: &mut Page, missed: &[(PolicyKey, Missed)]) {
    let mut sums: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
    for (key, Missed { call, reason, count }) in missed {
        *sums.entry((call, &key.name, reason)).or_default() += count;
    }
    let mut family = page.counter(
        "tetragon_enforcer_missed_notifications_total",
        "Notifications of enforcers that were replaced, or taken back before they took effect",
    );
    for ((info, policy, reason), count) in sums {
        family.of(&[("info", info), ("policy", policy), ("reason", reason)], count);
    }
}
