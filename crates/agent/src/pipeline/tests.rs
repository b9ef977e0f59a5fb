//! Scenarios: records in, events out.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use api::tetragon::get_events_response::Event;
use api::tetragon::{self as wire, DumpProcessCacheReqArgs};
use compiler::base::record::{Creds, Flags, Identity, Namespaces, UserNs, kind};

use super::{Pipeline, PipelineConfig};
use crate::cgroups::Hierarchy;
use crate::loss::{CpuLosses, KernelLosses};
use crate::process::identity::ExecIds;
use crate::procfs::HostNamespaces;
use crate::redaction::Redaction;
use crate::test_records::{self as records, ExecRecord, Stamp};

pub(super) const CONTAINER: &str =
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A pipeline with no `/proc`, a writer of records for it, and what it emitted.
pub(super) struct Harness {
    pub(super) pipeline: Pipeline,
    events: Arc<Mutex<Vec<wire::GetEventsResponse>>>,
    pub(super) now: Instant,
    pub(super) seq: u64,
    time: u64,
}

/// Identity by pid and an odd time, which is no start time.
pub(super) fn id(pid: u32, ktime: u64) -> Identity {
    Identity { ktime: ktime * 1000 + 1, pid }
}

pub(super) fn exec_id(process: Identity) -> String {
    ExecIds::new("node").of(process)
}

impl Harness {
    pub(super) fn new(config: PipelineConfig) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = events.clone();
        let config = PipelineConfig { node_name: "node".to_owned(), ..config };
        let emit = move |event| {
            sink.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        };
        let pipeline = Pipeline::new(config, Box::new(emit));
        Self { pipeline, events, now: Instant::now(), seq: 0, time: 1_000_000 }
    }

    pub(super) fn plain() -> Self {
        Self::new(no_proc())
    }

    pub(super) fn events(&self) -> Vec<wire::GetEventsResponse> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }

    pub(super) fn execs(&self) -> Vec<wire::ProcessExec> {
        self.events().into_iter().map(into_exec).collect()
    }

    pub(super) fn exec_event(&self) -> wire::ProcessExec {
        let mut events = self.execs();
        assert_eq!(events.len(), 1, "{events:#?}");
        events.remove(0)
    }

    pub(super) fn exit_event(&self) -> wire::ProcessExit {
        let mut events = self.events();
        assert_eq!(events.len(), 1, "{events:#?}");
        into_exit(events.remove(0))
    }

    pub(super) fn stamp(&mut self) -> Stamp {
        self.seq += 1;
        self.time += 1000;
        Stamp { cpu: 0, seq: self.seq, time: self.time }
    }

    pub(super) fn fork(&mut self, process: Identity, parent: Identity) {
        self.fork_in(process, parent, 1);
    }

    pub(super) fn fork_in(&mut self, process: Identity, parent: Identity, cgroup: u64) {
        let stamp = self.stamp();
        self.pipeline.record(&records::fork(stamp, process, parent, Flags::CLONE, cgroup));
    }

    /// First exec after a fork, of the given identities.
    pub(super) fn exec(&mut self, process: Identity, previous: Identity, parent: Identity) {
        self.exec_with(process, previous, parent, |record| record.flags |= Flags::CLONE);
    }

    pub(super) fn exec_with(
        &mut self,
        process: Identity,
        previous: Identity,
        parent: Identity,
        change: impl FnOnce(&mut ExecRecord),
    ) {
        let stamp = self.stamp();
        let mut record = ExecRecord { stamp, process, previous, parent, ..ExecRecord::default() };
        change(&mut record);
        self.pipeline.record(&record.encode());
    }

    pub(super) fn exit(&mut self, process: Identity, parent: Identity, code: u32) {
        let stamp = self.stamp();
        self.pipeline.record(&records::exit(stamp, process, parent, code));
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.pipeline.tick(self.now);
    }

    /// Pid 1, which all other processes of a scenario descend from.
    pub(super) fn init(&mut self) -> Identity {
        let init = id(1, 1);
        self.exec_with(init, Identity::default(), super::KERNEL, |record| {
            record.filename = b"/sbin/init".to_vec();
        });
        self.events();
        init
    }

    pub(super) fn references(&self, process: Identity) -> Option<(u32, String)> {
        let mut entries = self.pipeline.table.iter();
        let (_, references, color) = entries.find(|(entry, ..)| entry.process == process)?;
        Some((references.count(), color.name().to_owned()))
    }
}

