//! Observations in, events out.

use std::sync::Arc;

use std::collections::HashMap;
use std::time::Duration;

use api::tetragon::get_events_response::Event;
use api::tetragon::{self as wire};
use compiler::base::record::{Flags, Identity};
use compiler::observed::Owner;
use policy::PolicyKey;

use super::PipelineConfig;
use super::tests::{Harness, exec_id, id, no_proc};
use crate::config::AncestorsOfHits;
use crate::policies::Measures;
use crate::test_observations::{kprobe, lsm, observation, tracepoint};

fn kprobe_event(h: &Harness) -> wire::ProcessKprobe {
    let mut events = h.events();
    assert_eq!(events.len(), 1, "{events:#?}");
    into_kprobe(events.remove(0))
}

fn into_kprobe(event: wire::GetEventsResponse) -> wire::ProcessKprobe {
    match event.event {
        Some(Event::ProcessKprobe(event)) => event,
        other => panic!("no kprobe: {other:#?}"),
    }
}

/// A process with a parent below init.
fn family(h: &mut Harness) -> (Identity, Identity, Identity) {
    let init = h.init();
    let (parent, process) = (id(10, 2), id(11, 3));
    h.exec_with(parent, Identity::default(), init, |r| r.filename = b"/bin/sh".to_vec());
    h.exec_with(process, Identity::default(), parent, |r| r.filename = b"/bin/mount".to_vec());
    h.events();
    (init, parent, process)
}

#[test]
fn with_process_parent_and_thread() {
    let mut h = Harness::plain();
    let (_, parent, process) = family(&mut h);
    h.pipeline.observation(observation(kprobe(), "", process, 99));
    let events = h.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].node_name, "node");
    assert!(events[0].time.is_some());
    let event = into_kprobe(events.into_iter().next().unwrap());
    let shown = event.process.unwrap();
    assert_eq!((shown.pid, shown.tid), (Some(11), Some(99)), "the thread that made the call");
    assert_eq!((shown.exec_id, shown.binary.as_str()), (exec_id(process), "/bin/mount"));
    let shown = event.parent.unwrap();
    assert_eq!((shown.exec_id, shown.binary.as_str()), (exec_id(parent), "/bin/sh"));
    assert_eq!(shown.tid, Some(10));
    assert!(event.ancestors.is_empty());
    assert_eq!(event.function_name, "__x64_sys_mount");
    assert_eq!(h.pipeline.stats().pipeline.policy_events, 1);
}

#[test]
fn of_whom_the_socket_belongs_to() {
    let mut h = Harness::plain();
    let (init, parent, process) = family(&mut h);
    let mut seen = observation(kprobe(), "", process, 11);
    seen.owner = Some(Owner { process: parent, tid: 98 });
    h.pipeline.observation(seen);
    let event = kprobe_event(&h);
    let shown = event.process.unwrap();
    assert_eq!((shown.exec_id, shown.tid), (exec_id(parent), Some(98)));
    assert_eq!(event.parent.unwrap().exec_id, exec_id(init));
}

#[test]
fn every_kind_has_its_event() {
    let mut h = Harness::plain();
    let (_, _, process) = family(&mut h);
    for kind in [kprobe(), tracepoint(), lsm()] {
        h.pipeline.observation(observation(kind, "", process, 11));
    }
    let events = h.events();
    assert!(matches!(events[0].event, Some(Event::ProcessKprobe(_))));
    assert!(matches!(events[1].event, Some(Event::ProcessTracepoint(_))));
    assert!(matches!(events[2].event, Some(Event::ProcessLsm(_))));
    for event in &events {
        assert_eq!(event.process().unwrap().binary, "/bin/mount");
        assert_eq!(event.parent().unwrap().binary, "/bin/sh");
    }
}

#[test]
fn what_a_process_did_right_before_its_end() {
    let mut h = Harness::plain();
    let (_, parent, process) = family(&mut h);
    h.exit(process, parent, 0);
    h.events();
    h.pipeline.observation(observation(kprobe(), "", process, 11));
    assert_eq!(kprobe_event(&h).process.unwrap().binary, "/bin/mount");
}

#[test]
fn before_the_record_of_its_exec() {
    let mut h = Harness::plain();
    let (_, parent, _) = family(&mut h);
    // The kernel side does not know it any more: it has ended. Its records are on the way all the same.
    h.pipeline.set_lookup(Arc::new(|_| None));
    let process = id(12, 5);
    h.pipeline.observation(observation(kprobe(), "", process, 12));
    h.pipeline.observation(observation(kprobe(), "", process, 13));
    assert!(h.events().is_empty());
    assert_eq!(h.pipeline.stats().waiting_size, 2);
    h.exec(process, Identity::default(), parent);
    let events = h.events();
    assert_eq!(events.len(), 3);
    assert!(matches!(events[0].event, Some(Event::ProcessExec(_))), "the exec comes first");
    let tids: Vec<_> = events[1..].iter().map(|event| event.process().unwrap().tid).collect();
    assert_eq!(tids, [Some(12), Some(13)]);
    let event = into_kprobe(events.into_iter().nth(1).unwrap());
    assert_eq!(event.process.unwrap().binary, "/bin/true");
    assert_eq!(event.parent.unwrap().exec_id, exec_id(parent));
}

