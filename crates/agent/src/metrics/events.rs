//! Events by kind, process and policy.
//!
//! Counted by the thread that publishes events, once for each: a look into a table under a lock that only
//! a scrape contends for. Labels come from processes, so their number is bounded: once a family has
//! `MAX_SERIES`, events with new labels are counted without those that name processes and pods.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use api::tetragon::get_events_response::Event;
use api::tetragon::kprobe_argument::Arg;
use api::tetragon::{EventType, GetEventsResponse, ProcessTracepoint};
use kernel::syscalls::Abi;

/// Most series of one family, besides those without labels of processes.
pub(super) const MAX_SERIES: usize = 10_000;

/// Labels that say whose events they were, in the order of [`Labels`].
pub(super) const OF_PROCESSES: [&str; 5] = ["namespace", "workload", "pod", "binary", "node_name"];

/// Which labels of processes have values (`--metrics-label-filter`); the others are empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LabelFilter([bool; OF_PROCESSES.len()]);

impl LabelFilter {
    /// Reads names, separated by commas. The error names the one that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let at = OF_PROCESSES.iter().position(|known| *known == name);
            let at = at.ok_or_else(|| {
                format!("{name:?} is no label that can be chosen: {} are", OF_PROCESSES.join(", "))
            })?;
            filter.0[at] = true;
        }
        Ok(filter)
    }
}

/// Values of labels: two of the family's own, then those of processes.
type Labels<'a> = [&'a str; 2 + OF_PROCESSES.len()];

/// What series of one family have been counted to.
#[derive(Debug, Default)]
pub(super) struct Family {
    series: HashMap<Owned, u64>,
    /// Events whose labels were one too many.
    pub(super) unlabelled: u64,
}

/// Values of labels that a table keeps.
#[derive(Debug, PartialEq, Eq)]
struct Owned([Box<str>; 2 + OF_PROCESSES.len()]);

/// Values of labels to be looked up, whether kept or not.
trait Key {
    fn labels(&self) -> Labels<'_>;
}

impl Key for Owned {
    fn labels(&self) -> Labels<'_> {
        self.0.each_ref().map(|label| &**label)
    }
}

impl Key for Labels<'_> {
    fn labels(&self) -> Labels<'_> {
        *self
    }
}

impl<'a> Borrow<dyn Key + 'a> for Owned {
    fn borrow(&self) -> &(dyn Key + 'a) {
        self
    }
}

impl Hash for Owned {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.labels().hash(state);
    }
}

impl Hash for dyn Key + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.labels().hash(state);
    }
}

impl PartialEq for dyn Key + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.labels() == other.labels()
    }
}

impl Eq for dyn Key + '_ {}

impl Family {
    fn count(&mut self, own: [&str; 2], process: [&str; OF_PROCESSES.len()]) {
        let [first, second] = own;
        let [a, b, c, d, e] = process;
        let labels: Labels<'_> = [first, second, a, b, c, d, e];
        if let Some(count) = self.series.get_mut(&labels as &dyn Key) {
            *count += 1;
            return;
        }
        let labels = if self.series.len() < MAX_SERIES {
            labels
        } else {
            self.unlabelled += 1;
            [first, second, "", "", "", "", ""]
        };
        *self.series.entry(Owned(labels.map(Box::from))).or_default() += 1;
    }

    /// Values of labels and counts; of the labels of its own the first `own`.
    pub(super) fn series(&self) -> impl Iterator<Item = (Labels<'_>, u64)> {
        self.series.iter().map(|(labels, count)| (labels.labels(), *count))
    }
}

/// All families.
#[derive(Debug, Default)]
pub(super) struct Families {
    /// `tetragon_events_total`: kind.
    pub(super) events: Family,
    /// `tetragon_policy_events_total`: policy and hook.
    pub(super) policies: Family,
    /// `tetragon_syscalls_total`: system call.
    pub(super) syscalls: Family,
    /// `tetragon_flags_total`, by flag of processes that executed.
    pub(super) flags: BTreeMap<Box<str>, u64>,
    /// Events that should tell of a process and do not.
    pub(super) without_process: u64,
}

/// The counters.
#[derive(Debug)]
pub struct EventCounters {
    filter: LabelFilter,
    families: Mutex<Families>,
}

impl EventCounters {
    /// Nothing counted yet; each kind has a series already, so that a dashboard shows 0 and not nothing.
    pub fn new(filter: LabelFilter) -> Self {
        let mut families = Families::default();
        for kind in EventType::ALL {
            let labels = [kind.as_str_name(), "", "", "", "", "", ""];
            families.events.series.insert(Owned(labels.map(Box::from)), 0);
        }
        Self { filter, families: Mutex::new(families) }
    }

