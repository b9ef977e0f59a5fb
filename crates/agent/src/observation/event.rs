//! The event of an observation.

use api::tetragon as wire;
use compiler::observed::{FileDigest, Observation};
use compiler::plan::EventKind;
use wire::get_events_response::Event;

use super::action;
use super::argument::Arguments;
use crate::procfs::HostNamespaces;

/// An event that lacks its process and what is above it.
#[derive(Clone, Debug, PartialEq)]
pub enum Hit {
    /// Of a function.
    Kprobe(Box<wire::ProcessKprobe>),
    /// Of a tracepoint.
    Tracepoint(Box<wire::ProcessTracepoint>),
    /// Of an LSM hook.
    Lsm(Box<wire::ProcessLsm>),
    /// Of a function of a program.
    Uprobe(Box<wire::ProcessUprobe>),
    /// Of a static probe of a program.
    Usdt(Box<wire::ProcessUsdt>),
    /// Of a file that was mapped to be executed.
    Loader(Box<wire::ProcessLoader>),
}

/// What the policy asked to be told. `host` is what credentials are compared with.
pub fn event(observation: Observation, host: &HostNamespaces) -> Hit {
    let Observation { policy, hook, selector, args, data, returned, measured, .. } = observation;
    let matched = selector.and_then(|index| hook.selectors.get(index));
    let action = action::last(matched.map_or(&[], |selector| &selector.actions));
    let policy_name = policy.name.clone();
    let (message, tags) = (hook.message.clone(), hook.tags.clone());
    let labels = !matches!(hook.event, EventKind::Tracepoint { .. });
    let arguments = Arguments { host, labels };
    let args = arguments.list(&hook.args, args);
    match &hook.event {
        EventKind::Kprobe { function } => {
            let return_action =
                action::last(matched.map_or(&[], |selector| &selector.return_actions));
            let unlabelled = Arguments { host, labels: false };
            let result = hook.returned.as_ref().zip(returned);
            Hit::Kprobe(Box::new(wire::ProcessKprobe {
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
            }))
        }
        EventKind::Tracepoint { subsystem, event } => {
            Hit::Tracepoint(Box::new(wire::ProcessTracepoint {
                subsys: subsystem.clone(),
                event: event.clone(),
                args,
                action: action as i32,
                policy_name,
                message,
                tags,
                ..wire::ProcessTracepoint::default()
            }))
        }
        EventKind::Lsm { hook } => Hit::Lsm(Box::new(wire::ProcessLsm {
            function_name: hook.clone(),
            args,
            ima_hash: measured.map(|digest| hash_text(&digest)).unwrap_or_default(),
            action: action as i32,
            policy_name,
            message,
            tags,
            ..wire::ProcessLsm::default()
        })),
        EventKind::Uprobe { path, symbol, offset, counter } => {
            let unlabelled = Arguments { host, labels: false };
            let result = hook.returned.as_ref().zip(returned);
            let result = result.map(|(input, value)| unlabelled.one(input, value));
            Hit::Uprobe(Box::new(wire::ProcessUprobe {
                path: path.clone(),
                symbol: symbol.clone(),
                offset: *offset,
                ref_ctr_offset: *counter,
                // These events have no field for what is returned.
                args: args.into_iter().chain(result).collect(),
                data: arguments.list(&hook.data, data),
                action: action as i32,
                policy_name,
                message,
                tags,
                ..wire::ProcessUprobe::default()
            }))
        }
        EventKind::Usdt { path, provider, name } => Hit::Usdt(Box::new(wire::ProcessUsdt {
            path: path.clone(),
            provider: provider.clone(),
            name: name.clone(),
            args,
            action: action as i32,
            policy_name,
            message,
            tags,
            ..wire::ProcessUsdt::default()
        })),
    }
}