#[test]
fn of_a_process_that_never_comes() {
    let mut h = Harness::plain();
    h.init();
    let process = id(12, 5);
    h.pipeline.observation(observation(kprobe(), "", process, 14));
    let delay = PipelineConfig::default().event_cache_retry_delay;
    for _ in 0..14 {
        h.pass(delay);
        assert!(h.events().is_empty());
    }
    h.pass(delay);
    let event = kprobe_event(&h);
    let shown = event.process.unwrap();
    assert_eq!((shown.pid, shown.tid, shown.exec_id), (Some(12), Some(14), exec_id(process)));
    assert_eq!((shown.binary.as_str(), shown.flags.as_str()), ("", "unknown"));
    assert!(shown.start_time.is_some());
    assert!(event.parent.is_none(), "nothing is known of it");
    assert_eq!(event.policy_name, "mounts");
    assert_eq!(h.pipeline.stats().pipeline.incomplete_events, 1);
    // The next ones need not wait.
    h.pipeline.observation(observation(kprobe(), "", process, 14));
    assert_eq!(kprobe_event(&h).process.unwrap().flags, "unknown");
}

#[test]
fn of_a_process_that_the_kernel_does_not_know() {
    let mut h = Harness::plain();
    h.init();
    h.pipeline.set_lookup(Arc::new(|_| None));
    h.pipeline.observation(observation(kprobe(), "", id(12, 5), 12));
    assert!(h.events().is_empty());
    h.pass(PipelineConfig::default().event_cache_retry_delay);
    assert_eq!(kprobe_event(&h).process.unwrap().flags, "unknown", "its record was lost");
}

#[test]
fn nothing_is_held_back_at_the_end() {
    let mut h = Harness::plain();
    h.init();
    h.pipeline.observation(observation(kprobe(), "", id(12, 5), 12));
    h.pipeline.undecodable_observation(&"of no kind");
    h.pipeline.finish();
    let events = h.events();
    assert_eq!(events.len(), 2);
    assert!(matches!(events[0].event, Some(Event::EventsLost(_))));
    assert_eq!(into_kprobe(events.into_iter().nth(1).unwrap()).process.unwrap().flags, "unknown");
}

#[test]
fn of_a_fork_without_exec() {
    let mut h = Harness::plain();
    let (_, _, process) = family(&mut h);
    let child = id(12, 5);
    h.fork(child, process);
    h.pipeline.observation(observation(kprobe(), "", child, 12));
    let event = kprobe_event(&h);
    let shown = event.process.unwrap();
    assert_eq!((shown.binary.as_str(), shown.flags.as_str()), ("/bin/mount", "clone"));
    assert_eq!(event.parent.unwrap().exec_id, exec_id(process));
}

#[test]
fn without_a_process_cache() {
    let mut h = Harness::new(PipelineConfig { disable_process_cache: true, ..no_proc() });
    let process = id(12, 5);
    h.pipeline.observation(observation(kprobe(), "", process, 13));
    let event = kprobe_event(&h);
    let shown = event.process.unwrap();
    assert_eq!((shown.pid, shown.tid, shown.flags.as_str()), (Some(12), Some(13), ""));
    assert!(event.parent.is_none());
}

#[test]
fn ancestors_by_kind() {
    let ancestors_of_hits = AncestorsOfHits { kprobe: true, ..AncestorsOfHits::default() };
    let mut h = Harness::new(PipelineConfig { ancestors: true, ancestors_of_hits, ..no_proc() });
    let (init, _, process) = family(&mut h);
    h.pipeline.observation(observation(kprobe(), "", process, 11));
    let event = kprobe_event(&h);
    let ancestors: Vec<_> = event.ancestors.into_iter().map(|process| process.exec_id).collect();
    assert_eq!(ancestors, [exec_id(init)]);
    h.pipeline.observation(observation(lsm(), "", process, 11));
    match h.events().remove(0).event {
        Some(Event::ProcessLsm(event)) => assert!(event.ancestors.is_empty()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn losses_are_told_by_policy() {
    let mut h = Harness::plain();
    let key = |name: &str| PolicyKey {
        domain: "static".into(),
        namespace: String::new(),
        name: name.into(),
    };
    let measures = HashMap::from([(key("p"), Measures { lost: 5, ..Measures::default() })]);
    h.pipeline.policies_measured(&measures, 2, 0);
    h.pipeline.policy_departed(&key("q"), &Measures { no_memory: 3, ..Measures::default() });
    h.pass(Duration::from_millis(100));
    let lost: Vec<_> = h
        .events()
        .into_iter()
        .map(|event| match event.event {
            Some(Event::EventsLost(lost)) => (lost.ring, lost.count, lost.cause),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = |count, cause: &str| ("observation".to_owned(), count, cause.to_owned());
    assert_eq!(
        lost,
        [
            expected(5, "ring full, policy p"),
            expected(3, "no memory, policy q"),
            expected(2, "program was not run"),
        ]
    );
    h.pipeline.policies_measured(&measures, 2, 0);
    h.pass(Duration::from_millis(100));
    assert!(h.events().is_empty());
    assert_eq!(h.pipeline.stats().policy_events_lost, 10);
    assert_eq!(h.pipeline.stats().pipeline.loss_events, 3);
}

#[test]
fn flags_of_the_process_are_its_own() {
    let mut h = Harness::plain();
    let init = h.init();
    let process = id(12, 5);
    h.exec_with(process, Identity::default(), init, |r| r.flags |= Flags::CLONE);
    h.events();
    h.pipeline.observation(observation(kprobe(), "", process, 12));
    assert_eq!(kprobe_event(&h).process.unwrap().flags, "execve clone");
}
