//! The event of an observation.

use api::tetragon as wire;
use compiler::observed::Observation;
use compiler::plan::EventKind;
use wire::get_events_response::Event;

use super::action;
use super::argument::Arguments;
use crate::procfs::HostNamespaces;

/// An event that lacks its process and what is above it.
#[derive(Clone, Debug, PartialEq)]
pub enum Hit {
    /// Of a function.
    Kprobe(wire::ProcessKprobe),
    /// Of a tracepoint.
    Tracepoint(wire::ProcessTracepoint),
    /// Of an LSM hook.
    Lsm(wire::ProcessLsm),
}

/// What the policy asked to be told. `host` is what credentials are compared with.
pub fn event(observation: Observation, host: &HostNamespaces) -> Hit {
    let Observation { policy, hook, selector, args, data, returned, .. } = observation;
    let matched = selector.and_then(|index| hook.selectors.get(index));
    let action =
        matched.map_or_else(|| action::last(&[]), |selector| action::last(&selector.actions));
    let policy_name = policy.name.clone();
    let (message, tags) = (hook.message.clone(), hook.tags.clone());
    let labels = !matches!(hook.event, EventKind::Tracepoint { .. });
    let arguments = Arguments { host, labels };
    let args = arguments.list(&hook.args, args);
    match &hook.event {
        EventKind::Kprobe { function } => {
            let return_action = matched.map_or_else(
                || action::last(&[]),
                |selector| action::last(&selector.return_actions),
            );
            let unlabelled = Arguments { host, labels: false };
            let result = hook.returned.as_ref().zip(returned);
            Hit::Kprobe(wire::ProcessKprobe {
                function_name: function.clone(),
                args,
                data: arguments.list(&hook.data, data),
                r#return: result.map(|(input, value)| unlabelled.one(input, value)),
                action: action as i32,
                return_action: return_action as i32,
                policy_name,
                message,
                tags,
                ..wire::ProcessKprobe::default()
            })
        }
        EventKind::Tracepoint { subsystem, event } => Hit::Tracepoint(wire::ProcessTracepoint {
            subsys: subsystem.clone(),
            event: event.clone(),
            args,
            action: action as i32,
            policy_name,
            message,
            tags,
            ..wire::ProcessTracepoint::default()
        }),
        EventKind::Lsm { hook } => Hit::Lsm(wire::ProcessLsm {
            function_name: hook.clone(),
            args,
            action: action as i32,
            policy_name,
            message,
            tags,
            ..wire::ProcessLsm::default()
        }),
    }
}

impl Hit {
    /// The whole event.
    pub fn of(
        self,
        process: wire::Process,
        parent: Option<wire::Process>,
        ancestors: Vec<wire::Process>,
    ) -> Event {
        let process = Some(process);
        match self {
            Self::Kprobe(event) => {
                Event::ProcessKprobe(wire::ProcessKprobe { process, parent, ancestors, ..event })
            }
            Self::Tracepoint(event) => Event::ProcessTracepoint(wire::ProcessTracepoint {
                process,
                parent,
                ancestors,
                ..event
            }),
            Self::Lsm(event) => {
                Event::ProcessLsm(wire::ProcessLsm { process, parent, ancestors, ..event })
            }
        }
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        use prost::Message as _;
        match self {
            Self::Kprobe(event) => event.encoded_len(),
            Self::Tracepoint(event) => event.encoded_len(),
            Self::Lsm(event) => event.encoded_len(),
        }
    }
}