pub(super) fn no_proc() -> PipelineConfig {
    PipelineConfig { procfs: "/nonexistent".into(), ..PipelineConfig::default() }
}

pub(super) fn into_exec(event: wire::GetEventsResponse) -> wire::ProcessExec {
    match event.event {
        Some(Event::ProcessExec(exec)) => exec,
        other => panic!("not an exec: {other:#?}"),
    }
}

pub(super) fn into_exit(event: wire::GetEventsResponse) -> wire::ProcessExit {
    match event.event {
        Some(Event::ProcessExit(exit)) => exit,
        other => panic!("not an exit: {other:#?}"),
    }
}

#[test]
fn fork_exec_exit() {
    let mut h = Harness::plain();
    let init = h.init();
    let (child, image) = (id(10, 2), id(10, 3));
    h.fork(child, init);
    assert!(h.events().is_empty(), "a fork is no event");
    h.exec_with(image, child, init, |r| {
        r.flags |= Flags::CLONE;
        r.filename = b"./echo".to_vec();
        r.cwd = b"/usr/bin".to_vec();
        r.args = b"echo\0hello world\0".to_vec();
        r.auid = 1000;
        (r.creds.uid, r.creds.euid) = (1000, 1001);
    });
    let events = h.events();
    assert_eq!(events[0].node_name, "node");
    assert!(events[0].time.is_some());
    let exec = into_exec(events.into_iter().next().unwrap());
    let process = exec.process.unwrap();
    assert_eq!(process.exec_id, exec_id(image));
    assert_eq!(process.parent_exec_id, exec_id(init));
    assert_eq!((process.pid, process.tid), (Some(10), Some(10)));
    assert_eq!((process.uid, process.auid), (Some(1001), Some(1000)));
    assert_eq!(process.binary, "/usr/bin/echo");
    assert_eq!(process.arguments, " \"hello world\"");
    assert_eq!(process.cwd, "/usr/bin");
    assert_eq!(process.flags, "execve clone");
    assert_eq!(process.in_init_tree, Some(false));
    assert_eq!(process.refcnt, 1);
    let parent = exec.parent.unwrap();
    assert_eq!((parent.binary.as_str(), parent.exec_id), ("/sbin/init", exec_id(init)));
    assert!(exec.ancestors.is_empty());

    h.exit(image, init, 3 << 8);
    let exit = h.exit_event();
    assert_eq!((exit.status, exit.signal.as_str()), (3, ""));
    let process_at_exit = exit.process.unwrap();
    assert_eq!(process_at_exit.start_time, process.start_time, "the same in every event");
    assert_eq!(process_at_exit.arguments, process.arguments);
    assert_eq!(exit.parent.unwrap().binary, "/sbin/init");
    assert!(exit.time.is_some());
}

#[test]
fn fork_without_exec_shows_its_parents_image() {
    let mut h = Harness::plain();
    let init = h.init();
    let child = id(10, 2);
    h.fork(child, init);
    h.exit(child, init, 9);
    let exit = h.exit_event();
    let process = exit.process.unwrap();
    assert_eq!(process.binary, "/sbin/init");
    assert_eq!(process.flags, "clone");
    assert_eq!(process.exec_id, exec_id(child));
    assert_eq!(exit.signal, "SIGKILL");
}