/// `sha256:0123...`
fn hash_text(digest: &FileDigest) -> String {
    let digits: String = digest.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}:{digits}", digest.algorithm)
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
                Event::ProcessKprobe(wire::ProcessKprobe { process, parent, ancestors, ..*event })
            }
            Self::Tracepoint(event) => Event::ProcessTracepoint(wire::ProcessTracepoint {
                process,
                parent,
                ancestors,
                ..*event
            }),
            Self::Lsm(event) => {
                Event::ProcessLsm(wire::ProcessLsm { process, parent, ancestors, ..*event })
            }
            Self::Uprobe(event) => {
                Event::ProcessUprobe(wire::ProcessUprobe { process, parent, ancestors, ..*event })
            }
            Self::Usdt(event) => {
                Event::ProcessUsdt(wire::ProcessUsdt { process, parent, ancestors, ..*event })
            }
            Self::Loader(event) => {
                Event::ProcessLoader(wire::ProcessLoader { process, parent, ancestors, ..*event })
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
            Self::Uprobe(event) => event.encoded_len(),
            Self::Usdt(event) => event.encoded_len(),
            Self::Loader(event) => event.encoded_len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use api::tetragon::kprobe_argument::Arg;
    use api::tetragon::{KprobeAction, KprobeArgument};
    use compiler::base::record::Identity;

    use super::*;
    use crate::test_observations::{kprobe, lsm, observation, tracepoint};

    fn of(kind: EventKind, selectors: &str) -> Hit {
        let process = Identity { ktime: 1, pid: 10 };
        event(observation(kind, selectors, process, 10), &HostNamespaces::default())
    }

    fn argument(label: &str, arg: Arg) -> KprobeArgument {
        KprobeArgument { label: label.into(), arg: Some(arg) }
    }

    #[test]
    fn function() {
        let Hit::Kprobe(event) = of(kprobe(), "") else { panic!() };
        let expected = wire::ProcessKprobe {
            function_name: "__x64_sys_mount".into(),
            args: vec![
                argument("what", Arg::StringArg("/dev/sda".into())),
                argument("", Arg::IntArg(-3)),
            ],
            data: vec![argument("extra", Arg::SizeArg(9))],
            r#return: Some(argument("", Arg::IntArg(-1))),
            action: KprobeAction::Post.into(),
            return_action: KprobeAction::Post.into(),
            policy_name: "mounts".into(),
            message: "a mount".into(),
            tags: vec!["one".into(), "two".into()],
            ..wire::ProcessKprobe::default()
        };
        assert_eq!(*event, expected);
    }

    #[test]
    fn tracepoints_have_no_labels_and_no_return() {
        let Hit::Tracepoint(event) = of(tracepoint(), "") else { panic!() };
        let expected = wire::ProcessTracepoint {
            subsys: "syscalls".into(),
            event: "sys_enter_mount".into(),
            args: vec![
                argument("", Arg::StringArg("/dev/sda".into())),
                argument("", Arg::IntArg(-3)),
            ],
            action: KprobeAction::Post.into(),
            policy_name: "mounts".into(),
            message: "a mount".into(),
            tags: vec!["one".into(), "two".into()],
            ..wire::ProcessTracepoint::default()
        };
        assert_eq!(*event, expected);
    }

    #[test]
    fn lsm_hook() {
        let Hit::Lsm(event) = of(lsm(), "") else { panic!() };
        assert_eq!(
            (event.function_name.as_str(), event.policy_name.as_str()),
            ("sb_mount", "mounts")
        );
        assert_eq!((event.args[0].label.as_str(), event.ima_hash.as_str()), ("what", ""));
        let process = Identity { ktime: 1, pid: 10 };
        let digest = FileDigest { algorithm: "sm3", digest: vec![0xab, 0, 0x1f] };
        let measured =
            Observation { measured: Some(digest), ..observation(lsm(), "", process, 10) };
        let Hit::Lsm(other) = super::event(measured, &HostNamespaces::default()) else { panic!() };
        assert_eq!(other.ima_hash, "sm3:ab001f");
        assert_eq!((event.message.as_str(), event.tags.len()), ("a mount", 2));
    }

    #[test]
    fn function_of_a_program_with_what_it_returned() {
        let kind = EventKind::Uprobe {
            path: "/usr/bin/bash".into(),
            symbol: "readline".into(),
            offset: 0,
            counter: 0x40,
        };
        let Hit::Uprobe(event) = of(kind, "") else { panic!() };
        let expected = wire::ProcessUprobe {
            path: "/usr/bin/bash".into(),
            symbol: "readline".into(),
            ref_ctr_offset: 0x40,
            args: vec![
                argument("what", Arg::StringArg("/dev/sda".into())),
                argument("", Arg::IntArg(-3)),
                argument("", Arg::IntArg(-1)),
            ],
            data: vec![argument("extra", Arg::SizeArg(9))],
            action: KprobeAction::Post.into(),
            policy_name: "mounts".into(),
            message: "a mount".into(),
            tags: vec!["one".into(), "two".into()],
            ..wire::ProcessUprobe::default()
        };
        assert_eq!(*event, expected);
    }

    #[test]
    fn static_probe_of_a_program() {
        let kind = EventKind::Usdt {
            path: "/usr/bin/app".into(),
            provider: "app".into(),
            name: "start".into(),
        };
        let Hit::Usdt(event) = of(kind, r#"{"matchActions": [{"action": "Sigkill"}]}"#) else {
            panic!()
        };
        assert_eq!(
            (event.path.as_str(), event.provider.as_str(), event.name.as_str()),
            ("/usr/bin/app", "app", "start")
        );
        assert_eq!((event.args.len(), event.args[0].label.as_str()), (2, "what"));
        assert_eq!(event.action(), KprobeAction::Sigkill);
    }

    #[test]
    fn the_last_action_is_named() {
        let cases = [
            ("{}", KprobeAction::Post),
            (r#"{"matchActions": [{"action": "Sigkill"}]}"#, KprobeAction::Sigkill),
            (r#"{"matchActions": [{"action": "Signal", "argSig": 1}]}"#, KprobeAction::Signal),
            (
                r#"{"matchActions": [{"action": "Sigkill"}, {"action": "Override", "argError": -1}]}"#,
                KprobeAction::Override,
            ),
            (
                r#"{"matchActions": [{"action": "Sigkill"}, {"action": "Post"}]}"#,
                KprobeAction::Post,
            ),
            (
                r#"{"matchActions": [{"action": "GetUrl", "argUrl": "http://x"}]}"#,
                KprobeAction::Geturl,
            ),
            (
                r#"{"matchActions": [{"action": "DnsLookup", "argFqdn": "x.org"}]}"#,
                KprobeAction::Dnslookup,
            ),
        ];
        for (selector, expected) in cases {
            let Hit::Kprobe(event) = of(kprobe(), selector) else { panic!() };
            assert_eq!(event.action(), expected, "{selector}");
            assert_eq!(event.return_action(), KprobeAction::Post, "{selector}");
        }
    }

    #[test]
    fn the_selector_that_matched_counts() {
        let two =
            r#"{"matchActions": [{"action": "Sigkill"}]}, {"matchActions": [{"action": "Post"}]}"#;
        let process = Identity { ktime: 1, pid: 10 };
        let mut given = observation(kprobe(), two, process, 10);
        given.selector = Some(1);
        let Hit::Kprobe(event) = event(given, &HostNamespaces::default()) else { panic!() };
        assert_eq!(event.action(), KprobeAction::Post);
    }
}
