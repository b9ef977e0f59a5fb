//! Recorded events as the reference evaluator takes them, and what of them the recording has.

use std::collections::HashMap;

use api::tetragon::get_events_response::Event as Recorded;
use api::tetragon::{CapabilitiesType, KprobeArgument, Namespaces as Recording, Process};
use policy::checked::{Argument, Hook, Target};
use policy::document::{NamespaceKind, TypeName};
use policy::evaluate::{
    Capabilities, Container, Event, Image, Namespaces, Process as Subject, Value, Workload,
};

use super::value::{kind, value};

/// What of an event is known. Filters on anything else cannot be told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Known {
    /// The values of `args`.
    pub(super) args: Vec<bool>,
    /// Those of `data`.
    pub(super) data: Vec<bool>,
    /// The return value.
    pub(super) returned: bool,
    /// The namespaces.
    pub(super) namespaces: bool,
    /// The process id in its own namespace.
    pub(super) pid_in_namespace: bool,
    /// The capabilities.
    pub(super) capabilities: bool,
    /// The parent.
    pub(super) parent: bool,
    /// All ancestors.
    pub(super) ancestors: bool,
    /// The workload.
    pub(super) workload: bool,
}

/// The values of an event: arguments, data, return value.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) args: &'a [KprobeArgument],
    pub(super) data: &'a [KprobeArgument],
    pub(super) returned: Option<&'a KprobeArgument>,
}