#[test]
fn exec_without_fork_has_the_image_before_as_parent() {
    let mut h = Harness::plain();
    let init = h.init();
    let (child, first, second) = (id(10, 2), id(10, 3), id(10, 4));
    h.fork(child, init);
    h.exec(first, child, init);
    h.exec_with(second, first, first, |r| r.filename = b"/bin/second".to_vec());
    let events = h.execs();
    let process = events[1].process.as_ref().unwrap();
    assert_eq!(process.flags, "execve");
    assert_eq!(process.parent_exec_id, exec_id(first));
    assert_eq!(events[1].parent.as_ref().unwrap().binary, "/bin/true");
    // The image before is only kept by the one after it.
    assert_eq!(h.references(first).unwrap().0, 1);
    h.exit(second, first, 0);
    assert_eq!(h.references(first).unwrap(), (0, "deletePending".to_owned()));
}

#[test]
fn pid_one_has_the_kernel_as_parent() {
    let mut h = Harness::plain();
    h.exec(id(1, 1), Identity::default(), super::KERNEL);
    let exec = h.exec_event();
    let parent = exec.parent.unwrap();
    assert_eq!((parent.binary.as_str(), parent.pid), ("<kernel>", Some(0)));
    assert_eq!(exec.process.unwrap().parent_exec_id, parent.exec_id);
    assert_eq!(parent.exec_id, exec_id(super::KERNEL));
}

#[test]
fn entries_go_after_two_ticks_without_references() {
    let mut h = Harness::plain();
    let init = h.init();
    let (child, image, grandchild) = (id(10, 2), id(10, 3), id(11, 4));
    h.fork(child, init);
    h.exec(image, child, init);
    assert_eq!(h.references(child).unwrap(), (0, "deletePending".to_owned()));
    h.fork(grandchild, image);
    h.exit(image, init, 0);
    assert_eq!(h.references(image).unwrap().0, 1, "its child refers to it");
    let interval = PipelineConfig::default().process_cache_gc_interval;
    h.pass(interval);
    assert_eq!(h.references(child).unwrap().1, "deleteReady");
    h.pass(interval);
    assert_eq!(h.references(child), None);
    // Exits while its parent is gone; the parent is still there.
    h.events();
    h.exit(grandchild, image, 0);
    assert_eq!(h.exit_event().parent.unwrap().exec_id, exec_id(image));
    h.pass(interval);
    h.pass(interval);
    assert_eq!((h.references(image), h.references(grandchild)), (None, None));
    assert_eq!(h.references(init).unwrap(), (1, "inUse".to_owned()));
}

#[test]
fn a_new_reference_between_ticks_keeps_an_entry() {
    let mut h = Harness::plain();
    let init = h.init();
    let parent = id(10, 2);
    h.fork(parent, init);
    h.exit(parent, init, 0);
    let interval = PipelineConfig::default().process_cache_gc_interval;
    h.pass(interval);
    assert_eq!(h.references(parent).unwrap().1, "deleteReady");
    let late = id(11, 3);
    h.fork(late, parent);
    assert_eq!(h.references(parent).unwrap(), (1, "inUse".to_owned()));
    h.pass(interval);
    h.pass(interval);
    assert!(h.references(parent).is_some());
    h.exit(late, parent, 0);
    h.pass(interval);
    assert_eq!(h.references(parent).unwrap().1, "deleteReady", "two ticks again");
    h.pass(interval);
    assert_eq!(h.references(parent), None);
}

#[test]
fn dump_selects_and_counts() {
    let mut h = Harness::plain();
    let init = h.init();
    let (running, ended) = (id(10, 2), id(11, 3));
    h.fork(running, init);
    h.fork(ended, init);
    h.exit(ended, init, 0);
    let dump = |skip_zero_refcnt, exclude_execve_map_processes| -> HashSet<u32> {
        let request = DumpProcessCacheReqArgs { skip_zero_refcnt, exclude_execve_map_processes };
        let dump = h.pipeline.dump(&request);
        dump.into_iter().filter_map(|entry| entry.process?.pid).collect()
    };
    assert_eq!(dump(false, false), HashSet::from([0, 1, 10, 11]));
    assert_eq!(dump(true, false), HashSet::from([0, 1, 10]));
    assert_eq!(dump(false, true), HashSet::from([11]));
    let all = h.pipeline.dump(&DumpProcessCacheReqArgs::default());
    let of = |pid| all.iter().find(|e| e.process.as_ref().unwrap().pid == Some(pid)).unwrap();
    let operations: Vec<_> = of(1).refcnt_ops.iter().map(|(k, &v)| (k.as_str(), v)).collect();
    assert_eq!(operations, [("parent++", 2), ("parent--", 1), ("process++", 1)]);
    assert_eq!(of(1).refcnt, Some(2));
    assert_eq!(of(11).refcnt_ops["process--"], 1);
}

