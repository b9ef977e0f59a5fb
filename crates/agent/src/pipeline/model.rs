//! Random workloads, compared with a plain model of a process tree: parents, references, order, and that
//! nothing is left in the end, whatever records get lost.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use api::tetragon::get_events_response::Event;
use compiler::base::record::Identity;
use proptest::prelude::*;
use tempfile::TempDir;

use super::PipelineConfig;
use super::tests::{Harness, exec_id};

/// Pids are reused as soon as they are free.
const PIDS: u32 = 24;

#[derive(Clone, Copy, Debug)]
enum Step {
    Fork(usize),
    Exec(usize),
    Exit(usize),
    Tick(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<usize>().prop_map(Step::Fork),
        4 => any::<usize>().prop_map(Step::Exec),
        3 => any::<usize>().prop_map(Step::Exit),
        1 => (1..40_u64).prop_map(Step::Tick),
    ]
}

/// A process as the kernel side keeps it.
#[derive(Clone, Copy, Debug)]
struct Process {
    image: Identity,
    parent: Identity,
    executed: bool,
}

/// What one record has to lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    kind: &'static str,
    process: String,
    parent: String,
}

struct Model {
    harness: Harness,
    processes: Vec<Process>,
    /// Parent of every image there ever was.
    parents: HashMap<Identity, Identity>,
    running: HashSet<Identity>,
    expected: Vec<Expected>,
    seen: Vec<Expected>,
    lost: u64,
    reported: u64,
    time: u64,
}

impl Model {
    fn new(config: PipelineConfig) -> Self {
        let mut harness = Harness::new(config);
        let init = harness.init();
        let process = Process { image: init, parent: super::KERNEL, executed: true };
        Self {
            harness,
            processes: vec![process],
            parents: HashMap::from([(init, super::KERNEL)]),
            running: HashSet::from([init]),
            expected: Vec::new(),
            seen: Vec::new(),
            lost: 0,
            reported: 0,
            time: 2,
        }
    }

    fn next(&mut self, pid: u32) -> Identity {
        self.time += 1;
        super::tests::id(pid, self.time)
    }

    fn step(&mut self, step: Step, lost: bool) {
        match step {
            Step::Fork(at) => {
                let used: HashSet<u32> = self.processes.iter().map(|p| p.image.pid).collect();
                let Some(pid) = (1..PIDS).find(|pid| !used.contains(pid)) else { return };
                let parent = self.processes[at % self.processes.len()].image;
                let image = self.next(pid);
                self.processes.push(Process { image, parent, executed: false });
                self.started(image, parent);
                self.deliver(lost, |h| h.fork(image, parent));
            }
            Step::Exec(at) => {
                let at = at % self.processes.len();
                let before = self.processes[at];
                let image = self.next(before.image.pid);
                let parent = if before.executed { before.image } else { before.parent };
                self.processes[at] = Process { image, parent, executed: true };
                self.running.remove(&before.image);
                self.started(image, parent);
                self.expect("exec", image, parent, lost);
                self.deliver(lost, |h| {
                    h.exec_with(image, before.image, parent, |record| {
                        record.filename = format!("/bin/{}", image.ktime).into_bytes();
                    });
                });
            }
            Step::Exit(at) => {
                let at = at % self.processes.len();
                if at > 0 {
                    self.exit(at, lost);
                }
            }
            Step::Tick(seconds) => self.harness.pass(Duration::from_secs(seconds)),
        }
        self.collect();
    }

    fn exit(&mut self, at: usize, lost: bool) {
        let Process { image, parent, .. } = self.processes.swap_remove(at);
        self.running.remove(&image);
        self.expect("exit", image, parent, lost);
        self.deliver(lost, |h| h.exit(image, parent, 0));
    }

    fn started(&mut self, image: Identity, parent: Identity) {
        self.parents.insert(image, parent);
        self.running.insert(image);
    }

    fn expect(&mut self, kind: &'static str, process: Identity, parent: Identity, lost: bool) {
        if !lost {
            let (process, parent) = (exec_id(process), exec_id(parent));
            self.expected.push(Expected { kind, process, parent });
        }
    }

    fn deliver(&mut self, lost: bool, write: impl FnOnce(&mut Harness)) {
        if lost {
            self.harness.seq += 1;
            self.lost += 1;
        } else {
            write(&mut self.harness);
        }
    }