impl<'a> Values<'a> {
    /// Those of the event of a hook.
    pub(super) fn of(event: &'a Recorded) -> Option<Self> {
        let (args, data, returned): (&[_], &[_], _) = match event {
            Recorded::ProcessKprobe(hit) => (&hit.args, &hit.data, hit.r#return.as_ref()),
            Recorded::ProcessTracepoint(hit) => (&hit.args, &[], None),
            Recorded::ProcessLsm(hit) => (&hit.args, &[], None),
            Recorded::ProcessUprobe(hit) => (&hit.args, &hit.data, None),
            Recorded::ProcessUsdt(hit) => (&hit.args, &[], None),
            _ => return None,
        };
        Some(Self { args, data, returned })
    }

    /// The same, given the hook that recorded them: events of uprobes have what was returned behind the
    /// arguments.
    pub(super) fn by(self, hook: &Hook) -> Self {
        match (&hook.target, &hook.return_arg, self.args.split_last()) {
            (Target::Uprobe(_), Some(_), Some((returned, args))) => {
                Self { args, returned: Some(returned), ..self }
            }
            _ => self,
        }
    }
}

/// The event for a hook. `args` and `data`: which recorded value is the hook's, for each of its own.
pub(super) fn event(
    recorded: &Recorded,
    hook: &Hook,
    values: &Values<'_>,
    args: &[Option<usize>],
    data: &[Option<usize>],
) -> (Event, Known) {
    let args = pick(&hook.args, args, values.args);
    let data = pick(&hook.data, data, values.data);
    let returned = hook.return_arg.as_ref().map(|own| value_of(own, values.returned?));
    let is_known = |values: &[Option<Value>]| values.iter().map(Option::is_some).collect();
    let mut known = Known {
        args: is_known(&args),
        data: is_known(&data),
        returned: returned.as_ref().is_some_and(Option::is_some),
        ..Known::default()
    };
    let or_nothing = |value: Option<Value>| value.unwrap_or(Value::Opaque);
    let (process, host) = process(recorded, &mut known);
    let event = Event {
        process,
        host,
        args: args.into_iter().map(or_nothing).collect(),
        data: data.into_iter().map(or_nothing).collect(),
        returned: returned.map(or_nothing),
    };
    (event, known)
}

fn pick(own: &[Argument], places: &[Option<usize>], all: &[KprobeArgument]) -> Vec<Option<Value>> {
    own.iter().zip(places).map(|(own, place)| value_of(own, all.get((*place)?)?)).collect()
}

fn value_of(own: &Argument, recorded: &KprobeArgument) -> Option<Value> {
    let own = match own.kind {
        TypeName::Auto => kind(recorded)?,
        own => own,
    };
    value(own, recorded)
}

fn process(recorded: &Recorded, known: &mut Known) -> (Subject, Namespaces) {
    let mut subject = Subject::default();
    let mut host = Namespaces::new();
    let Some(process) = recorded.process() else { return (subject, host) };
    let parent = recorded.parent();
    let ancestors = recorded.ancestors();
    known.parent = parent.is_some();
    // The chain ends with a process that nobody forked.
    let last = ancestors.last().or(parent).unwrap_or(process);
    known.ancestors = matches!(last.pid, Some(0 | 1)) || last.parent_exec_id.is_empty();
    subject.image = image(process);
    subject.ancestors = parent.into_iter().chain(ancestors).map(image).collect();
    if let Some(namespaces) = &process.ns {
        known.namespaces = true;
        (subject.namespaces, host) = self::namespaces(namespaces);
        known.pid_in_namespace = namespaces.pid.as_ref().is_some_and(|pid| pid.is_host);
    }
    if let Some(caps) = &process.cap {
        known.capabilities = true;
        subject.capabilities = Capabilities {
            effective: set(&caps.effective),
            permitted: set(&caps.permitted),
            inheritable: set(&caps.inheritable),
        };
    }
    subject.workload = workload(process);
    known.workload = subject.workload != Workload::Unknown;
    (subject, host)
}

fn image(process: &Process) -> Image {
    Image {
        pid: process.pid.unwrap_or_default(),
        pid_in_namespace: 0,
        pid_namespace: 0,
        binary: (!process.binary.is_empty()).then(|| process.binary.clone().into_bytes()),
    }
}

/// The process's namespaces, and what is known of the host's: where the process is in another one, a
/// number that no namespace has.
fn namespaces(recorded: &Recording) -> (Namespaces, Namespaces) {
    use NamespaceKind as Kind;
    let mut own = HashMap::new();
    let mut host = HashMap::new();
    for (kind, namespace) in [
        (Kind::Uts, &recorded.uts),
        (Kind::Ipc, &recorded.ipc),
        (Kind::Mnt, &recorded.mnt),
        (Kind::Pid, &recorded.pid),
        (Kind::PidForChildren, &recorded.pid_for_children),
        (Kind::Net, &recorded.net),
        (Kind::Time, &recorded.time),
        (Kind::TimeForChildren, &recorded.time_for_children),
        (Kind::Cgroup, &recorded.cgroup),
        (Kind::User, &recorded.user),
    ] {
        let Some(namespace) = namespace else { continue };
        own.insert(kind, namespace.inum);
        host.insert(kind, if namespace.is_host { namespace.inum } else { 0 });
    }
    (own, host)
}

fn set(capabilities: &[i32]) -> u64 {
    let number = |value: &i32| CapabilitiesType::try_from(*value).ok().map(|one| one as u32);
    capabilities.iter().filter_map(number).fold(0, |set, number| set | 1 << number)
}

fn workload(process: &Process) -> Workload {
    let Some(pod) = &process.pod else {
        return if process.docker.is_empty() { Workload::Host } else { Workload::Unknown };
    };
    let container = pod.container.as_ref();
    let image = container.and_then(|container| container.image.as_ref());
    let image = image.map_or("", |image| image.name.as_str());
    // Without tag and digest; a colon before the last slash is that of a port.
    let name = image.split('@').next().unwrap_or(image);
    let slash = name.rfind('/').map_or(0, |slash| slash + 1);
    let repository = match name[slash..].find(':') {
        Some(colon) => &name[..slash + colon],
        None => name,
    };
    Workload::Container(Container {
        namespace: pod.namespace.clone(),
        labels: pod.pod_labels.clone().into_iter().collect(),
        name: container.map(|container| container.name.clone()).unwrap_or_default(),
        repository: repository.to_owned(),
    })
}