#[test]
fn ancestors_reach_up_to_init() {
    let mut h = Harness::new(PipelineConfig { ancestors: true, ..no_proc() });
    let init = h.init();
    let chain: Vec<Identity> = (10..14).map(|pid| id(pid, u64::from(pid))).collect();
    let mut parent = init;
    for &process in &chain {
        h.exec(process, Identity::default(), parent);
        parent = process;
    }
    let events = h.execs();
    let pids = |event: &wire::ProcessExec| -> Vec<u32> {
        event.ancestors.iter().filter_map(|process| process.pid).collect()
    };
    assert!(events[0].ancestors.is_empty());
    assert_eq!(pids(&events[1]), [1]);
    assert_eq!(pids(&events[3]), [11, 10, 1]);
    // Those in between end; the way up stays as long as the last one runs.
    for at in 0..3 {
        h.exit(chain[at], if at == 0 { init } else { chain[at - 1] }, 0);
    }
    let interval = PipelineConfig::default().process_cache_gc_interval;
    for _ in 0..3 {
        h.pass(interval);
    }
    h.events();
    h.exit(chain[3], chain[2], 0);
    let exit = h.exit_event();
    assert_eq!(exit.ancestors.len(), 3);
    assert!(exit.ancestors.iter().all(|ancestor| !ancestor.binary.is_empty()));
    for _ in 0..2 {
        h.pass(interval);
    }
    assert_eq!(h.pipeline.stats().table_size, 2, "the kernel and init");
}

#[test]
fn exec_waits_for_its_parent_and_goes_when_it_comes() {
    let mut h = Harness::plain();
    let init = h.init();
    let (parent, image) = (id(10, 2), id(11, 3));
    h.exec(image, Identity::default(), parent);
    h.exit(image, parent, 0);
    assert!(h.events().is_empty());
    assert_eq!(h.pipeline.stats().waiting_size, 2);
    h.exec(parent, Identity::default(), init);
    let events = h.events();
    assert_eq!(events.len(), 3);
    let mut events = events.into_iter();
    assert_eq!(into_exec(events.next().unwrap()).process.unwrap().exec_id, exec_id(parent));
    let child = into_exec(events.next().unwrap());
    assert_eq!(child.process.unwrap().exec_id, exec_id(image));
    assert_eq!(child.parent.unwrap().binary, "/bin/true");
    let exit = into_exit(events.next().unwrap());
    assert_eq!(exit.process.unwrap().binary, "/bin/true");
    assert_eq!(h.pipeline.stats().waiting_size, 0);
}

#[test]
fn exec_is_sent_with_its_lineage_when_the_parent_never_comes() {
    let mut h = Harness::plain();
    h.init();
    let parent = id(10, 2);
    h.exec(id(11, 3), Identity::default(), parent);
    let delay = PipelineConfig::default().event_cache_retry_delay;
    for _ in 0..14 {
        h.pass(delay);
        assert!(h.events().is_empty());
    }
    h.pass(delay);
    let lineage = h.exec_event().parent.unwrap();
    assert_eq!(lineage.exec_id, exec_id(parent));
    assert_eq!(lineage.pid, Some(10));
    assert!(lineage.start_time.is_some());
    assert_eq!(lineage.binary, "");
    assert_eq!(h.pipeline.stats().waiting.failures, 1);
    assert_eq!(h.pipeline.stats().pipeline.incomplete_events, 1);
    // Nothing waits for it a second time.
    h.exec(id(12, 4), Identity::default(), parent);
    assert_eq!(h.exec_event().parent.unwrap().exec_id, exec_id(parent));
}