    /// Counts an event.
    pub fn count(&self, event: &GetEventsResponse) {
        let process = event.process();
        let pod = process.and_then(|process| process.pod.as_ref());
        let all = [
            pod.map_or("", |pod| &pod.namespace),
            pod.map_or("", |pod| &pod.workload),
            pod.map_or("", |pod| &pod.name),
            process.map_or("", |process| &process.binary),
            &event.node_name,
        ];
        let mut labels = [""; OF_PROCESSES.len()];
        for (label, (value, wanted)) in labels.iter_mut().zip(all.into_iter().zip(self.filter.0)) {
            if wanted {
                *label = value;
            }
        }
        let mut families = self.families();
        families.events.count([event.event_type().as_str_name(), ""], labels);
        let hook = match &event.event {
            Some(Event::ProcessExec(_)) => {
                for flag in process.into_iter().flat_map(|process| process.flags.split(' ')) {
                    match families.flags.get_mut(flag) {
                        Some(count) => *count += 1,
                        None => drop(families.flags.insert(flag.into(), 1)),
                    }
                }
                None
            }
            Some(Event::ProcessKprobe(event)) => Some(format!("kprobe:{}", event.function_name)),
            Some(Event::ProcessTracepoint(event)) => {
                if let Some(call) = system_call(event) {
                    families.syscalls.count([call, ""], labels);
                }
                Some(format!("tracepoint:{}/{}", event.subsys, event.event))
            }
            Some(Event::ProcessLsm(event)) => Some(format!("lsm:{}", event.function_name)),
            Some(Event::ProcessUprobe(event)) => {
                Some(format!("uprobe:{}/{}", event.path, event.symbol))
            }
            Some(Event::ProcessUsdt(event)) => {
                Some(format!("usdt:{}:{}/{}", event.path, event.provider, event.name))
            }
            _ => None,
        };
        if let (Some(policy), Some(hook)) = (event.policy_name(), hook) {
            families.policies.count([policy, &hook], labels);
        }
        let about_nobody = matches!(
            event.event,
            Some(
                Event::ProcessThrottle(_)
                    | Event::Test(_)
                    | Event::RateLimitInfo(_)
                    | Event::EventsLost(_)
            )
        );
        families.without_process += u64::from(process.is_none() && !about_nobody);
    }

    pub(super) fn families(&self) -> MutexGuard<'_, Families> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The system call that `raw_syscalls:sys_enter` tells of, where the policy asks for its name.
fn system_call(event: &ProcessTracepoint) -> Option<&'static str> {
    if (event.subsys.as_str(), event.event.as_str()) != ("raw_syscalls", "sys_enter") {
        return None;
    }
    let Some(Arg::SyscallId(call)) = &event.args.first()?.arg else { return None };
    let abi = match call.abi.as_str() {
        "x64" => Abi::X64,
        "i386" => Abi::I386,
        "arm64" => Abi::Arm64,
        "arm32" => Abi::Arm32,
        _ => return None,
    };
    abi.name(call.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Envelope;
    use api::tetragon::{EventsLost, Pod, Process, ProcessExec, ProcessLsm};

    fn exec(binary: &str) -> GetEventsResponse {
        let process = Process {
            binary: binary.into(),
            flags: "execve clone".into(),
            pod: Some(Pod { name: "web".into(), namespace: "shop".into(), ..Pod::default() }),
            ..Process::default()
        };
        let exec = ProcessExec { process: Some(process), ..ProcessExec::default() };
        Envelope::default().wrap(Event::ProcessExec(exec))
    }

    #[test]
    fn labels_as_chosen() {
        let counters = EventCounters::new(LabelFilter::parse("pod, binary").unwrap());
        counters.count(&exec("/bin/a"));
        counters.count(&exec("/bin/a"));
        counters.count(&exec("/bin/b"));
        let lsm =
            ProcessLsm { policy_name: "p".into(), function_name: "f".into(), ..Default::default() };
        counters.count(&Envelope::default().wrap(Event::ProcessLsm(lsm)));
        counters.count(&Envelope::default().wrap(Event::EventsLost(EventsLost::default())));
        let families = counters.families();
        let mut series: Vec<_> = families.events.series().filter(|(_, count)| *count > 0).collect();
        series.sort_unstable();
        assert_eq!(
            series,
            [
                (["EVENTS_LOST", "", "", "", "", "", ""], 1),
                (["PROCESS_EXEC", "", "", "", "web", "/bin/a", ""], 2),
                (["PROCESS_EXEC", "", "", "", "web", "/bin/b", ""], 1),
                (["PROCESS_LSM", "", "", "", "", "", ""], 1),
            ]
        );
        let policies: Vec<_> = families.policies.series().collect();
        assert_eq!(policies, [(["p", "lsm:f", "", "", "", "", ""], 1)]);
        assert_eq!(families.flags["clone"], 3);
        assert_eq!(families.without_process, 1);
    }

    #[test]
    fn series_are_bounded() {
        let counters = EventCounters::new(LabelFilter::parse("binary").unwrap());
        let extra = 50;
        for n in 0..MAX_SERIES + extra {
            counters.count(&exec(&n.to_string()));
        }
        counters.count(&exec("0"));
        let families = counters.families();
        let kinds = EventType::ALL.len();
        assert_eq!(families.events.series().count(), MAX_SERIES);
        assert_eq!(families.events.unlabelled, (extra + kinds) as u64);
        let total: u64 = families.events.series().map(|(_, count)| count).sum();
        assert_eq!(total as usize, MAX_SERIES + extra + 1);
        let exec = ["PROCESS_EXEC", "", "", "", "", "", ""];
        let without = families.events.series().find(|(labels, _)| *labels == exec);
        assert_eq!(without.unwrap().1, (extra + kinds) as u64);
    }

    #[test]
    fn only_labels_of_processes_can_be_chosen() {
        assert!(LabelFilter::parse("").is_ok());
        assert!(LabelFilter::parse("namespace,type").unwrap_err().contains("\"type\" is no label"));
    }
}