    fn collect(&mut self) {
        for event in self.harness.events() {
            let (kind, process, parent) = match event.event {
                Some(Event::ProcessExec(exec)) => ("exec", exec.process, exec.parent),
                Some(Event::ProcessExit(exit)) => ("exit", exit.process, exit.parent),
                Some(Event::EventsLost(lost)) => {
                    self.reported += lost.count;
                    continue;
                }
                other => panic!("{other:?}"),
            };
            let exec_id = |process: Option<api::tetragon::Process>| process.unwrap().exec_id;
            self.seen.push(Expected { kind, process: exec_id(process), parent: exec_id(parent) });
        }
    }

    fn ancestors(&self, image: Identity) -> Vec<Identity> {
        let mut found = Vec::new();
        let mut at = self.parents[&image];
        while at.pid > 2 {
            at = self.parents[&at];
            found.push(at);
        }
        found
    }

    /// References that the table has to count for an image.
    fn references(&self, image: Identity, ancestors: bool) -> u32 {
        let own = u32::from(self.running.contains(&image));
        let held = self.running.iter().map(|&other| {
            let child = usize::from(self.parents[&other] == image);
            let below = match ancestors {
                true => self.ancestors(other).into_iter().filter(|&up| up == image).count(),
                false => 0,
            };
            (child + below) as u32
        });
        own + held.sum::<u32>()
    }

    fn finish(&mut self, interval: Duration) {
        // At least one record follows the last lost one.
        self.step(Step::Fork(0), false);
        while self.processes.len() > 1 {
            self.exit(self.processes.len() - 1, false);
        }
        for _ in 0..40 {
            self.harness.pass(interval);
        }
        self.collect();
    }
}

fn parts_of_each(events: &[Expected]) -> HashMap<&str, Vec<&Expected>> {
    let mut of: HashMap<&str, Vec<&Expected>> = HashMap::new();
    for event in events {
        of.entry(&event.process).or_default().push(event);
    }
    of
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every event comes at once, in order, with the right parent; counts are exact at every step.
    #[test]
    fn complete_records(steps in prop::collection::vec(step(), 1..120), ancestors: bool) {
        let mut model = Model::new(PipelineConfig { ancestors, ..super::tests::no_proc() });
        for step in steps {
            model.step(step, false);
            prop_assert_eq!(&model.seen, &model.expected);
            for &image in &model.running {
                let table = &model.harness.pipeline.table;
                prop_assert!(table.get(image).is_some());
                prop_assert_eq!(table.references(image), model.references(image, ancestors));
            }
            prop_assert_eq!(model.harness.pipeline.stats().table_running, model.running.len() + 1);
        }
        model.finish(PipelineConfig::default().process_cache_gc_interval);
        prop_assert_eq!(&model.seen, &model.expected);
        let stats = model.harness.pipeline.stats();
        let referred = model.parents.keys().filter(|&&image| model.references(image, ancestors) > 0);
        prop_assert_eq!(stats.table_size, 1 + referred.count(), "the kernel, and init's images");
        prop_assert_eq!(stats.pipeline.exits_missed, 0);
        prop_assert_eq!(stats.pipeline.incomplete_events, 0);
        prop_assert_eq!(model.reported, 0);
    }

    /// With lost records every record that arrived has its event, with the parent that it named, each
    /// process's in order; what was lost is told; nothing is left in the table.
    #[test]
    fn lost_records(
        steps in prop::collection::vec((step(), prop::bool::weighted(0.2)), 1..120),
        ancestors: bool,
        small: bool,
    ) {
        let proc = TempDir::new().unwrap();
        std::fs::create_dir(proc.path().join("1")).unwrap();
        let stat = "1 (init) S 0 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 0 0 0";
        std::fs::write(proc.path().join("1/stat"), stat).unwrap();
        let process_cache_size = if small { 0 } else { 65_536 };
        let mut model = Model::new(PipelineConfig {
            procfs: proc.path().into(),
            ancestors,
            process_cache_size,
            ..PipelineConfig::default()
        });
        for (step, lost) in steps {
            model.step(step, lost);
            let stats = model.harness.pipeline.stats();
            prop_assert!(stats.table_size <= stats.table_capacity);
        }
        model.finish(PipelineConfig::default().process_cache_gc_interval);
        prop_assert_eq!(parts_of_each(&model.seen), parts_of_each(&model.expected));
        prop_assert_eq!(model.reported, model.lost);
        let stats = model.harness.pipeline.stats();
        // The kernel, init, and the image that init had before, if it executed something.
        prop_assert!((2..=3).contains(&stats.table_size), "{:?}", stats);
        prop_assert_eq!(stats.waiting_size, 0);
    }
}