#[test]
fn exit_of_an_unknown_process() {
    let mut h = Harness::plain();
    let init = h.init();
    let process = id(10, 2);
    h.exit(process, init, 1 << 8);
    let delay = PipelineConfig::default().event_cache_retry_delay;
    for _ in 0..15 {
        assert!(h.events().is_empty());
        h.pass(delay);
    }
    let exit = h.exit_event();
    let sent = exit.process.unwrap();
    assert_eq!((sent.pid, sent.exec_id, sent.binary.as_str()), (Some(10), exec_id(process), ""));
    assert!(sent.start_time.is_some());
    assert_eq!(exit.status, 1);
    assert_eq!(exit.parent.unwrap().binary, "/sbin/init");
}

#[test]
fn exit_before_its_exec() {
    let mut h = Harness::plain();
    let init = h.init();
    let process = id(10, 2);
    h.exit(process, init, 0);
    h.exec(process, Identity::default(), init);
    let events = h.events();
    assert_eq!(events.len(), 2, "{events:#?}");
    let binaries: HashSet<String> = events
        .into_iter()
        .filter_map(|event| match event.event? {
            Event::ProcessExec(exec) => exec.process,
            Event::ProcessExit(exit) => exit.process,
            _ => None,
        })
        .map(|process| process.binary)
        .collect();
    assert_eq!(binaries, HashSet::from(["/bin/true".to_owned()]));
    assert_eq!(h.references(process).unwrap().0, 0, "ended all the same");
}

#[test]
fn fork_of_an_unknown_parent_learns_from_it_later() {
    let mut h = Harness::plain();
    let init = h.init();
    let (parent, child) = (id(10, 2), id(11, 3));
    h.fork(child, parent);
    h.exit(child, parent, 0);
    assert!(h.events().is_empty());
    h.exec_with(parent, Identity::default(), init, |r| r.filename = b"/bin/parent".to_vec());
    let mut events = h.events();
    assert_eq!(events.len(), 2);
    let exit = into_exit(events.remove(1));
    assert_eq!(exit.process.unwrap().binary, "/bin/parent");
}

#[test]
fn lost_exits_are_noticed_by_the_next_use_of_the_pid() {
    let mut h = Harness::plain();
    let init = h.init();
    let (old, new) = (id(10, 2), id(10, 9));
    h.fork(old, init);
    h.fork(new, init);
    assert_eq!(h.references(old).unwrap().0, 0);
    assert_eq!(h.references(init).unwrap().0, 2);
    assert_eq!(h.pipeline.stats().pipeline.exits_missed, 1);
    assert_eq!(h.pipeline.stats().table_running, 3);
}

#[test]
fn containers_follow_cgroups() {
    let hierarchy = Hierarchy { id: 0, controller: None, mount: None };
    let mut h = Harness::new(PipelineConfig { hierarchy, ..no_proc() });
    let init = h.init();
    for (id, path) in [(5, format!("/docker/{CONTAINER}")), (6, format!("/docker/{CONTAINER}/x"))] {
        let stamp = h.stamp();
        h.pipeline.record(&records::cgroup(stamp, 1, id, &path));
    }
    let process = id(10, 2);
    h.fork_in(process, init, 6);
    h.exit(process, init, 0);
    assert_eq!(h.exit_event().process.unwrap().docker, &CONTAINER[..31]);
    let process = id(11, 3);
    h.exec_with(process, Identity::default(), init, |r| r.cgroup_id = 5);
    assert_eq!(h.exec_event().process.unwrap().docker, &CONTAINER[..31]);
    let child = id(12, 4);
    h.fork_in(child, process, 5);
    h.exit(child, process, 0);
    assert_eq!(h.exit_event().process.unwrap().docker, &CONTAINER[..31]);
    // A cgroup nobody told of, by its name.
    h.exec_with(id(13, 5), Identity::default(), init, |r| {
        r.cgroup_id = 99;
        r.cgroup_name = format!("cri-containerd-{CONTAINER}.scope").into_bytes();
    });
    assert_eq!(h.exec_event().process.unwrap().docker, &CONTAINER[..31]);
    h.exec_with(id(14, 6), Identity::default(), init, |r| r.cgroup_id = 98);
    assert_eq!(h.exec_event().process.unwrap().docker, "");
}

#[test]
fn whole_container_identifiers_when_asked_for() {
    let mut h = Harness::new(PipelineConfig { full_container_id: true, ..no_proc() });
    let init = h.init();
    h.exec_with(id(10, 2), Identity::default(), init, |r| {
        r.cgroup_name = CONTAINER.as_bytes().to_vec();
    });
    assert_eq!(h.exec_event().process.unwrap().docker, CONTAINER);
}

#[test]
fn arguments_in_parts() {
    let mut h = Harness::plain();
    let init = h.init();
    let long = vec![b'x'; 20_000];
    let whole = [b"sh\0".as_slice(), &long, b"\0last one\0"].concat();
    let process = id(10, 2);
    for (at, data) in whole.chunks(8192).enumerate() {
        let stamp = h.stamp();
        let offset = (at * 8192) as u32;
        h.pipeline.record(&records::part(stamp, process, 0, offset, data));
    }
    h.exec_with(process, Identity::default(), init, |r| {
        r.args = Vec::new();
        r.args_parts = whole.len() as u32;
    });
    let sent = h.exec_event().process.unwrap();
    assert_eq!(sent.arguments.len(), 20_000 + " \"last one\"".len());
    assert_eq!(sent.flags, "execve");
    assert_eq!(h.pipeline.stats().parts_bytes, 0);

    let other = id(11, 3);
    let stamp = h.stamp();
    h.pipeline.record(&records::part(stamp, other, 0, 0, b"sh\0first\0"));
    h.exec_with(other, Identity::default(), init, |r| {
        r.args = Vec::new();
        r.args_parts = whole.len() as u32;
    });
    let sent = h.exec_event().process.unwrap();
    assert_eq!((sent.arguments.as_str(), sent.flags.as_str()), ("first", "execve errorArgs"));
    assert_eq!(h.pipeline.stats().pipeline.incomplete_texts, 1);
}

#[test]
fn environment_filtered_redacted_and_inherited() {
    let mut h = Harness::new(PipelineConfig {
        environment: true,
        environment_only: HashSet::from(["A".to_owned(), "TOKEN".to_owned()]),
        redaction: Redaction::parse(r#"{"redact":["TOKEN=(.*)", "--token (\\S+)"]}"#).unwrap(),
        ..no_proc()
    });
    let init = h.init();
    let process = id(10, 2);
    h.exec_with(process, Identity::default(), init, |r| {
        r.env = b"A=1\0B=2\0TOKEN=secret\0".to_vec();
        r.args = b"x\0--token\0secret\0".to_vec();
    });
    let sent = h.exec_event().process.unwrap();
    let variables = |process: &wire::Process| -> Vec<(String, String)> {
        let variables = process.environment_variables.iter();
        variables.map(|entry| (entry.key.clone(), entry.value.clone())).collect()
    };
    let expected = [("A".to_owned(), "1".to_owned()), ("TOKEN".to_owned(), "*****".to_owned())];
    assert_eq!(variables(&sent), expected);
    assert_eq!(sent.arguments, "--token *****");
    let child = id(11, 3);
    h.fork(child, process);
    h.exit(child, process, 0);
    assert_eq!(variables(&h.exit_event().process.unwrap()), expected);
}

#[test]
fn credentials_and_namespaces_only_when_asked_for() {
    let change = |r: &mut ExecRecord| {
        r.creds = Creds {
            uid: 1000,
            cap_permitted: 3,
            user_ns: UserNs { inum: 5, ..UserNs::default() },
            ..Creds::default()
        };
        r.secureexec = true;
        r.ns = Namespaces { mnt: 7, ..Namespaces::default() };
        r.links = 0;
    };
    let mut h = Harness::plain();
    let init = h.init();
    h.exec_with(id(10, 2), Identity::default(), init, change);
    let plain = h.exec_event().process.unwrap();
    assert!(plain.cap.is_none() && plain.process_credentials.is_none());
    assert!(plain.ns.is_none() && plain.binary_properties.is_none());

    let mut h = Harness::new(PipelineConfig {
        credentials: true,
        namespaces: true,
        host: HostNamespaces { others: Namespaces { mnt: 7, ..Namespaces::default() }, user: 5 },
        ..no_proc()
    });
    let init = h.init();
    let process = id(10, 2);
    h.exec_with(process, Identity::default(), init, change);
    let full = h.exec_event().process.unwrap();
    assert_eq!(full.cap.as_ref().unwrap().permitted, [0, 1]);
    assert_eq!(full.process_credentials.as_ref().unwrap().uid, Some(1000));
    assert!(full.ns.as_ref().unwrap().mnt.as_ref().unwrap().is_host);
    let properties = full.binary_properties.unwrap();
    assert_eq!(properties.setuid, Some(0));
    assert!(properties.file.is_some());
    h.exit(process, init, 0);
    let at_exit = h.exit_event().process.unwrap();
    assert_eq!(at_exit.cap, full.cap);
    assert!(at_exit.binary_properties.is_none(), "only in the exec event");
}

#[test]
fn gaps_and_counters_make_one_loss_event() {
    let mut h = Harness::plain();
    let init = h.init();
    h.seq += 3;
    h.fork(id(10, 2), init);
    let mut cpu = CpuLosses::default();
    cpu.ring_full[kind::EXEC as usize] = 3;
    h.pipeline.kernel_losses(&KernelLosses { cpus: vec![cpu], missed_runs: 0 });
    h.pass(Duration::from_millis(1));
    assert!(h.events().is_empty(), "the burst may go on");
    h.pass(Duration::from_millis(200));
    let events = h.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].node_name, "node");
    let Some(Event::EventsLost(lost)) = &events[0].event else { panic!("{events:#?}") };
    assert_eq!((lost.count, lost.cpu, lost.ring.as_str()), (3, Some(0), "base"));
    assert_eq!((lost.first_seq, lost.last_seq), (2, 4));
    h.pass(Duration::from_secs(1));
    assert!(h.events().is_empty());
    // One at the end, which no record follows.
    cpu.ring_full[kind::EXIT as usize] = 1;
    h.pipeline.kernel_losses(&KernelLosses { cpus: vec![cpu], missed_runs: 0 });
    h.pass(Duration::from_millis(200));
    let Some(Event::EventsLost(lost)) = h.events().remove(0).event else { panic!() };
    assert_eq!((lost.count, lost.first_seq), (1, 6));
    assert_eq!(h.pipeline.stats().losses.lost, 4);
}

#[test]
fn nothing_is_held_back_at_the_end() {
    let mut h = Harness::plain();
    let init = h.init();
    h.exec(id(10, 2), Identity::default(), id(9, 9));
    h.seq += 2;
    h.fork(id(11, 3), init);
    assert!(h.events().is_empty());
    h.pipeline.finish();
    let events = h.events();
    assert_eq!(events.len(), 2);
    let Some(Event::EventsLost(lost)) = &events[0].event else { panic!("{events:#?}") };
    assert_eq!(lost.count, 2);
    let exec = into_exec(events.into_iter().nth(1).unwrap());
    assert_eq!(exec.parent.unwrap().exec_id, exec_id(id(9, 9)));
    assert_eq!(h.pipeline.stats().waiting_size, 0);
}

#[test]
fn unreadable_records_are_counted() {
    let mut h = Harness::plain();
    h.init();
    let stamp = h.stamp();
    let mut record = records::fork(stamp, id(10, 2), id(1, 1), Flags::CLONE, 1);
    record.truncate(30);
    h.pipeline.record(&record);
    h.pipeline.record(&[]);
    h.pass(Duration::from_millis(200));
    h.pass(Duration::from_millis(200));
    let lost: u64 = h
        .events()
        .into_iter()
        .filter_map(|event| match event.event {
            Some(Event::EventsLost(lost)) => Some(lost.count),
            _ => None,
        })
        .sum();
    assert_eq!(lost, 2);
    assert_eq!(h.pipeline.stats().losses.undecodable, 2);
}

#[test]
fn without_a_process_cache() {
    let mut h = Harness::new(PipelineConfig { disable_process_cache: true, ..no_proc() });
    let (parent, process) = (id(10, 2), id(11, 3));
    h.fork(process, parent);
    h.exec(process, Identity::default(), parent);
    let exec = h.exec_event();
    assert_eq!(exec.process.unwrap().binary, "/bin/true");
    assert!(exec.parent.is_none());
    h.exit(process, parent, 0);
    let exit = h.exit_event();
    assert_eq!(exit.process.unwrap().pid, Some(11));
    assert!(exit.parent.is_none());
    assert_eq!(h.pipeline.stats().table_size, 1);
}

#[test]
fn exit_of_a_process_without_state_is_that_of_the_announced_one() {
    let mut h = Harness::plain();
    let init = h.init();
    let announced = id(10, 2);
    h.fork(announced, init);
    let stamp = h.stamp();
    let unnamed = Identity { ktime: 30_000_000, pid: 10 };
    let mut record = records::exit(stamp, unnamed, init, 0);
    let flags = Flags::NO_STATE.bits().to_ne_bytes();
    let at = compiler::base::record::at::exit::FLAGS as usize;
    record[at..at + 4].copy_from_slice(&flags);
    h.pipeline.record(&record);
    assert_eq!(h.exit_event().process.unwrap().exec_id, exec_id(announced));
    assert_eq!(h.references(announced).unwrap().0, 0);
}

#[test]
fn full_table_drops_ended_entries_first_and_counts_running_ones() {
    let mut h = Harness::new(PipelineConfig { process_cache_size: 100, ..no_proc() });
    let init = h.init();
    for pid in 10..1000 {
        let process = id(pid, u64::from(pid));
        h.fork(process, init);
        h.exit(process, init, 0);
    }
    let stats = h.pipeline.stats();
    assert_eq!(stats.table_size, 2 + 26, "a quarter, and the one that ended after the last fork");
    assert_eq!((stats.table.evicted_live, stats.table.evicted_ended), (0, 964));
    for pid in 1000..1200 {
        h.fork(id(pid, u64::from(pid)), init);
    }
    let stats = h.pipeline.stats();
    assert_eq!(stats.table_size, 100);
    assert_eq!(stats.table.evicted_live, 102);
    assert!(h.references(init).is_some(), "in use all the time");
    assert_eq!(h.references(init).unwrap().0, 99, "dropped children do not refer to it");
    // A child that was dropped gives nothing up twice.
    h.exit(id(1000, 1000), init, 0);
    assert_eq!(h.references(init).unwrap().0, 99);
}

#[test]
fn images_are_bounded_by_bytes() {
    let mut h = Harness::plain();
    let init = h.init();
    let args = [b"sh\0".as_slice(), &vec![b'x'; 200_000]].concat();
    for pid in 10..1010 {
        h.exec_with(id(pid, u64::from(pid)), Identity::default(), init, |r| r.args = args.clone());
    }
    let stats = h.pipeline.stats();
    assert!(stats.table_bytes <= super::MAX_IMAGE_BYTES, "{stats:?}");
    assert!(stats.table.evicted_live > 500);
    assert_eq!(h.events().len(), 1000);
}
